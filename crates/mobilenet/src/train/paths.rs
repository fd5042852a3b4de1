//! Which pointwise layers leave their zeros out.

use sparse_kernels::host::pointwise::{Choice, Kept, Pattern};
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

/// How a pointwise layer is computed.
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
    /// Kept fraction at which the choice was made.
    measured: Option<f64>,
    choice: Choice,
}

/// Change of the kept fraction after which paths are measured again.
const REMEASURE: f64 = 0.02;

impl Sparse {
    /// Takes a mask of a weight `[outputs, inputs]`; `None` = dense.
    pub(super) fn take(&mut self, words: Option<&[u64]>, [outputs, inputs]: [usize; 2]) {
        let Some(words) = words else {
            *self = Self::default();
            return;
        };
        if self.words == words {
            return;
        }
        self.words.clear();
        self.words.extend_from_slice(words);
        self.len = outputs * inputs;
        self.kept = words.iter().map(|word| word.count_ones() as usize).sum();
        if self.choice.any() || self.is_open() {
            self.pattern = Pattern::new(words, outputs, inputs);
        }
    }

    /// Whether the paths are to be chosen anew.
    fn is_open(&self) -> bool {
        let density = self.density();
        self.len > 0 && self.measured.is_none_or(|measured| (measured - density).abs() > REMEASURE)
    }

    /// Lets `measure` choose the paths if that is due.
    pub(super) fn choose(&mut self, measure: impl FnOnce(&Pattern) -> Choice) {
        if self.is_open() {
            self.choice = measure(&self.pattern);
            self.measured = Some(self.density());
        }
    }

    fn density(&self) -> f64 {
        self.kept as f64 / self.len.max(1) as f64
    }

    /// The pattern for the forward product, if it is to be sparse.
    pub(super) fn forward(&self) -> Option<&Pattern> {
        self.choice.forward.then_some(&self.pattern)
    }

    /// The patterns for the backward products.
    pub(super) fn backward(&self, masked_gradient: bool) -> Kept<'_> {
        Kept {
            input: self.choice.input_gradient.then_some(&self.pattern),
            weight: (self.choice.weight_gradient && masked_gradient).then_some(&self.pattern),
        }
    }

    /// What is shown of it.
    pub(super) fn shown(&self, layer: String) -> LayerPaths {
        let sparsity = if self.len == 0 { 0.0 } else { 1.0 - self.density() };
        LayerPaths { layer, sparsity, choice: self.choice }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_measured_once_and_again_when_the_density_has_moved() {
        let sizes = [64, 100];
        let words = |kept: usize| -> Vec<u64> {
            let mut words = vec![0u64; 100];
            (0..kept).for_each(|i| words[i / 64] |= 1 << (i % 64));
            words
        };
        let all = Choice { forward: true, input_gradient: true, weight_gradient: true };
        let mut sparse = Sparse::default();
        let mut measured = 0;
        for (kept, expected) in [(1000, 1), (1000, 1), (1100, 1), (1300, 2), (1301, 2)] {
            sparse.take(Some(&words(kept)), sizes);
            sparse.choose(|pattern| {
                measured += 1;
                assert_eq!(pattern.kept(), kept);
                all
            });
            assert_eq!(measured, expected, "{kept}");
            assert_eq!(sparse.forward().unwrap().kept(), kept);
            assert!(sparse.backward(false).weight.is_none() && sparse.backward(true).weight.is_some());
        }
        sparse.take(None, sizes);
        assert!(sparse.forward().is_none());
        assert_eq!(sparse.shown("a".into()).sparsity, 0.0);
    }

    #[test]
    fn a_layer_that_stays_dense_builds_no_pattern() {
        let mut sparse = Sparse::default();
        sparse.take(Some(&[0b0111]), [2, 2]);
        sparse.choose(|_| Choice::default());
        sparse.take(Some(&[0b1110]), [2, 2]);
        sparse.choose(|_| unreachable!());
        assert_eq!(
            sparse.shown("a".into()),
            LayerPaths { layer: "a".into(), sparsity: 0.25, choice: Choice::default() }
        );
        assert!(sparse.forward().is_none());
    }
}
