//! ONNX files that no program of others is needed for.

use sparse_engine::graph::{Convolution, Graph, Node, Op, Window};
use sparse_engine::onnx::{WriteOptions, write};
use std::path::Path;

/// A network in the making; its weights look random.
pub(crate) struct Network {
    graph: Graph,
    state: u64,
}

impl Network {
    /// One that reads images of this shape, `[C, H, W]`.
    pub(crate) fn new(shape: [usize; 3]) -> Self {
        let input = Node { name: "image".to_owned(), op: Op::Input { shape }, inputs: Vec::new() };
        Self { graph: Graph { nodes: vec![input], output: 0 }, state: 1 }
    }

    /// Numbers between −bound and bound.
    fn random(&mut self, count: usize, bound: f32) -> Vec<f32> {
        let mut next = || {
            self.state =
                self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            bound * ((self.state >> 40) as f32 / (1 << 23) as f32 - 1.0)
        };
        (0..count).map(|_| next()).collect()
    }

    fn then(mut self, name: &str, op: Op) -> Self {
        let inputs = vec![self.graph.output];
        self.graph.nodes.push(Node { name: name.to_owned(), op, inputs });
        self.graph.output += 1;
        self
    }

    /// A convolution of `[outputs, inputs / groups, side, side]`, padded by half of its side, and a ReLU.
    pub(crate) fn convolution(
        mut self,
        name: &str,
        [outputs, inputs, side]: [usize; 3],
        groups: usize,
        stride: usize,
    ) -> Self {
        let shape = [outputs, inputs / groups, side, side];
        let own: usize = shape[1..].iter().product();
        let weight = self.random(outputs * own, (6.0 / own as f32).sqrt());
        let bias = self.random(outputs, 0.1);
        let window = Window::square(side, stride, side / 2);
        self.then(name, Op::Convolution(Convolution { weight, shape, bias, groups, window, scales: None }))
            .then("relu", Op::Clip { low: 0.0, high: f32::INFINITY })
    }

    /// All weights so far, times a factor.
    pub(crate) fn times(mut self, factor: f32) -> Self {
        for node in &mut self.graph.nodes {
            if let Op::Convolution(convolution) = &mut node.op {
                convolution.weight.iter_mut().for_each(|weight| *weight *= factor);
            }
        }
        self
    }

    /// Writes it, with means of all pixels and a linear layer at its end.
    pub(crate) fn classifier(mut self, channels: usize, classes: usize, path: &Path) {
        let (weight, bias) = (self.random(classes * channels, 0.5), self.random(classes, 0.1));
        let whole = self
            .then("means", Op::GlobalAveragePool)
            .then("vector", Op::Flatten)
            .then("scores", Op::Linear { weight, bias, scales: None });
        std::fs::write(path, write(&whole.graph, &WriteOptions::default()).unwrap()).unwrap();
    }
}

/// A classifier of the stand-in images with a convolution in two groups, whose activations are large for its size.
pub(crate) fn write_grouped(path: &Path) {
    Network::new([1, 28, 28])
        .convolution("first", [16, 1, 3], 1, 1)
        .convolution("grouped", [16, 16, 3], 2, 1)
        .convolution("pointwise", [24, 16, 1], 1, 2)
        .convolution("last", [32, 24, 3], 1, 2)
        .classifier(32, 10, path);
}
