//! Graphs of bytes on the engine, against plain loops in f64.
//!
//! All scales are powers of two, so that f64 and the products of integers with f32 round alike: the numbers are the same.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use common::{Growing, evaluate};
use sparse_engine::graph::{Convolution, Function, Graph, Op, Quantization, Window};
use sparse_engine::{Engine, Options, Precision, Products};

/// A graph that grows with everything rounded.
struct Rounded(Growing);

impl Rounded {
    fn new(shape: [usize; 3], seed: u64) -> Self {
        let mut rounded = Self(Growing::new(shape, 0.0, seed));
        rounded.round(-5, 100);
        rounded
    }

    /// Bytes of steps of `2^exponent`.
    fn round(&mut self, exponent: i32, zero: u8) -> usize {
        let scale = 2.0_f32.powi(exponent);
        self.0.next(Op::Function(Function::Quantize(Quantization { scale, zero })))
    }

    /// What the last node is rounded to.
    fn scale(&self) -> f32 {
        let mut at = self.0.graph.output;
        loop {
            let node = &self.0.graph.nodes[at];
            match node.op {
                Op::Function(Function::Quantize(by)) => return by.scale,
                _ => at = node.inputs[0],
            }
        }
    }

    /// A convolution of whole weights with blocks of zeros, and a whole bias.
    fn convolution(&mut self, outputs: usize, groups: usize, window: Window) -> usize {
        let read = self.scale();
        let at = self.0.convolution(outputs, groups, window);
        let random = &mut self.0.random;
        let Op::Convolution(Convolution { weight, bias, scales, shape, .. }) = &mut self.0.graph.nodes[at].op
        else {
            unreachable!()
        };
        let terms: usize = shape[1..].iter().product();
        let own: Vec<f32> = (0..outputs).map(|_| 2.0_f32.powi(-6 - random.below(3) as i32)).collect();
        for (row, &scale) in weight.chunks_mut(terms).zip(&own) {
            for block in row.chunks_mut(4 * window.taps()) {
                let kept = random.below(2) == 0;
                for weight in block {
                    let steps = random.below(256) as f32 - 128.0;
                    *weight = if kept { steps / (terms as f32).sqrt().ceil() } else { 0.0 };
                    *weight = weight.round() * scale;
                }
            }
        }
        for (bias, scale) in bias.iter_mut().zip(&own) {
            *bias = (random.below(2001) as f32 - 1000.0) * (scale * read);
        }
        *scales = Some(own);
        at
    }

    /// Bounds, sometimes, and bytes.
    fn finish(&mut self) -> usize {
        let kind = self.0.random.below(4);
        let bounds = [(0.0, f32::INFINITY), (0.0, 2.5), (-1.0, 1.0)];
        if let Some(&(low, high)) = bounds.get(kind) {
            self.0.next(Op::Clip { low, high });
        }
        let exponent = -5 + self.0.random.below(3) as i32;
        let zero = [0, 0, 128, 255][self.0.random.below(4)];
        self.round(exponent, if kind < 2 { 0 } else { zero })
    }

    fn channels(&self) -> usize {
        self.0.shape(self.0.graph.output).channels()
    }

    /// One more part of a network.
    fn grow(&mut self) {
        let (channels, outputs) = (self.channels(), 1 + self.0.random.below(20));
        let before = self.0.graph.output;
        let stride = 1 + self.0.random.below(2);
        match self.0.random.below(9) {
            0 => {
                self.convolution(outputs, 1, Window::square(3, stride, 1));
            }
            1 | 2 => {
                self.convolution(channels, channels, Window::square(3, stride, 1));
                self.finish();
                self.convolution(outputs, 1, Window::square(1, 1, 0));
            }
            3 => {
                self.convolution(channels, channels, Window::square(5, 1, 2));
            }
            4 => {
                self.convolution(channels, 1, Window::square(1, 1, 0));
                self.finish();
                let last = self.0.graph.output;
                self.0.add(Op::Add, vec![last, before]);
            }
            5 => {
                self.convolution(outputs, 1, Window::square(1, 1, 0));
                self.finish();
                let last = self.0.graph.output;
                self.0.add(Op::Concat, vec![last, before]);
                self.round(-4, 60);
                let all = self.channels();
                self.0.next(Op::shuffle(all, if all.is_multiple_of(2) { 2 } else { 1 }));
                return;
            }
            6 => {
                self.0.next(Op::MaxPool(Window::square(3, stride, 1)));
                return;
            }
            7 => {
                self.convolution(2 * channels, channels, Window::square(3, 1, 1));
            }
            // Two readers, and a rounding of what is rounded.
            _ => {
                self.round(-4, 3);
                return;
            }
        }
        self.finish();
    }

    fn end(mut self) -> Graph {
        self.0.next(Op::MaxPool(Window::square(3, 2, 1)));
        self.0.next(Op::Flatten);
        let inputs = self.0.shape(self.0.graph.output).count();
        let read = self.scale();
        let scale = 2.0_f32.powi(-7);
        let weight = (0..7 * inputs).map(|_| (self.0.random.below(256) as f32 - 128.0) * scale).collect();
        let bias = (0..7).map(|_| (self.0.random.below(999) as f32 - 500.0) * (scale * read)).collect();
        self.0.next(Op::Linear { weight, bias, scales: Some(vec![scale; 7]) });
        self.0.graph
    }
}

fn run(graph: &Graph, images: &[f32], threads: usize, products: Products) -> Vec<f32> {
    let engine = Engine::new(graph.clone(), Options { threads, products, ..Options::default() }).unwrap();
    let [channels, height, width] = engine.input_shape();
    let mut outputs = vec![0.0; images.len() / (channels * height * width) * engine.outputs()];
    engine.session().unwrap().run(images, &mut outputs).unwrap();
    outputs
}

#[test]
fn random_networks_of_bytes_give_what_the_loops_do_to_the_last_bit() {
    let mut kinds = std::collections::BTreeSet::new();
    for seed in 0..60 {
        let shape = [1 + seed as usize % 5, 9 + seed as usize % 13, 8 + seed as usize * 7 % 29];
        let mut rounded = Rounded::new(shape, seed);
        for _ in 0..1 + seed % 6 {
            rounded.grow();
        }
        let graph = rounded.end();
        let mut images = common::Random::new(seed + 1).numbers(3 * shape.iter().product::<usize>());
        images.iter_mut().for_each(|x| *x *= 4.0);
        let expected: Vec<f32> = images
            .chunks(images.len() / 3)
            .flat_map(|image| evaluate(&graph, image))
            .map(|score| score as f32)
            .collect();
        for (threads, products) in [(1, Products::Dense), (2, Products::Sparse), (3, Products::Dense)] {
            assert_eq!(run(&graph, &images, threads, products), expected, "seed {seed}, {threads} threads");
        }
        // What is in integers stays in integers.
        let bf16 = Options { products: Products::Sparse, precision: Precision::Bf16, ..Options::default() };
        let mut outputs = vec![0.0; expected.len()];
        Engine::new(graph.clone(), bf16).unwrap().session().unwrap().run(&images, &mut outputs).unwrap();
        assert_eq!(outputs, expected, "seed {seed} in bf16");
        let engine = Engine::new(graph, Options { products: Products::Dense, ..Options::default() }).unwrap();
        kinds.extend(engine.layers().iter().map(|layer| layer.kind));
    }
    // Nothing but the image and what the last layer reads is in numbers.
    let expected = [
        "dequantize",
        "int8 add",
        "int8 channels",
        "int8 depthwise",
        "int8 depthwise + product",
        "int8 max pool",
        "int8 product",
        "linear",
        "quantize",
    ];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), expected);
}

/// MobileNetV1 in small: every step but the first and the last reads and makes bytes, and the mean has a power of two of pixels.
#[test]
fn a_separable_network_stays_in_bytes_from_the_image_to_the_scores() {
    let mut rounded = Rounded::new([3, 32, 32], 5);
    let clip = Op::Clip { low: 0.0, high: f32::INFINITY };
    rounded.convolution(8, 1, Window::square(3, 2, 1));
    rounded.0.next(clip.clone());
    rounded.round(-5, 0);
    for (stride, outputs) in [(1, 16), (2, 24), (1, 40)] {
        let channels = rounded.channels();
        rounded.convolution(channels, channels, Window::square(3, stride, 1));
        rounded.0.next(clip.clone());
        rounded.round(-5, 0);
        rounded.convolution(outputs, 1, Window::square(1, 1, 0));
        rounded.0.next(clip.clone());
        rounded.round(-4, 0);
    }
    rounded.0.next(Op::GlobalAveragePool);
    rounded.round(-6, 0);
    rounded.0.next(Op::Flatten);
    let (read, scale) = (2.0_f32.powi(-6), 2.0_f32.powi(-7));
    let weight = (0..400).map(|_| (rounded.0.random.below(256) as f32 - 128.0) * scale).collect();
    let bias = (0..10).map(|_| (rounded.0.random.below(999) as f32 - 500.0) * (scale * read)).collect();
    rounded.0.next(Op::Linear { weight, bias, scales: Some(vec![scale; 10]) });
    let graph = rounded.0.graph;
    let images = common::Random::new(1).numbers(5 * 3 * 32 * 32);
    let expected: Vec<f32> =
        images.chunks(3 * 32 * 32).flat_map(|image| evaluate(&graph, image)).map(|x| x as f32).collect();
    for threads in 1..=4 {
        for products in [Products::Dense, Products::Sparse, Products::Measured] {
            assert_eq!(run(&graph, &images, threads, products), expected, "{threads} {products:?}");
        }
    }
    let engine = Engine::new(graph, Options { products: Products::Dense, ..Options::default() }).unwrap();
    let kinds: Vec<&str> = engine.layers().iter().map(|layer| layer.kind).collect();
    let block = "int8 depthwise + product";
    assert_eq!(kinds, ["quantize", "int8 product", block, block, block, "int8 mean", "int8 linear"]);
}

/// A layer in numbers amid others in bytes, and a function that bytes have no step for.
#[test]
fn what_is_no_step_in_bytes_is_computed_in_numbers() {
    let mut rounded = Rounded::new([3, 12, 12], 3);
    rounded.convolution(6, 1, Window::square(3, 1, 1));
    rounded.finish();
    rounded.0.convolution(6, 1, Window::square(3, 1, 1));
    rounded.0.next(Op::Function(Function::Silu));
    rounded.round(-5, 40);
    rounded.convolution(5, 1, Window::square(1, 1, 0));
    rounded.0.next(Op::Function(Function::HardSwish));
    rounded.round(-5, 20);
    let graph = rounded.end();
    let images = common::Random::new(2).numbers(2 * 3 * 144);
    let expected: Vec<f64> = images.chunks(3 * 144).flat_map(|image| evaluate(&graph, image)).collect();
    for threads in [1, 2] {
        let outputs = run(&graph, &images, threads, Products::Sparse);
        let error = common::relative_error(&outputs, &expected);
        // Numbers near a half may be rounded to the other side.
        assert!(error < 0.02, "{error}");
    }
    let engine = Engine::new(graph, Options { products: Products::Dense, ..Options::default() }).unwrap();
    let kinds: Vec<&str> = engine.layers().iter().map(|layer| layer.kind).collect();
    assert_eq!(kinds[..5], ["quantize", "int8 product", "dequantize", "product", "quantize"]);
}

/// A channel with next to no weights has a tiny scale, and a bias that is very many of its steps: its scale is made larger, and the layer stays in
/// integers.
#[test]
fn a_bias_of_very_many_steps_makes_its_scale_larger() {
    for factor in [1e-6, 1e-9, 1e-12] {
        let mut rounded = Rounded::new([3, 6, 6], 9);
        let at = rounded.convolution(4, 1, Window::square(3, 1, 1));
        let Op::Convolution(convolution) = &mut rounded.0.graph.nodes[at].op else { unreachable!() };
        convolution.weight[..27].iter_mut().for_each(|w| *w *= factor);
        convolution.scales.as_mut().unwrap()[0] *= factor;
        convolution.bias[0] = 1.7;
        rounded.0.next(Op::Clip { low: 0.0, high: f32::INFINITY });
        rounded.round(-5, 0);
        let graph = rounded.end();
        let engine =
            Engine::new(graph.clone(), Options { products: Products::Dense, ..Options::default() }).unwrap();
        assert_eq!(engine.layers()[1].kind, "int8 product", "{factor}");
        let images = common::Random::new(2).numbers(3 * 36);
        let expected = evaluate(&graph, &images);
        let error = common::relative_error(&run(&graph, &images, 2, Products::Sparse), &expected);
        assert!(error < 1e-6, "{factor}: {error}");
    }
}

/// Weights whose sums may leave 32 bits, or that are no multiples of their scales, are multiplied as numbers.
#[test]
fn what_does_not_fit_integers_is_computed_in_numbers() {
    for (name, change) in [
        (
            "no multiples",
            (|convolution: &mut Convolution| convolution.weight[0] += 0.004) as fn(&mut Convolution),
        ),
        ("more than a byte", |convolution| {
            convolution.weight[0] = 200.0 * convolution.scales.as_ref().unwrap()[0]
        }),
    ] {
        let mut rounded = Rounded::new([3, 6, 6], 9);
        let at = rounded.convolution(4, 1, Window::square(3, 1, 1));
        let Op::Convolution(convolution) = &mut rounded.0.graph.nodes[at].op else { unreachable!() };
        change(convolution);
        rounded.finish();
        let graph = rounded.end();
        let engine =
            Engine::new(graph.clone(), Options { products: Products::Dense, ..Options::default() }).unwrap();
        assert_eq!(engine.layers()[2].kind, "product", "{name}");
        let images = common::Random::new(2).numbers(3 * 36);
        let error =
            common::relative_error(&run(&graph, &images, 1, Products::Dense), &evaluate(&graph, &images));
        assert!(error < 0.02, "{name}: {error}");
    }
}
