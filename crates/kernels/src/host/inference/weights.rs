//! The weights of a convolution as the products read them: whole, or without their zeros.
//!
//! Either way they are cut along the inner index (input channel and kernel position) into blocks, so that the panel a
//! block is multiplied with stays in the first cache. Within a row the terms keep their order, so leaving zeros out
//! changes no bit of the result.

use super::arena::Buffer;
use std::ops::Range;

/// Most inner indices of a block without zeros: with tiles of seven vectors of AVX-512 a panel takes 42 KiB, near what the
/// first cache holds. Each weight reads a row of it.
const SPARSE_BLOCK: usize = 96;
/// Most inner indices of a block with zeros: four weights share a row, so that the second cache will do, and sums are
/// stored less often.
pub(super) const DENSE_BLOCK: usize = 256;
/// Rows that a dense product computes side by side.
pub(super) const ROWS: usize = 4;
/// Rows of a block without zeros that are computed in the order of how many weights they keep: after rows of the same length a processor
/// guesses right when the next one ends, and a wrong guess takes as long as two weights.
pub(super) const SORTED_ROWS: usize = 32;

/// Weights `[outputs, inner]`, with `inner` the input channels of a group times the positions of the kernel.
#[derive(Clone, Debug)]
pub struct Weights {
    pub(super) blocks: Vec<Block>,
    pub(super) values: Values,
    outputs: usize,
    inner: usize,
    groups: usize,
    kept: usize,
}

#[derive(Clone, Debug)]
pub(super) enum Values {
    /// Per block, per group of [`ROWS`] rows: `[inner, ROWS]`, the last group filled up with zeros.
    Dense(Buffer),
    /// Kept positions and values.
    Sparse {
        /// Per block the rows in the order in which they are kept, sorted within every [`SORTED_ROWS`].
        order: Vec<u32>,
        /// Per row in that order, and once more at the end of a block: where it begins.
        starts: Vec<u32>,
        /// Inner index, counted from the start of the block.
        indices: Vec<u16>,
        values: Vec<f32>,
    },
}

/// Some rows by some inner indices.
#[derive(Clone, Debug)]
pub(super) struct Block {
    /// Inner indices; those of later groups follow.
    pub(super) inner: Range<usize>,
    /// Rows.
    pub(super) rows: Range<usize>,
    /// Whether it begins the sums of its rows.
    pub(super) first: bool,
    /// Whether it ends them.
    pub(super) last: bool,
    /// Where its part of `Dense`, or of `order` and `starts`, begins.
    pub(super) at: usize,
}

impl Weights {
    /// All weights, zeros too. `weight: [outputs, inner]`; the outputs belong to `groups` groups of equal size.
    pub fn dense(weight: &[f32], outputs: usize, groups: usize) -> Self {
        let mut weights = Self::cut(weight, outputs, groups, DENSE_BLOCK);
        let inner = weights.inner;
        let mut packed = Vec::new();
        for block in &mut weights.blocks {
            block.at = packed.len();
            let offset = block.inner.start / inner * inner;
            for first in block.rows.clone().step_by(ROWS) {
                for k in block.inner.clone() {
                    for row in first..first + ROWS {
                        let inside = row < block.rows.end;
                        packed.push(if inside { weight[row * inner + k - offset] } else { 0.0 });
                    }
                }
            }
        }
        weights.values = Values::Dense(Buffer::copy_of(&packed));
        weights
    }

    /// Only the weights that are not zero.
    pub fn sparse(weight: &[f32], outputs: usize, groups: usize) -> Self {
        let mut weights = Self::cut(weight, outputs, groups, SPARSE_BLOCK);
        let inner = weights.inner;
        let (mut order, mut starts, mut indices, mut values) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for block in &mut weights.blocks {
            block.at = starts.len();
            let offset = block.inner.start / inner * inner;
            let of_row = |row: usize| {
                let of_row = &weight[row * inner..][block.inner.start - offset..block.inner.end - offset];
                of_row.iter().enumerate().filter(|&(_, &value)| value != 0.0)
            };
            let mut rows: Vec<_> = block.rows.clone().collect();
            for rows in rows.chunks_mut(SORTED_ROWS) {
                rows.sort_by_cached_key(|&row| of_row(row).count());
            }
            for row in rows {
                order.push(row as u32);
                starts.push(indices.len() as u32);
                for (index, &value) in of_row(row) {
                    indices.push(index as u16);
                    values.push(value);
                }
            }
            // As long as `starts`.
            order.push(block.rows.end as u32);
            starts.push(indices.len() as u32);
        }
        weights.values = Values::Sparse { order, starts, indices, values };
        weights
    }

    fn cut(weight: &[f32], outputs: usize, groups: usize, block: usize) -> Self {
        let inner = weight.len().checked_div(outputs).unwrap_or(0);
        let rows = outputs.checked_div(groups).unwrap_or(0);
        let mut blocks = Vec::new();
        for group in 0..groups {
            for start in (0..inner).step_by(block) {
                let end = (start + block).min(inner);
                blocks.push(Block {
                    inner: group * inner + start..group * inner + end,
                    rows: group * rows..(group + 1) * rows,
                    first: start == 0,
                    last: end == inner,
                    at: 0,
                });
            }
        }
        let kept = weight.iter().filter(|&&value| value != 0.0).count();
        Self { blocks, values: Values::Dense(Buffer::zeros(0)), outputs, inner, groups, kept }
    }

    /// Rows, the output channels.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Groups of channels that do not mix.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Weights of a row times groups: input channels times positions of the kernel.
    pub fn inner(&self) -> usize {
        self.inner * self.groups
    }

    /// Weights that are not zero.
    pub fn kept(&self) -> usize {
        self.kept
    }

    /// Whether zeros are left out.
    pub fn is_sparse(&self) -> bool {
        matches!(self.values, Values::Sparse { .. })
    }
}
