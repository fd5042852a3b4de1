//! Pooling of windows, with the batch norm and bounds before it: the greatest value, or the mean.
//!
//! Backward the greatest value is found anew, the first of equal ones as PyTorch has it, and the gradient goes there.

use super::activation::{ChannelNorm, Input, InputGradient};
use super::lanes::{Vector, load, store};
use super::pool::Spread;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use sparse_network::{Bounds, Window};
use sparse_vectors::Real;
use sparse_vectors::vector::{Stored, Vectors, dispatch, lanes};

/// What is taken of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// The greatest value; what lies outside of the image does not count.
    Max,
    /// The mean, over all of the window or over what of it lies inside the image.
    Mean {
        /// Whether the zeros of the padding count.
        counts_padding: bool,
    },
}

/// Sizes of one pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    /// Channels, in and out.
    pub channels: usize,
    /// Input height.
    pub height: usize,
    /// Input width.
    pub width: usize,
    /// Images in the batch.
    pub batch: usize,
    /// Where the windows lie.
    pub window: Window,
    /// What is taken of them.
    pub pool: Pool,
}

impl Dims {
    /// Output height.
    pub fn out_height(&self) -> usize {
        self.window.outputs(0, self.height)
    }

    /// Output width.
    pub fn out_width(&self) -> usize {
        self.window.outputs(1, self.width)
    }

    fn plane(&self) -> usize {
        self.height * self.width * self.batch
    }

    fn out_plane(&self) -> usize {
        self.out_height() * self.out_width() * self.batch
    }

    fn check(&self, x: usize, y: usize) {
        assert!(self.plane() > 0 && self.out_plane() > 0, "an empty plane: {self:?}");
        assert_eq!(x, self.channels * self.plane(), "elements of the input of {self:?}");
        assert_eq!(y, self.channels * self.out_plane(), "elements of the output of {self:?}");
    }

    /// For each output pixel the input pixels of its window that lie inside the image.
    fn windows(&self) -> Vec<Vec<usize>> {
        let Window { kernel, stride, dilation, .. } = self.window;
        let before = [self.window.lines(0, self.height)[0], self.window.lines(1, self.width)[0]];
        let sides = [self.height, self.width];
        let along = |axis: usize, output: usize| {
            (0..kernel[axis]).filter_map(move |tap| {
                let place = (output * stride[axis] + tap * dilation[axis]).checked_sub(before[axis])?;
                (place < sides[axis]).then_some(place)
            })
        };
        let width = self.width;
        let pixels =
            (0..self.out_height()).flat_map(|row| (0..self.out_width()).map(move |column| (row, column)));
        let window = |(row, column)| {
            along(0, row).flat_map(|r| along(1, column).map(move |c| r * width + c)).collect()
        };
        pixels.map(window).collect()
    }

    /// What a sum over so many pixels is multiplied with.
    fn share(&self, inside: usize) -> f64 {
        let [height, width] = self.window.kernel;
        match self.pool {
            Pool::Max => 1.0,
            Pool::Mean { counts_padding: true } => 1.0 / (height * width) as f64,
            Pool::Mean { counts_padding: false } => 1.0 / inside.max(1) as f64,
        }
    }
}

/// `y[c, o, n]`: the greatest value or the mean of a window of `z`, where `z` is what `x` stands for; bounded.
///
/// Shapes: `x: [C, H, W, N]`, `y: [C, Ho, Wo, N]`.
///
/// # Panics
/// If the slices are of another shape: a fault of the caller.
pub fn forward<E: Stored>(x: Input<'_, E>, y: &mut [E], bounds: Bounds, dims: Dims) {
    dims.check(x.values().len(), y.len());
    let windows = dims.windows();
    let planes = y.par_chunks_mut(dims.out_plane()).zip(x.values().par_chunks(dims.plane())).enumerate();
    planes.for_each(|(channel, (y, plane))| {
        let norm = x.norm(channel).unwrap_or(ChannelNorm::identity(Bounds::NONE));
        let bounds = ChannelNorm::identity(bounds);
        dispatch(Forward { x: plane, norm, y, bounds, windows: &windows, dims });
    });
}

/// The gradient to the input.
///
/// Shapes: `x, dx.values: [C, H, W, N]`, `dy: [C, Ho, Wo, N]`.
///
/// # Panics
/// If the slices are of another shape: a fault of the caller.
pub fn backward<E: Stored>(x: Input<'_, E>, dy: &[E], dx: InputGradient<'_, E>, dims: Dims) {
    dims.check(x.values().len(), dy.len());
    let InputGradient { values, adds, gated, sums } = dx;
    assert_eq!(values.len(), x.values().len(), "elements of the gradient to the input");
    let windows = dims.windows();
    let planes = values.par_chunks_mut(dims.plane()).zip(x.values().par_chunks(dims.plane())).enumerate();
    let totals: Vec<[f64; 2]> = planes
        .map_init(
            || vec![E::Real::from_f64(0.0); dims.plane()],
            |gradient, (channel, (dx, plane))| {
                match adds {
                    true => gradient.iter_mut().zip(&*dx).for_each(|(to, from)| *to = from.load()),
                    false => gradient.fill(E::Real::from_f64(0.0)),
                }
                let norm = x.norm(channel).unwrap_or(ChannelNorm::identity(Bounds::NONE));
                let dy = &dy[channel * dims.out_plane()..][..dims.out_plane()];
                dispatch(Backward { x: plane, norm, dy, gradient, windows: &windows, dims });
                let norm = if gated { x.gate(channel) } else { None };
                dispatch(Spread { x: plane, norm, gradient, dx })
            },
        )
        .collect();
    if let Some(sums) = sums {
        for (channel, totals) in totals.into_iter().enumerate() {
            sums.sum[channel] = E::Real::from_f64(totals[0]);
            sums.product[channel] = E::Real::from_f64(totals[1]);
        }
    }
}

/// One channel.
struct Forward<'a, E: Stored> {
    x: &'a [E],
    norm: ChannelNorm<E::Real>,
    y: &'a mut [E],
    bounds: ChannelNorm<E::Real>,
    windows: &'a [Vec<usize>],
    dims: Dims,
}

impl<E: Stored> WithSimd for Forward<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, norm, y, bounds, windows, dims } = self;
        let lanes = lanes::<E::Real, S>();
        for (window, y) in windows.iter().zip(y.chunks_exact_mut(dims.batch)) {
            for start in (0..dims.batch).step_by(lanes) {
                let end = dims.batch.min(start + lanes);
                let value = match dims.pool {
                    Pool::Max => greatest(simd, x, norm, window, (start, end, dims.batch))[0],
                    Pool::Mean { .. } => {
                        let mut sum = E::Real::v_splat(simd, E::Real::from_f64(0.0));
                        for &pixel in window {
                            let from = load(simd, &x[pixel * dims.batch + start..pixel * dims.batch + end]);
                            sum = E::Real::v_add(simd, sum, norm.apply_vector(simd, from));
                        }
                        E::Real::v_mul(
                            simd,
                            sum,
                            E::Real::v_splat(simd, E::Real::from_f64(dims.share(window.len()))),
                        )
                    }
                };
                store(simd, &mut y[start..end], bounds.bound(simd, value));
            }
        }
    }
}

/// The same number in every lane.
#[inline(always)]
fn splat<T: Real, S: Simd>(simd: S, value: f64) -> Vector<T, S> {
    T::v_splat(simd, T::from_f64(value))
}

/// The greatest value of a window for some images, and which of its pixels has it first. A NaN is greater than all.
#[inline(always)]
fn greatest<E: Stored, S: Simd>(
    simd: S,
    x: &[E],
    norm: ChannelNorm<E::Real>,
    window: &[usize],
    (start, end, batch): (usize, usize, usize),
) -> [Vector<E::Real, S>; 2] {
    let (mut most, mut first) =
        (splat::<E::Real, S>(simd, f64::NEG_INFINITY), splat::<E::Real, S>(simd, 0.0));
    for (index, &pixel) in window.iter().enumerate() {
        let z = norm.apply_vector(simd, load(simd, &x[pixel * batch + start..pixel * batch + end]));
        first = E::Real::where_less(simd, most, z, splat::<E::Real, S>(simd, index as f64), first);
        // Where `z` is NaN neither is less, and the sum passes it on.
        let larger = E::Real::where_less(simd, most, z, z, most);
        let poison = E::Real::v_sub(simd, z, z);
        most = E::Real::where_less(simd, poison, splat::<E::Real, S>(simd, 1.0), larger, z);
    }
    [most, first]
}

/// One channel.
struct Backward<'a, E: Stored> {
    x: &'a [E],
    norm: ChannelNorm<E::Real>,
    dy: &'a [E],
    gradient: &'a mut [E::Real],
    windows: &'a [Vec<usize>],
    dims: Dims,
}

impl<E: Stored> WithSimd for Backward<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, norm, dy, gradient, windows, dims } = self;
        let lanes = lanes::<E::Real, S>();
        for (window, dy) in windows.iter().zip(dy.chunks_exact(dims.batch)) {
            let share = splat::<E::Real, S>(simd, dims.share(window.len()));
            for start in (0..dims.batch).step_by(lanes) {
                let end = dims.batch.min(start + lanes);
                let dy = E::Real::v_mul(simd, load(simd, &dy[start..end]), share);
                let first = match dims.pool {
                    Pool::Max => Some(greatest(simd, x, norm, window, (start, end, dims.batch))[1]),
                    Pool::Mean { .. } => None,
                };
                for (index, &pixel) in window.iter().enumerate() {
                    let part = match first {
                        None => dy,
                        Some(first) => {
                            let low = splat::<E::Real, S>(simd, index as f64 - 0.5);
                            let high = splat::<E::Real, S>(simd, index as f64 + 0.5);
                            E::Real::where_between(simd, first, low, high, dy)
                        }
                    };
                    let to = &mut gradient[pixel * dims.batch + start..pixel * dims.batch + end];
                    let sum = E::Real::v_add(simd, load(simd, to), part);
                    store(simd, to, sum);
                }
            }
        }
    }
}
