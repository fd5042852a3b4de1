//! Random numbers, and graphs that grow node by node.

use sparse_engine::graph::{Convolution, Graph, Node, Op, Window};
use sparse_engine::{Shape, shapes};

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

    pub(crate) fn shape(&self, node: usize) -> Shape {
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
        self.add(
            Op::Convolution(Convolution { weight, shape, bias, groups, window, scales: None }),
            vec![from],
        )
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
        self.next(Op::Linear { weight, bias, scales: None })
    }
}

/// Keeps results of a size with what goes in, so that rounding is too.
fn scale(weight: &mut [f32], inputs: usize) {
    let factor = (3.0 / inputs as f32).sqrt();
    weight.iter_mut().for_each(|weight| *weight *= factor);
}
