//! The engine against plain loops, on networks of every kind of node and awkward sizes.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use common::{Growing, Random, evaluate, relative_error};
use sparse_engine::graph::{Graph, Op, Window};
use sparse_engine::{Engine, Options, Precision, Products};

const RELU: Op = Op::Clip { low: 0.0, high: f32::INFINITY };
const RELU6: Op = Op::Clip { low: 0.0, high: 6.0 };

/// Runs a graph in every way there is: in each precision all must give the same bits, and those of the loops but for rounding.
fn check(graph: &Graph, what: &str) {
    for (precision, tolerance) in [(Precision::F32, 1e-5), (Precision::Bf16, 0.03)] {
        check_in(graph, precision, tolerance, what);
    }
}

fn check_in(graph: &Graph, precision: Precision, tolerance: f64, what: &str) {
    let mut random = Random::new(99);
    let mut first: Option<Vec<f32>> = None;
    for products in [Products::Dense, Products::Sparse, Products::Measured] {
        for threads in [1, 2, 3] {
            let options = Options { threads, products, precision, ..Options::default() };
            let engine = Engine::new(graph.clone(), options).unwrap();
            let image = engine.input_shape().iter().product::<usize>();
            let images = random_images(&mut random, &first, image);
            let mut session = engine.session().unwrap();
            let mut all = vec![0.0; 7 * engine.outputs()];
            session.run(&images, &mut all).unwrap();
            for batch in [1, 2, 3] {
                let mut outputs = vec![0.0; batch * engine.outputs()];
                session.run(&images[..batch * image], &mut outputs).unwrap();
                assert_eq!(outputs, all[..outputs.len()], "{what}: batch {batch} on {threads} threads");
            }
            let first = first.get_or_insert_with(|| {
                for (image, outputs) in images.chunks(image).zip(all.chunks(engine.outputs())) {
                    let error = relative_error(outputs, &evaluate(graph, image));
                    assert!(error < tolerance, "{what} in {precision:?}: relative error {error}");
                }
                all.clone()
            });
            assert_eq!(*first, all, "{what} in {precision:?}: {products:?} on {threads} threads");
        }
    }
}

/// Seven images, the same every time.
fn random_images(random: &mut Random, first: &Option<Vec<f32>>, image: usize) -> Vec<f32> {
    if first.is_some() {
        *random = Random::new(99);
    }
    let images = random.numbers(7 * image);
    *random = Random::new(99);
    images
}

#[test]
fn separable_blocks_of_every_size_and_padding() {
    for (seed, (size, zeros)) in
        [([1, 1], 0.5), ([3, 7], 0.9), ([14, 14], 0.7), ([17, 33], 0.0), ([35, 16], 0.97)]
            .into_iter()
            .enumerate()
    {
        for padding in [[1, 1, 1, 1], [0, 0, 1, 1]] {
            // Without a line before it, so small an image has no window.
            if padding[0] == 0 && size[0] < 7 {
                continue;
            }
            let mut net = Growing::new([3, size[0], size[1]], zeros, seed as u64);
            net.convolution(9, 1, Window { padding, ..Window::square(3, 2, 0) });
            net.next(RELU6);
            for (outputs, stride) in [(21, 1), (150, 2), (33, 1)] {
                let channels = common_channels(&net);
                let padding = if stride == 1 { [1; 4] } else { padding };
                net.convolution(channels, channels, Window { padding, ..Window::square(3, stride, 0) });
                net.next(RELU);
                net.convolution(outputs, 1, Window::square(1, 1, 0));
                net.next(RELU6);
            }
            net.next(Op::GlobalAveragePool);
            net.next(Op::Flatten);
            net.linear(10);
            check(&net.graph, &format!("{size:?} padded {padding:?}"));
        }
    }
}

fn common_channels(net: &Growing) -> usize {
    sparse_engine::shapes(&net.graph).unwrap()[net.graph.output].channels()
}

#[test]
fn any_window_and_group() {
    let windows = [
        Window::square(5, 1, 2),
        Window { dilation: [2, 3], ..Window::square(3, 1, 2) },
        Window { kernel: [1, 7], stride: [3, 1], dilation: [1, 1], padding: [0, 3, 2, 1] },
        Window::square(1, 2, 0),
        Window { padding: [2, 0, 1, 2], ..Window::square(3, 2, 0) },
    ];
    for (seed, window) in windows.into_iter().enumerate() {
        for (channels, groups) in [(12, 1), (12, 3), (12, 12), (24, 12)] {
            let mut net = Growing::new([12, 11, 19], 0.6, seed as u64);
            net.convolution(channels, groups, window);
            net.next(Op::Clip { low: -0.5, high: 0.75 });
            net.convolution(130, 1, Window::square(1, 1, 0));
            net.next(Op::Flatten);
            net.linear(17);
            net.next(RELU);
            net.linear(5);
            net.next(Op::Softmax);
            check(&net.graph, &format!("{window:?} in {groups} groups"));
        }
    }
}

#[test]
fn sums_and_pools() {
    for size in [[16, 16], [9, 13]] {
        let mut net = Growing::new([3, size[0], size[1]], 0.5, 5);
        net.convolution(8, 1, Window::square(3, 1, 1));
        let trunk = net.next(RELU);
        net.convolution(8, 1, Window::square(3, 1, 1));
        let branch = net.convolution(8, 1, Window::square(1, 1, 0));
        // Added by the convolution before it, and bounded; then added on its own, twice the same.
        let sum = net.add(Op::Add, vec![trunk, branch]);
        let bounded = net.next(RELU);
        assert_eq!(bounded, sum + 1);
        let twice = net.add(Op::Add, vec![bounded, bounded]);
        let scaled = net.next(Op::Affine { scale: vec![0.5; 8], offset: vec![-0.25; 8] });
        net.next(RELU6);
        net.add(Op::Add, vec![twice, scaled]);
        net.next(Op::MaxPool(Window::square(3, 2, 1)));
        net.next(Op::AveragePool { window: Window::square(3, 1, 1), counted: [1; 4] });
        net.next(Op::AveragePool { window: Window::square(2, 2, 1), counted: [0; 4] });
        net.next(Op::GlobalAveragePool);
        net.convolution(4, 1, Window::square(1, 1, 0));
        check(&net.graph, &format!("{size:?}"));
    }
}

#[test]
fn a_depthwise_convolution_that_two_read_is_computed_alone() {
    let mut net = Growing::new([3, 10, 10], 0.5, 3);
    net.convolution(6, 1, Window::square(3, 2, 1));
    let depthwise = net.convolution(6, 6, Window::square(3, 1, 1));
    let product = net.convolution(6, 1, Window::square(1, 1, 0));
    net.add(Op::Add, vec![depthwise, product]);
    net.next(Op::Flatten);
    check(&net.graph, "depthwise read twice");
}

#[test]
fn inner_indices_of_many_blocks() {
    let mut net = Growing::new([300, 5, 5], 0.8, 8);
    net.convolution(300, 1, Window::square(1, 1, 0));
    net.convolution(7, 1, Window::square(3, 1, 1));
    net.next(Op::Flatten);
    check(&net.graph, "many blocks");
}
