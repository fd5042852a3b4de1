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
    pattern: Pattern,
    /// Kept fraction at which the choice was measured.
    measured: Option<f64>,
    choice: Choice,
    len: usize,
}

/// Change of the kept fraction after which paths are measured again.
const REMEASURE: f64 = 0.02;

impl Sparse {
    /// Takes a mask of a weight `[outputs, inputs]`; `measure` chooses the paths.
    pub(super) fn update(
        &mut self,
        words: Option<&[u64]>,
        [outputs, inputs]: [usize; 2],
        measure: impl FnOnce(&Pattern) -> Choice,
    ) {
        let Some(words) = words else {
            *self = Self::default();
            return;
        };
        if self.words == words {
            return;
        }
        self.len = outputs * inputs;
        self.words.clear();
        self.words.extend_from_slice(words);
        self.pattern = Pattern::new(words, outputs, inputs);
        let density = self.density();
        if self.measured.is_none_or(|measured| (measured - density).abs() > REMEASURE) {
            self.choice = measure(&self.pattern);
            self.measured = Some(density);
        }
    }

    fn density(&self) -> f64 {
        self.pattern.kept() as f64 / self.len.max(1) as f64
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
