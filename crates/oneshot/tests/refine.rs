//! Weights in front of an activation with bounds, against a plain descent on the same objective.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::noise;
use sparse_oneshot::{Method, Places, Problem, Pruned, Statistics, Support};

const INPUTS: usize = 12;
const OUTPUTS: usize = 5;
const PIXELS: usize = 300;

/// A layer, and what it reads in the dense and in the pruned network.
struct Layer {
    weight: Vec<f32>,
    bias: Vec<f32>,
    dense: Vec<f32>,
    own: Vec<f32>,
}

impl Layer {
    fn new(seed: u64, outputs: usize, inputs: usize) -> Self {
        let mix = noise(inputs * inputs, seed);
        let source = noise(inputs * PIXELS, seed + 1);
        let mixed = |at: usize| -> f32 {
            (0..inputs).map(|i| mix[at / PIXELS * inputs + i] * source[i * PIXELS + at % PIXELS]).sum()
        };
        let dense: Vec<f32> = (0..inputs * PIXELS).map(mixed).collect();
        let off = noise(inputs * PIXELS, seed + 2);
        let own = dense.iter().zip(off).map(|(value, off)| value + 0.1 * off).collect();
        let bias = noise(outputs, seed + 4).iter().map(|bias| bias - 0.5).collect();
        Self { weight: noise(outputs * inputs, seed + 3), bias, dense, own }
    }

    fn problem(&self) -> Problem {
        let mut statistics = Statistics::new(self.dense.len() / PIXELS);
        statistics.add(&self.dense, Some(&self.own)).unwrap();
        statistics.problem(&self.weight, 1e-6).unwrap()
    }

    fn places(&self, bounds: [f32; 2]) -> Places {
        let mut places = Places::new(&self.weight, &self.bias, bounds);
        let all: Vec<usize> = (0..PIXELS).collect();
        places.add(&self.dense, Some(&self.own), &all).unwrap();
        places
    }
}

/// What an output gives at a pixel.
fn output(weight: &[f64], bias: f64, x: &[f32], pixel: usize) -> f64 {
    let inputs = weight.iter().enumerate();
    bias + inputs.map(|(input, weight)| weight * f64::from(x[input * PIXELS + pixel])).sum::<f64>()
}

/// The squared error after the activation as a share of the variance there, by the definition.
fn relative_error(layer: &Layer, pruned: &Pruned, [low, high]: [f64; 2]) -> f64 {
    let inputs = layer.dense.len() / PIXELS;
    let (mut errors, mut variance) = (0.0, 0.0);
    for (row, &bias) in layer.bias.iter().enumerate() {
        let of = |weight: &[f32]| -> Vec<f64> {
            weight[row * inputs..][..inputs].iter().map(|&weight| f64::from(weight)).collect()
        };
        let (before, after) = (of(&layer.weight), of(&pruned.weight));
        let bias = f64::from(bias);
        let wanted: Vec<f64> =
            (0..PIXELS).map(|at| output(&before, bias, &layer.dense, at).clamp(low, high)).collect();
        let mean = wanted.iter().sum::<f64>() / PIXELS as f64;
        for (at, wanted) in wanted.iter().enumerate() {
            let given = output(&after, bias + pruned.bias[row], &layer.own, at).clamp(low, high);
            errors += (given - wanted).powi(2);
            variance += (wanted - mean).powi(2);
        }
    }
    errors / variance
}

/// Gradient descent on squared distances to what is the same after the activation, one row, from where `pruned` is.
fn descend(layer: &Layer, pruned: &Pruned, row: usize, [low, high]: [f64; 2]) -> (Vec<f64>, f64) {
    let (bias, kept) = (f64::from(layer.bias[row]), |at: usize| pruned.mask.get(row * INPUTS + at));
    let dense: Vec<f64> =
        layer.weight[row * INPUTS..][..INPUTS].iter().map(|&weight| f64::from(weight)).collect();
    let wanted: Vec<f64> = (0..PIXELS).map(|at| output(&dense, bias, &layer.dense, at)).collect();
    let mut weight: Vec<f64> =
        pruned.weight[row * INPUTS..][..INPUTS].iter().map(|&weight| f64::from(weight)).collect();
    let mut own_bias = bias + pruned.bias[row];
    for _ in 0..20_000 {
        let (mut slope, mut bias_slope) = (vec![0.0; INPUTS], 0.0);
        for (at, &wanted) in wanted.iter().enumerate() {
            let given = output(&weight, own_bias, &layer.own, at);
            let nearest = match wanted {
                _ if wanted <= low => given.min(low),
                _ if wanted >= high => given.max(high),
                _ => wanted,
            };
            let off = (given - nearest) / PIXELS as f64;
            bias_slope += off;
            let x = layer.own.iter().skip(at).step_by(PIXELS);
            slope.iter_mut().zip(x).for_each(|(slope, &x)| *slope += off * f64::from(x));
        }
        own_bias -= 0.1 * bias_slope;
        (0..INPUTS).filter(|&at| kept(at)).for_each(|at| weight[at] -= 0.1 * slope[at]);
    }
    (weight, own_bias - bias)
}

#[test]
fn comes_near_to_a_descent_on_the_same_objective() {
    for (seed, high) in [(1, f32::INFINITY), (2, 0.8), (3, 6.0)] {
        let layer = Layer::new(seed, OUTPUTS, INPUTS);
        let bounds = [0.0, f64::from(high)];
        let (problem, places) = (layer.problem(), layer.places([0.0, high]));
        let linear = problem.prune(&Support::Count(OUTPUTS * 5), Method::Best).unwrap();
        let refined = problem.refine(linear.clone(), &places).unwrap();
        assert_eq!(refined.mask, linear.mask);
        let zeros =
            refined.weight.iter().enumerate().all(|(at, &weight)| refined.mask.get(at) || weight == 0.0);
        assert!(zeros, "weights where the mask has none");
        let mut best = linear.clone();
        for row in 0..OUTPUTS {
            let (weight, bias) = descend(&layer, &linear, row, bounds);
            let to = &mut best.weight[row * INPUTS..][..INPUTS];
            to.iter_mut().zip(weight).for_each(|(to, weight)| *to = weight as f32);
            best.bias[row] = bias;
        }
        let [before, after, least] = [&linear, &refined, &best].map(|of| relative_error(&layer, of, bounds));
        println!("up to {high}: least squares {before:.4}, refined {after:.4}, descent {least:.4}");
        assert!(
            (refined.relative_error - after).abs() < 1e-4 * after,
            "{} for {after}",
            refined.relative_error
        );
        assert!(before - after > 0.3 * (before - least), "{before}, {after}, where {least} is there");
    }
}

#[test]
fn without_bounds_nothing_is_gained() {
    let layer = Layer::new(7, OUTPUTS, INPUTS);
    let (problem, places) = (layer.problem(), layer.places([f32::NEG_INFINITY, f32::INFINITY]));
    let linear = problem.prune(&Support::Count(OUTPUTS * 4), Method::Best).unwrap();
    let refined = problem.refine(linear.clone(), &places).unwrap();
    let off = linear.weight.iter().zip(&refined.weight).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off < 1e-5, "{off}");
}

#[test]
fn never_worse_than_what_it_begins_with() {
    for seed in 0..20 {
        let layer = Layer::new(100 + seed, OUTPUTS, INPUTS);
        let (problem, places) = (layer.problem(), layer.places([0.0, 1.0]));
        for kept in [1, 10, 30, OUTPUTS * INPUTS] {
            let linear = problem.prune(&Support::Count(kept), Method::Magnitude).unwrap();
            let before = places.relative_error(&linear.weight, &linear.bias);
            let after = problem.refine(linear, &places).unwrap().relative_error;
            assert!(after <= before, "{after} where {before} was there");
        }
    }
}

#[test]
fn the_same_bits_for_any_number_of_threads() {
    let layer = Layer::new(9, 150, 130);
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let (problem, places) = (layer.problem(), layer.places([0.0, 2.0]));
            let pruned = problem.prune(&Support::Count(5000), Method::Admm).unwrap();
            problem.refine(pruned, &places).unwrap()
        })
    };
    let one = with(1);
    assert!([2, 3, 5].map(with).iter().all(|several| *several == one));
}

#[test]
fn inputs_and_outputs_that_are_dead_stay_so() {
    let mut layer = Layer::new(11, OUTPUTS, INPUTS);
    layer.dense[..PIXELS].fill(0.0);
    layer.own[..PIXELS].fill(0.0);
    layer.bias[0] = -1e6;
    let (problem, places) = (layer.problem(), layer.places([0.0, 6.0]));
    let pruned = problem.prune(&Support::Count(OUTPUTS * 6), Method::Admm).unwrap();
    let refined = problem.refine(pruned, &places).unwrap();
    assert!((0..OUTPUTS).all(|row| refined.weight[row * INPUTS] == 0.0));
    assert!(refined.weight.iter().all(|weight| weight.is_finite()) && refined.relative_error.is_finite());
}

#[test]
fn places_tell_mean_and_variance_of_outputs() {
    let layer = Layer::new(5, OUTPUTS, INPUTS);
    let places = layer.places([0.0, 6.0]);
    let weight = noise(OUTPUTS * INPUTS, 99);
    for (found, weight, x) in [
        (places.dense_outputs(), &layer.weight, &layer.dense),
        (places.outputs(&weight), &weight, &layer.own),
    ] {
        for (row, [mean, variance]) in weight.chunks(INPUTS).zip(found) {
            let row: Vec<f64> = row.iter().map(|&weight| f64::from(weight)).collect();
            let values: Vec<f64> = (0..PIXELS).map(|pixel| output(&row, 0.0, x, pixel)).collect();
            let wanted = values.iter().sum::<f64>() / PIXELS as f64;
            let squares = values.iter().map(|value| (value - wanted).powi(2)).sum::<f64>();
            assert!((mean - wanted).abs() < 1e-5, "{mean} for {wanted}");
            assert!((variance - squares / PIXELS as f64).abs() < 1e-4, "{variance}");
        }
    }
}
