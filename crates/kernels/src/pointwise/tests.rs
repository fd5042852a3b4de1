//! Against plain loops in f64, with every instruction set, path and number of threads.

use super::super::activation::{
    GateSums, Input, InputGradient, Norm, NormGradient, OutputGradient, Statistics,
};
use super::*;
use half::bf16;
use sparse_network::Bounds;
use sparse_vectors::Real;
use sparse_vectors::{level::Level, vector::Stored};

/// Below many of the values, so that the gate shuts at both ends.
const CEILING: f64 = 0.75;

/// Numbers in (-1, 1).
fn values(len: usize, seed: u64) -> Vec<f64> {
    (0..len as u64).map(|i| ((i * 7919 + seed * 104_729) % 2017) as f64 / 1008.5 - 1.0).collect()
}

/// A layer with everything its passes read, in f64.
struct Case {
    dims: Dims,
    weight: Vec<f64>,
    words: Vec<u64>,
    /// Input, raw; gradient; output, raw.
    x: Vec<f64>,
    g: Vec<f64>,
    y: Vec<f64>,
    /// Mean, gain, offset of the input; mean, gain, constant, slope of the output.
    of_input: [Vec<f64>; 3],
    of_output: [Vec<f64>; 4],
}

/// What the passes give.
#[derive(Debug, PartialEq)]
struct Found<E> {
    y: Vec<E>,
    mean: Vec<f64>,
    variance: Vec<f64>,
    dx: Vec<E>,
    sum: Vec<f64>,
    product: Vec<f64>,
    dw: Vec<f64>,
}

impl Case {
    /// About `kept` sevenths of the weights are kept.
    fn new([outputs, inputs, pixels]: [usize; 3], kept: usize) -> Self {
        let mut weight = values(outputs * inputs, 1);
        let mut words = vec![0u64; weight.len().div_ceil(64)];
        for (i, weight) in weight.iter_mut().enumerate() {
            if (i * 5 + i / 7) % 7 < kept {
                words[i / 64] |= 1 << (i % 64);
            } else {
                *weight = 0.0;
            }
        }
        Self {
            dims: Dims { outputs, inputs, pixels },
            weight,
            words,
            x: values(inputs * pixels, 2),
            g: values(outputs * pixels, 3),
            y: values(outputs * pixels, 4),
            of_input: [5, 6, 7].map(|seed| values(inputs, seed)),
            of_output: [8, 9, 10, 11].map(|seed| values(outputs, seed)),
        }
    }

    /// The same by loops.
    fn expected(&self, normalised: bool) -> Found<f64> {
        let Dims { outputs, inputs, pixels } = self.dims;
        let z = |i: usize, p: usize| {
            let [mean, gain, offset] = &self.of_input;
            let y = self.x[i * pixels + p];
            if normalised { ((y - mean[i]) * gain[i] + offset[i]).clamp(0.0, CEILING) } else { y }
        };
        let dy = |o: usize, p: usize| {
            let [mean, gain, constant, slope] = &self.of_output;
            let (g, y) = (self.g[o * pixels + p], self.y[o * pixels + p]);
            if normalised { gain[o] * (g - constant[o] - (y - mean[o]) * slope[o]) } else { g }
        };
        let w = |o: usize, i: usize| self.weight[o * inputs + i];
        let rows = |count: usize, f: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
            (0..count * pixels).map(|at| f(at / pixels, at % pixels)).collect()
        };
        let y = rows(outputs, &|o, p| (0..inputs).map(|i| w(o, i) * z(i, p)).sum());
        let dx = rows(inputs, &|i, p| {
            let open = !normalised || z(i, p) > 0.0 && z(i, p) < CEILING;
            if open { (0..outputs).map(|o| w(o, i) * dy(o, p)).sum() } else { 0.0 }
        });
        let by_row = |values: &[f64], f: &dyn Fn(usize, usize, f64) -> f64| -> Vec<f64> {
            let rows = values.chunks_exact(pixels).enumerate();
            rows.map(|(r, row)| row.iter().enumerate().map(|(p, &v)| f(r, p, v)).sum()).collect()
        };
        let mean = by_row(&y, &|_, _, y| y / pixels as f64);
        let variance = by_row(&y, &|r, _, y| (y - mean[r]).powi(2) / pixels as f64);
        let product = by_row(&dx, &|r, p, g| g * (self.x[r * pixels + p] - self.of_input[0][r]));
        let dw = (0..outputs * inputs)
            .map(|at| (0..pixels).map(|p| dy(at / inputs, p) * z(at % inputs, p)).sum())
            .collect();
        let sum = by_row(&dx, &|_, _, g| g);
        Found { y, mean, variance, sum, product, dx, dw }
    }

    /// By the kernels.
    fn found<E: Stored>(&self, normalised: bool, sparse: bool) -> Found<E> {
        let real =
            |values: &[f64]| -> Vec<E::Real> { values.iter().map(|&v| E::Real::from_f64(v)).collect() };
        let stored = |values: &[f64]| -> Vec<E> { real(values).into_iter().map(E::store).collect() };
        let wide = |values: Vec<E::Real>| -> Vec<f64> { values.into_iter().map(Real::widen).collect() };
        let Dims { outputs, inputs, pixels } = self.dims;
        let zeros = |len: usize| vec![E::Real::from_f64(0.0); len];
        let (weight, x, g, y) = (real(&self.weight), stored(&self.x), stored(&self.g), stored(&self.y));
        let [mean, gain, offset] = self.of_input.each_ref().map(|values| real(values));
        let input = if normalised {
            let bounds = Bounds { low: 0.0, high: CEILING };
            Input::Normalised(&x, Norm { mean: &mean, gain: &gain, offset: &offset, bounds })
        } else {
            Input::Plain(x.as_slice())
        };
        let [y_mean, y_gain, constant, slope] = self.of_output.each_ref().map(|values| real(values));
        let norm = NormGradient { mean: &y_mean, gain: &y_gain, constant: &constant, slope: &slope };
        let dy =
            if normalised { OutputGradient::ThroughNorm(&g, &y, norm) } else { OutputGradient::Plain(&g) };
        let pattern = Pattern::new(&self.words, outputs, inputs);
        let kept = sparse.then_some(&pattern);

        let mut out = vec![E::default(); outputs * pixels];
        let (shift, mut out_mean, mut variance) =
            (real(&values(outputs, 12)), zeros(outputs), zeros(outputs));
        let statistics = Statistics { shift: &shift, mean: &mut out_mean, variance: &mut variance };
        forward(&weight, kept, input, &mut out, Some(statistics), self.dims);

        let mut dx = vec![E::default(); inputs * pixels];
        let (mut sum, mut product, mut dw) = (zeros(inputs), zeros(inputs), zeros(outputs * inputs));
        let sums = normalised.then_some(GateSums { sum: &mut sum, product: &mut product });
        let into = Gradients { dx: InputGradient::only(&mut dx, sums), dw: &mut dw };
        backward(&weight, Kept { input: kept, weight: kept }, input, dy, into, self.dims);
        let (mean, variance) = (wide(out_mean), wide(variance));
        Found { y: out, mean, variance, dx, sum: wide(sum), product: wide(product), dw: wide(dw) }
    }

    fn kept(&self, weight: usize) -> bool {
        self.words[weight / 64] >> (weight % 64) & 1 == 1
    }
}

/// Largest difference, as a share of the largest expected value (of 0.1, where all are smaller).
fn error(got: &[f64], expected: &[f64]) -> f64 {
    let largest = expected.iter().fold(0.1_f64, |largest, value| largest.max(value.abs()));
    got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / largest
}

fn check<E: Stored>(case: &Case, [normalised, sparse]: [bool; 2], tolerance: f64, level: Level) {
    let found = level.run(1, || case.found::<E>(normalised, sparse));
    let mut expected = case.expected(normalised);
    if sparse {
        expected.dw.iter_mut().enumerate().filter(|&(i, _)| !case.kept(i)).for_each(|(_, dw)| *dw = 0.0);
    }
    let wide = |values: &[E]| -> Vec<f64> { values.iter().map(|value| value.load().widen()).collect() };
    let mut errors = vec![
        ("y", error(&wide(&found.y), &expected.y)),
        ("mean", error(&found.mean, &expected.mean)),
        ("variance", error(&found.variance, &expected.variance)),
        ("dx", error(&wide(&found.dx), &expected.dx)),
        ("dw", error(&found.dw, &expected.dw)),
    ];
    if normalised {
        errors.push(("sum", error(&found.sum, &expected.sum)));
        errors.push(("product", error(&found.product, &expected.product)));
    }
    for (name, error) in errors {
        assert!(error < tolerance, "{name} of {:?}, {normalised} {sparse} {level:?}: {error}", case.dims);
    }
}

/// Sizes with whole and broken tiles, runs and row groups.
const SIZES: [[usize; 3]; 7] =
    [[1, 1, 1], [5, 3, 7], [7, 33, 64], [64, 32, 130], [70, 100, 257], [130, 6, 1100], [9, 65, 2050]];

#[test]
fn f64_passes_equal_the_loops_in_every_instruction_set() {
    for size in SIZES {
        let case = Case::new(size, 3);
        for &level in Level::ALL {
            for paths in [[false, false], [false, true], [true, false], [true, true]] {
                check::<f64>(&case, paths, 1e-11, level);
            }
        }
    }
}

#[test]
fn f32_and_bf16_passes_are_close_to_the_loops() {
    for size in SIZES {
        let case = Case::new(size, 3);
        for &level in Level::ALL {
            check::<f32>(&case, [true, false], 1e-3, level);
            check::<f32>(&case, [true, true], 1e-3, level);
        }
    }
    // The gate of a value near zero depends on its rounding: without a ReLU, so that only roundings are left.
    for &level in Level::ALL {
        check::<bf16>(&Case::new([64, 32, 130], 7), [false, false], 2e-2, level);
    }
}

#[test]
fn leaving_zeros_out_changes_no_bit_of_outputs_and_input_gradients() {
    for size in SIZES {
        for kept in [0, 1, 4, 7] {
            let case = Case::new(size, kept);
            for &level in Level::ALL {
                let [dense, sparse] =
                    [false, true].map(|sparse| level.run(2, || case.found::<f32>(true, sparse)));
                // All but the gradient to the weight, which adds in another order.
                let sparse = Found { dw: dense.dw.clone(), ..sparse };
                assert_eq!(dense, sparse, "{size:?} {level:?}");
            }
        }
    }
}

#[test]
fn no_bit_depends_on_the_number_of_threads() {
    for size in SIZES {
        let case = Case::new(size, 3);
        for sparse in [false, true] {
            let [one, three] =
                [1, 3].map(|threads| Level::Widest.run(threads, || case.found::<f32>(true, sparse)));
            assert_eq!(one, three, "{size:?} {sparse}");
        }
    }
}

#[test]
#[should_panic(expected = "pattern of another weight")]
fn a_pattern_of_another_shape_is_refused() {
    let dims = Dims { outputs: 2, inputs: 3, pixels: 4 };
    let pattern = Pattern::new(&[u64::MAX; 2], 2, 40);
    forward(&[1.0f32; 6], Some(&pattern), Input::Plain(&[1.0f32; 12]), &mut [0.0; 8], None, dims);
}
