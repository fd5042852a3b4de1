//! Both gradients of the convolution, and what the batch norm and ReLU before it need.

use super::super::activation::{ChannelNorm, ChannelNormGradient, GateSums, Input, OutputGradient};
use super::super::lanes::{Sums, Vector, load, map_run, store, tail};
use super::{Dims, Lines, merge_row, split_row};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use sparse_vectors::Real;
use sparse_vectors::vector::{MOST_LANES, Stored, dispatch, lanes, prefetch};

/// The gradient to the input and to the weight.
///
/// Shapes: `x, dx: [C, H, W, N]`, `weight, dw: [C, 1, 3, 3]`, `dy: [C, Ho, Wo, N]`. If `x` is normalised, `dx` is the
/// gradient behind the ReLU, 0 where it lets nothing through, and `sums` takes its sums over each channel.
pub fn backward<E: Stored>(
    x: Input<'_, E>,
    weight: &[E::Real],
    dy: OutputGradient<'_, E>,
    dx: &mut [E],
    sums: Option<GateSums<'_, E::Real>>,
    dw: &mut [E::Real],
    dims: Dims,
) {
    dims.check(x.values().len(), weight.len(), dy.len());
    assert_eq!(dx.len(), x.values().len(), "elements of the gradient to the input");
    assert_eq!(dw.len(), weight.len(), "elements of the gradient to the weight");
    if let OutputGradient::ThroughNorm(g, y, _) = dy {
        assert_eq!(g.len(), y.len(), "elements of the raw output");
    }
    let planes = dx.par_chunks_mut(dims.plane()).zip(x.values().par_chunks(dims.plane()));
    let channels = planes.zip(weight.par_chunks(9)).enumerate().with_min_len(dims.channels_per_task());
    let totals: Vec<[f64; TOTALS]> = channels
        .map_init(
            || Scratch::new(dims),
            |scratch, (channel, ((dx, plane), kernel))| {
                let dy = Gradient::of(dy, channel, dims.out_plane());
                let norm = x.gate(channel);
                dispatch(Channel { x: plane, norm, kernel, dy, dx, scratch, dims })
            },
        )
        .collect();
    for (dw, totals) in dw.chunks_exact_mut(9).zip(&totals) {
        for (dw, &total) in dw.iter_mut().zip(totals) {
            *dw = E::Real::from_f64(total);
        }
    }
    if let Some(GateSums { sum, product }) = sums {
        for (channel, totals) in totals.iter().enumerate() {
            sum[channel] = E::Real::from_f64(totals[SUM]);
            product[channel] = E::Real::from_f64(totals[PRODUCT]);
        }
    }
}

/// What a channel sums: nine gradients to its weights, Σ g and Σ g·(y − mean).
const TOTALS: usize = 11;
const SUM: usize = 9;
const PRODUCT: usize = 10;

/// What a task keeps in cache. A line is `[N zeros, Wo pixels of dy, N zeros]`; the rest is for stride 2.
struct Scratch<E: Stored> {
    lines: Lines<E::Real>,
    x: [Vec<E>; 2],
    dx: [Vec<E>; 2],
}

impl<E: Stored> Scratch<E> {
    fn new(dims: Dims) -> Self {
        let half = if dims.stride == 1 { 0 } else { dims.out_row() + MOST_LANES };
        let halves = || [vec![E::default(); half], vec![E::default(); half]];
        Self { lines: Lines::new(dims.out_row() + 2 * dims.batch), x: halves(), dx: halves() }
    }
}

/// [`OutputGradient`] of one channel.
struct Gradient<'a, E: Stored> {
    values: &'a [E],
    through: Option<(&'a [E], ChannelNormGradient<E::Real>)>,
}

impl<'a, E: Stored> Gradient<'a, E> {
    fn of(dy: OutputGradient<'a, E>, channel: usize, plane: usize) -> Self {
        let range = channel * plane..(channel + 1) * plane;
        match dy {
            OutputGradient::Plain(values) => Self { values: &values[range], through: None },
            OutputGradient::ThroughNorm(g, y, norm) => {
                Self { values: &g[range.clone()], through: Some((&y[range], norm.channel(channel))) }
            }
        }
    }

    /// What a row is made of, to the end of the plane; empty outside it.
    fn row(&self, row: usize, dims: Dims) -> [&'a [E]; 2] {
        let from = |values: &'a [E]| values.get(row * dims.out_row()..).unwrap_or_default();
        [from(self.values), self.through.map_or(&[], |(y, _)| from(y))]
    }

    /// Fills a line with a row of the gradient, or with zeros outside the plane.
    #[inline(always)]
    fn fill<S: Simd>(
        &self,
        simd: S,
        lines: &mut Lines<E::Real>,
        line: usize,
        tail: Vector<E::Real, S>,
        dims: Dims,
    ) {
        let target = lines.get_mut(line);
        if line == 0 || line > dims.out_height() {
            target.fill(E::Real::from_f64(0.0));
            return;
        }
        let start = (line - 1) * dims.out_row();
        let target = &mut target[dims.batch..];
        match self.through {
            None => map_run(
                simd,
                [&self.values[start..]],
                target,
                (dims.out_row(), tail),
                #[inline(always)]
                |[value]| value,
            ),
            Some((y, norm)) => map_run(
                simd,
                [&self.values[start..], &y[start..]],
                target,
                (dims.out_row(), tail),
                #[inline(always)]
                |[g, y]| norm.apply_vector(simd, g, y),
            ),
        }
    }
}

/// One channel.
struct Channel<'a, E: Stored> {
    x: &'a [E],
    norm: Option<ChannelNorm<E::Real>>,
    kernel: &'a [E::Real],
    dy: Gradient<'a, E>,
    dx: &'a mut [E],
    scratch: &'a mut Scratch<E>,
    dims: Dims,
}

impl<E: Stored> WithSimd for Channel<'_, E> {
    type Output = [f64; TOTALS];

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> [f64; TOTALS] {
        let Self { x, norm, kernel, dy, dx, scratch, dims } = self;
        let Scratch { lines, x: [x_even, x_odd], dx: [dx_even, dx_odd] } = scratch;
        let tails = [tail::<E::Real, S>(simd, dims.out_row()), tail::<E::Real, S>(simd, dims.odd_row())];
        let before = dims.before();
        let mut sums = Sums::new(simd);
        let mut filled = 0;
        for row in 0..dims.height {
            // The last row of outputs that saw this row of inputs; its line is one more.
            let end = (row + before[0]) / dims.stride + 2;
            for line in filled..end {
                dy.fill(simd, lines, line, tails[0], dims);
            }
            filled = end;
            let (x, dx) = (&x[row * dims.row()..], &mut dx[row * dims.row()..]);
            let ahead = dy.row(end - 1, dims);
            let seen = Seen { lines, kernel, norm, ahead, row, dims };
            let (len, odd_len) = ((dims.out_row(), tails[0]), (dims.odd_row(), tails[1]));
            if dims.stride == 1 {
                seen.collect(simd, [0, 1, 2, 3, 4, 5, 6, 7, 8], (x, dx), len, &mut sums);
            } else {
                split_row(&x[..dims.row()], x_even, x_odd, dims.batch);
                let (even, odd) =
                    ((&x_even[..], &mut dx_even[..], len), (&x_odd[..], &mut dx_odd[..], odd_len));
                // Through the middle tap an output sees the pixels of one half, through the outer taps those of the other.
                let (middle, outer) = if before[1] == 1 { (even, odd) } else { (odd, even) };
                if (row + before[0]) % 2 == 1 {
                    seen.collect(simd, [4], (middle.0, middle.1), middle.2, &mut sums);
                    seen.collect(simd, [3, 5], (outer.0, outer.1), outer.2, &mut sums);
                } else {
                    seen.collect(simd, [1, 7], (middle.0, middle.1), middle.2, &mut sums);
                    seen.collect(simd, [0, 2, 6, 8], (outer.0, outer.1), outer.2, &mut sums);
                }
                merge_row(dx_even, dx_odd, &mut dx[..dims.row()], dims.batch);
            }
            sums.added(simd, dims.row());
        }
        sums.finish(simd)
    }
}

/// The outputs that saw one row of inputs.
struct Seen<'a, E: Stored> {
    lines: &'a Lines<E::Real>,
    kernel: &'a [E::Real],
    norm: Option<ChannelNorm<E::Real>>,
    /// What the next line is made of.
    ahead: [&'a [E]; 2],
    row: usize,
    dims: Dims,
}

impl<T: Real, E: Stored<Real = T>> Seen<'_, E> {
    /// The gradients to the outputs that saw the inputs through `tap`, pixel by pixel.
    #[inline(always)]
    fn through(&self, tap: usize) -> &[T] {
        let (row, column) = (tap / 3, tap % 3);
        let (line, pixel) = match self.dims.stride {
            1 => (self.row + 2 - row, 2 - column),
            _ => {
                let [above, left] = self.dims.before();
                // Input `i` is pixel `i + above` of the padded plane; line and pixel 0 are zeros before the outputs.
                ((self.row + above + 2 - row) / 2, ((column + left) % 2 + left + 2 - column) / 2)
            }
        };
        &self.lines.get(line)[pixel * self.dims.batch..]
    }

    /// For pixels seen through `taps`: collects the gradient to them, and adds to all sums.
    #[inline(always)]
    fn collect<S: Simd, const K: usize>(
        &self,
        simd: S,
        taps: [usize; K],
        (x, dx): (&[E], &mut [E]),
        len: (usize, Vector<T, S>),
        sums: &mut Sums<T, S, TOTALS>,
    ) {
        let zero = T::v_splat(simd, T::zero());
        // One length for all, so that one check is enough.
        let read = len.0.next_multiple_of(lanes::<T, S>());
        let mut run = Run { from: [&[]; K], weights: [zero; K], products: [zero; K], gate: [zero; 2] };
        run.gate = [sums.lanes[SUM], sums.lanes[PRODUCT]];
        for (i, &tap) in taps.iter().enumerate() {
            run.from[i] = &self.through(tap)[..read];
            run.weights[i] = T::v_splat(simd, self.kernel[tap]);
            run.products[i] = sums.lanes[tap];
        }
        let identity = ChannelNorm {
            mean: T::zero(),
            gain: T::one(),
            offset: T::zero(),
            low: T::zero(),
            high: T::infinity(),
        };
        match self.norm {
            Some(norm) => run.pass::<E, true>(simd, (x, dx), len, norm, self.ahead),
            None => run.pass::<E, false>(simd, (x, dx), len, identity, self.ahead),
        }
        for (i, &tap) in taps.iter().enumerate() {
            sums.lanes[tap] = run.products[i];
        }
        [sums.lanes[SUM], sums.lanes[PRODUCT]] = run.gate;
    }
}

/// A run of inputs seen through the same `K` taps.
struct Run<'a, T: Real, S: Simd, const K: usize> {
    /// For each tap the gradients to the outputs.
    from: [&'a [T]; K],
    weights: [Vector<T, S>; K],
    /// The gradients to the weights.
    products: [Vector<T, S>; K],
    /// Σ g and Σ g·(y − mean).
    gate: [Vector<T, S>; 2],
}

impl<T: Real, S: Simd, const K: usize> Run<'_, T, S, K> {
    /// Goes over `len` inputs; `GATED` = they are to be normalised. Asks for the cache lines of `ahead` on the way.
    #[inline(always)]
    fn pass<E: Stored<Real = T>, const GATED: bool>(
        &mut self,
        simd: S,
        (x, dx): (&[E], &mut [E]),
        (len, tail): (usize, Vector<T, S>),
        norm: ChannelNorm<T>,
        ahead: [&[E]; 2],
    ) {
        let lanes = lanes::<T, S>();
        let whole = len / lanes * lanes;
        let ((x, x_rest), (dx, dx_rest)) = (x.split_at(whole), dx.split_at_mut(whole));
        // A copy of the sums can stay in registers.
        let mut run = Run { ..*self };
        for (i, dx) in dx.chunks_exact_mut(lanes).enumerate() {
            ahead.iter().for_each(|ahead| prefetch(ahead, i * lanes));
            let y = E::load_vector(simd, &x[i * lanes..]);
            let linear = if GATED { norm.linear_vector(simd, y) } else { y };
            let gradient = run.step::<GATED>(simd, i * lanes, (y, linear), &norm, None);
            E::store_vector(simd, dx, gradient);
        }
        if whole < len {
            let y = T::where_positive(simd, tail, load(simd, x_rest));
            let linear = if GATED { norm.linear_vector(simd, y) } else { y };
            let linear = T::where_positive(simd, tail, linear);
            let gradient = run.step::<GATED>(simd, whole, (y, linear), &norm, Some(tail));
            // What this writes of the next row is written again with that row.
            store(simd, dx_rest, gradient);
        }
        (self.products, self.gate) = (run.products, run.gate);
    }

    /// One vector of inputs, of which those count where `inside` is positive: adds to the sums, gives the gradient to them.
    #[inline(always)]
    fn step<const GATED: bool>(
        &mut self,
        simd: S,
        at: usize,
        (y, linear): (Vector<T, S>, Vector<T, S>),
        norm: &ChannelNorm<T>,
        inside: Option<Vector<T, S>>,
    ) -> Vector<T, S> {
        let z = if GATED { norm.bound(simd, linear) } else { linear };
        let mut gradient = T::v_splat(simd, T::zero());
        for i in 0..K {
            let dy = T::load_vector(simd, &self.from[i][at..]);
            gradient = T::v_mul_add(simd, self.weights[i], dy, gradient);
            self.products[i] = T::v_mul_add(simd, z, dy, self.products[i]);
        }
        if GATED {
            gradient = norm.gate(simd, linear, gradient);
            if let Some(inside) = inside {
                gradient = T::where_positive(simd, inside, gradient);
            }
            let centred = T::v_sub(simd, y, T::v_splat(simd, norm.mean));
            self.gate[0] = T::v_add(simd, self.gate[0], gradient);
            self.gate[1] = T::v_mul_add(simd, gradient, centred, self.gate[1]);
        }
        gradient
    }
}
