//! The innermost loops: rows of weights times a panel, with sums in registers from the first term to the store.

#![allow(unsafe_code)]

use super::weights::{Block, ROWS, Values, Weights};
use pulp::Simd;
use sparse_vectors::arithmetic::Arithmetic;
use sparse_vectors::vector::{self, prefetch_to_write};
use std::ops::Range;

/// How many rows before they are written lines are asked for.
const AHEAD: usize = 6;

/// What results are kept between.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Least value, −∞ for none.
    pub low: f32,
    /// Greatest value, ∞ for none.
    pub high: f32,
}

impl Bounds {
    /// No bounds.
    pub const NONE: Self = Self { low: f32::NEG_INFINITY, high: f32::INFINITY };
    /// `max(0, x)`.
    pub const RELU: Self = Self { low: 0.0, high: f32::INFINITY };
    /// `min(max(0, x), 6)`.
    pub const RELU6: Self = Self { low: 0.0, high: 6.0 };

    /// A number brought between them; a NaN stays.
    #[inline(always)]
    pub(super) fn of(self, value: f32) -> f32 {
        let value = if value < self.low { self.low } else { value };
        if value > self.high { self.high } else { value }
    }

    /// A vector brought between them; NaNs stay.
    #[inline(always)]
    pub(super) fn apply<S: Simd>(self, simd: S, value: S::f32s) -> S::f32s {
        // Both give their second argument if one is NaN.
        simd.min_f32s(simd.splat_f32s(self.high), simd.max_f32s(simd.splat_f32s(self.low), value))
    }
}

/// Where the results of a tile go.
#[derive(Clone, Copy)]
pub(super) struct Target {
    /// The tile in output channel 0.
    pub(super) out: *mut f32,
    /// The tile in channel 0 of what is added before the bounds; null if nothing is.
    pub(super) residual: *const f32,
    /// From one channel to the next, of both.
    pub(super) pitch: usize,
    /// Where sums wait that are not complete: memory of this thread alone, vectors for each row. (In `out` they would be written several
    /// times, and processors take lines from each other that lie beside those they write.)
    pub(super) partial: *mut f32,
    /// One for each output channel.
    pub(super) bias: *const f32,
    pub(super) bounds: Bounds,
    /// Whether the output is larger than what the caches keep until it is written again, so that its lines must be asked for.
    pub(super) is_far: bool,
    /// Pixels of the channel from the start of the tile on; what lies behind them stays zero.
    pub(super) pixels: usize,
}

/// Multiplies `rows` of a block with its panel, both of which must be packed for `A`, and stores the sums.
///
/// # Safety
/// `panel` must hold `block.inner` rows of `V` vectors, or as many pairs as there are of them, `target` must describe memory for all `rows`, and `rows` must lie
/// within those of the block, and begin and end at a multiple of [`SORTED_ROWS`](super::weights::SORTED_ROWS) of them or at their end; without zeros
/// left out, of [`ROWS`].
#[inline(always)]
pub(super) unsafe fn block<A: Arithmetic<f32>, S: Simd, const V: usize>(
    simd: S,
    weights: &Weights,
    block: &Block,
    rows: Range<usize>,
    panel: *const f32,
    target: &Target,
) {
    match &weights.values {
        Values::Dense(values) => {
            let inner = block.inner.len().div_ceil(A::DEPTH);
            for first in rows.clone().step_by(ROWS) {
                // SAFETY: group `first` of the block was packed with `inner` times `ROWS` weights; the panel is as promised.
                unsafe {
                    let left = values.as_ptr().add(block.at + (first - block.rows.start) * inner);
                    dense::<A, S, V>(
                        simd,
                        left,
                        inner,
                        panel,
                        block,
                        first..rows.end.min(first + ROWS),
                        target,
                    );
                }
            }
        }
        Values::Sparse { order, starts, indices, values } => {
            let (order, starts) = (&order[block.at..], &starts[block.at..]);
            for at in rows.start - block.rows.start..rows.end - block.rows.start {
                let row = order[at] as usize;
                if block.last && target.is_far {
                    let ahead = order[(at + AHEAD).min(rows.end - 1 - block.rows.start)] as usize;
                    let out = target.out.wrapping_add(ahead * target.pitch);
                    prefetch_to_write(out, V * vector::lanes::<f32, S>());
                }
                let kept = starts[at] as usize..starts[at + 1] as usize;
                let kept = (&indices[kept.clone()], &values[kept]);
                // SAFETY: indices lie within the block, and the panel has a row for each.
                unsafe { sparse::<A, S, V>(simd, kept, panel, block, row, target) };
            }
        }
    }
}

/// Up to [`ROWS`] rows of a dense block.
///
/// # Safety
/// As its caller promises to its own.
#[inline(always)]
unsafe fn dense<A: Arithmetic<f32>, S: Simd, const V: usize>(
    simd: S,
    mut left: *const f32,
    inner: usize,
    mut panel: *const f32,
    block: &Block,
    rows: Range<usize>,
    target: &Target,
) {
    let lanes = vector::lanes::<f32, S>();
    // SAFETY: as in `block`; rows past the end repeat the last one and are not stored.
    unsafe {
        let mut sums = [[simd.splat_f32s(0.0); V]; ROWS];
        for (index, sums) in sums.iter_mut().enumerate() {
            *sums = begin::<S, V>(simd, block.first, (rows.start + index).min(rows.end - 1), target);
        }
        for _ in 0..inner {
            let columns = vectors::<S, V>(simd, panel);
            for (index, sums) in sums.iter_mut().enumerate() {
                let factor = simd.splat_f32s(*left.add(index));
                for (sum, &column) in sums.iter_mut().zip(&columns) {
                    *sum = A::fused(simd, factor, column, *sum);
                }
            }
            left = left.add(ROWS);
            panel = panel.add(V * lanes);
        }
        for (index, sums) in sums.into_iter().enumerate().take(rows.len()) {
            finish::<S, V>(simd, sums, block.last, rows.start + index, target);
        }
    }
}

/// One row of a sparse block.
///
/// # Safety
/// As its caller promises to its own.
#[inline(always)]
unsafe fn sparse<A: Arithmetic<f32>, S: Simd, const V: usize>(
    simd: S,
    (indices, values): (&[u16], &[f32]),
    panel: *const f32,
    block: &Block,
    row: usize,
    target: &Target,
) {
    let lanes = vector::lanes::<f32, S>();
    // SAFETY: as in `block`.
    unsafe {
        let mut sums = begin::<S, V>(simd, block.first, row, target);
        for (&index, &value) in indices.iter().zip(values) {
            let columns = panel.add(usize::from(index) * (V * lanes));
            let factor = simd.splat_f32s(value);
            for (v, sum) in sums.iter_mut().enumerate() {
                *sum = A::fused(simd, factor, load::<S>(columns.add(v * lanes)), *sum);
            }
        }
        finish::<S, V>(simd, sums, block.last, row, target);
    }
}

/// What the sums of a row begin with: the bias and what is added, or the sums of the block before.
///
/// # Safety
/// As its caller promises to its own.
#[inline(always)]
unsafe fn begin<S: Simd, const V: usize>(simd: S, first: bool, row: usize, target: &Target) -> [S::f32s; V] {
    // SAFETY: the caller promises memory for this row; bias has a number for each.
    unsafe {
        if !first {
            return vectors::<S, V>(simd, target.partial.add(row * (V * vector::lanes::<f32, S>())));
        }
        let bias = simd.splat_f32s(*target.bias.add(row));
        if target.residual.is_null() {
            return [bias; V];
        }
        let mut sums = vectors::<S, V>(simd, target.residual.add(row * target.pitch));
        for sum in &mut sums {
            *sum = simd.add_f32s(bias, *sum);
        }
        sums
    }
}

/// Stores the sums of a row: between the bounds where they go, if they are complete.
///
/// # Safety
/// As its caller promises to its own.
#[inline(always)]
unsafe fn finish<S: Simd, const V: usize>(
    simd: S,
    sums: [S::f32s; V],
    last: bool,
    row: usize,
    target: &Target,
) {
    let lanes = vector::lanes::<f32, S>();
    // SAFETY: the caller promises memory for this row.
    unsafe {
        if !last {
            let partial = target.partial.add(row * (V * lanes));
            for (v, sum) in sums.into_iter().enumerate() {
                store::<S>(partial.add(v * lanes), sum);
            }
            return;
        }
        let out = target.out.add(row * target.pitch);
        for (v, sum) in sums.into_iter().enumerate() {
            let value = target.bounds.apply(simd, sum);
            store_part(simd, out.add(v * lanes), value, target.pixels.saturating_sub(v * lanes));
        }
    }
}

/// The first `len` numbers of a vector to memory of any alignment; all if there are fewer.
///
/// # Safety
/// There must be room for them.
#[inline(always)]
pub(super) unsafe fn store_part<S: Simd>(simd: S, to: *mut f32, value: S::f32s, len: usize) {
    // SAFETY: the caller promises the room.
    unsafe {
        if len >= vector::lanes::<f32, S>() {
            store::<S>(to, value);
        } else {
            simd.mask_store_ptr_f32s(simd.mask_between_m32s(0, len as u32), to, value);
        }
    }
}

/// `V` vectors from memory of any alignment. (Loops, not closures: these would not be inlined into code for the
/// instruction set.)
///
/// # Safety
/// There must be as many to read.
#[inline(always)]
pub(super) unsafe fn vectors<S: Simd, const V: usize>(simd: S, from: *const f32) -> [S::f32s; V] {
    let mut values = [simd.splat_f32s(0.0); V];
    for (v, value) in values.iter_mut().enumerate() {
        // SAFETY: the caller promises it.
        *value = unsafe { load::<S>(from.add(v * vector::lanes::<f32, S>())) };
    }
    values
}

/// A vector from memory of any alignment.
///
/// # Safety
/// There must be a vector to read.
#[inline(always)]
pub(super) unsafe fn load<S: Simd>(from: *const f32) -> S::f32s {
    // SAFETY: the caller promises it.
    unsafe { from.cast::<S::f32s>().read_unaligned() }
}

/// A vector to memory of any alignment.
///
/// # Safety
/// There must be room for a vector.
#[inline(always)]
pub(super) unsafe fn store<S: Simd>(to: *mut f32, value: S::f32s) {
    // SAFETY: the caller promises it.
    unsafe { to.cast::<S::f32s>().write_unaligned(value) }
}
