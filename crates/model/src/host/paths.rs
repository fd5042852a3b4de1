//! Which layers leave their zeros out.

use sparse_kernels::pointwise::{Choice, Kept, Pattern};
use std::collections::BTreeMap;

/// The masks of a step.
#[derive(Clone, Debug, Default)]
pub struct Masks<'a> {
    /// Words of the mask of each pruned weight, by name: bit i of word i/64 belongs to weight i, 1 = kept. The weights
    /// that a mask prunes must be zero.
    pub words: BTreeMap<&'a str, &'a [u64]>,
    /// Whether pruned weights need no gradient.
    pub masked_gradient: bool,
}

/// How a layer is computed.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerPaths {
    /// Name of the layer.
    pub layer: String,
    /// Fraction of its weights that is zero.
    pub sparsity: f64,
    /// Which products leave the zeros out.
    pub choice: Choice,
}

/// What is known of the mask of one layer.
#[derive(Default)]
pub(super) struct Sparse {
    words: Vec<u64>,
    /// Of these words, if any product needs it or the choice is still to be made.
    pattern: Pattern,
    len: usize,
    kept: usize,
    /// What decides bits: a function of these words alone.
    fixed: Choice,
    /// Kept fraction at which the other paths were measured last.
    measured_at: Option<f64>,
    /// What was measured then. It changes no bit, so it may stay while the mask moves a little.
    measured: Choice,
}

/// Change of the kept fraction after which paths are measured again.
const REMEASURE: f64 = 0.02;

impl Sparse {
    /// Takes a mask of a weight `[outputs, inputs, taps]`, of which input pixels of each class see some taps; `None` = dense. `fixed` tells of the number of kept weights which
    /// products must leave the zeros out.
    pub(super) fn take(
        &mut self,
        words: Option<&[u64]>,
        (sizes, classes): ([usize; 3], &[Vec<usize>]),
        fixed: impl FnOnce(usize) -> Choice,
    ) {
        let Some(words) = words else {
            *self = Self::default();
            return;
        };
        if self.words == words {
            return;
        }
        self.words.clear();
        self.words.extend_from_slice(words);
        self.len = sizes.iter().product();
        self.kept = words.iter().map(|word| word.count_ones() as usize).sum();
        self.fixed = fixed(self.kept);
        if self.choice().any() || self.is_open() {
            self.pattern = Pattern::with_taps(words, sizes, classes);
        }
    }

    /// Whether paths are to be measured anew.
    fn is_open(&self) -> bool {
        let density = self.density();
        self.len > 0 && self.measured_at.is_none_or(|measured| (measured - density).abs() > REMEASURE)
    }

    /// Lets `measure` choose the paths that change no bit if that is due.
    pub(super) fn choose(&mut self, measure: impl FnOnce(&Pattern) -> Choice) {
        if self.is_open() {
            self.measured = measure(&self.pattern);
            self.measured_at = Some(self.density());
        }
    }

    fn choice(&self) -> Choice {
        self.fixed.or(self.measured)
    }

    fn density(&self) -> f64 {
        self.kept as f64 / self.len.max(1) as f64
    }

    /// The pattern for the forward product, if it is to be sparse.
    pub(super) fn forward(&self) -> Option<&Pattern> {
        self.choice().forward.then_some(&self.pattern)
    }

    /// The patterns for the backward products.
    pub(super) fn backward(&self, masked_gradient: bool) -> Kept<'_> {
        let choice = self.choice();
        Kept {
            input: choice.input_gradient.then_some(&self.pattern),
            weight: (choice.weight_gradient && masked_gradient).then_some(&self.pattern),
        }
    }

    /// What is shown of it.
    pub(super) fn shown(&self, layer: String) -> LayerPaths {
        let sparsity = if self.len == 0 { 0.0 } else { 1.0 - self.density() };
        LayerPaths { layer, sparsity, choice: self.choice() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [usize; 3] = [64, 100, 1];
    const NONE: Choice = Choice { forward: false, input_gradient: false, weight_gradient: false };
    const MEASURED: Choice = Choice { forward: true, input_gradient: true, weight_gradient: false };
    const FIXED: Choice = Choice { weight_gradient: true, ..NONE };

    /// A mask that keeps the first `kept` weights.
    fn words(kept: usize) -> Vec<u64> {
        let mut words = vec![0u64; 100];
        (0..kept).for_each(|i| words[i / 64] |= 1 << (i % 64));
        words
    }

    #[test]
    fn paths_are_measured_once_and_again_when_the_density_has_moved() {
        let mut sparse = Sparse::default();
        let mut measured = 0;
        // 0.02 of the weights are 128.
        for (kept, expected) in [(1000, 1), (1000, 1), (1100, 1), (1300, 2), (1301, 2), (1173, 2), (1171, 3)]
        {
            sparse.take(Some(&words(kept)), (SIZES, &[vec![0]]), |_| NONE);
            sparse.choose(|pattern| {
                measured += 1;
                assert_eq!(pattern.kept(), kept);
                MEASURED
            });
            assert_eq!(measured, expected, "{kept}");
            // What was measured holds on, of the mask as it is now.
            assert_eq!(sparse.forward().unwrap().kept(), kept);
            assert_eq!(sparse.backward(true).input.unwrap().kept(), kept);
            assert!(sparse.backward(true).weight.is_none());
        }
        sparse.take(None, (SIZES, &[vec![0]]), |_| unreachable!());
        assert!(sparse.forward().is_none());
        assert_eq!(sparse.shown("a".into()).sparsity, 0.0);
    }

    #[test]
    fn what_decides_bits_follows_every_mask_by_itself() {
        let fixed = |kept| if kept <= 2880 { FIXED } else { NONE };
        for measured in [NONE, MEASURED] {
            let mut through = Sparse::default();
            // To and fro over the edge, by less than what is measured anew for.
            for kept in [2881, 2880, 2879, 2881, 2920, 2880, 2882, 2840, 2881] {
                let mut anew = Sparse::default();
                for sparse in [&mut through, &mut anew] {
                    sparse.take(Some(&words(kept)), (SIZES, &[vec![0]]), fixed);
                    sparse.choose(|_| measured);
                    let weight = sparse.backward(true).weight.map(Pattern::kept);
                    assert_eq!(weight, (kept <= 2880).then_some(kept), "{kept}");
                    assert!(sparse.backward(false).weight.is_none());
                }
                assert_eq!(through.shown("a".into()), anew.shown("a".into()), "{kept}");
            }
        }
    }

    #[test]
    fn a_layer_that_stays_dense_builds_no_pattern() {
        let mut sparse = Sparse::default();
        sparse.take(Some(&[0b0111]), ([2, 2, 1], &[vec![0]]), |_| NONE);
        sparse.choose(|_| NONE);
        sparse.take(Some(&[0b1110]), ([2, 2, 1], &[vec![0]]), |_| NONE);
        sparse.choose(|_| unreachable!());
        assert_eq!(
            sparse.shown("a".into()),
            LayerPaths { layer: "a".into(), sparsity: 0.25, choice: Choice::default() }
        );
        assert!(sparse.forward().is_none());
        // That of the mask before was kept: nobody looks at it.
        assert_ne!(sparse.pattern, Pattern::new(&[0b1110], 2, 2));
    }
}
