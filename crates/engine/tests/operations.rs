//! Every operation of a graph against plain loops: alone with awkward sizes, in the blocks that networks have, and in
//! random networks, on several threads and in batches.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use common::random::{FUNCTIONS, network};
use common::{Growing, Random, evaluate, relative_error};
use sparse_engine::graph::{Function, Graph, Op, Window};
use sparse_engine::{Engine, Error, Options, Products, shapes};

const RELU: Op = Op::Clip { low: 0.0, high: f32::INFINITY };
const SIZES: [[usize; 2]; 5] = [[1, 1], [5, 3], [7, 7], [9, 31], [16, 17]];

/// Runs a graph on one to three threads, dense and sparse, in batches of one and three: always the same bits, and those of
/// the loops but for rounding.
fn check(graph: &Graph, what: &str) {
    let image = shapes(graph).unwrap()[0].count();
    let images = Random::new(7).numbers(3 * image);
    let mut first: Option<Vec<f32>> = None;
    for (threads, products) in [(1, Products::Dense), (2, Products::Sparse), (3, Products::Dense)] {
        let engine = Engine::new(graph.clone(), Options { threads, products, ..Options::default() }).unwrap();
        let mut session = engine.session().unwrap();
        let mut outputs = vec![0.0; 3 * engine.outputs()];
        session.run(&images, &mut outputs).unwrap();
        // Again, and one by one: what another run left in memory must not matter.
        let mut again = vec![0.0; outputs.len()];
        for (image, again) in images.chunks(image).zip(again.chunks_mut(engine.outputs())) {
            session.run(image, again).unwrap();
        }
        assert_eq!(bits(&outputs), bits(&again), "{what}: batches on {threads} threads");
        let first = first.get_or_insert_with(|| outputs.clone());
        assert_eq!(bits(first), bits(&outputs), "{what}: {threads} threads");
    }
    let outputs = first.unwrap();
    for (image, outputs) in images.chunks(image).zip(outputs.chunks(outputs.len() / 3)) {
        let error = relative_error(outputs, &evaluate(graph, image));
        assert!(error < 1e-5, "{what}: relative error {error}");
    }
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

/// A network that has made an image of `channels` out of its input.
fn image(channels: usize, size: [usize; 2], seed: u64) -> Growing {
    let mut net = Growing::new([3, size[0], size[1]], 0.5, seed);
    net.convolution(channels, 1, Window::square(1, 1, 0));
    net
}

#[test]
fn functions_alone_and_behind_what_they_join() {
    for (seed, function) in FUNCTIONS.into_iter().enumerate() {
        let size = SIZES[seed % SIZES.len()];
        let what = format!("{function:?} {size:?}");
        let mut net = Growing::new([5, size[0], size[1]], 0.5, seed as u64);
        net.next(Op::Function(function));
        check(&net.graph, &what);
        let mut net = image(20, size, seed as u64);
        // Not above 1, since one of them is the exponential, six times.
        net.next(Op::Clip { low: -6.0, high: 1.0 });
        let trunk = net.next(Op::Function(function));
        net.convolution(20, 20, Window::square(3, 1, 1));
        net.next(Op::Function(function));
        net.convolution(20, 1, Window::square(1, 1, 0));
        let sum = net.graph.output;
        net.add(Op::Add, vec![sum, trunk]);
        net.next(Op::Clip { low: -6.0, high: 1.0 });
        net.next(Op::Function(function));
        net.convolution(20, 4, Window::square(3, 2, 1));
        net.next(Op::Clip { low: -0.5, high: 1.5 });
        net.next(Op::Function(function));
        net.next(Op::Flatten);
        net.linear(11);
        net.next(Op::Clip { low: -3.0, high: 1.5 });
        net.next(Op::Function(function));
        net.linear(3);
        net.next(Op::Clip { low: -9.0, high: 4.0 });
        net.next(Op::Function(function));
        check(&net.graph, &what);
        // Without bounds in between.
        let mut net = image(20, size, seed as u64);
        net.next(Op::Function(function));
        check(&net.graph, &what);
        net.convolution(20, 20, Window::square(3, 1, 1));
        net.next(Op::Function(function));
        net.next(Op::Flatten);
        net.linear(3);
        check(&net.graph, &what);
    }
}

#[test]
fn two_nodes_of_one_shape_or_of_one_that_stands_for_the_other() {
    for (seed, size) in SIZES.into_iter().enumerate() {
        for op in [Op::Add, Op::Sub, Op::Mul, Op::Div] {
            for small in 0..4 {
                let mut net = image(7, size, seed as u64);
                let trunk = net.next(Op::Function(Function::Tanh));
                net.convolution(7, 1, Window::square(3, 1, 1));
                match small {
                    0 => {}
                    1 => drop(net.next(Op::GlobalAveragePool)),
                    2 => drop(net.next(Op::range(3, 1))),
                    _ => {
                        net.next(Op::GlobalMaxPool);
                        net.next(Op::Channels { order: vec![5] });
                    }
                }
                // Between 1 and 2, so that dividing by it is harmless.
                let channels = net.shape(net.graph.output).channels();
                net.next(Op::Function(Function::Sigmoid));
                let other = net.next(Op::Affine { scale: vec![1.0; channels], offset: vec![1.0; channels] });
                net.add(op.clone(), vec![trunk, other]);
                net.next(Op::Function(Function::HardSwish));
                if op != Op::Div {
                    let sum = net.graph.output;
                    net.add(op.clone(), vec![other, sum]);
                }
                net.next(Op::Clip { low: -0.75, high: 1.25 });
                check(&net.graph, &format!("{op:?}, {small}, {size:?}"));
            }
        }
    }
}

#[test]
fn the_input_itself_may_be_combined_concatenated_and_cut() {
    let mut net = Growing::new([6, 5, 7], 0.5, 1);
    let low = net.next(Op::range(0, 3));
    let high = net.add(Op::range(3, 3), vec![0]);
    net.add(Op::Mul, vec![low, high]);
    let product = net.next(Op::PRelu { slope: vec![0.25, -0.5, 1.5] });
    net.add(Op::Concat, vec![0, product, 0, high]);
    let gate = net.add(Op::GlobalMaxPool, vec![0]);
    net.add(Op::Concat, vec![gate, gate]);
    net.next(Op::Reshape { shape: [3, 2, 2] });
    check(&net.graph, "gates");
    net.graph.output = gate - 1;
    net.next(Op::shuffle(18, 3));
    check(&net.graph, "image");
    let mut alone = Growing::new([6, 5, 7], 0.5, 1);
    alone.next(Op::Concat);
    check(&alone.graph, "the image alone");
    alone.next(Op::Flatten);
    alone.next(Op::Reshape { shape: [5, 14, 3] });
    check(&alone.graph, "the image in another shape");
}

/// Layers that read all results before them, as in DenseNet (Huang et al. 2017).
#[test]
fn dense_blocks() {
    for (seed, size) in SIZES.into_iter().enumerate() {
        let mut net = image(9, size, seed as u64);
        let mut all = vec![net.graph.output];
        for _ in 0..4 {
            net.add(Op::Concat, all.clone());
            let channels = net.shape(net.graph.output).channels();
            let (scale, offset) = (net.random.numbers(channels), net.random.numbers(channels));
            net.next(Op::Affine { scale, offset });
            net.next(RELU);
            net.convolution(18, 1, Window::square(1, 1, 0));
            net.next(RELU);
            all.push(net.convolution(5, 1, Window::square(3, 1, 1)));
        }
        net.add(Op::Concat, all);
        net.convolution(6, 1, Window::square(1, 1, 0));
        check(&net.graph, &format!("dense block {size:?}"));
    }
}

/// Convolutions that read the result before them and are put side by side, as in VoVNet: what is read lies right before
/// what is written.
#[test]
fn a_convolution_never_writes_behind_what_it_reads() {
    for (seed, size) in SIZES.into_iter().enumerate() {
        for channels in [1, 8] {
            let mut net = image(channels, size, seed as u64);
            let mut all = vec![net.graph.output];
            for _ in 0..3 {
                all.push(net.convolution(channels, 1, Window::square(3, 1, 1)));
            }
            all.push(net.convolution(channels, channels, Window::square(3, 1, 1)));
            net.add(Op::Concat, all.clone());
            net.convolution(3, 1, Window::square(1, 1, 0));
            check(&net.graph, &format!("side by side {size:?}"));
            all.reverse();
            net.add(Op::Concat, all);
            check(&net.graph, &format!("side by side, last first, {size:?}"));
        }
    }
}

/// Halves of the channels, one of which is left as it is, and a shuffle (Ma et al. 2018, arXiv:1807.11164).
#[test]
fn shuffled_blocks() {
    for (seed, size) in SIZES.into_iter().enumerate() {
        let mut net = image(12, size, seed as u64);
        for _ in 0..3 {
            let whole = net.graph.output;
            let left = net.next(Op::range(0, 6));
            net.add(Op::range(6, 6), vec![whole]);
            net.convolution(6, 1, Window::square(1, 1, 0));
            net.next(RELU);
            net.convolution(6, 6, Window::square(3, 1, 1));
            net.convolution(6, 1, Window::square(1, 1, 0));
            let right = net.next(RELU);
            net.add(Op::Concat, vec![left, right]);
            net.next(Op::shuffle(12, 2));
        }
        check(&net.graph, &format!("shuffled {size:?}"));
        // The concatenation is read by another node too.
        let shuffled = net.graph.output;
        net.add(Op::Sub, vec![shuffled - 1, shuffled]);
        check(&net.graph, &format!("shuffled and not {size:?}"));
    }
}

/// Branches of different kernels, a pool among them, and a concatenation of concatenations (Szegedy et al. 2015).
#[test]
fn branches_side_by_side() {
    for (seed, size) in SIZES.into_iter().enumerate() {
        let mut net = image(10, size, seed as u64);
        let trunk = net.next(RELU);
        let mut branches = vec![net.convolution(7, 1, Window::square(1, 1, 0))];
        for kernel in [[3, 3], [1, 7], [7, 1], [5, 5]] {
            let padding = [kernel[0] / 2, kernel[1] / 2, kernel[0] / 2, kernel[1] / 2];
            net.graph.output = trunk;
            net.convolution(4, 1, Window { kernel, padding, ..Window::square(1, 1, 0) });
            branches.push(net.next(RELU));
        }
        branches.push(net.add(Op::MaxPool(Window::square(3, 1, 1)), vec![trunk]));
        let pair = net.add(Op::Concat, vec![branches[1], branches[2]]);
        let first = net.add(Op::Concat, vec![branches[0], pair, branches[5]]);
        let second = net.add(Op::Concat, vec![branches[3], branches[4], first, branches[0]]);
        check(&net.graph, &format!("branches {size:?}"));
        // Cut out of the middle again, read by a convolution and by a sum.
        let cut = net.add(Op::range(3, 18), vec![second]);
        net.convolution(18, 3, Window::square(3, 1, 1));
        let convolved = net.graph.output;
        net.add(Op::Add, vec![convolved, cut]);
        net.add(Op::Concat, vec![net.graph.output, second, cut]);
        check(&net.graph, &format!("branches and a cut {size:?}"));
    }
}

/// A gate for each channel, by convolutions of one pixel or by linear layers (Hu et al. 2018, arXiv:1709.01507).
#[test]
fn squeeze_and_excite() {
    for (seed, size) in SIZES.into_iter().enumerate() {
        let mut net = image(24, size, seed as u64);
        net.convolution(24, 24, Window::square(3, 1, 1));
        let trunk = net.next(Op::Function(Function::Silu));
        net.next(Op::GlobalAveragePool);
        net.convolution(6, 1, Window::square(1, 1, 0));
        net.next(Op::Function(Function::Silu));
        net.convolution(24, 1, Window::square(1, 1, 0));
        let gate = net.next(Op::Function(Function::Sigmoid));
        let trunk = net.add(Op::Mul, vec![trunk, gate]);
        net.next(Op::GlobalAveragePool);
        net.next(Op::Flatten);
        net.linear(5);
        net.next(RELU);
        net.linear(24);
        let gate = net.next(Op::Function(Function::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 }));
        let gate = net.add(Op::Reshape { shape: [24, 1, 1] }, vec![gate]);
        net.add(Op::Mul, vec![gate, trunk]);
        net.convolution(8, 1, Window::square(1, 1, 0));
        net.next(Op::Flatten);
        net.linear(13);
        net.next(Op::Function(Function::HardSwish));
        net.linear(4);
        net.next(Op::LogSoftmax);
        check(&net.graph, &format!("gates {size:?}"));
    }
}

#[test]
fn pads_and_pools_of_negative_numbers() {
    for (seed, size) in SIZES.into_iter().enumerate() {
        for value in [0.0, f32::NEG_INFINITY, -0.5, 7.0] {
            let mut net = Growing::new([3, size[0], size[1]], 0.5, seed as u64);
            // All below −1: a zero among them would be the greatest.
            net.next(Op::Affine { scale: vec![0.9; 3], offset: vec![-2.0; 3] });
            let below = net.graph.output;
            net.next(Op::MaxPool(Window::square(3, 2, 1)));
            check(&net.graph, &format!("greatest {size:?}"));
            net.graph.output = below;
            net.next(Op::Pad { lines: [1, 2, 0, 3], value });
            let window = Window { kernel: [3, 2], padding: [1, 0, 2, 1], ..Window::square(1, 2, 0) };
            net.next(Op::MaxPool(window));
            check(&net.graph, &format!("greatest of padded {size:?} {value}"));
            net.next(Op::GlobalMaxPool);
            check(&net.graph, &format!("greatest of all {size:?} {value}"));
        }
    }
}

#[test]
fn means_count_the_lines_that_they_should() {
    for (seed, size) in SIZES.into_iter().enumerate() {
        let window = Window { kernel: [3, 4], padding: [2, 1, 2, 3], ..Window::square(1, 2, 0) };
        let dilated = Window { dilation: [2, 1], padding: [3, 2, 2, 2], ..Window::square(3, 1, 0) };
        for (window, counted) in [
            (window, [0; 4]),
            (window, window.padding),
            (window, [1, 0, 2, 1]),
            (dilated, [2, 1, 0, 1]),
            (Window { padding: [0, 0, 1, 1], ..Window::square(2, 2, 0) }, [0; 4]),
        ] {
            let mut net = image(4, size, seed as u64);
            net.next(Op::AveragePool { window, counted });
            if shapes(&net.graph).is_ok() {
                check(&net.graph, &format!("{window:?} {counted:?} {size:?}"));
            }
            // Zeros around the image are lines that count.
            let mut net = image(4, size, seed as u64);
            net.next(Op::Pad { lines: [1, 0, 0, 2], value: 0.0 });
            net.next(Op::AveragePool { window, counted });
            if shapes(&net.graph).is_ok() {
                check(&net.graph, &format!("{window:?} {counted:?} of padded {size:?}"));
            }
        }
    }
}

#[test]
fn zeros_around_an_image_become_padding_and_other_lines_do_not() {
    for (seed, size) in SIZES.into_iter().enumerate() {
        for value in [0.0, 0.5] {
            for groups in [1, 6] {
                let mut net = image(6, size, seed as u64);
                net.next(Op::Pad { lines: [0, 1, 1, 0], value });
                net.next(Op::Pad { lines: [1, 0, 0, 2], value });
                net.convolution(6, groups, Window::square(3, 2, 1));
                check(&net.graph, &format!("{value} around {size:?} in {groups} groups"));
            }
        }
    }
}

#[test]
fn grouped_and_narrow_convolutions() {
    let narrow = |kernel: [usize; 2], stride| Window {
        kernel,
        padding: [kernel[0] / 2, kernel[1] / 2, kernel[0] / 2, kernel[1] / 2],
        ..Window::square(1, stride, 0)
    };
    for (seed, size) in SIZES.into_iter().enumerate() {
        for (outputs, groups) in [(24, 2), (24, 3), (36, 12), (12, 4), (60, 12), (24, 24)] {
            let mut net = image(if groups == 24 { 24 } else { 12 }, size, seed as u64);
            net.convolution(outputs, groups, Window::square(3, 1 + seed % 2, 1));
            net.next(RELU);
            net.convolution(outputs, outputs / 2, narrow([1, 7], 1));
            net.convolution(outputs, 1, narrow([5, 1], 2));
            check(&net.graph, &format!("{outputs} in {groups} groups, {size:?}"));
        }
    }
}

#[test]
fn scores_end_in_many_ways() {
    for end in [vec![], vec![Op::Softmax], vec![Op::LogSoftmax], vec![Op::Function(Function::Sigmoid)]] {
        let mut net = image(5, [4, 3], 1);
        net.next(Op::Flatten);
        net.linear(9);
        net.next(Op::Affine { scale: vec![30.0; 9], offset: vec![1.0; 9] });
        for op in &end {
            net.next(op.clone());
        }
        check(&net.graph, &format!("{end:?}"));
        // The same, where more than one reads the scores before.
        let scores = net.graph.output;
        net.add(Op::Concat, vec![scores, scores - 1]);
        let result = Engine::new(net.graph.clone(), Options { threads: 1, ..Options::default() });
        match end.as_slice() {
            [Op::Softmax | Op::LogSoftmax] => assert!(matches!(result, Err(Error::Unsupported { .. }))),
            _ => check(&net.graph, &format!("{end:?} and before")),
        }
    }
}

#[test]
fn random_networks() {
    for seed in 0..150 {
        let graph = network(seed);
        check(&graph, &format!("random network {seed}: {:?}", kinds(&graph)));
    }
}

/// The operations of a graph without their weights.
fn kinds(graph: &Graph) -> Vec<String> {
    let name = |op: &Op| format!("{op:?}").split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned();
    graph.nodes.iter().map(|node| format!("{} of {:?}", name(&node.op), node.inputs)).collect()
}
