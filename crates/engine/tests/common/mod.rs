//! A graph computed by plain loops in f64, and random graphs.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    dead_code,
    unused_imports,
    reason = "shared by tests that each use a part"
)]

mod growing;
pub(crate) mod random;

pub(crate) use growing::{Growing, Random};

use sparse_engine::graph::{Convolution, Function, Graph, Op, Window};
use sparse_engine::{Shape, shapes};

/// The output of a graph for one image, `[C, H, W]`.
pub(crate) fn evaluate(graph: &Graph, image: &[f32]) -> Vec<f64> {
    let shapes = shapes(graph).unwrap();
    let mut values: Vec<Vec<f64>> = Vec::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        let inputs: Vec<Input<'_>> =
            node.inputs.iter().map(|&input| (values[input].as_slice(), shapes[input])).collect();
        let value = match node.op {
            Op::Input { .. } => image.iter().map(|&x| f64::from(x)).collect(),
            _ => value(&node.op, &inputs, shapes[index]),
        };
        assert_eq!(value.len(), shapes[index].count(), "{node:?}");
        values.push(value);
    }
    values.swap_remove(graph.output)
}

/// The numbers of a node and their shape.
type Input<'a> = (&'a [f64], Shape);

/// The result of a node of shape `shape`.
fn value(op: &Op, inputs: &[Input<'_>], shape: Shape) -> Vec<f64> {
    let first = inputs[0];
    match op {
        Op::Input { .. } => unreachable!(),
        Op::Convolution(convolution) => convolve(convolution, first),
        Op::Affine { scale, offset } => {
            per_channel(first, |channel, x| x * f64::from(scale[channel]) + f64::from(offset[channel]))
        }
        &Op::Clip { low, high } => per_channel(first, |_, x| x.max(low.into()).min(high.into())),
        Op::Function(function) => first.0.iter().map(|&x| call(*function, x)).collect(),
        Op::PRelu { slope } => {
            per_channel(first, |channel, x| if x > 0.0 { x } else { x * f64::from(slope[channel]) })
        }
        Op::Add => combine(inputs, shape, |a, b| a + b),
        Op::Sub => combine(inputs, shape, |a, b| a - b),
        Op::Mul => combine(inputs, shape, |a, b| a * b),
        Op::Div => combine(inputs, shape, |a, b| a / b),
        Op::Concat => inputs.iter().flat_map(|input| input.0).copied().collect(),
        Op::Channels { order } => {
            let plane = first.0.len() / first.1.channels();
            order.iter().flat_map(|&channel| &first.0[channel * plane..][..plane]).copied().collect()
        }
        &Op::Pad { lines, value } => {
            let window = Window { padding: lines, ..Window::square(1, 1, 0) };
            pool(window, [0; 4], first, |taken, _| taken.first().map_or(value.into(), |x| **x))
        }
        Op::MaxPool(window) => pool(*window, [0; 4], first, |taken, _| greatest(taken)),
        Op::AveragePool { window, counted } => {
            pool(*window, *counted, first, |taken, count| taken.iter().copied().sum::<f64>() / count as f64)
        }
        Op::GlobalAveragePool => planes(first).map(|x| x.iter().sum::<f64>() / x.len() as f64).collect(),
        Op::GlobalMaxPool => planes(first).map(|x| greatest(&x.iter().collect::<Vec<_>>())).collect(),
        Op::Flatten | Op::Reshape { .. } => first.0.to_vec(),
        Op::Linear { weight, bias, .. } => {
            let x = first.0;
            let row = |(weights, &bias): (&[f32], &f32)| {
                f64::from(bias) + weights.iter().zip(x).map(|(&w, x)| f64::from(w) * x).sum::<f64>()
            };
            weight.chunks(x.len()).zip(bias).map(row).collect()
        }
        Op::Softmax => log_softmax(first.0).into_iter().map(f64::exp).collect(),
        Op::LogSoftmax => log_softmax(first.0),
    }
}

fn greatest(values: &[&f64]) -> f64 {
    values.iter().copied().copied().fold(f64::NEG_INFINITY, f64::max)
}

fn log_softmax(x: &[f64]) -> Vec<f64> {
    let sum: f64 = x.iter().map(|x| x.exp()).sum();
    x.iter().map(|x| x - sum.ln()).collect()
}

fn planes((x, shape): Input<'_>) -> std::slice::Chunks<'_, f64> {
    x.chunks(x.len() / shape.channels())
}

/// A function as its definition says.
pub(crate) fn call(function: Function, x: f64) -> f64 {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    match function {
        Function::Sigmoid => sigmoid(x),
        Function::HardSigmoid { alpha, beta } => (f64::from(alpha) * x + f64::from(beta)).clamp(0.0, 1.0),
        Function::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        Function::Silu => x * sigmoid(x),
        Function::Tanh => x.tanh(),
        Function::Elu { alpha } => {
            if x > 0.0 {
                x
            } else {
                f64::from(alpha) * x.exp_m1()
            }
        }
        Function::Gelu => x / 2.0 * (1.0 + error_function(x / 2f64.sqrt())),
        Function::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
            x / 2.0 * (1.0 + inner.tanh())
        }
        Function::Erf => error_function(x),
        Function::Exp => x.exp(),
        Function::Softplus => x.exp().ln_1p(),
        Function::Mish => x * x.exp().ln_1p().tanh(),
        Function::Quantize(quantization) => quantization.number(quantization.byte(x as f32)).into(),
    }
}

/// The error function by its Taylor series.
fn error_function(x: f64) -> f64 {
    if x.abs() > 5.0 {
        return x.signum();
    }
    let (mut sum, mut term) = (x, x);
    for n in 1..200 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

/// Two inputs number by number; one may have one channel or one pixel for all of the result.
fn combine(inputs: &[Input<'_>], shape: Shape, f: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    let plane = shape.count() / shape.channels();
    let number = |(x, own): Input<'_>, at: usize| {
        let own_plane = own.count() / own.channels();
        x[at / plane % own.channels() * own_plane + at % plane % own_plane]
    };
    (0..shape.count()).map(|at| f(number(inputs[0], at), number(inputs[1], at))).collect()
}

fn image_shape(shape: Shape) -> [usize; 3] {
    match shape {
        Shape::Image(shape) => shape,
        Shape::Flat(channels) => [channels, 1, 1],
    }
}

fn per_channel((x, shape): Input<'_>, f: impl Fn(usize, f64) -> f64) -> Vec<f64> {
    let plane = x.len() / shape.channels();
    x.iter().enumerate().map(|(at, &x)| f(at / plane, x)).collect()
}

/// The places of a window in a channel: outputs, and for each the position read or `None` outside.
fn places(window: Window, [height, width]: [usize; 2], [y, x]: [usize; 2]) -> Vec<Option<usize>> {
    let mut places = Vec::new();
    for line in 0..window.kernel[0] {
        for column in 0..window.kernel[1] {
            let y = (y * window.stride[0] + line * window.dilation[0]).checked_sub(window.padding[0]);
            let x = (x * window.stride[1] + column * window.dilation[1]).checked_sub(window.padding[1]);
            let inside = y.zip(x).filter(|&(y, x)| y < height && x < width);
            places.push(inside.map(|(y, x)| y * width + x));
        }
    }
    places
}

fn convolve(convolution: &Convolution, (x, shape): Input<'_>) -> Vec<f64> {
    let [_, height, width] = image_shape(shape);
    let Convolution { weight, shape: [outputs, inputs, ..], bias, groups, window, .. } = convolution;
    let [rows, columns] = window.output([height, width]).unwrap();
    let taps = window.kernel[0] * window.kernel[1];
    let mut results = Vec::new();
    for output in 0..*outputs {
        let group = output / (outputs / groups);
        for at in 0..rows * columns {
            let places = places(*window, [height, width], [at / columns, at % columns]);
            let mut sum = f64::from(bias[output]);
            for input in 0..*inputs {
                let channel = &x[(group * inputs + input) * height * width..];
                for (tap, place) in places.iter().enumerate() {
                    let weight = weight[(output * inputs + input) * taps + tap];
                    sum += place.map_or(0.0, |place| f64::from(weight) * channel[place]);
                }
            }
            results.push(sum);
        }
    }
    results
}

/// `f` of the numbers that each window sees and of how many places it has, in the image and `counted` lines around it.
fn pool(
    window: Window,
    counted: [usize; 4],
    (x, shape): Input<'_>,
    f: impl Fn(&[&f64], usize) -> f64,
) -> Vec<f64> {
    let [_, height, width] = image_shape(shape);
    let [rows, columns] = window.output([height, width]).unwrap();
    // The image and the lines that count, seen as an image of its own.
    let mut around = window;
    around.padding.iter_mut().zip(counted).for_each(|(padding, counted)| *padding -= counted);
    let large = [height + counted[0] + counted[2], width + counted[1] + counted[3]];
    let mut results = Vec::new();
    for channel in x.chunks(height * width) {
        for at in (0..rows * columns).map(|at| [at / columns, at % columns]) {
            let count = places(around, large, at).into_iter().flatten().count();
            let taken: Vec<&f64> = places(window, [height, width], at)
                .into_iter()
                .flatten()
                .map(|place| &channel[place])
                .collect();
            results.push(f(&taken, count));
        }
    }
    results
}

/// Greatest difference over greatest expected magnitude; infinite where only one is, or one is no number.
pub(crate) fn relative_error(got: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let size = expected.iter().filter(|b| b.is_finite()).map(|b| b.abs()).fold(f64::MIN_POSITIVE, f64::max);
    let errors = got.iter().zip(expected).map(|(&a, &b)| match f64::from(a) {
        a if a == b => 0.0,
        a if a.is_finite() && b.is_finite() => (a - b).abs() / size,
        _ => f64::INFINITY,
    });
    errors.fold(0.0, f64::max)
}
