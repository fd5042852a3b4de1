//! Depthwise 3×3 convolution, padding 1, stride 1 or 2.
//!
//! With the batch innermost, a pixel is a run of N numbers, and every pass is a weighted sum of such runs: no
//! padding, no special case at the border but a shorter list of taps, and full vectors whatever the image size.

use super::simd::dispatch;
use crate::Real;
use rayon::prelude::*;

/// Sizes of one depthwise convolution.
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
    /// 1 or 2.
    pub stride: usize,
}

impl Dims {
    /// Output height.
    pub fn out_height(&self) -> usize {
        self.height.div_ceil(self.stride)
    }

    /// Output width.
    pub fn out_width(&self) -> usize {
        self.width.div_ceil(self.stride)
    }

    fn plane(&self) -> usize {
        self.height * self.width * self.batch
    }

    fn out_plane(&self) -> usize {
        self.out_height() * self.out_width() * self.batch
    }

    /// The input pixel under `tap` (row-major 3×3) of an output pixel; none on the zero border.
    #[inline(always)]
    fn input_under(&self, [row, column]: [usize; 2], tap: usize) -> Option<usize> {
        let r = (row * self.stride + tap / 3).checked_sub(1)?;
        let c = (column * self.stride + tap % 3).checked_sub(1)?;
        (r < self.height && c < self.width).then_some(r * self.width + c)
    }

    /// The output pixel that sees an input pixel through `tap`, if there is one.
    #[inline(always)]
    fn output_over(&self, [row, column]: [usize; 2], tap: usize) -> Option<usize> {
        let r = (row + 1).checked_sub(tap / 3)?;
        let c = (column + 1).checked_sub(tap % 3)?;
        let (out_r, out_c) = (r / self.stride, c / self.stride);
        let seen = r % self.stride == 0 && c % self.stride == 0;
        (seen && out_r < self.out_height() && out_c < self.out_width())
            .then_some(out_r * self.out_width() + out_c)
    }
}

/// `y[c] = x[c] ⋆ weight[c]`.
///
/// Shapes: `x: [C, H, W, N]`, `weight: [C, 1, 3, 3]`, `y: [C, Ho, Wo, N]` with `Ho = ceil(H / stride)`.
pub fn forward<T: Real>(x: &[T], weight: &[T], y: &mut [T], dims: Dims) {
    let channels =
        y.par_chunks_mut(dims.out_plane()).zip(x.par_chunks(dims.plane())).zip(weight.par_chunks(9));
    channels.for_each(|((y, x), kernel)| {
        weighted_pixels(x, kernel, y, (dims.out_width(), dims.batch), |at, tap| dims.input_under(at, tap));
    });
}

/// Gradient to the input: each input pixel collects the outputs that saw it.
///
/// Shapes: `weight: [C, 1, 3, 3]`, `dy: [C, Ho, Wo, N]`, `dx: [C, H, W, N]`.
pub fn input_gradient<T: Real>(weight: &[T], dy: &[T], dx: &mut [T], dims: Dims) {
    let channels =
        dx.par_chunks_mut(dims.plane()).zip(dy.par_chunks(dims.out_plane())).zip(weight.par_chunks(9));
    channels.for_each(|((dx, dy), kernel)| {
        weighted_pixels(dy, kernel, dx, (dims.width, dims.batch), |at, tap| dims.output_over(at, tap));
    });
}

/// Gradient to the weight: for each tap the inner product of the input under it with `dy`.
///
/// Shapes: `x: [C, H, W, N]`, `dy: [C, Ho, Wo, N]`, `dw: [C, 1, 3, 3]`.
pub fn weight_gradient<T: Real>(x: &[T], dy: &[T], dw: &mut [T], dims: Dims) {
    let channels = dw.par_chunks_mut(9).zip(x.par_chunks(dims.plane())).zip(dy.par_chunks(dims.out_plane()));
    channels.for_each(|((dw, x), dy)| {
        let mut totals = [0.0; 9];
        for (row, dy) in dy.chunks_exact(dims.out_width() * dims.batch).enumerate() {
            dispatch(
                #[inline(always)]
                || row_products(x, dy, row, dims, &mut totals),
            );
        }
        for (gradient, total) in dw.iter_mut().zip(totals) {
            *gradient = T::from_f64(total);
        }
    });
}

/// `target[p] = Σ_tap kernel[tap] · source[from(p, tap)]` for every pixel `p` of one plane.
#[inline(always)]
fn weighted_pixels<T: Real>(
    source: &[T],
    kernel: &[T],
    target: &mut [T],
    (width, batch): (usize, usize),
    from: impl Fn([usize; 2], usize) -> Option<usize>,
) {
    dispatch(
        #[inline(always)]
        || {
            for (pixel, out) in target.chunks_exact_mut(batch).enumerate() {
                let mut taps = [(T::zero(), source); 9];
                let mut count = 0;
                for (tap, &weight) in kernel.iter().enumerate() {
                    if let Some(index) = from([pixel / width, pixel % width], tap) {
                        taps[count] = (weight, &source[index * batch..][..batch]);
                        count += 1;
                    }
                }
                weighted_runs(&taps[..count], out);
            }
        },
    );
}

/// `out = Σ weight · run`, in blocks that stay in registers.
#[inline(always)]
fn weighted_runs<T: Real>(taps: &[(T, &[T])], out: &mut [T]) {
    let done = weighted_blocks::<T, 32>(taps, out, 0);
    let done = weighted_blocks::<T, 8>(taps, out, done);
    weighted_blocks::<T, 1>(taps, out, done);
}

/// As many blocks of `B` as fit from `start` on; gives the end of the last one.
#[inline(always)]
fn weighted_blocks<T: Real, const B: usize>(taps: &[(T, &[T])], out: &mut [T], start: usize) -> usize {
    let mut start = start;
    while start + B <= out.len() {
        let mut totals = [T::zero(); B];
        for &(weight, run) in taps {
            for (total, &value) in totals.iter_mut().zip(&run[start..start + B]) {
                *total = weight.mul_add(value, *total);
            }
        }
        out[start..start + B].copy_from_slice(&totals);
        start += B;
    }
    start
}

/// Adds the inner products of one output row with the input under each tap.
#[inline(always)]
fn row_products<T: Real>(x: &[T], dy: &[T], row: usize, dims: Dims, totals: &mut [f64; 9]) {
    const LANES: usize = 8;
    let mut lanes = [[T::zero(); LANES]; 9];
    for (column, dy) in dy.chunks_exact(dims.batch).enumerate() {
        for (tap, lanes) in lanes.iter_mut().enumerate() {
            let Some(index) = dims.input_under([row, column], tap) else { continue };
            let run = &x[index * dims.batch..][..dims.batch];
            let ((x_blocks, x_rest), (dy_blocks, dy_rest)) =
                (run.as_chunks::<LANES>(), dy.as_chunks::<LANES>());
            for (x, dy) in x_blocks.iter().zip(dy_blocks) {
                for lane in 0..LANES {
                    lanes[lane] = x[lane].mul_add(dy[lane], lanes[lane]);
                }
            }
            for (lane, (&x, &dy)) in x_rest.iter().zip(dy_rest).enumerate() {
                lanes[lane] = x.mul_add(dy, lanes[lane]);
            }
        }
    }
    for (total, lanes) in totals.iter_mut().zip(&lanes) {
        *total += lanes.iter().fold(0.0, |sum, lane| sum + lane.widen());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, one output at a time.
    fn reference(x: &[f64], weight: &[f64], dims: Dims) -> Vec<f64> {
        let mut y = Vec::new();
        let (height, width) = (dims.height as isize, dims.width as isize);
        for channel in 0..dims.channels {
            for pixel in 0..dims.out_height() * dims.out_width() {
                let (row, column) = (pixel / dims.out_width(), pixel % dims.out_width());
                for image in 0..dims.batch {
                    let mut sum = 0.0;
                    for k in 0..9 {
                        let r = (row * dims.stride + k / 3) as isize - 1;
                        let c = (column * dims.stride + k % 3) as isize - 1;
                        if (0..height).contains(&r) && (0..width).contains(&c) {
                            let at = (channel as isize * height + r) * width + c;
                            sum += weight[channel * 9 + k] * x[at as usize * dims.batch + image];
                        }
                    }
                    y.push(sum);
                }
            }
        }
        y
    }

    fn values(len: usize, seed: u64) -> Vec<f64> {
        (0..len as u64).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f64 / 504.5 - 1.0).collect()
    }

    #[test]
    fn forward_is_the_definition_and_the_gradients_are_its_adjoints() {
        for (height, width, batch) in [(1, 1, 5), (2, 2, 43), (1, 5, 1), (4, 3, 32), (7, 7, 8), (14, 9, 9)] {
            for stride in [1, 2] {
                let dims = Dims { channels: 3, height, width, batch, stride };
                let x = values(3 * dims.plane(), 1);
                let weight = values(27, 2);
                let dy = values(3 * dims.out_plane(), 3);
                let mut y = vec![0.0; dy.len()];
                forward(&x, &weight, &mut y, dims);
                let expected = reference(&x, &weight, dims);
                assert!(y.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-12), "{dims:?}");

                // <dy, y> is linear in x and in the weight: <dx, x> = <dw, w> = <dy, y>.
                let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                let mut dx = vec![0.0; x.len()];
                input_gradient(&weight, &dy, &mut dx, dims);
                let mut dw = vec![0.0; 27];
                weight_gradient(&x, &dy, &mut dw, dims);
                let expected = dot(&dy, &y);
                assert!((dot(&dx, &x) - expected).abs() < 1e-9 * expected.abs().max(1.0), "{dims:?}");
                assert!((dot(&dw, &weight) - expected).abs() < 1e-9 * expected.abs().max(1.0), "{dims:?}");
            }
        }
    }
}
