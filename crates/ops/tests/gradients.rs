//! Every operation's gradient against central finite differences, in f64.

#![allow(clippy::unwrap_used, clippy::panic)]

use candle_core::{DType, Device, Result, Tensor, Var};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sparse_ops::Padding::{Same, Symmetric};
use sparse_ops::{
    Bounds, ChannelStatistics, Form, Pool, Window, batch_innermost, batch_norm, clip, conv, cross_entropy,
    depthwise3x3, global_mean_pool, linear, pointwise, pool,
};

/// Step of the finite difference, and the largest relative error allowed.
const STEP: f64 = 1e-5;
const TOLERANCE: f64 = 1e-7;

fn random(shape: &[usize], seed: u64) -> Tensor {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Compares the gradient of a random projection of `op(inputs)` with finite differences, element by element.
fn check(name: &str, inputs: &[Tensor], op: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let variables: Vec<Var> = inputs.iter().map(|input| Var::from_tensor(input).unwrap()).collect();
    let tracked: Vec<Tensor> = variables.iter().map(|variable| variable.as_tensor().clone()).collect();
    let y = op(&tracked).unwrap();
    let projection = random(y.dims(), 99);
    let value = |inputs: &[Tensor]| {
        (op(inputs).unwrap() * &projection).unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap()
    };
    let gradients = (y * &projection).unwrap().sum_all().unwrap().backward().unwrap();
    for (i, variable) in variables.iter().enumerate() {
        let gradient =
            gradients.get(variable.as_tensor()).unwrap_or_else(|| panic!("{name}: no gradient {i}"));
        assert_eq!(gradient.dims(), variable.dims(), "{name}: shape of gradient {i}");
        let gradient = gradient.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let base = inputs[i].flatten_all().unwrap().to_vec1::<f64>().unwrap();
        for (j, &analytic) in gradient.iter().enumerate() {
            let shifted = |delta: f64| {
                let mut values = base.clone();
                values[j] += delta;
                let mut inputs = inputs.to_vec();
                inputs[i] = Tensor::from_vec(values, inputs[i].dims(), &Device::Cpu).unwrap();
                value(&inputs)
            };
            let numeric = (shifted(STEP) - shifted(-STEP)) / (2.0 * STEP);
            let error = (analytic - numeric).abs() / numeric.abs().max(1.0);
            assert!(error < TOLERANCE, "{name}: input {i} element {j}: {analytic} against {numeric}");
        }
    }
}

#[test]
fn convolutions_of_any_window() {
    let windows = [
        (3, 1, 4, Symmetric),
        (3, 2, 5, Symmetric),
        (3, 2, 4, Same),
        (7, 2, 6, Symmetric),
        (1, 2, 5, Symmetric),
    ];
    for (kernel, stride, size, padding) in windows {
        let inputs = [random(&[3, size, size, 2], 1), random(&[4, 3, kernel, kernel], 2)];
        check("conv", &inputs, |i| conv(&i[0], &i[1], Window::square(kernel, stride, padding)));
    }
}

#[test]
fn bounds() {
    let x = (random(&[3, 2, 2, 4], 16) * 10.0).unwrap();
    for bounds in [Bounds::RELU, Bounds::RELU6, Bounds::NONE] {
        check("clip", std::slice::from_ref(&x), |i| clip(&i[0], bounds));
    }
}

#[test]
fn pooling_of_windows() {
    for kind in [Pool::Max, Pool::Mean { counts_padding: true }, Pool::Mean { counts_padding: false }] {
        for (kernel, stride, size) in [(3, 2, 6), (2, 2, 4), (3, 1, 4)] {
            let inputs = [random(&[2, size, size, 3], 17)];
            check("pool", &inputs, |i| pool(&i[0], Window::square(kernel, stride, Symmetric), kind));
        }
    }
}

#[test]
fn layout_change() {
    check("batch_innermost", &[random(&[3, 2, 2, 5], 15)], |i| batch_innermost(&i[0]));
}

#[test]
fn depthwise_convolution() {
    let sizes = [(1, 4, 3), (2, 5, 4), (2, 1, 1), (1, 2, 2)];
    for ((stride, height, width), padding) in sizes.into_iter().flat_map(|s| [(s, Symmetric), (s, Same)]) {
        let inputs = [random(&[3, height, width, 9], 3), random(&[3, 1, 3, 3], 4)];
        check("depthwise3x3", &inputs, |i| depthwise3x3(&i[0], &i[1], stride, padding));
    }
}

#[test]
fn pointwise_convolution() {
    let inputs = [random(&[3, 2, 3, 2], 5), random(&[5, 3, 1, 1], 6)];
    check("pointwise", &inputs, |i| pointwise(&i[0], &i[1]));
}

#[test]
fn batch_norm_with_bounds() {
    // A large scale, so that some values lie above the 6 of ReLU6.
    let scale = (random(&[3], 8) * 10.0).unwrap();
    let inputs = [random(&[3, 2, 2, 4], 7), scale, random(&[3], 9)];
    for bounds in [Bounds::RELU, Bounds::RELU6, Bounds::NONE] {
        check("batch_norm", &inputs, |i| {
            let statistics = ChannelStatistics::of_batch(&i[0])?;
            batch_norm(&i[0], &statistics, [&i[1], &i[2]], Form { epsilon: 1e-5, bounds })
        });
    }
}

#[test]
fn pooling() {
    check("global_mean_pool", &[random(&[3, 2, 3, 2], 10)], |i| global_mean_pool(&i[0]));
}

#[test]
fn head() {
    let inputs = [random(&[4, 3], 11), random(&[3, 5], 12), random(&[5], 13)];
    check("linear", &inputs, |i| linear(&i[0], &i[1], &i[2]));
}

#[test]
fn loss_with_and_without_label_smoothing() {
    for smoothing in [0.0, 0.1] {
        check("cross_entropy", &[random(&[3, 4], 14)], |i| cross_entropy(&i[0], &[2, 0, 3], smoothing));
    }
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let x = random(&[2, 4, 4, 1], 1);
    let message = |result: Result<Tensor>| result.unwrap_err().to_string();
    assert!(message(pointwise(&x, &random(&[4, 3, 1, 1], 1))).contains("do not fit"));
    assert!(message(depthwise3x3(&x, &random(&[2, 1, 3, 3], 1), 3, Same)).contains("stride"));
    let integers = Tensor::zeros((2, 2), DType::U32, &Device::Cpu).unwrap();
    assert!(message(cross_entropy(&integers, &[0, 1], 0.0)).contains("cross-entropy"));
    assert!(message(cross_entropy(&random(&[2, 2], 1), &[0, 2], 0.0)).contains("label 2"));
}
