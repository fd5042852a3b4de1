//! The innermost loops: outputs times a panel of quads, with sums in registers up to the bytes.

#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop, reason = "vectors of several rows are taken at one index")]

use super::QUAD;
use super::requantise::Requantise;
use super::set::Set;
use super::weights::{Kept, Values, Weights};
use std::ops::Range;

/// Where the results of a tile go.
#[derive(Clone, Copy)]
pub(super) struct Target {
    /// The tile in the first quad of outputs.
    pub(super) out: *mut u32,
    /// From one quad of channels to the next.
    pub(super) pitch: usize,
    /// Pixels of the channel from the start of the tile on; what lies behind them stays zero.
    pub(super) pixels: usize,
}

/// Multiplies outputs `rows` with a panel and stores them as bytes.
///
/// # Safety
/// `panel` must hold `weights.quads()` rows of `V` vectors, `target` must describe memory for all `rows`, and `rows` must lie within the
/// outputs and begin at a multiple of four.
#[inline(always)]
pub(super) unsafe fn product<I: Set, const V: usize>(
    set: I,
    weights: &Weights,
    requantise: &Requantise,
    rows: Range<usize>,
    panel: *const u32,
    target: &Target,
) {
    for first in rows.step_by(QUAD) {
        let bias = &requantise.bias()[first..first + QUAD];
        let mut sums = [[set.splat(0); V]; QUAD];
        for (sums, &bias) in sums.iter_mut().zip(bias) {
            *sums = [set.splat(bias); V];
        }
        // SAFETY: the panel is as promised, and weights have a row for each output up to a multiple of four.
        unsafe {
            match &weights.values {
                Values::Dense(values) => {
                    let left = values.as_ptr().add(first / QUAD * weights.quads());
                    dense::<I, V>(set, left, weights.quads(), panel, &mut sums);
                }
                Values::Sparse { starts, kept } => {
                    for (row, sums) in sums.iter_mut().enumerate() {
                        let of_row = starts[first + row] as usize..starts[first + row + 1] as usize;
                        sparse::<I, V>(set, &kept[of_row], panel, sums);
                    }
                }
            }
            let by = requantise.of(first);
            let out = target.out.add(first / QUAD * target.pitch);
            for v in 0..V {
                let quads = set.requantise([sums[0][v], sums[1][v], sums[2][v], sums[3][v]], &by);
                set.store(out.add(v * I::LANES), quads, target.pixels.saturating_sub(v * I::LANES));
            }
        }
    }
}

/// Four outputs, all weights.
///
/// # Safety
/// `left` must point to `quads` squares of weights, `panel` to as many rows of `V` vectors.
#[inline(always)]
unsafe fn dense<I: Set, const V: usize>(
    set: I,
    mut left: *const [[i8; QUAD]; QUAD],
    quads: usize,
    mut panel: *const u32,
    sums: &mut [[I::Sums; V]; QUAD],
) {
    // SAFETY: as the caller promises.
    unsafe {
        for _ in 0..quads {
            let weights = *left;
            let factors = [
                set.factors(weights[0]),
                set.factors(weights[1]),
                set.factors(weights[2]),
                set.factors(weights[3]),
            ];
            for v in 0..V {
                let column = set.load(panel.add(v * I::LANES));
                for (row, &factors) in factors.iter().enumerate() {
                    sums[row][v] = set.dot(sums[row][v], column, factors);
                }
            }
            left = left.add(1);
            panel = panel.add(V * I::LANES);
        }
    }
}

/// One output, the blocks that are kept, in two chains of sums: one alone would wait for each product before the next.
///
/// # Safety
/// `panel` must have a row of `V` vectors for each quad that is named.
#[inline(always)]
unsafe fn sparse<I: Set, const V: usize>(set: I, kept: &[Kept], panel: *const u32, sums: &mut [I::Sums; V]) {
    let (mut even, mut odd) = (*sums, [set.splat(0); V]);
    let pairs = kept.chunks_exact(2);
    let last = pairs.remainder();
    // SAFETY: as the caller promises.
    unsafe {
        for pair in pairs {
            one::<I, V>(set, pair[0], panel, &mut even);
            one::<I, V>(set, pair[1], panel, &mut odd);
        }
        if let [last] = *last {
            one::<I, V>(set, last, panel, &mut even);
        }
    }
    for v in 0..V {
        sums[v] = set.add(even[v], odd[v]);
    }
}

/// One block.
///
/// # Safety
/// As its caller promises to its own.
#[inline(always)]
unsafe fn one<I: Set, const V: usize>(
    set: I,
    Kept { quad, weights }: Kept,
    panel: *const u32,
    sums: &mut [I::Sums; V],
) {
    // SAFETY: as in `sparse`.
    unsafe {
        let columns = panel.add(quad as usize * (V * I::LANES));
        let factors = set.factors(weights);
        for (v, sum) in sums.iter_mut().enumerate() {
            *sum = set.dot(*sum, set.load(columns.add(v * I::LANES)), factors);
        }
    }
}
