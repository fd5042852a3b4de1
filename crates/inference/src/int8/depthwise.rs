//! Depthwise convolutions in integers, as sources of a product or alone.
//!
//! The dot product adds up the bytes of a lane, which are four channels of a pixel; a depthwise convolution adds up pixels of a channel. So
//! registers are turned first: every four lanes hold four pixels of each of four channels, three of which make a row of a 3×3 window.

#![allow(unsafe_code)]

use super::QUAD;
use super::requantise::Requantise;
use super::set::{Factored, Set, Square, TURN, registers};
use crate::memory::Reading;
use crate::planes::{Planes, Window};
use crate::tiles::{Piece, Tile, pieces};
use sparse_vectors::vector::{MOST_LANES, prefetch_lines};
use std::ops::Range;

/// How many quads of channels ahead are asked for.
const AHEAD: usize = 8;
/// Bytes of the longest register; orders for shorter ones fill the beginning.
const BYTES: usize = MOST_LANES * QUAD;
/// A byte of an order that makes a zero.
const NOTHING: u8 = 0x80;

/// A depthwise convolution.
#[derive(Clone, Debug)]
pub struct Depthwise {
    window: Window,
    /// `[C, kernel height · kernel width]`.
    weight: Vec<i8>,
    /// Of 3×3 windows: per quad of channels and row of the window its weights for the first three pixels of four, and for the last three.
    squares: Vec<[[Square; 2]; 3]>,
    requantise: Requantise,
    /// The byte of 0 in what is read.
    zero: u8,
    /// By the output column that a vector begins with: how each of four registers is turned, with zeros for what lies outside of the image.
    /// Nothing where no window of the vector hangs over an edge.
    orders: Vec<Option<Box<[[u8; BYTES]; 4]>>>,
    planes: Planes,
    path: Path,
}

/// Which code computes a depthwise convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    /// 3×3 around each pixel, in padded planes.
    Neighbourhood,
    /// 3×3 around every second pixel, in padded planes.
    Halving,
    /// Any window.
    Any,
}

impl Depthwise {
    /// For quads that lie as `planes` say, in which byte `zero` stands for 0; `weight: [C, kernel height · kernel width]`. There are `C` outputs to
    /// requantise.
    pub fn new(window: Window, weight: Vec<i8>, requantise: Requantise, zero: u8, planes: Planes) -> Self {
        let path = match planes.is_padded() && zero == 0 {
            true if window.is_neighbourhood() => Path::Neighbourhood,
            true if window.is_halving() => Path::Halving,
            _ => Path::Any,
        };
        let squares = if path == Path::Any { Vec::new() } else { squares(&weight) };
        let outputs = window.output([usize::MAX / 8, planes.width]).map_or(0, |[_, outputs]| outputs);
        let orders = match path {
            Path::Any => Vec::new(),
            _ => (0..outputs).map(|column| orders(&window, planes.width, outputs, column)).collect(),
        };
        Self { window, weight, squares, requantise, zero, orders, planes, path }
    }

    /// Where the kernel goes.
    pub(crate) fn window(&self) -> &Window {
        &self.window
    }

    /// Whether it was made for quads that lie so, and has a kernel for each channel, and its sums fit.
    pub(crate) fn is_for(&self, planes: Planes, zero: u8) -> bool {
        let (taps, outputs) = (self.window.taps(), self.requantise.outputs());
        let greatest = |channel: usize| {
            let weight = &self.weight[channel * taps..][..taps];
            255 * weight.iter().map(|&w| i64::from(w).abs()).sum::<i64>()
        };
        (self.planes, self.zero) == (planes, zero)
            && outputs.div_ceil(QUAD) == planes.channels
            && self.weight.len() == outputs * taps
            && self.requantise.fits(greatest)
    }
}

/// The weights of 3×3 windows as squares.
fn squares(weight: &[i8]) -> Vec<[[Square; 2]; 3]> {
    let quad = |channels: &[i8]| {
        std::array::from_fn(|line| {
            let row = |channel: usize| {
                channels.get(channel * 9 + line * 3..).and_then(|row| row.get(..3)).unwrap_or(&[])
            };
            let square = |shift: usize| {
                std::array::from_fn(|channel| {
                    let mut weights = [0; QUAD];
                    let row = row(channel);
                    weights[shift..shift + row.len()].copy_from_slice(row);
                    weights
                })
            };
            [square(0), square(1)]
        })
    };
    weight.chunks(9 * QUAD).map(quad).collect()
}

/// The orders for the vector that begins with an output column, see [`Depthwise::orders`].
///
/// Windows one pixel apart: registers 0 and 1 begin a pixel to the left of theirs and give pixels 0 and 1 of every four, registers 2 and 3 begin
/// a pixel to the right and give pixels 2 and 3. Two pixels apart: registers 0 and 1 give pixels 0 and 1 of every two of the first half of the
/// vector, registers 2 and 3 those of the second.
fn orders(window: &Window, width: usize, outputs: usize, column: usize) -> Option<Box<[[u8; BYTES]; 4]>> {
    let (stride, (lanes, _)) = (window.stride[1], registers());
    let is_inside = |output: usize, tap: usize| {
        let at = (output % outputs * stride + tap).checked_sub(window.padding[1]);
        at.is_some_and(|at| at < width)
    };
    let mut orders = [[0; BYTES]; 4];
    let mut hangs_over = false;
    for (register, order) in orders.iter_mut().enumerate() {
        for (at, byte) in order[..lanes * QUAD].iter_mut().enumerate() {
            let (four, pixel) = (at / 16, at % 4);
            // Which output of the vector, and which column of its window this byte is.
            let (output, tap) = match stride {
                1 => (4 * four + register, pixel.checked_sub(register % 2)),
                _ => (register / 2 * lanes / 2 + 2 * four + register % 2, Some(pixel)),
            };
            let outside = tap.is_some_and(|tap| tap < 3 && !is_inside(column + output, tap));
            hangs_over |= outside;
            *byte = if outside { NOTHING } else { TURN[at] };
        }
    }
    hangs_over.then(|| Box::new(orders))
}

/// Writes the results of quads of channels `rows` for a tile, one after the other.
///
/// # Safety
/// As [`super::fill::fill`].
#[inline(always)]
pub(super) unsafe fn fill<I: Set>(
    set: I,
    depthwise: &Depthwise,
    from: Reading,
    tile: Tile,
    rows: Range<usize>,
    panel: *mut u32,
) {
    let width = tile.vectors * I::LANES;
    // SAFETY: as the caller promises; pieces lie within the tile.
    unsafe {
        if depthwise.path == Path::Neighbourhood {
            for (index, row) in rows.enumerate() {
                neighbourhoods(set, depthwise, from, tile, row, panel.add(index * width));
            }
            return;
        }
        let end = from.pixels.min(tile.start + width);
        for piece in pieces(tile.start, end, from.width) {
            for (index, row) in rows.clone().enumerate() {
                let to = panel.add(index * width + piece.at);
                match depthwise.path {
                    Path::Halving => halving(set, depthwise, from, piece, row, to),
                    Path::Neighbourhood | Path::Any => any(depthwise, from, piece, row, to),
                }
            }
        }
        let filled = end - tile.start;
        for index in 0..rows.len() {
            panel.add(index * width + filled).write_bytes(0, width - filled);
        }
    }
}

/// The weights of a quad of channels in registers, its sums to begin with, and how they become bytes.
#[inline(always)]
fn quad<I: Set>(set: I, depthwise: &Depthwise, row: usize) -> ([[I::Factors; 2]; 3], I::Sums, Factored) {
    let squares = &depthwise.squares[row];
    let mut factors = [[set.turned_factors(&squares[0][0]); 2]; 3];
    for (factors, squares) in factors.iter_mut().zip(squares) {
        *factors = [set.turned_factors(&squares[0]), set.turned_factors(&squares[1])];
    }
    let mut bias = [0; QUAD];
    bias.copy_from_slice(&depthwise.requantise.bias()[row * QUAD..(row + 1) * QUAD]);
    let by = depthwise.requantise.of(row * QUAD);
    (factors, set.turned_splat(&bias), by)
}

/// A quad of channels where each pixel reads the 3×3 pixels around it: rows are not looked at one by one, since the pixel above is always a
/// row's length before.
///
/// # Safety
/// As its caller promises to its own.
#[inline(always)]
unsafe fn neighbourhoods<I: Set>(
    set: I,
    depthwise: &Depthwise,
    from: Reading,
    tile: Tile,
    row: usize,
    to: *mut u32,
) {
    let width = from.planes.width;
    let (factors, bias, by) = quad(set, depthwise, row);
    // SAFETY: a row and a quad before and after the channel there are zeros that belong to the planes, as does a vector more
    // behind the last; orders have an entry for each column.
    unsafe {
        let channel = from.start.cast::<u32>().add(row * from.planes.pitch() + tile.start);
        let ahead = channel.wrapping_add(AHEAD * from.planes.pitch());
        prefetch_lines(ahead.wrapping_sub(width + 1), MOST_LANES);
        prefetch_lines(ahead.wrapping_add(width), (tile.vectors + 1) * I::LANES);
        let mut column = tile.start % width;
        for v in 0..tile.vectors {
            let mut sums = [bias; QUAD];
            let order = depthwise.orders.get_unchecked(column);
            for (line, factors) in factors.iter().enumerate() {
                let middle = channel.wrapping_add(v * I::LANES + line * width).wrapping_sub(width);
                let left = set.load(middle.wrapping_sub(1));
                let right = set.load(middle.wrapping_add(1));
                let turned = if let Some(order) = order {
                    [
                        set.turn(left, order[0].as_ptr()),
                        set.turn(left, order[1].as_ptr()),
                        set.turn(right, order[2].as_ptr()),
                        set.turn(right, order[3].as_ptr()),
                    ]
                } else {
                    let (left, right) = (set.turn(left, TURN.as_ptr()), set.turn(right, TURN.as_ptr()));
                    [left, left, right, right]
                };
                for (at, turned) in turned.into_iter().enumerate() {
                    sums[at] = set.dot(sums[at], turned, factors[at % 2]);
                }
            }
            set.store(to.add(v * I::LANES), set.requantise_turned(sums, &by), I::LANES);
            column = (column + I::LANES) % width;
        }
    }
}

/// 3×3 windows two pixels apart.
///
/// # Safety
/// As its caller promises to its own.
#[inline(always)]
unsafe fn halving<I: Set>(
    set: I,
    depthwise: &Depthwise,
    from: Reading,
    piece: Piece,
    row: usize,
    to: *mut u32,
) {
    let width = from.planes.width;
    let (factors, bias, by) = quad(set, depthwise, row);
    let [top, left, ..] = depthwise.window.padding;
    // SAFETY: vectors reach past the last row by less than `SLACK`, which the planes have at their end, and before the first
    // by one quad; orders have an entry for each column. What is stored lies within the piece.
    unsafe {
        let channel = from.start.cast::<u32>().add(row * from.planes.pitch());
        let ahead =
            channel.wrapping_add(AHEAD * from.planes.pitch() + 2 * piece.row * width + 2 * piece.column);
        prefetch_lines(ahead, 2 * piece.len);
        prefetch_lines(ahead.wrapping_add(width), 2 * piece.len);
        for first in (0..piece.len).step_by(I::LANES) {
            let column = piece.column + first;
            let mut sums = [bias; QUAD];
            let order = depthwise.orders.get_unchecked(column);
            for (line, factors) in factors.iter().enumerate() {
                let y = 2 * piece.row + line;
                if y < top || y - top >= from.planes.height {
                    continue;
                }
                let at = channel.add((y - top) * width + 2 * column).wrapping_sub(left);
                for (register, sum) in sums.iter_mut().enumerate() {
                    let quads = set.load(at.wrapping_add(register / 2 * I::LANES + register % 2 * 2));
                    let turned = match order {
                        None => set.turn(quads, TURN.as_ptr()),
                        Some(order) => set.turn(quads, order[register].as_ptr()),
                    };
                    *sum = set.dot(*sum, turned, factors[0]);
                }
            }
            let quads = set.halves(set.requantise_turned(sums, &by));
            set.store(to.add(first), quads, piece.len - first);
        }
    }
}

/// Any window.
///
/// # Safety
/// As its caller promises to its own.
#[inline(always)]
unsafe fn any(depthwise: &Depthwise, from: Reading, piece: Piece, row: usize, to: *mut u32) {
    let window = &depthwise.window;
    let taps = window.taps();
    let by = depthwise.requantise.of(row * QUAD);
    for at in 0..piece.len {
        let mut quad = [0; QUAD];
        for (channel, byte) in quad.iter_mut().enumerate() {
            let output = row * QUAD + channel;
            let mut sum = depthwise.requantise.bias()[output];
            let weight = depthwise.weight.get(output * taps..(output + 1) * taps).unwrap_or(&[]);
            for (tap, &weight) in weight.iter().enumerate() {
                if let Some(pixel) = read(window, &from.planes, [piece.row, piece.column + at], tap) {
                    // SAFETY: the pixel lies within the channel.
                    let quad =
                        unsafe { *from.start.cast::<[u8; QUAD]>().add(row * from.planes.pitch() + pixel) };
                    sum += i32::from(weight) * (i32::from(quad[channel]) - i32::from(depthwise.zero));
                }
            }
            *byte = by.byte(channel, sum);
        }
        // SAFETY: the piece lies within what is written.
        unsafe { to.add(at).cast::<[u8; QUAD]>().write_unaligned(quad) };
    }
}

/// The pixel that a position of the window of an output reads; none outside of the image.
#[inline(always)]
fn read(window: &Window, planes: &Planes, output: [usize; 2], tap: usize) -> Option<usize> {
    let taps = [tap / window.kernel[1], tap % window.kernel[1]];
    let along = |axis: usize, size: usize| {
        let at = output[axis] * window.stride[axis] + taps[axis] * window.dilation[axis];
        at.checked_sub(window.padding[axis]).filter(|&at| at < size)
    };
    Some(along(0, planes.height)? * planes.width + along(1, planes.width)?)
}
