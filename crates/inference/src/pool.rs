//! Pools: numbers of windows of one channel brought together.

#![allow(unsafe_code)]

use super::planes::{Planes, Window};
use super::tiles::pieces;
use super::windows::{fold, span};

/// `to = f(to, x)` for every `x` of every window.
#[inline(always)]
pub(super) fn pool(
    window: &Window,
    (from, planes): (&[f32], &Planes),
    (to, out): (&mut [f32], &Planes),
    f: impl Fn(f32, f32) -> f32 + Copy,
) {
    for piece in pieces(0, out.pixels(), out.width) {
        for tap in 0..window.taps() {
            if let Some(span) = span(window, planes, piece, tap) {
                let to = &mut to[piece.at + span.skip..][..span.len];
                let from = &from[span.from..][..(span.len - 1) * window.stride[1] + 1];
                // SAFETY: both slices have what is read and written.
                unsafe { fold(to.as_mut_ptr(), from.as_ptr(), window.stride[1], span.len, f) };
            }
        }
    }
}

/// Sums side by side of a mean.
const SUMS: usize = 16;

/// The mean of numbers: so many sums in f64 side by side, then those of the halves.
#[inline(always)]
pub(super) fn mean(numbers: &[f32]) -> f32 {
    let mut sums = [0.0; SUMS];
    let (blocks, rest) = numbers.as_chunks::<SUMS>();
    for block in blocks {
        for (sum, &x) in sums.iter_mut().zip(block) {
            *sum += f64::from(x);
        }
    }
    for (sum, &x) in sums.iter_mut().zip(rest) {
        *sum += f64::from(x);
    }
    let eight: [f64; 8] = halves(&sums);
    let four: [f64; 4] = halves(&eight);
    let [even, odd]: [f64; 2] = halves(&four);
    ((even + odd) / numbers.len() as f64) as f32
}

/// The sums of the numbers of one half with those of the other.
#[inline(always)]
fn halves<const N: usize>(numbers: &[f64]) -> [f64; N] {
    let mut sums = [0.0; N];
    for (lane, sum) in sums.iter_mut().enumerate() {
        *sum = numbers[lane] + numbers[N + lane];
    }
    sums
}

/// Sums of windows become means.
#[inline(always)]
pub(super) fn divide(
    window: &Window,
    counted: [usize; 4],
    planes: &Planes,
    (to, out): (&mut [f32], &Planes),
) {
    for (row, to) in to.chunks_exact_mut(out.width).enumerate() {
        let lines = seen(window, counted, planes.height, 0, row);
        for (column, to) in to.iter_mut().enumerate() {
            let count = lines * seen(window, counted, planes.width, 1, column);
            *to /= count.max(1) as f32;
        }
    }
}

/// Lines along an axis that window `index` sees of an image with `counted` lines around it.
#[inline(always)]
fn seen(window: &Window, counted: [usize; 4], size: usize, axis: usize, index: usize) -> usize {
    let (stride, dilation, before) = (window.stride[axis], window.dilation[axis], window.padding[axis]);
    // Lines are counted from the first of the padding on.
    let (first, end) = (before - counted[axis], before + size + counted[axis + 2]);
    let start = index * stride;
    if start >= first && start + (window.kernel[axis] - 1) * dilation < end {
        return window.kernel[axis];
    }
    let lines = (0..window.kernel[axis]).map(|tap| start + tap * dilation);
    lines.filter(|line| (first..end).contains(line)).count()
}
