//! The windows of a convolution, gathered so that it becomes a product ("im2col", Chellapilla et al. 2006).

#![allow(unsafe_code)]

use super::memory::Reading;
use super::multiply::{load, store};
use super::planes::{Planes, Window};
use super::tiles::{Piece, pieces};
use pulp::Simd;
use sparse_vectors::square::evens_and_odds;
use sparse_vectors::vector;
use std::ops::Range;

/// Writes `rows` of a panel for the pixels from `start` to `start + width`, a row for each input channel and position of the kernel; `outside` is what
/// windows read that hang over the edge.
///
/// # Safety
/// As [`super::fill::Fill`].
#[inline(always)]
pub(super) unsafe fn fill<S: Simd>(
    simd: S,
    window: &Window,
    from: Reading,
    (start, width): (usize, usize),
    rows: Range<usize>,
    panel: *mut f32,
    outside: f32,
) {
    let (taps, pitch, stride) = (window.taps(), from.planes.pitch(), window.stride[1]);
    let numbers = from.planes.channels * pitch;
    // SAFETY: spans lie within a row of the channel, pieces within the tile.
    unsafe {
        std::slice::from_raw_parts_mut(panel, rows.len() * width).fill(outside);
        for piece in pieces(start, from.pixels.min(start + width), from.width) {
            for tap in 0..taps {
                let Some(span) = span(window, &from.planes, piece, tap) else { continue };
                // The first row of this position that is asked for, and every one of a channel after it.
                let mut row = rows.start.saturating_sub(tap).next_multiple_of(taps) + tap;
                let mut at = row / taps * pitch + span.from;
                while row < rows.end {
                    let to = panel.add((row - rows.start) * width + piece.at + span.skip);
                    let from = from.start.add(at);
                    let done =
                        if stride == 2 { every_second(simd, to, from, span.len, numbers - at) } else { 0 };
                    if done < span.len {
                        fold(to.add(done), from.add(done * stride), stride, span.len - done, |_, x| x);
                    }
                    row += taps;
                    at += pitch;
                }
            }
        }
    }
}

/// `to[i] = from[2·i]` for as many of `len` as there are whole vectors; says how many.
///
/// # Safety
/// There must be room for `len` numbers at `to` and `readable` numbers at `from`.
#[inline(always)]
unsafe fn every_second<S: Simd>(
    simd: S,
    to: *mut f32,
    from: *const f32,
    len: usize,
    readable: usize,
) -> usize {
    let lanes = vector::lanes::<f32, S>();
    let mut done = 0;
    while done + lanes <= len && 2 * (done + lanes) <= readable {
        // SAFETY: as the loop's condition says.
        unsafe {
            let from = from.add(2 * done);
            let [evens, _] = evens_and_odds(simd, load::<S>(from), load::<S>(from.add(lanes)));
            store::<S>(to.add(done), evens);
        }
        done += lanes;
    }
    done
}

/// What one position of a kernel reads for a piece of an output row.
#[derive(Clone, Copy)]
pub(super) struct Span {
    /// Pixels of the piece before the first that lies inside of the image.
    pub(super) skip: usize,
    /// Pixels that do.
    pub(super) len: usize,
    /// What the first of them reads, from the start of the channel.
    pub(super) from: usize,
}

/// The pixels of a piece whose window has position `tap` inside of the image.
#[inline(always)]
pub(super) fn span(window: &Window, planes: &Planes, piece: Piece, tap: usize) -> Option<Span> {
    let [line, column] = [tap / window.kernel[1], tap % window.kernel[1]];
    let y = (piece.row * window.stride[0] + line * window.dilation[0]).checked_sub(window.padding[0])?;
    if y >= planes.height {
        return None;
    }
    let (stride, left) = (window.stride[1], window.padding[1]);
    let first = piece.column * stride + column * window.dilation[1];
    let skip = left.saturating_sub(first).div_ceil(stride);
    let x = first + skip * stride - left;
    let fit = planes.width.checked_sub(x + 1)? / stride + 1;
    let len = fit.min(piece.len.checked_sub(skip)?);
    (len > 0).then_some(Span { skip, len, from: y * planes.width + x })
}

/// `to[i] = f(to[i], from[i · stride])` for `i < len`.
///
/// # Safety
/// All of that must be in memory.
#[inline(always)]
pub(super) unsafe fn fold(
    to: *mut f32,
    from: *const f32,
    stride: usize,
    len: usize,
    f: impl Fn(f32, f32) -> f32,
) {
    // SAFETY: the caller promises it; what is read and what is written are different memory.
    unsafe {
        let to = std::slice::from_raw_parts_mut(to, len);
        let from = std::slice::from_raw_parts(from, (len - 1) * stride + 1);
        match stride {
            1 => to.iter_mut().zip(from).for_each(|(to, &x)| *to = f(*to, x)),
            2 => (0..len).for_each(|i| to[i] = f(to[i], from[2 * i])),
            _ => (0..len).for_each(|i| to[i] = f(to[i], from[stride * i])),
        }
    }
}
