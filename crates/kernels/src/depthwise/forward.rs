//! The convolution, from raw output of one layer to raw output of the next.

use super::super::activation::{ChannelNorm, Input, Statistics, moments};
use super::super::lanes::{Sums, Vector, map_run, store, tail};
use super::{Dims, Lines, split_row};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use sparse_vectors::Real;
use sparse_vectors::vector::{MOST_LANES, Stored, Vectors, dispatch, lanes, prefetch};

/// `y[c] = z[c] ⋆ weight[c]`, where `z` is what `x` stands for; the border is zeros of `z`.
///
/// Shapes: `x: [C, H, W, N]`, `weight: [C, 1, 3, 3]`, `y: [C, Ho, Wo, N]` with `Ho = ceil(H / stride)`. The mean and
/// variance of each channel of `y` go to `statistics`.
pub fn forward<E: Stored>(
    x: Input<'_, E>,
    weight: &[E::Real],
    y: &mut [E],
    statistics: Option<Statistics<'_, E::Real>>,
    dims: Dims,
) {
    dims.check(x.values().len(), weight.len(), y.len());
    let shift = statistics.as_ref().map(|statistics| statistics.shift);
    let planes = y.par_chunks_mut(dims.out_plane()).zip(x.values().par_chunks(dims.plane()));
    let channels = planes.zip(weight.par_chunks(9)).enumerate().with_min_len(dims.channels_per_task());
    let sums: Vec<[f64; 2]> = channels
        .map_init(
            || Scratch::new(dims),
            |scratch, (channel, ((y, plane), kernel))| {
                let shift = shift.map_or(E::Real::from_f64(0.0), |shift| shift[channel]);
                let norm = x.norm(channel);
                dispatch(Channel { x: plane, norm, kernel, shift, y, scratch, dims })
            },
        )
        .collect();
    if let Some(Statistics { shift, mean, variance }) = statistics {
        let count = dims.out_plane();
        for (channel, &[sum, squares]) in sums.iter().enumerate() {
            (mean[channel], variance[channel]) = moments(shift[channel], sum, squares, count);
        }
    }
}

/// What a task keeps in cache.
///
/// A line with stride 1 is `[N zeros, W pixels, zeros]`, with stride 2 `[even pixels, zeros, odd pixels, zeros]`.
struct Scratch<E: Stored> {
    lines: Lines<E::Real>,
    /// Where the pixels begin that the left, middle and right taps of the first output see.
    columns: [usize; 3],
    even: Vec<E>,
    odd: Vec<E>,
}

impl<E: Stored> Scratch<E> {
    fn new(dims: Dims) -> Self {
        let batch = dims.batch;
        if dims.stride == 1 {
            let lines = Lines::new(dims.row() + 2 * batch);
            return Self { lines, columns: [0, batch, 2 * batch], even: Vec::new(), odd: Vec::new() };
        }
        // The last vector of even pixels may reach beyond them.
        let odd = dims.out_row() + batch.next_multiple_of(MOST_LANES);
        let half = vec![E::default(); dims.out_row() + MOST_LANES];
        let lines = Lines::new(odd + dims.out_row());
        // Zeros follow the even pixels, so that a tap may see one more than there is.
        let columns = if dims.before()[1] == 1 { [odd - batch, 0, odd] } else { [0, odd, batch] };
        Self { lines, columns, even: half.clone(), odd: half }
    }
}

/// One channel.
struct Channel<'a, E: Stored> {
    x: &'a [E],
    norm: Option<ChannelNorm<E::Real>>,
    kernel: &'a [E::Real],
    shift: E::Real,
    y: &'a mut [E],
    scratch: &'a mut Scratch<E>,
    dims: Dims,
}

impl<E: Stored> WithSimd for Channel<'_, E> {
    type Output = [f64; 2];

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> [f64; 2] {
        let Self { x, norm, kernel, shift, y, scratch, dims } = self;
        let tails = [tail::<E::Real, S>(simd, dims.out_row()), tail::<E::Real, S>(simd, dims.odd_row())];
        let source = Source { x, norm, tails, dims };
        let mut window =
            Window { weights: [tails[0]; 9], shift: E::Real::v_splat(simd, shift), tail: tails[0] };
        for (weight, &value) in window.weights.iter_mut().zip(kernel) {
            *weight = E::Real::v_splat(simd, value);
        }
        let mut sums = Sums::new(simd);
        let mut filled = 0;
        // All taps are cut to one length, so that one check is enough.
        let read = dims.out_row().next_multiple_of(lanes::<E::Real, S>());
        for row in 0..dims.out_height() {
            let first = row * dims.stride + 1 - dims.before()[0];
            for line in filled..first + 3 {
                source.fill(simd, scratch, line);
            }
            filled = first + 3;
            let mut taps: [&[E::Real]; 9] = [&[]; 9];
            for (tap, from) in taps.iter_mut().enumerate() {
                *from = &scratch.lines.get(first + tap / 3)[scratch.columns[tap % 3]..][..read];
            }
            let ahead = x.get((filled - 1) * dims.row()..).unwrap_or_default();
            let out = (&mut y[row * dims.out_row()..], dims.out_row());
            window.convolve(simd, &taps, out, (ahead, dims.stride * dims.stride), &mut sums);
            sums.added(simd, dims.out_row());
        }
        sums.finish(simd)
    }
}

/// The input of one channel.
struct Source<'a, E: Stored, S: Simd> {
    x: &'a [E],
    norm: Option<ChannelNorm<E::Real>>,
    /// [`tail`] of a row of even and of odd pixels; with stride 1 the first is that of the row.
    tails: [Vector<E::Real, S>; 2],
    dims: Dims,
}

impl<E: Stored, S: Simd> Source<'_, E, S> {
    /// Fills a line with what a row of the input stands for, or with zeros outside the plane.
    #[inline(always)]
    fn fill(&self, simd: S, scratch: &mut Scratch<E>, line: usize) {
        let Scratch { lines, columns, even, odd } = scratch;
        let dims = self.dims;
        let target = lines.get_mut(line);
        if line == 0 || line > dims.height {
            target.fill(E::Real::from_f64(0.0));
            return;
        }
        let row = &self.x[(line - 1) * dims.row()..];
        let len = (dims.out_row(), self.tails[0]);
        if dims.stride == 1 {
            self.activate(simd, row, &mut target[columns[1]..], len);
        } else {
            split_row(&row[..dims.row()], even, odd, dims.batch);
            self.activate(simd, even, target, len);
            let start = columns[if dims.before()[1] == 1 { 2 } else { 1 }];
            self.activate(simd, odd, &mut target[start..], (dims.odd_row(), self.tails[1]));
        }
    }

    /// Normalises and rectifies a run.
    #[inline(always)]
    fn activate(&self, simd: S, from: &[E], to: &mut [E::Real], len: (usize, Vector<E::Real, S>)) {
        match self.norm {
            Some(norm) => map_run(
                simd,
                [from],
                to,
                len,
                #[inline(always)]
                |[y]| norm.apply_vector(simd, y),
            ),
            None => map_run(
                simd,
                [from],
                to,
                len,
                #[inline(always)]
                |[value]| value,
            ),
        }
    }
}

/// The weights of one channel, and what its statistics need.
struct Window<T: Real, S: Simd> {
    weights: [Vector<T, S>; 9],
    shift: Vector<T, S>,
    /// [`tail`] of a row of outputs.
    tail: Vector<T, S>,
}

impl<T: Real, S: Simd> Window<T, S> {
    /// `out = Σ weight · tap` for `len` elements; adds Σ (out − shift) and Σ (out − shift)² to the sums. For each vector
    /// it asks for some cache lines of what is read next, so that memory is busy while this computes.
    #[inline(always)]
    fn convolve<E: Stored<Real = T>>(
        &self,
        simd: S,
        taps: &[&[T]; 9],
        (out, len): (&mut [E], usize),
        (ahead, lines): (&[E], usize),
        sums: &mut Sums<T, S, 2>,
    ) {
        let [mut sum, mut squares] = sums.lanes;
        let lanes = lanes::<T, S>();
        let whole = len / lanes * lanes;
        let (wholes, rest) = out.split_at_mut(whole);
        for (i, out) in wholes.chunks_exact_mut(lanes).enumerate() {
            for line in 0..lines {
                prefetch(ahead, (i * lines + line) * lanes);
            }
            let value = self.weighted(simd, taps, i * lanes);
            let centred = T::v_sub(simd, value, self.shift);
            sum = T::v_add(simd, sum, centred);
            squares = T::v_mul_add(simd, centred, centred, squares);
            E::store_vector(simd, out, value);
        }
        if whole < len {
            let value = self.weighted(simd, taps, whole);
            let centred = T::where_positive(simd, self.tail, T::v_sub(simd, value, self.shift));
            sum = T::v_add(simd, sum, centred);
            squares = T::v_mul_add(simd, centred, centred, squares);
            // What this writes of the next row is written again with that row.
            store(simd, rest, value);
        }
        sums.lanes = [sum, squares];
    }

    /// One vector of the weighted sum of the taps.
    #[inline(always)]
    fn weighted(&self, simd: S, taps: &[&[T]; 9], at: usize) -> Vector<T, S> {
        let mut value = T::v_splat(simd, T::zero());
        for (&weight, tap) in self.weights.iter().zip(taps) {
            value = T::v_mul_add(simd, weight, T::load_vector(simd, &tap[at..]), value);
        }
        value
    }
}
