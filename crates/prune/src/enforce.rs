//! Setting pruned weights to zero, in place.

use candle_core::{CpuStorage, InplaceOp1, Layout, bail};
use rayon::prelude::*;
use sparse_sparsity::mask::{WORD_BITS, apply_words};
use sparse_sparsity::{Mask, Weight};

use crate::variables::CHUNK;

/// Sets the weights that the mask prunes to +0; the others keep their bits.
pub(crate) struct ApplyMask<'a>(pub(crate) &'a Mask);

impl InplaceOp1 for ApplyMask<'_> {
    fn name(&self) -> &'static str {
        "apply-mask"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("apply-mask needs a contiguous tensor");
        };
        if end - start != self.0.len() {
            bail!("apply-mask: the mask has {} weights, the tensor {}", self.0.len(), end - start);
        }
        match storage {
            CpuStorage::F32(values) => apply(self.0, &mut values[start..end]),
            CpuStorage::F64(values) => apply(self.0, &mut values[start..end]),
            _ => bail!("apply-mask works on f32 and f64"),
        }
        Ok(())
    }
}

fn apply<T: Weight>(mask: &Mask, weights: &mut [T]) {
    weights
        .par_chunks_mut(CHUNK)
        .zip(mask.words().par_chunks(CHUNK / WORD_BITS))
        .for_each(|(weights, words)| apply_words(words, weights));
}
