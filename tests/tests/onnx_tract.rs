//! ONNX files of ours, run by another engine (tract), against our own: `cargo test --release -p sparse-tests --features tract`.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use sparse_engine::graph::{Convolution, Graph, Node, Op, Window};
use sparse_engine::onnx::{WriteOptions, write};
use sparse_engine::{Engine, Options, shapes};
use tract_onnx::prelude::{DatumExt, Framework, InferenceModelExt, IntoRunnable, Tensor, tvec};

/// Images in a batch.
const IMAGES: usize = 2;

/// Numbers between −0.5 and 0.5 without order; `zeros` of ten are zero.
fn numbers(seed: usize, count: usize, zeros: usize) -> Vec<f32> {
    let number = |n: usize| (n * 7919 + seed * 104_729).wrapping_mul(2_654_435_761) % 10_007;
    let value = |n: usize| if n % 10 < zeros { 0.0 } else { n as f32 / 10_007.0 - 0.5 };
    (0..count).map(|n| value(number(n))).collect()
}

/// A graph that grows by nodes that read the last one.
struct Builder(Graph);

impl Builder {
    fn new(shape: [usize; 3]) -> Self {
        let input = Node { name: "input".to_owned(), op: Op::Input { shape }, inputs: vec![] };
        Self(Graph { nodes: vec![input], output: 0 })
    }

    fn then(&mut self, name: &str, op: Op) -> usize {
        let last = self.0.output;
        self.reading(name, op, vec![last])
    }

    fn reading(&mut self, name: &str, op: Op, inputs: Vec<usize>) -> usize {
        self.0.nodes.push(Node { name: name.to_owned(), op, inputs });
        self.0.output = self.0.nodes.len() - 1;
        self.0.output
    }

    fn convolution(&mut self, name: &str, outputs: usize, groups: usize, window: Window) -> usize {
        let inputs = shapes(&self.0).unwrap()[self.0.output].channels();
        let shape = [outputs, inputs / groups, window.kernel[0], window.kernel[1]];
        let seed = self.0.nodes.len();
        let weight = numbers(seed, shape.iter().product(), 7);
        let bias = numbers(seed + 1, outputs, 0);
        self.then(name, Op::Convolution(Convolution { weight, shape, bias, groups, window, scales: None }))
    }

    fn linear(&mut self, name: &str, outputs: usize) {
        let inputs = shapes(&self.0).unwrap()[self.0.output].count();
        let (weight, bias) = (numbers(98, outputs * inputs, 5), numbers(99, outputs, 0));
        self.then(name, Op::Linear { weight, bias, scales: None });
    }
}

const RELU: Op = Op::Clip { low: 0.0, high: f32::INFINITY };
const RELU6: Op = Op::Clip { low: 0.0, high: 6.0 };

fn mobilenet() -> Graph {
    let mut net = Builder::new([3, 17, 14]);
    net.convolution("conv1", 8, 1, Window::square(3, 2, 1));
    net.then("relu1", RELU);
    for (block, (outputs, stride)) in [(16, 1), (24, 2), (24, 1)].into_iter().enumerate() {
        let inputs = shapes(&net.0).unwrap()[net.0.output].channels();
        net.convolution(&format!("dw{block}"), inputs, inputs, Window::square(3, stride, 1));
        net.then("relu6", RELU6);
        net.convolution(&format!("pw{block}"), outputs, 1, Window::square(1, 1, 0));
        net.then("relu", RELU);
    }
    net.then("pool", Op::GlobalAveragePool);
    net.then("flatten", Op::Flatten);
    net.linear("fc7", 10);
    net.0
}

/// All other operations, with padding that differs on each side.
fn everything_else() -> Graph {
    let mut net = Builder::new([2, 13, 12]);
    let uneven = Window { padding: [0, 1, 2, 1], stride: [1, 2], ..Window::square(3, 1, 0) };
    let first = net.then("scale", Op::Affine { scale: vec![2.0, -1.5], offset: vec![0.5, 0.25] });
    let dilated = Window { dilation: [2, 3], ..Window::square(3, 1, 0) };
    net.convolution("same", 2, 2, Window { padding: [2, 3, 2, 3], ..dilated });
    let last = net.0.output;
    net.reading("sum", Op::Add, vec![last, first]);
    net.then("max", Op::MaxPool(uneven));
    net.then("low", Op::Clip { low: -0.4, high: f32::INFINITY });
    net.then("mean", Op::AveragePool { window: Window::square(2, 1, 1), count_padding: true });
    net.then("high", Op::Clip { low: f32::NEG_INFINITY, high: 1.5 });
    net.then("inner mean", Op::AveragePool { window: Window::square(3, 2, 1), count_padding: false });
    net.then("flatten", Op::Flatten);
    net.linear("fc", 6);
    net.then("softmax", Op::Softmax);
    net.0
}

/// tract's results for images `[N, C, H, W]`.
fn by_tract(onnx: &[u8], images: &[f32], shape: [usize; 4]) -> Vec<f32> {
    let model = tract_onnx::onnx().model_for_read(&mut &onnx[..]).unwrap();
    let model = model.with_input_fact(0, f32::fact(shape).into()).unwrap();
    let model = model.into_optimized().unwrap().into_runnable().unwrap();
    let images = Tensor::from_shape(&shape, images).unwrap();
    let result = model.run(tvec!(images.into())).unwrap();
    result[0].to_plain_array_view::<f32>().unwrap().iter().copied().collect()
}

#[track_caller]
fn tract_agrees(graph: &Graph, options: &WriteOptions) {
    let Op::Input { shape: [channels, height, width] } = graph.nodes[0].op else { unreachable!() };
    let shape = [IMAGES, channels, height, width];
    let images = numbers(5, shape.iter().product(), 0);
    let got = by_tract(&write(graph, options).unwrap(), &images, shape);
    let engine = Engine::new(graph.clone(), Options::default()).unwrap();
    let mut ours = vec![0.0; IMAGES * engine.outputs()];
    engine.session().unwrap().run(&images, &mut ours).unwrap();
    assert_eq!(got.len(), ours.len());
    let difference = got.iter().zip(&ours).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let error = difference / ours.iter().map(|b| b.abs()).fold(f32::MIN_POSITIVE, f32::max);
    assert!(error < 1e-4, "{error}");
}

#[test]
fn tract_computes_a_mobilenet_of_ours() {
    tract_agrees(&mobilenet(), &WriteOptions::default());
}

#[test]
fn tract_computes_all_other_operations() {
    tract_agrees(&everything_else(), &WriteOptions::default());
}
