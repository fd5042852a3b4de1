//! The weights of a convolution as the products read them: whole, or without their zeros.
//!
//! Either way they are cut along the inner index (input channel and kernel position) into blocks, so that the panel a
//! block is multiplied with stays in the first cache. Within a row the terms keep their order, so leaving zeros out
//! changes no bit of the result.

use super::arena::Buffer;
use super::precision::{Form, Precision};
use std::ops::Range;

/// Most inner indices, or pairs of them, of a block without zeros: with tiles of seven vectors of AVX-512 a panel takes 42 KiB, near what the
/// first cache holds. Each weight reads a row of it.
const SPARSE_BLOCK: usize = 96;
/// Most inner indices, or pairs, of a block with zeros: four weights share a row, so that the second cache will do, and sums are
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
    form: Form,
    outputs: usize,
    inner: usize,
    groups: usize,
}

#[derive(Clone, Debug)]
pub(super) enum Values {
    /// Per block, per group of [`ROWS`] rows: `[inner or pairs, ROWS]`, the last group filled up with zeros.
    Dense(Buffer),
    /// Kept positions and values.
    Sparse {
        /// Per block the rows in the order in which they are kept, sorted within every [`SORTED_ROWS`].
        order: Vec<u32>,
        /// Per row in that order, and once more at the end of a block: where it begins.
        starts: Vec<u32>,
        /// Inner index, or pair, counted from the start of the block.
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

impl Block {
    /// Its part of `weight: [inner]`, those of one row, as products read them.
    fn of_row(&self, weight: &[f32], form: Form) -> impl Iterator<Item = f32> {
        let start = self.inner.start % weight.len();
        form.of_row(&weight[start..start + self.inner.len()])
    }
}

impl Weights {
    /// All weights, zeros too. `weight: [outputs, inner]`; the outputs belong to `groups` groups of equal size.
    pub fn dense(weight: &[f32], outputs: usize, groups: usize, precision: Precision) -> Self {
        let form = precision.form();
        let mut weights = Self::cut(weight, outputs, groups, (DENSE_BLOCK, form));
        let (inner, mut packed) = (weights.inner, Vec::new());
        for block in &mut weights.blocks {
            block.at = packed.len();
            for first in block.rows.clone().step_by(ROWS) {
                let rows = first..block.rows.end.min(first + ROWS);
                let at = packed.len();
                packed.resize(at + ROWS * block.inner.len().div_ceil(form.depth()), 0.0);
                for (index, row) in rows.enumerate() {
                    let numbers = block.of_row(&weight[row * inner..][..inner], form);
                    let to = packed[at + index..].iter_mut().step_by(ROWS);
                    to.zip(numbers).for_each(|(to, number)| *to = number);
                }
            }
        }
        weights.values = Values::Dense(Buffer::copy_of(&packed));
        weights
    }

    /// Only the weights that are not zero; of pairs those with a weight that is not.
    pub fn sparse(weight: &[f32], outputs: usize, groups: usize, precision: Precision) -> Self {
        let form = precision.form();
        let mut weights = Self::cut(weight, outputs, groups, (SPARSE_BLOCK, form));
        let inner = weights.inner;
        let (mut order, mut starts, mut indices, mut values) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for block in &mut weights.blocks {
            block.at = starts.len();
            let kept = |row: usize| {
                let numbers = block.of_row(&weight[row * inner..][..inner], form);
                numbers.enumerate().filter(|&(_, number)| !form.is_zero(number))
            };
            let mut rows: Vec<_> = block.rows.clone().collect();
            for rows in rows.chunks_mut(SORTED_ROWS) {
                rows.sort_by_cached_key(|&row| kept(row).count());
            }
            for row in rows {
                order.push(row as u32);
                starts.push(indices.len() as u32);
                for (index, number) in kept(row) {
                    indices.push(index as u16);
                    values.push(number);
                }
            }
            // As long as `starts`.
            order.push(block.rows.end as u32);
            starts.push(indices.len() as u32);
        }
        weights.values = Values::Sparse { order, starts, indices, values };
        weights
    }

    /// Weights cut into blocks of at most so many numbers of this form.
    fn cut(weight: &[f32], outputs: usize, groups: usize, (numbers, form): (usize, Form)) -> Self {
        let block = numbers * form.depth();
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
        Self { blocks, values: Values::Dense(Buffer::zeros(0)), form, outputs, inner, groups }
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

    /// How its numbers lie, and how those must that they are multiplied with.
    pub(super) fn form(&self) -> Form {
        self.form
    }

    /// Whether zeros are left out.
    pub fn is_sparse(&self) -> bool {
        matches!(self.values, Values::Sparse { .. })
    }
}
