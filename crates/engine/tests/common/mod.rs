//! A graph computed by plain loops in f64, and random graphs.

#![allow(clippy::unwrap_used, clippy::panic, dead_code, reason = "shared by tests that each use a part")]

use sparse_engine::graph::{Convolution, Graph, Node, Op, Window};
use sparse_engine::{Shape, shapes};

/// The output of a graph for one image, `[C, H, W]`.
pub(crate) fn evaluate(graph: &Graph, image: &[f32]) -> Vec<f64> {
    let shapes = shapes(graph).unwrap();
    let mut values: Vec<Vec<f64>> = Vec::new();
    for node in &graph.nodes {
        let input = |which: usize| (&values[node.inputs[which]], shapes[node.inputs[which]]);
        let value = match &node.op {
            Op::Input { .. } => image.iter().map(|&x| f64::from(x)).collect(),
            Op::Convolution(convolution) => convolve(convolution, input(0)),
            Op::Affine { scale, offset } => {
                per_channel(input(0), |channel, x| x * f64::from(scale[channel]) + f64::from(offset[channel]))
            }
            &Op::Clip { low, high } => per_channel(input(0), |_, x| x.max(low.into()).min(high.into())),
            Op::Add => input(0).0.iter().zip(input(1).0).map(|(a, b)| a + b).collect(),
            Op::MaxPool(window) => {
                pool(*window, input(0), |taken, _| taken.iter().copied().fold(f64::MIN, f64::max))
            }
            Op::AveragePool { window, count_padding } => pool(*window, input(0), |taken, all| {
                taken.iter().sum::<f64>() / if *count_padding { all } else { taken.len() } as f64
            }),
            Op::GlobalAveragePool => {
                let ([channels, height, width], x) = (image_shape(input(0).1), input(0).0);
                let mean = |channel: &[f64]| channel.iter().sum::<f64>() / (height * width) as f64;
                assert_eq!(x.len(), channels * height * width);
                x.chunks(height * width).map(mean).collect()
            }
            Op::Flatten => input(0).0.clone(),
            Op::Linear { weight, bias } => {
                let x = input(0).0;
                let row = |(weights, &bias): (&[f32], &f32)| {
                    f64::from(bias) + weights.iter().zip(x).map(|(&w, x)| f64::from(w) * x).sum::<f64>()
                };
                weight.chunks(x.len()).zip(bias).map(row).collect()
            }
            Op::Softmax => {
                let exps: Vec<f64> = input(0).0.iter().map(|x| x.exp()).collect();
                let sum: f64 = exps.iter().sum();
                exps.iter().map(|x| x / sum).collect()
            }
        };
        values.push(value);
    }
    values.swap_remove(graph.output)
}

fn image_shape(shape: Shape) -> [usize; 3] {
    match shape {
        Shape::Image(shape) => shape,
        Shape::Flat(channels) => [channels, 1, 1],
    }
}

fn per_channel((x, shape): (&Vec<f64>, Shape), f: impl Fn(usize, f64) -> f64) -> Vec<f64> {
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

fn convolve(convolution: &Convolution, (x, shape): (&Vec<f64>, Shape)) -> Vec<f64> {
    let [_, height, width] = image_shape(shape);
    let Convolution { weight, shape: [outputs, inputs, ..], bias, groups, window } = convolution;
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

fn pool(window: Window, (x, shape): (&Vec<f64>, Shape), f: impl Fn(&[f64], usize) -> f64) -> Vec<f64> {
    let [_, height, width] = image_shape(shape);
    let [rows, columns] = window.output([height, width]).unwrap();
    let mut results = Vec::new();
    for channel in x.chunks(height * width) {
        for at in 0..rows * columns {
            let places = places(window, [height, width], [at / columns, at % columns]);
            let all = places.len();
            let taken: Vec<f64> = places.into_iter().flatten().map(|place| channel[place]).collect();
            results.push(f(&taken, all));
        }
    }
    results
}

/// Greatest difference over greatest expected magnitude.
pub(crate) fn relative_error(got: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let difference = got.iter().zip(expected).map(|(&a, b)| (f64::from(a) - b).abs()).fold(0.0, f64::max);
    difference / expected.iter().map(|b| b.abs()).fold(f64::MIN_POSITIVE, f64::max)
}

/// Random numbers that a seed determines (xorshift64*, Vigna 2016).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    /// In `0..end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Between −1 and 1.
    pub(crate) fn number(&mut self) -> f32 {
        (self.next() as f64 / (1u64 << 52) as f64 - 1.0) as f32
    }

    pub(crate) fn numbers(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.number()).collect()
    }

    /// Numbers of which a share is zero.
    pub(crate) fn sparse(&mut self, len: usize, zeros: f64) -> Vec<f32> {
        let mut numbers = self.numbers(len);
        for number in &mut numbers {
            if f64::from(self.number()) < 2.0 * zeros - 1.0 {
                *number = 0.0;
            }
        }
        numbers
    }
}

/// A graph that grows node by node.
pub(crate) struct Growing {
    pub(crate) graph: Graph,
    pub(crate) random: Random,
    pub(crate) zeros: f64,
}

impl Growing {
    pub(crate) fn new(shape: [usize; 3], zeros: f64, seed: u64) -> Self {
        let node = Node { name: "image".to_owned(), op: Op::Input { shape }, inputs: vec![] };
        Self { graph: Graph { nodes: vec![node], output: 0 }, random: Random::new(seed), zeros }
    }

    pub(crate) fn add(&mut self, op: Op, inputs: Vec<usize>) -> usize {
        self.graph.output = self.graph.nodes.len();
        self.graph.nodes.push(Node { name: format!("node{}", self.graph.output), op, inputs });
        self.graph.output
    }

    fn shape(&self, node: usize) -> Shape {
        shapes(&self.graph).unwrap()[node]
    }

    /// A convolution of the last node.
    pub(crate) fn convolution(&mut self, outputs: usize, groups: usize, window: Window) -> usize {
        let from = self.graph.output;
        let inputs = self.shape(from).channels() / groups;
        let shape = [outputs, inputs, window.kernel[0], window.kernel[1]];
        let mut weight = self.random.sparse(shape.iter().product(), self.zeros);
        scale(&mut weight, inputs * window.taps());
        let bias = self.random.numbers(outputs);
        self.add(Op::Convolution(Convolution { weight, shape, bias, groups, window }), vec![from])
    }

    pub(crate) fn next(&mut self, op: Op) -> usize {
        let from = self.graph.output;
        self.add(op, vec![from])
    }

    pub(crate) fn linear(&mut self, outputs: usize) -> usize {
        let inputs = self.shape(self.graph.output).count();
        let (mut weight, bias) =
            (self.random.sparse(outputs * inputs, self.zeros), self.random.numbers(outputs));
        scale(&mut weight, inputs);
        self.next(Op::Linear { weight, bias })
    }
}

/// Keeps results of a size with what goes in, so that rounding is too.
fn scale(weight: &mut [f32], inputs: usize) {
    let factor = (3.0 / inputs as f32).sqrt();
    weight.iter_mut().for_each(|weight| *weight *= factor);
}
