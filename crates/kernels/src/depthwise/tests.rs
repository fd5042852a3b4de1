//! Against the steps one after the other, one element at a time, in f64.

use super::super::activation::{GateSums, Input, Norm, NormGradient, OutputGradient, Statistics};
use super::*;
use half::bf16;
use sparse_network::Bounds;
use sparse_vectors::vector::Stored;

const CHANNELS: usize = 3;

/// Numbers that f32 and bf16 hold exactly, so that a gate closes for all types alike.
fn values(len: usize, seed: usize) -> Vec<f64> {
    (0..len).map(|i| ((i * 7919 + seed * 104_729) % 127) as f64 / 64.0 - 1.0).collect()
}

/// What goes in, and with `bounds` the coefficients that act on it and what bounds it then.
struct Case {
    dims: Dims,
    bounds: Option<Bounds>,
    x: Vec<f64>,
    weight: Vec<f64>,
    g: Vec<f64>,
    raw: Vec<f64>,
}

const MEAN: [f64; 3] = [0.25, -0.5, 0.125];
const GAIN: [f64; 3] = [1.5, -0.75, 2.0];
const OFFSET: [f64; 3] = [0.25, 0.125, -0.5];
/// Below many of the values, so that the gate shuts at both ends.
const BOUNDS: Bounds = Bounds { low: 0.0, high: 0.75 };
const CONSTANT: [f64; 3] = [0.5, -0.25, 0.125];
const SLOPE: [f64; 3] = [0.25, 0.5, -0.125];
const SHIFT: [f64; 3] = [0.5, 0.0, -0.25];

/// All that comes out.
#[derive(Debug, PartialEq)]
struct Results {
    y: Vec<f64>,
    mean: Vec<f64>,
    variance: Vec<f64>,
    dx: Vec<f64>,
    dw: Vec<f64>,
    sum: Vec<f64>,
    product: Vec<f64>,
}

impl Case {
    fn new(dims: Dims, bounds: Option<Bounds>) -> Self {
        let (inputs, outputs) = (CHANNELS * dims.plane(), CHANNELS * dims.out_plane());
        Self {
            dims,
            bounds,
            x: values(inputs, 1),
            weight: values(CHANNELS * 9, 2),
            g: values(outputs, 3),
            raw: values(outputs, 4),
        }
    }

    /// Calls `each(input, output, weight)` for all that meet in the convolution.
    fn meetings(&self, mut each: impl FnMut(usize, usize, usize)) {
        let dims = self.dims;
        for channel in 0..CHANNELS {
            for pixel in 0..dims.out_height() * dims.out_width() {
                let (row, column) = (pixel / dims.out_width(), pixel % dims.out_width());
                for tap in 0..9 {
                    // "SAME": the last window ends at the image or one behind, an odd line of zeros comes last.
                    let before = |side: usize, out: usize| match dims.padding {
                        Padding::Symmetric | Padding::Lines(_) => 1,
                        Padding::Same => ((out - 1) * dims.stride + 3 - side) / 2,
                    };
                    let r =
                        (row * dims.stride + tap / 3).wrapping_sub(before(dims.height, dims.out_height()));
                    let c =
                        (column * dims.stride + tap % 3).wrapping_sub(before(dims.width, dims.out_width()));
                    if r >= dims.height || c >= dims.width {
                        continue;
                    }
                    for image in 0..dims.batch {
                        let input = channel * dims.plane() + (r * dims.width + c) * dims.batch + image;
                        let output = channel * dims.out_plane() + pixel * dims.batch + image;
                        each(input, output, channel * 9 + tap);
                    }
                }
            }
        }
    }

    fn expected(&self) -> Results {
        let (plane, out_plane) = (self.dims.plane(), self.dims.out_plane());
        let mut z = self.x.clone();
        let mut dy = self.g.clone();
        if let Some(bounds) = self.bounds {
            for (i, z) in z.iter_mut().enumerate() {
                let c = i / plane;
                *z = ((*z - MEAN[c]) * GAIN[c] + OFFSET[c]).clamp(bounds.low, bounds.high);
            }
            for (i, dy) in dy.iter_mut().enumerate() {
                let c = i / out_plane;
                *dy = GAIN[c] * (*dy - CONSTANT[c] - (self.raw[i] - MEAN[c]) * SLOPE[c]);
            }
        }
        let (mut y, mut dx, mut dw) = (vec![0.0; dy.len()], vec![0.0; z.len()], vec![0.0; CHANNELS * 9]);
        self.meetings(|input, output, tap| {
            y[output] += self.weight[tap] * z[input];
            dx[input] += self.weight[tap] * dy[output];
            dw[tap] += z[input] * dy[output];
        });
        let (mut sum, mut product) = (vec![0.0; CHANNELS], vec![0.0; CHANNELS]);
        if let Some(bounds) = self.bounds {
            for (i, dx) in dx.iter_mut().enumerate() {
                *dx = if z[i] > bounds.low && z[i] < bounds.high { *dx } else { 0.0 };
                sum[i / plane] += *dx;
                product[i / plane] += *dx * (self.x[i] - MEAN[i / plane]);
            }
        }
        let mean = |of: &dyn Fn(f64, usize) -> f64| -> Vec<f64> {
            let channel = |c: usize| y[c * out_plane..][..out_plane].iter().map(|&y| of(y, c)).sum::<f64>();
            (0..CHANNELS).map(|c| channel(c) / out_plane as f64).collect()
        };
        let means = mean(&|y, _| y);
        let variance = mean(&|y, c| (y - means[c]).powi(2));
        Results { mean: means, variance, y, dx, dw, sum, product }
    }

    fn computed<E: Stored>(&self) -> Results {
        let real = |values: &[f64]| values.iter().map(|&v| E::Real::from_f64(v)).collect::<Vec<_>>();
        let stored = |values: &[f64]| real(values).into_iter().map(<E as Stored>::store).collect::<Vec<E>>();
        let wide = |values: &[E::Real]| values.iter().map(|v| v.widen()).collect::<Vec<_>>();
        let [mean, gain, offset, constant, slope, shift] =
            [MEAN, GAIN, OFFSET, CONSTANT, SLOPE, SHIFT].map(|values| real(&values));
        let (x, weight, g, raw) = (stored(&self.x), real(&self.weight), stored(&self.g), stored(&self.raw));
        let input = match self.bounds {
            Some(bounds) => Input::Normalised(&x, Norm { mean: &mean, gain: &gain, offset: &offset, bounds }),
            None => Input::Plain(&x),
        };
        let norm = NormGradient { mean: &mean, gain: &gain, constant: &constant, slope: &slope };
        let dy = match self.bounds.is_some() {
            true => OutputGradient::ThroughNorm(&g, &raw, norm),
            false => OutputGradient::Plain(&g),
        };
        // What lies in the results before must not matter.
        let one = E::Real::from_f64(1.0);
        let (mut y, mut dx, mut dw) =
            (vec![E::store(one); g.len()], vec![E::store(one); x.len()], vec![one; CHANNELS * 9]);
        let (mut y_mean, mut variance) = (vec![one; CHANNELS], vec![one; CHANNELS]);
        let (mut sum, mut product) = (real(&[0.0; CHANNELS]), real(&[0.0; CHANNELS]));
        let statistics = Statistics { shift: &shift, mean: &mut y_mean, variance: &mut variance };
        forward(input, &weight, &mut y, Some(statistics), self.dims);
        let mut y_alone = vec![E::store(one); g.len()];
        forward(input, &weight, &mut y_alone, None, self.dims);
        let sums = self.bounds.is_some().then_some(GateSums { sum: &mut sum, product: &mut product });
        backward(input, &weight, dy, &mut dx, sums, &mut dw, self.dims);
        let loaded = |values: Vec<E>| values.into_iter().map(|v| v.load().widen()).collect::<Vec<_>>();
        let y = loaded(y);
        assert_eq!(y, loaded(y_alone), "{:?}", self.dims);
        Results {
            y,
            mean: wide(&y_mean),
            variance: wide(&variance),
            dx: loaded(dx),
            dw: wide(&dw),
            sum: wide(&sum),
            product: wide(&product),
        }
    }
}

fn cases() -> impl Iterator<Item = Case> {
    let planes = [(1, 1), (2, 2), (1, 5), (4, 3), (5, 4), (7, 7), (14, 9)];
    let sizes = planes.into_iter().flat_map(|plane| [1, 5, 8, 9, 32, 43].map(|batch| (plane, batch)));
    let kinds = [(1, Padding::Symmetric), (2, Padding::Symmetric), (1, Padding::Same), (2, Padding::Same)];
    let strided = sizes.flat_map(move |(plane, batch)| kinds.map(|kind| (plane, batch, kind)));
    strided.flat_map(|((height, width), batch, (stride, padding))| {
        let dims = Dims { channels: CHANNELS, height, width, batch, stride, padding };
        [None, Some(BOUNDS), Some(Bounds::NONE)].map(|bounds| Case::new(dims, bounds))
    })
}

fn check<E: Stored>(tolerance: f64) {
    for case in cases() {
        let (expected, computed) = (case.expected(), case.computed::<E>());
        let near = |name: &str, a: &[f64], b: &[f64]| {
            let scale = a.iter().fold(1.0f64, |most, a| most.max(a.abs()));
            let off = a.iter().zip(b).position(|(a, b)| {
                (a - b).abs().partial_cmp(&(tolerance * scale)).is_none_or(std::cmp::Ordering::is_gt)
            });
            let what = off.map(|i| (i, a[i], b[i]));
            assert!(
                a.len() == b.len() && off.is_none(),
                "{name} {what:?}, {:?}, {:?}",
                case.dims,
                case.bounds
            );
        };
        near("y", &expected.y, &computed.y);
        near("mean", &expected.mean, &computed.mean);
        near("variance", &expected.variance, &computed.variance);
        near("dx", &expected.dx, &computed.dx);
        near("dw", &expected.dw, &computed.dw);
        near("sum", &expected.sum, &computed.sum);
        near("product", &expected.product, &computed.product);
    }
}

#[test]
fn f64_is_the_separate_steps() {
    check::<f64>(1e-10);
}

#[test]
fn f32_is_near_the_separate_steps() {
    check::<f32>(1e-5);
}

#[test]
fn bf16_is_near_the_separate_steps() {
    check::<bf16>(1.0 / 128.0);
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let (one, two) = (pool(1), pool(2));
    for case in cases() {
        let computed = || case.computed::<f32>();
        assert_eq!(one.install(computed), two.install(computed), "{:?}", case.dims);
    }
}

#[test]
fn a_nan_is_not_hidden_by_the_rectifier() {
    let dims = Dims { channels: 1, height: 2, width: 2, batch: 1, stride: 1, padding: Padding::Symmetric };
    let norm = Norm { mean: &[0.0f32], gain: &[1.0], offset: &[0.0], bounds: Bounds::RELU6 };
    let mut y = [0.0; 4];
    forward(Input::Normalised(&[f32::NAN, 1.0, 1.0, 1.0], norm), &[1.0; 9], &mut y, None, dims);
    assert!(y.iter().all(|y| y.is_nan()), "{y:?}");
}
