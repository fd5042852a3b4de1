use super::super::activation::{GateSums, InputGradient, Norm, NormGradient, OutputGradient};
use super::*;
use half::bf16;
use sparse_network::{Bounds, Padding};
use sparse_vectors::level::Level;

/// What a plain loop gives: outputs, and gradients to input and weight with their sums.
struct Expected {
    y: Vec<f64>,
    dx: Vec<f64>,
    sums: [Vec<f64>; 2],
    dw: Vec<f64>,
}

fn numbers(len: usize, seed: usize) -> Vec<f64> {
    (0..len).map(|i| ((i * 7919 + seed * 104_729) % 255) as f64 / 128.0 - 1.0).collect()
}

/// Numbers that bf16 holds exactly.
fn stored(len: usize, seed: usize) -> Vec<f64> {
    numbers(len, seed).into_iter().map(|v| f64::from(bf16::from_f64(v))).collect()
}

const BOUNDS: Bounds = Bounds { low: -0.25, high: 0.75 };

struct Case {
    dims: Dims,
    x: Vec<f64>,
    weight: Vec<f64>,
    g: Vec<f64>,
    /// Mean, gain and offset of the input's channels.
    norm: [Vec<f64>; 3],
    /// Part of the gradient that is there.
    old: Option<Vec<f64>>,
    sparse: bool,
}

impl Case {
    fn new(dims: Dims, sparse: bool, adds: bool) -> Self {
        let inputs = dims.inputs * dims.plane();
        let mut weight = numbers(dims.outputs * dims.inner(), 2);
        if sparse {
            weight.iter_mut().enumerate().filter(|(i, _)| i % 3 != 0).for_each(|(_, w)| *w = 0.0);
        }
        Self {
            x: stored(inputs, 1),
            weight,
            g: stored(dims.outputs * dims.out_plane(), 3),
            norm: [numbers(dims.inputs, 4), numbers(dims.inputs, 5), numbers(dims.inputs, 6)],
            old: adds.then(|| stored(inputs, 7)),
            dims,
            sparse,
        }
    }

    fn z(&self, channel: usize, y: f64) -> f64 {
        (y - self.norm[0][channel]) * self.norm[1][channel] + self.norm[2][channel]
    }

    /// The pairs of input pixel and output pixel under a tap, and the tap.
    fn pairs(&self) -> Vec<[usize; 3]> {
        let (dims, window) = (self.dims, self.dims.window);
        let before = dims.before();
        let mut pairs = Vec::new();
        for (oy, ox) in (0..dims.out_height()).flat_map(|r| (0..dims.out_width()).map(move |c| (r, c))) {
            for (ty, tx) in (0..window.kernel[0]).flat_map(|r| (0..window.kernel[1]).map(move |c| (r, c))) {
                let r = (oy * window.stride[0] + ty * window.dilation[0]).checked_sub(before[0]);
                let c = (ox * window.stride[1] + tx * window.dilation[1]).checked_sub(before[1]);
                let (Some(r), Some(c)) = (r, c) else { continue };
                if r < dims.height && c < dims.width {
                    pairs.push([r * dims.width + c, oy * dims.out_width() + ox, ty * window.kernel[1] + tx]);
                }
            }
        }
        pairs
    }

    fn expected(&self) -> Expected {
        let Dims { outputs, inputs, batch, .. } = self.dims;
        let (plane, out_plane, taps) = (self.dims.plane(), self.dims.out_plane(), self.dims.taps());
        let mut y = vec![0.0; outputs * out_plane];
        let mut dx = self.old.clone().unwrap_or_else(|| vec![0.0; inputs * plane]);
        let mut dw = vec![0.0; self.weight.len()];
        for [from, to, tap] in self.pairs() {
            for (o, i) in (0..outputs).flat_map(|o| (0..inputs).map(move |i| (o, i))) {
                let w = (o * inputs + i) * taps + tap;
                for n in 0..batch {
                    let (x, y_at) = (i * plane + from * batch + n, o * out_plane + to * batch + n);
                    let z = self.z(i, self.x[x]).clamp(BOUNDS.low, BOUNDS.high);
                    y[y_at] += self.weight[w] * z;
                    dx[x] += self.weight[w] * self.g[y_at];
                    if !self.sparse || w % 3 == 0 {
                        dw[w] += self.g[y_at] * z;
                    }
                }
            }
        }
        let mut sums = [vec![0.0; inputs], vec![0.0; inputs]];
        for (at, dx) in dx.iter_mut().enumerate() {
            let channel = at / plane;
            let z = self.z(channel, self.x[at]);
            *dx = if BOUNDS.low < z && z < BOUNDS.high { *dx } else { 0.0 };
            sums[0][channel] += *dx;
            sums[1][channel] += *dx * (self.x[at] - self.norm[0][channel]);
        }
        Expected { y, dx, sums, dw }
    }

    fn computed<E: Stored>(&self) -> Expected {
        let dims = self.dims;
        let real = |values: &[f64]| values.iter().map(|&v| E::Real::from_f64(v)).collect::<Vec<_>>();
        let short =
            |values: &[f64]| values.iter().map(|&v| E::store(E::Real::from_f64(v))).collect::<Vec<E>>();
        let (x, weight, g) = (short(&self.x), real(&self.weight), short(&self.g));
        let norm = self.norm.each_ref().map(|values| real(values));
        let input =
            Input::Normalised(&x, Norm { mean: &norm[0], gain: &norm[1], offset: &norm[2], bounds: BOUNDS });
        let pattern = self.sparse.then(|| {
            let mut words = vec![0u64; weight.len().div_ceil(64)];
            (0..weight.len()).filter(|i| i % 3 == 0).for_each(|i| words[i / 64] |= 1 << (i % 64));
            Pattern::with_taps(&words, [dims.outputs, dims.inputs, dims.taps()], &tap_classes(dims.window))
        });
        let mut y = vec![E::default(); dims.outputs * dims.out_plane()];
        let (mut mean, mut variance) = (real(&vec![0.0; dims.outputs]), real(&vec![0.0; dims.outputs]));
        let shift = real(&vec![0.0; dims.outputs]);
        let statistics = Statistics { shift: &shift, mean: &mut mean, variance: &mut variance };
        forward(input, &weight, pattern.as_ref(), &mut y, Some(statistics), dims);
        let pixels = dims.out_plane() as f64;
        for (channel, mean) in mean.iter().enumerate() {
            let values = y[channel * dims.out_plane()..][..dims.out_plane()].iter();
            let expected = values.map(|v| v.load().widen()).sum::<f64>() / pixels;
            assert!((mean.widen() - expected).abs() < 0.05, "{mean:?} {expected}");
        }
        let mut dw = vec![E::Real::from_f64(7.0); weight.len()];
        weight_gradient(input, OutputGradient::Plain(&g), pattern.as_ref(), &mut dw, dims);
        let mut dx = self.old.as_ref().map_or_else(|| vec![E::default(); x.len()], |old| short(old));
        let (mut sum, mut product) = (real(&vec![9.0; dims.inputs]), real(&vec![9.0; dims.inputs]));
        let sums = Some(GateSums { sum: &mut sum, product: &mut product });
        let into = InputGradient { values: &mut dx, adds: self.old.is_some(), gated: true, sums };
        input_gradient(&weight, pattern.as_ref(), input, OutputGradient::Plain(&g), into, dims);
        let wide = |values: Vec<E::Real>| values.into_iter().map(Real::widen).collect::<Vec<_>>();
        let load = |values: Vec<E>| values.into_iter().map(|v| v.load().widen()).collect::<Vec<_>>();
        Expected { y: load(y), dx: load(dx), sums: [wide(sum), wide(product)], dw: wide(dw) }
    }
}

use sparse_vectors::Real;

#[track_caller]
fn near(got: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    let most = expected.iter().fold(1.0f64, |most, v| most.max(v.abs()));
    assert_eq!(got.len(), expected.len());
    for (i, (a, b)) in got.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance * most, "{what} {i}: {a} {b}");
    }
}

fn windows() -> Vec<Window> {
    let mut windows = Vec::new();
    for (kernel, stride) in [(3, 1), (3, 2), (7, 2), (1, 2), (5, 3), (2, 1)] {
        for padding in [Padding::Symmetric, Padding::Same, Padding::Lines([0, 1, 1, 0])] {
            windows.push(Window::square(kernel, stride, padding));
        }
    }
    windows.push(Window { kernel: [3, 1], stride: [1, 2], dilation: [2, 1], padding: Padding::Symmetric });
    windows
}

#[test]
fn results_are_those_of_plain_loops() {
    for window in windows() {
        for (inputs, outputs, height, width, batch) in [(3, 5, 9, 7, 2), (2, 4, 6, 8, 9), (5, 19, 7, 7, 32)] {
            for (sparse, adds) in [(false, false), (true, false), (false, true)] {
                let case = Case::new(Dims { outputs, inputs, height, width, batch, window }, sparse, adds);
                let expected = case.expected();
                let what = format!("{window:?} {inputs} {outputs} {batch} {sparse} {adds}");
                for (got, tolerance) in [
                    (case.computed::<f64>(), 1e-12),
                    (case.computed::<f32>(), 1e-5),
                    (case.computed::<bf16>(), 0.01),
                ] {
                    near(&got.y, &expected.y, tolerance, &what);
                    near(&got.dx, &expected.dx, tolerance, &what);
                    near(&got.dw, &expected.dw, tolerance, &what);
                    near(&got.sums[0], &expected.sums[0], tolerance, &what);
                    near(&got.sums[1], &expected.sums[1], tolerance, &what);
                }
            }
        }
    }
}

#[test]
fn a_gradient_through_batch_norm_is_read_so() {
    let window = Window::square(3, 2, Padding::Symmetric);
    let dims = Dims { outputs: 4, inputs: 3, height: 7, width: 6, batch: 3, window };
    let (x, weight) = (numbers(3 * dims.plane(), 1), numbers(4 * dims.inner(), 2));
    let (g, raw) = (numbers(4 * dims.out_plane(), 3), numbers(4 * dims.out_plane(), 4));
    let norm: [Vec<f64>; 4] = [5, 6, 7, 8].map(|seed| numbers(4, seed));
    let through = NormGradient { mean: &norm[0], gain: &norm[1], constant: &norm[2], slope: &norm[3] };
    let dy: Vec<f64> = (0..g.len())
        .map(|at| {
            let c = at / dims.out_plane();
            norm[1][c] * (g[at] - norm[2][c] - (raw[at] - norm[0][c]) * norm[3][c])
        })
        .collect();
    let run = |dy: OutputGradient<'_, f64>| {
        let (mut dw, mut dx) = (vec![0.0; weight.len()], vec![0.0; x.len()]);
        weight_gradient(Input::Plain(&x), dy, None, &mut dw, dims);
        input_gradient(&weight, None, Input::Plain(&x), dy, InputGradient::only(&mut dx, None), dims);
        [dw, dx]
    };
    let (got, expected) =
        (run(OutputGradient::ThroughNorm(&g, &raw, through)), run(OutputGradient::Plain(&dy)));
    near(&got[0], &expected[0], 1e-13, "dw");
    near(&got[1], &expected[1], 1e-13, "dx");
}

#[test]
fn neither_zeros_left_out_nor_threads_change_a_bit() {
    let window = Window::square(3, 2, Padding::Symmetric);
    let case = |sparse| {
        Case::new(Dims { outputs: 70, inputs: 40, height: 9, width: 9, batch: 8, window }, sparse, false)
    };
    let run = |threads, case: &Case| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let found = pool.install(|| case.computed::<f32>());
        [found.y, found.dx, found.dw]
    };
    let one = run(1, &case(true));
    assert!(run(3, &case(true)) == one);
    let dense = run(2, &Case { sparse: false, ..case(true) });
    assert!(dense[0] == one[0] && dense[1] == one[1]);
}

#[test]
fn every_instruction_set_agrees() {
    let window = Window::square(3, 1, Padding::Symmetric);
    let case = Case::new(Dims { outputs: 9, inputs: 4, height: 5, width: 6, batch: 8, window }, true, true);
    let expected = case.expected();
    for level in Level::ALL {
        level.run(2, || {
            let got = case.computed::<f32>();
            near(&got.y, &expected.y, 1e-5, "y");
            near(&got.dx, &expected.dx, 1e-5, "dx");
            near(&got.dw, &expected.dw, 1e-5, "dw");
        });
    }
}
