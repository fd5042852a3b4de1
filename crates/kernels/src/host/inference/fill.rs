//! Panels: the inputs of a tile as a product reads them, a row of vectors for each inner index.
//!
//! A panel is made right before it is used and stays in the first cache: copied from the planes, gathered from the
//! windows of a convolution, or computed by the depthwise convolution that comes before, whose result then never goes
//! to memory.

#![allow(unsafe_code)]

use super::super::square::evens_and_odds;
use super::super::vector;
use super::arena::LINE;
use super::multiply::{Bounds, load, store};
use super::planes::{Planes, Window};
use super::tiles::{Piece, Tile, pieces};
use pulp::Simd;
use std::ops::Range;

/// What a product multiplies its weights with.
#[derive(Clone, Debug)]
pub enum Source {
    /// The input channels, pixel by pixel.
    Pixels,
    /// For each input channel the positions of a window.
    Windows(Window),
    /// The result of a depthwise convolution.
    Depthwise(Depthwise),
}

/// A depthwise convolution with a bias and bounds.
#[derive(Clone, Debug)]
pub struct Depthwise {
    /// Where the kernel goes.
    pub window: Window,
    /// `[C, kernel height · kernel width]`.
    pub weight: Vec<f32>,
    /// `[C]`.
    pub bias: Vec<f32>,
    /// What its results are kept between.
    pub bounds: Bounds,
    /// For the columns of an output row and a vector more: whether the left and the right column of a 3×3 window lie in
    /// the image, as bits.
    left: Vec<u32>,
    right: Vec<u32>,
    width: usize,
}

impl Depthwise {
    /// For images `width` pixels wide.
    pub fn new(window: Window, weight: Vec<f32>, bias: Vec<f32>, bounds: Bounds, width: usize) -> Self {
        let outputs = window.output([usize::MAX / 8, width]).map_or(0, |[_, outputs]| outputs);
        let (stride, left) = (window.stride[1], window.padding[1]);
        // Padding may be larger than an image; then no table is used.
        let inside = |column: usize, tap: usize| {
            let at = (column % outputs.max(1) * stride + tap).checked_sub(left);
            at.is_some_and(|at| at < width)
        };
        let bits =
            |tap| (0..outputs + LINE).map(|column| if inside(column, tap) { u32::MAX } else { 0 }).collect();
        let (left, right) = (bits(0), bits(2));
        Self { window, weight, bias, bounds, left, right, width }
    }

    /// Whether it was made for images of this width.
    pub(super) fn is_for(&self, width: usize) -> bool {
        self.width == width
    }

    /// Whether the left and right columns of the windows from output column `column` on lie in the image, as bits.
    #[inline(always)]
    unsafe fn edges<S: Simd>(&self, column: usize) -> [S::f32s; 2] {
        // SAFETY: the tables have a vector more than a row has columns.
        unsafe {
            [
                load::<S>(self.left.as_ptr().add(column).cast()),
                load::<S>(self.right.as_ptr().add(column).cast()),
            ]
        }
    }
}

/// The nine weights of a channel, each in all lanes.
#[inline(always)]
fn kernel<S: Simd>(simd: S, depthwise: &Depthwise, channel: usize) -> [S::f32s; 9] {
    let mut weight = [simd.splat_f32s(0.0); 9];
    for (tap, &value) in depthwise.weight[channel * 9..][..9].iter().enumerate() {
        weight[tap] = simd.splat_f32s(value);
    }
    weight
}

/// The planes that a source reads.
#[derive(Clone, Copy)]
pub(super) struct From {
    /// First number of channel 0.
    pub(super) start: *const f32,
    pub(super) planes: Planes,
    /// Width and pixels of the output.
    pub(super) width: usize,
    pub(super) pixels: usize,
}

/// Writes the `rows` of a panel for a tile.
///
/// # Safety
/// `from` must describe planes in memory that fit the source, and `panel` must have room for `rows` times the tile.
#[inline(always)]
pub(super) unsafe fn fill<S: Simd>(
    simd: S,
    source: &Source,
    from: From,
    tile: Tile,
    rows: Range<usize>,
    panel: *mut f32,
) {
    let width = tile.vectors * vector::lanes::<f32, S>();
    for (index, row) in rows.enumerate() {
        // SAFETY: row by row as the caller promises.
        unsafe {
            let to = panel.add(index * width);
            match source {
                Source::Pixels => {
                    let channel = from.start.add(row * from.planes.pitch() + tile.start);
                    for v in 0..tile.vectors {
                        let at = v * vector::lanes::<f32, S>();
                        store::<S>(to.add(at), load::<S>(channel.add(at)));
                    }
                }
                Source::Windows(window) => windows(simd, window, from, tile.start, width, row, to),
                Source::Depthwise(depthwise) => {
                    if from.planes.is_padded() && depthwise.window.is_neighbourhood() {
                        neighbourhood(simd, depthwise, from, tile, row, to);
                    } else if from.planes.is_padded() && depthwise.window.is_halving() {
                        halving(simd, depthwise, from, tile, row, to);
                    } else {
                        strided(simd, depthwise, from, tile, row, to);
                    }
                }
            }
        }
    }
}

/// One position of the kernel in one channel, for the pixels of a tile.
#[inline(always)]
unsafe fn windows<S: Simd>(
    simd: S,
    window: &Window,
    from: From,
    start: usize,
    width: usize,
    row: usize,
    to: *mut f32,
) {
    let (channel, tap) = (row / window.taps(), row % window.taps());
    // SAFETY: spans lie within a row of the channel, pieces within the tile.
    unsafe {
        to.write_bytes(0, width);
        let channel = from.start.add(channel * from.planes.pitch());
        for piece in pieces(start, from.pixels.min(start + width), from.width) {
            if let Some(span) = span(window, &from.planes, piece, tap) {
                fold(
                    to.add(piece.at + span.skip),
                    channel.add(span.from),
                    window.stride[1],
                    span.len,
                    |_, x| x,
                );
            }
        }
    }
}

/// A depthwise convolution of one channel, any window.
#[inline(always)]
unsafe fn strided<S: Simd>(simd: S, depthwise: &Depthwise, from: From, tile: Tile, row: usize, to: *mut f32) {
    let lanes = vector::lanes::<f32, S>();
    let (window, width) = (&depthwise.window, tile.vectors * lanes);
    let weight = &depthwise.weight[row * window.taps()..][..window.taps()];
    let bias = simd.splat_f32s(depthwise.bias[row]);
    // SAFETY: spans lie within a row of the channel, pieces within the tile.
    unsafe {
        for v in 0..tile.vectors {
            store::<S>(to.add(v * lanes), bias);
        }
        let channel = from.start.add(row * from.planes.pitch());
        for piece in pieces(tile.start, from.pixels.min(tile.start + width), from.width) {
            for (tap, &weight) in weight.iter().enumerate() {
                if let Some(span) = span(window, &from.planes, piece, tap) {
                    let to = to.add(piece.at + span.skip);
                    fold(to, channel.add(span.from), window.stride[1], span.len, |sum, x| {
                        weight.mul_add(x, sum)
                    });
                }
            }
        }
        for v in 0..tile.vectors {
            let at = to.add(v * lanes);
            store::<S>(at, depthwise.bounds.apply(simd, load::<S>(at.cast_const())));
        }
    }
}

/// A depthwise convolution of one channel where each pixel reads the 3×3 pixels around it: rows are not looked at one by
/// one, since the pixel above is always a row's length before. Only the columns at the edges are masked.
#[inline(always)]
unsafe fn neighbourhood<S: Simd>(
    simd: S,
    depthwise: &Depthwise,
    from: From,
    tile: Tile,
    row: usize,
    to: *mut f32,
) {
    let (lanes, width) = (vector::lanes::<f32, S>(), from.planes.width);
    let weight = kernel(simd, depthwise, row);
    let bias = simd.splat_f32s(depthwise.bias[row]);
    let mut column = tile.start % width;
    // SAFETY: a row and a number before and after the channel there are zeros that belong to the planes; the masks have
    // a vector more than a row has columns.
    unsafe {
        let channel = from.start.add(row * from.planes.pitch() + tile.start);
        for v in 0..tile.vectors {
            let [left, right] = depthwise.edges::<S>(column);
            let mut sum = bias;
            for line in 0..3 {
                let middle = channel.add(v * lanes).wrapping_add(line * width).wrapping_sub(width);
                let (a, b, c) = (middle.wrapping_sub(1), middle, middle.wrapping_add(1));
                let (a, b, c) = (load::<S>(a), load::<S>(b), load::<S>(c));
                sum = simd.mul_add_f32s(weight[3 * line], simd.and_f32s(a, left), sum);
                sum = simd.mul_add_f32s(weight[3 * line + 1], b, sum);
                sum = simd.mul_add_f32s(weight[3 * line + 2], simd.and_f32s(c, right), sum);
            }
            store::<S>(to.add(v * lanes), depthwise.bounds.apply(simd, sum));
            column = (column + lanes) % width;
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

/// A depthwise convolution of one channel with 3×3 windows two pixels apart, row by row.
#[inline(always)]
unsafe fn halving<S: Simd>(simd: S, depthwise: &Depthwise, from: From, tile: Tile, row: usize, to: *mut f32) {
    let (lanes, width) = (vector::lanes::<f32, S>(), from.planes.width);
    let weight = kernel(simd, depthwise, row);
    let bias = simd.splat_f32s(depthwise.bias[row]);
    let [top, left, ..] = depthwise.window.padding;
    // SAFETY: vectors reach past the last row by less than `SLACK`, which the arena has at its end, and before the first
    // by one number; the masks have a vector more than a row has columns. What is stored lies within the piece.
    unsafe {
        let channel = from.start.add(row * from.planes.pitch());
        let end = from.pixels.min(tile.start + tile.vectors * lanes);
        for piece in pieces(tile.start, end, from.width) {
            for first in (0..piece.len).step_by(lanes) {
                let column = piece.column + first;
                let [inside_left, inside_right] = depthwise.edges::<S>(column);
                let mut sum = bias;
                for line in 0..3 {
                    let y = 2 * piece.row + line;
                    if y < top || y - top >= from.planes.height {
                        continue;
                    }
                    let at = channel.add((y - top) * width + 2 * column).wrapping_sub(left);
                    let [a, b] = evens_and_odds(simd, load::<S>(at), load::<S>(at.add(lanes)));
                    let [c, _] = evens_and_odds(simd, load::<S>(at.add(2)), load::<S>(at.add(lanes + 2)));
                    sum = simd.mul_add_f32s(weight[3 * line], simd.and_f32s(a, inside_left), sum);
                    sum = simd.mul_add_f32s(weight[3 * line + 1], b, sum);
                    sum = simd.mul_add_f32s(weight[3 * line + 2], simd.and_f32s(c, inside_right), sum);
                }
                let (to, value) = (to.add(piece.at + first), depthwise.bounds.apply(simd, sum));
                if piece.len - first >= lanes {
                    store::<S>(to, value);
                } else {
                    let part = simd.mask_between_m32s(0, (piece.len - first) as u32);
                    simd.mask_store_ptr_f32s(part, to, value);
                }
            }
        }
        // Behind the last pixel of the image.
        let (filled, all) = (end - tile.start, tile.vectors * lanes);
        to.add(filled).write_bytes(0, all - filled);
    }
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
