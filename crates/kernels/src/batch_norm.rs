//! Batch norm followed by bounds, over channel-major activations.
//!
//! Source: Ioffe & Szegedy 2015, arXiv:1502.03167, algorithm 1; variance is biased, as PaddlePaddle keeps it.

use super::simd::{dispatch, sum_terms};
use rayon::prelude::*;
use sparse_network::Bounds;
use sparse_vectors::Real;

/// Mean and biased variance of each channel.
///
/// Shapes: `x: [C, pixels]`, `mean: [C]`, `variance: [C]`.
pub fn statistics<T: Real>(x: &[T], mean: &mut [T], variance: &mut [T]) {
    let pixels = x.len() / mean.len();
    let channels = x.par_chunks(pixels).zip(mean.par_iter_mut()).zip(variance.par_iter_mut());
    channels.for_each(|((x, mean), variance)| {
        dispatch(
            #[inline(always)]
            || {
                let centre = T::from_f64(sum_terms([x], |[x]| x) / pixels as f64);
                let squares = sum_terms([x], |[x]| (x - centre) * (x - centre));
                *mean = centre;
                *variance = T::from_f64(squares / pixels as f64);
            },
        );
    });
}

/// What batch norm knows of each channel, `[C]` each.
#[derive(Clone, Copy, Debug)]
pub struct Channels<'a, T> {
    /// Mean to subtract.
    pub mean: &'a [T],
    /// Variance to divide by.
    pub variance: &'a [T],
    /// Scale γ.
    pub scale: &'a [T],
    /// Added to the variance before the root.
    pub epsilon: f64,
    /// What follows.
    pub bounds: Bounds,
}

impl<T: Real> Channels<'_, T> {
    /// 1 / sqrt(variance + ε) of one channel.
    fn inverse_deviation(&self, channel: usize) -> T {
        (self.variance[channel] + T::from_f64(self.epsilon)).sqrt().recip()
    }

    /// The bounds, low and high.
    fn bounds(&self) -> [T; 2] {
        [T::from_f64(self.bounds.low), T::from_f64(self.bounds.high)]
    }
}

/// `y = min(max((x − mean) / sqrt(variance + ε) · scale + offset, low), high)`.
///
/// Shapes: `x, y: [C, pixels]`, `offset: [C]`.
pub fn forward<T: Real>(x: &[T], channels: Channels<'_, T>, offset: &[T], y: &mut [T]) {
    let pixels = x.len() / offset.len();
    y.par_chunks_mut(pixels).zip(x.par_chunks(pixels)).enumerate().for_each(|(c, (y, x))| {
        let (mean, offset, [low, high]) = (channels.mean[c], offset[c], channels.bounds());
        let gain = channels.inverse_deviation(c) * channels.scale[c];
        dispatch(
            #[inline(always)]
            || {
                for (y, &x) in y.iter_mut().zip(x) {
                    let value = (x - mean).mul_add(gain, offset);
                    // A NaN passes through, so that the loss shows it.
                    *y = if value < low { low } else { value };
                    *y = if high < *y { high } else { *y };
                }
            },
        );
    });
}

/// The gradient behind the bounds.
#[inline(always)]
fn gated<T: Real>(y: T, dy: T, [low, high]: [T; 2]) -> T {
    if y > low && y < high { dy } else { T::zero() }
}

/// Gradients to scale and offset: `dscale = Σ dz·x̂`, `doffset = Σ dz` with `dz = dy` where
/// `low < y < high`, else 0.
///
/// Shapes: `x, y, dy: [C, pixels]`, `dscale, doffset: [C]`.
pub fn parameter_gradients<T: Real>(
    [x, y, dy]: [&[T]; 3],
    channels: Channels<'_, T>,
    dscale: &mut [T],
    doffset: &mut [T],
) {
    let pixels = x.len() / dscale.len();
    dscale.par_iter_mut().zip(doffset.par_iter_mut()).enumerate().for_each(|(c, (dscale, doffset))| {
        let range = c * pixels..(c + 1) * pixels;
        let (x, y, dy) = (&x[range.clone()], &y[range.clone()], &dy[range]);
        let (mean, inverse) = (channels.mean[c], channels.inverse_deviation(c));
        let bounds = channels.bounds();
        dispatch(
            #[inline(always)]
            || {
                *doffset = T::from_f64(sum_terms([y, dy], |[y, dy]| gated(y, dy, bounds)));
                let product = sum_terms([x, y, dy], |[x, y, dy]| gated(y, dy, bounds) * (x - mean));
                *dscale = T::from_f64(product) * inverse;
            },
        );
    });
}

/// Gradient to the input, the batch statistics being functions of `x`:
/// `dx = scale/σ · (dz − doffset/M − x̂·dscale/M)` over the `M` pixels of a channel.
///
/// Shapes: `x, y, dy, dx: [C, pixels]`; `[dscale, doffset]: [C]` as [`parameter_gradients`] gives them.
pub fn input_gradient<T: Real>(
    [x, y, dy]: [&[T]; 3],
    channels: Channels<'_, T>,
    [dscale, doffset]: [&[T]; 2],
    dx: &mut [T],
) {
    let pixels = x.len() / dscale.len();
    let share = T::from_f64(1.0 / pixels as f64);
    dx.par_chunks_mut(pixels).enumerate().for_each(|(c, dx)| {
        let range = c * pixels..(c + 1) * pixels;
        let (x, y, dy) = (&x[range.clone()], &y[range.clone()], &dy[range]);
        let (mean, inverse) = (channels.mean[c], channels.inverse_deviation(c));
        let gain = channels.scale[c] * inverse;
        let (constant, slope) = (doffset[c] * share, dscale[c] * share * inverse);
        let bounds = channels.bounds();
        dispatch(
            #[inline(always)]
            || {
                for (((dx, &x), &y), &dy) in dx.iter_mut().zip(x).zip(y).zip(dy) {
                    *dx = gain * (gated(y, dy, bounds) - constant - (x - mean) * slope);
                }
            },
        );
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_of_a_large_offset_keep_their_digits() {
        let x: Vec<f32> = (0..10_000).map(|i| 1000.0 + (i % 2) as f32).collect();
        let (mut mean, mut variance) = ([0.0f32], [0.0f32]);
        statistics(&x, &mut mean, &mut variance);
        assert_eq!(mean[0], 1000.5);
        assert!((variance[0] - 0.25).abs() < 1e-6);
    }

    #[test]
    fn values_are_cut_at_both_ends_and_nan_passes() {
        let bounds = Bounds::RELU6;
        let channels = Channels { mean: &[1.0], variance: &[4.0], scale: &[2.0], epsilon: 0.0, bounds };
        let mut y = [0.0f64; 4];
        forward(&[3.0, -5.0, f64::NAN, 9.0], channels, &[0.5], &mut y);
        assert_eq!((y[0], y[1], y[3]), (2.5, 0.0, 6.0));
        assert!(y[2].is_nan());
    }
}
