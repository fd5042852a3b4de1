//! Depthwise convolutions, as sources of a product or alone.

#![allow(unsafe_code)]

use super::arena::LINE;
use super::function::Function;
use super::memory::Reading;
use super::multiply::{Bounds, load, store, store_part};
use super::planes::{Planes, Window};
use super::tiles::{MOST_VECTORS, Piece, Tile, pieces};
use super::windows::{fold, span};
use pulp::Simd;
use sparse_vectors::square::{evens_and_odds, shifted};
use sparse_vectors::vector::{self, prefetch_lines};
use std::ops::Range;

/// How many channels ahead are asked for: the caches cannot guess where the next channel lies.
const AHEAD: usize = 16;

/// A depthwise convolution with a bias and bounds.
#[derive(Clone, Debug)]
pub struct Depthwise {
    window: Window,
    weight: Vec<f32>,
    bias: Vec<f32>,
    bounds: Bounds,
    function: Option<Function>,
    /// For the columns of an output row and a vector more: whether the left and the right column of a 3×3 window lie in
    /// the image, as bits.
    left: Vec<u32>,
    right: Vec<u32>,
    /// The same for the vector that begins at a column, a bit for each lane.
    bits: Vec<[u16; 2]>,
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
    /// For images that lie as `planes` say; `weight: [C, kernel height · kernel width]`, `bias: [C]`.
    pub fn new(window: Window, weight: Vec<f32>, bias: Vec<f32>, bounds: Bounds, planes: Planes) -> Self {
        let path = match planes.is_padded() {
            true if window.is_neighbourhood() => Path::Neighbourhood,
            true if window.is_halving() => Path::Halving,
            _ => Path::Any,
        };
        let width = planes.width;
        let outputs = window.output([usize::MAX / 8, width]).map_or(0, |[_, outputs]| outputs);
        let (stride, left) = (window.stride[1], window.padding[1]);
        // Padding may be larger than an image; then no table is used.
        let inside = |column: usize, tap: usize| {
            let at = (column % outputs.max(1) * stride + tap).checked_sub(left);
            at.is_some_and(|at| at < width)
        };
        let bits =
            |tap| (0..outputs + LINE).map(|column| if inside(column, tap) { u32::MAX } else { 0 }).collect();
        let (left, right): (Vec<u32>, Vec<u32>) = (bits(0), bits(2));
        let lanes = |table: &[u32]| (0..LINE).fold(0, |bits, lane| bits | (table[lane] as u16 & 1) << lane);
        let bits = (0..outputs).map(|column| [lanes(&left[column..]), lanes(&right[column..])]).collect();
        Self { window, weight, bias, bounds, function: None, left, right, bits, planes, path }
    }

    /// With a function of the results, after the bounds.
    #[must_use]
    pub fn then(self, function: Option<Function>) -> Self {
        Self { function, ..self }
    }

    /// The function after the bounds.
    pub(super) fn function(&self) -> Option<Function> {
        self.function
    }

    /// Where the kernel goes.
    pub(super) fn window(&self) -> &Window {
        &self.window
    }

    /// Whether it was made for images that lie so, and has a kernel and a bias for each of their channels.
    pub(super) fn is_for(&self, planes: Planes) -> bool {
        self.planes == planes
            && self.weight.len() == planes.channels * self.window.taps()
            && self.bias.len() == planes.channels
    }

    /// As [`Depthwise::edges`], a bit for each lane.
    ///
    /// # Safety
    /// As its caller promises to its own.
    #[inline(always)]
    unsafe fn edge_bits(&self, column: usize) -> [u16; 2] {
        // SAFETY: columns of a row have an entry each.
        unsafe { *self.bits.get_unchecked(column) }
    }

    /// Whether the left and right columns of the windows from output column `column` on lie in the image, as bits.
    ///
    /// # Safety
    /// As its caller promises to its own.
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

/// Writes the results of channels `rows` for a tile, one after the other.
///
/// # Safety
/// As [`super::fill::Fill`].
#[inline(always)]
pub(super) unsafe fn fill<S: Simd>(
    simd: S,
    depthwise: &Depthwise,
    from: Reading,
    tile: Tile,
    rows: Range<usize>,
    panel: *mut f32,
) {
    let start = tile.start;
    // SAFETY: as the caller promises.
    unsafe {
        match (depthwise.path, tile.vectors) {
            (Path::Neighbourhood, 1) => neighbourhoods::<S, 1>(simd, depthwise, from, start, rows, panel),
            (Path::Neighbourhood, 2) => neighbourhoods::<S, 2>(simd, depthwise, from, start, rows, panel),
            (Path::Neighbourhood, 3) => neighbourhoods::<S, 3>(simd, depthwise, from, start, rows, panel),
            (Path::Neighbourhood, 4) => neighbourhoods::<S, 4>(simd, depthwise, from, start, rows, panel),
            (Path::Neighbourhood, 5) => neighbourhoods::<S, 5>(simd, depthwise, from, start, rows, panel),
            (Path::Neighbourhood, 6) => neighbourhoods::<S, 6>(simd, depthwise, from, start, rows, panel),
            (Path::Neighbourhood, _) => {
                neighbourhoods::<S, MOST_VECTORS>(simd, depthwise, from, start, rows, panel);
            }
            (Path::Halving | Path::Any, _) => by_pieces(simd, depthwise, from, tile, rows, panel),
        }
    }
}

/// [`neighbourhood`] for each of `rows`.
///
/// # Safety
/// As its caller promises to its own.
#[inline(always)]
unsafe fn neighbourhoods<S: Simd, const V: usize>(
    simd: S,
    depthwise: &Depthwise,
    from: Reading,
    start: usize,
    rows: Range<usize>,
    panel: *mut f32,
) {
    let width = V * vector::lanes::<f32, S>();
    for (index, row) in rows.enumerate() {
        // SAFETY: as in `fill`.
        unsafe { neighbourhood::<S, V>(simd, depthwise, from, start, row, panel.add(index * width)) };
    }
}

/// A depthwise convolution of one channel where each pixel reads the 3×3 pixels around it: rows are not looked at one by
/// one, since the pixel above is always a row's length before. Only the columns at the edges are masked.
///
/// # Safety
/// As its caller promises to its own.
#[inline(always)]
unsafe fn neighbourhood<S: Simd, const V: usize>(
    simd: S,
    depthwise: &Depthwise,
    from: Reading,
    start: usize,
    row: usize,
    to: *mut f32,
) {
    let (lanes, width) = (vector::lanes::<f32, S>(), from.planes.width);
    let weight = kernel(simd, depthwise, row);
    let bias = simd.splat_f32s(depthwise.bias[row]);
    // SAFETY: a row and a number before and after the channel there are zeros that belong to the planes, as does a vector more
    // behind the last; the masks have a vector more than a row has columns.
    unsafe {
        let channel = from.start.add(row * from.planes.pitch() + start);
        let ahead = channel.wrapping_add(AHEAD * from.planes.pitch());
        prefetch_lines(ahead.wrapping_sub(width + 1), LINE);
        prefetch_lines(ahead.wrapping_add(width), (V + 1) * lanes);
        let above = channel.wrapping_sub(width);
        let mut before = [None; 3];
        let mut here = [load::<S>(above), load::<S>(channel), load::<S>(channel.add(width))];
        let mut column = start % width;
        for v in 0..V {
            let mut sum = bias;
            for line in 0..3 {
                let at = above.wrapping_add(line * width + v * lanes);
                let after = load::<S>(at.wrapping_add(lanes));
                let [left, right] = beside(simd, at, (before[line], here[line], after), depthwise, column);
                sum = simd.mul_add_f32s(weight[3 * line], left, sum);
                sum = simd.mul_add_f32s(weight[3 * line + 1], here[line], sum);
                sum = simd.mul_add_f32s(weight[3 * line + 2], right, sum);
                (before[line], here[line]) = (Some(here[line]), after);
            }
            store::<S>(to.add(v * lanes), depthwise.bounds.apply(simd, sum));
            column += lanes;
            while column >= width {
                column -= width;
            }
        }
    }
}

/// The pixels to the left and to the right of those `at` a place, zero at the edges of the image.
///
/// # Safety
/// As its caller promises to its own.
#[inline(always)]
unsafe fn beside<S: Simd>(
    simd: S,
    at: *const f32,
    (before, here, after): (Option<S::f32s>, S::f32s, S::f32s),
    depthwise: &Depthwise,
    column: usize,
) -> [S::f32s; 2] {
    // SAFETY: as in `neighbourhood`.
    unsafe {
        if let Some(before) = before
            && let Some(shifted) = shifted(simd, [before, here, after], depthwise.edge_bits(column))
        {
            return shifted;
        }
        let [left, right] = depthwise.edges::<S>(column);
        let (before, after) = (load::<S>(at.wrapping_sub(1)), load::<S>(at.wrapping_add(1)));
        [simd.and_f32s(before, left), simd.and_f32s(after, right)]
    }
}

/// What is not computed in one run: the pieces of output rows one by one.
///
/// # Safety
/// As its caller promises to its own.
#[inline(always)]
unsafe fn by_pieces<S: Simd>(
    simd: S,
    depthwise: &Depthwise,
    from: Reading,
    tile: Tile,
    rows: Range<usize>,
    panel: *mut f32,
) {
    let width = tile.vectors * vector::lanes::<f32, S>();
    let end = from.pixels.min(tile.start + width);
    // SAFETY: pieces lie within the tile.
    unsafe {
        for piece in pieces(tile.start, end, from.width) {
            for (index, row) in rows.clone().enumerate() {
                let to = panel.add(index * width + piece.at);
                match depthwise.path {
                    Path::Halving => halving(simd, depthwise, from, piece, row, to),
                    Path::Neighbourhood | Path::Any => any(simd, depthwise, from, piece, row, to),
                }
            }
        }
        let filled = end - tile.start;
        if filled < width {
            for index in 0..rows.len() {
                panel.add(index * width + filled).write_bytes(0, width - filled);
            }
        }
    }
}

/// 3×3 windows two pixels apart.
///
/// # Safety
/// As its caller promises to its own.
#[inline(always)]
unsafe fn halving<S: Simd>(
    simd: S,
    depthwise: &Depthwise,
    from: Reading,
    piece: Piece,
    row: usize,
    to: *mut f32,
) {
    let (lanes, width) = (vector::lanes::<f32, S>(), from.planes.width);
    let weight = kernel(simd, depthwise, row);
    let bias = simd.splat_f32s(depthwise.bias[row]);
    let [top, left, ..] = depthwise.window.padding;
    // SAFETY: vectors reach past the last row by less than `SLACK`, which the planes have at their end, and before the first
    // by one number; the masks have a vector more than a row has columns. What is stored lies within the piece.
    unsafe {
        let channel = from.start.add(row * from.planes.pitch());
        let ahead =
            channel.wrapping_add(AHEAD * from.planes.pitch() + 2 * piece.row * width + 2 * piece.column);
        prefetch_lines(ahead, 2 * piece.len);
        prefetch_lines(ahead.wrapping_add(width), 2 * piece.len);
        let mut first = 0;
        while first < piece.len {
            let column = piece.column + first;
            let mut sum = bias;
            for line in 0..3 {
                let y = 2 * piece.row + line;
                if y < top || y - top >= from.planes.height {
                    continue;
                }
                let at = channel.add((y - top) * width + 2 * column);
                let taps = every_second(simd, at, left, depthwise, column);
                for (&weight, tap) in weight[3 * line..].iter().zip(taps) {
                    sum = simd.mul_add_f32s(weight, tap, sum);
                }
            }
            store_part(simd, to.add(first), depthwise.bounds.apply(simd, sum), piece.len - first);
            first += lanes;
        }
    }
}

/// What the three columns of windows two pixels apart read of a line of the image, of which `at` is pixel `2 · column`; windows begin `left` pixels before, 0 or 1.
///
/// # Safety
/// As its caller promises to its own.
#[inline(always)]
unsafe fn every_second<S: Simd>(
    simd: S,
    at: *const f32,
    left: usize,
    depthwise: &Depthwise,
    column: usize,
) -> [S::f32s; 3] {
    let lanes = vector::lanes::<f32, S>();
    // SAFETY: as in `halving`.
    unsafe {
        let [evens, odds] = evens_and_odds(simd, load::<S>(at), load::<S>(at.add(lanes)));
        let (before, after) = (at.wrapping_sub(1), at.add(2 * lanes));
        let bits = depthwise.edge_bits(column);
        if left == 1
            && let Some([odds_before, _]) = shifted(simd, [simd.splat_f32s(*before), odds, odds], bits)
        {
            let [_, inside_right] = depthwise.edges::<S>(column);
            return [odds_before, evens, simd.and_f32s(odds, inside_right)];
        }
        if left == 0
            && let Some([_, evens_after]) = shifted(simd, [evens, evens, simd.splat_f32s(*after)], bits)
        {
            return [evens, odds, evens_after];
        }
        let [inside_left, inside_right] = depthwise.edges::<S>(column);
        let at = at.wrapping_sub(left);
        let [first, second] = evens_and_odds(simd, load::<S>(at), load::<S>(at.add(lanes)));
        let [third, _] = evens_and_odds(simd, load::<S>(at.add(2)), load::<S>(at.add(lanes + 2)));
        [simd.and_f32s(first, inside_left), second, simd.and_f32s(third, inside_right)]
    }
}

/// Any window.
///
/// # Safety
/// As its caller promises to its own.
#[inline(always)]
unsafe fn any<S: Simd>(
    simd: S,
    depthwise: &Depthwise,
    from: Reading,
    piece: Piece,
    row: usize,
    to: *mut f32,
) {
    let lanes = vector::lanes::<f32, S>();
    let window = &depthwise.window;
    let weight = &depthwise.weight[row * window.taps()..][..window.taps()];
    // SAFETY: spans lie within a row of the channel, and what is written within the piece.
    unsafe {
        std::slice::from_raw_parts_mut(to, piece.len).fill(depthwise.bias[row]);
        let channel = from.start.add(row * from.planes.pitch());
        for (tap, &weight) in weight.iter().enumerate() {
            if let Some(span) = span(window, &from.planes, piece, tap) {
                let (to, from) = (to.add(span.skip), channel.add(span.from));
                fold(to, from, window.stride[1], span.len, |sum, x| weight.mul_add(x, sum));
            }
        }
        let mut first = 0;
        while first < piece.len {
            let at = to.add(first);
            let part = simd.mask_between_m32s(0, (piece.len - first).min(lanes) as u32);
            let value = simd.mask_load_ptr_f32s(part, at.cast_const());
            simd.mask_store_ptr_f32s(part, at, depthwise.bounds.apply(simd, value));
            first += lanes;
        }
    }
}
