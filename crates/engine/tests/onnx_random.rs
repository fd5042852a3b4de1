//! Random small graphs, written as ONNX and read again.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use proptest::prelude::*;
use sparse_engine::graph::{Convolution, Function, Graph, Node, Op, Quantization, Window};
use sparse_engine::onnx::{OnnxError, WriteOptions, read, write};
use sparse_engine::{Shape, shapes};

/// Numbers from a seed, about half of them zeros.
fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mix = |n: u64| (n ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29).wrapping_mul(seed | 1);
    let number = |bits: u64| if bits.is_multiple_of(2) { 0.0 } else { (bits >> 40) as f32 / 1e6 - 4.0 };
    (1..=count as u64).map(|n| number(mix(n) >> 3)).collect()
}

fn window(seed: u64) -> Window {
    let pick = |place: u32, most: u64| (seed >> (4 * place)) as usize % most as usize;
    Window {
        kernel: [1 + pick(0, 4), 1 + pick(1, 3)],
        stride: [1 + pick(2, 3), 1 + pick(3, 2)],
        dilation: [1 + pick(4, 2), 1 + pick(5, 3)],
        padding: [pick(6, 2), pick(7, 3), pick(8, 2), pick(9, 2)],
    }
}

fn convolution(x: Shape, seed: u64) -> Op {
    let groups = [1, 2, x.channels()][seed as usize % 3];
    let window = window(seed >> 2);
    let outputs = groups * (1 + seed as usize % 2);
    let shape = [outputs, x.channels() / groups, window.kernel[0], window.kernel[1]];
    let weight = numbers(seed, shape.iter().product());
    Op::Convolution(Convolution {
        weight,
        shape,
        bias: numbers(seed + 1, outputs),
        groups,
        window,
        scales: None,
    })
}

fn op(choice: u8, x: Shape, seed: u64) -> Op {
    let channels = x.channels();
    let no_dilation = Window { dilation: [1; 2], ..window(seed) };
    match choice % 17 {
        0..=2 => convolution(x, seed),
        3 => Op::Affine { scale: numbers(seed, channels), offset: numbers(seed + 1, channels) },
        4 => Op::Clip { low: 0.0, high: f32::INFINITY },
        5 => Op::Clip { low: -1.0, high: 6.0 },
        6 => Op::Clip { low: f32::NEG_INFINITY, high: [2.0, f32::INFINITY][seed as usize % 2] },
        7 => Op::MaxPool(window(seed)),
        8 => {
            let counted = if seed.is_multiple_of(2) { no_dilation.padding } else { [0; 4] };
            Op::AveragePool { window: no_dilation, counted }
        }
        9 => Op::GlobalAveragePool,
        10 => Op::Flatten,
        11 => Op::Linear { weight: numbers(seed, 3 * x.count()), bias: numbers(seed + 1, 3), scales: None },
        12 => Op::Softmax,
        13 | 14 => {
            let scale = [0.5, 0.017, 3.0e-5][seed as usize % 3];
            Op::Function(Function::Quantize(Quantization { scale, zero: (seed >> 8) as u8 }))
        }
        _ => of_bytes(op(choice % 2 * 11, x, seed), seed),
    }
}

/// The layer with weights that are whole multiples of a scale for each output.
fn of_bytes(mut layer: Op, seed: u64) -> Op {
    let (Op::Convolution(Convolution { weight, bias, scales, .. }) | Op::Linear { weight, bias, scales }) =
        &mut layer
    else {
        return layer;
    };
    let row = weight.len() / bias.len();
    let steps: Vec<f32> = (0..bias.len()).map(|at| [0.25, 0.013, 1.7e-4][(seed as usize + at) % 3]).collect();
    for (at, weight) in weight.iter_mut().enumerate() {
        *weight = (*weight * 32.0).round().clamp(-128.0, 127.0) * steps[at / row];
    }
    *scales = Some(steps);
    layer
}

/// Makes biases of weights with scales whole multiples of the steps of what they are added to, or ones and a half.
fn whole_bias(op: &mut Op, graph: &Graph, mut node: usize, seed: u64) {
    let (Op::Convolution(Convolution { bias, scales: Some(scales), .. })
    | Op::Linear { bias, scales: Some(scales), .. }) = op
    else {
        return;
    };
    while !matches!(graph.nodes[node].op, Op::Function(_)) && !graph.nodes[node].inputs.is_empty() {
        node = graph.nodes[node].inputs[0];
    }
    let Op::Function(Function::Quantize(quantization)) = graph.nodes[node].op else { return };
    for (at, (bias, scale)) in bias.iter_mut().zip(scales).enumerate() {
        let count = (seed >> 20) as i32 % 100_000 * [1, -1][at % 2];
        *bias = (count as f32 + [0.0, 0.5][seed as usize % 2]) * (quantization.scale * *scale);
    }
}

/// A chain of the operations that fit, with sums over all pairs of nodes of one shape where asked for.
fn graph(steps: Vec<(u8, bool, u64)>) -> Graph {
    let input = Node { name: "input".to_owned(), op: Op::Input { shape: [4, 7, 6] }, inputs: vec![] };
    let mut graph = Graph { nodes: vec![input], output: 0 };
    for (number, (choice, adds, seed)) in steps.into_iter().enumerate() {
        let known = shapes(&graph).unwrap();
        let last = known.len() - 1;
        let twin = (0..last).rev().find(|&node| adds && known[node] == known[last]);
        let (mut op, inputs) = match twin {
            Some(twin) => (Op::Add, vec![twin, last]),
            None => (op(choice, known[last], seed), vec![last]),
        };
        whole_bias(&mut op, &graph, last, seed);
        // Some names are the same as others, or as those that a file gives to its input and output.
        let name = ["logits", "input", "conv.weight", ""][seed as usize % 4];
        let name = if seed.is_multiple_of(5) { name.to_owned() } else { format!("node {number}") };
        graph.nodes.push(Node { name, op, inputs });
        graph.output = graph.nodes.len() - 1;
        if shapes(&graph).is_err() {
            graph.nodes.pop();
            graph.output -= 1;
        }
    }
    graph
}

/// The graph without its names.
fn nameless(mut graph: Graph) -> Graph {
    graph.nodes.iter_mut().for_each(|node| node.name.clear());
    graph
}

fn steps() -> impl Strategy<Value = Vec<(u8, bool, u64)>> {
    proptest::collection::vec((any::<u8>(), proptest::bool::weighted(0.2), any::<u64>()), 0..14)
}

proptest! {
    #[test]
    fn what_is_written_reads_the_same(steps in steps(), sparse_initializer: bool) {
        let graph = graph(steps.into_iter().map(|(choice, adds, seed)| (choice, adds, seed >> 1)).collect());
        let metadata = vec![("key".to_owned(), "value".to_owned())];
        let options = WriteOptions { sparse_initializer, metadata };
        let bytes = write(&graph, &options).unwrap();
        prop_assert_eq!(&bytes, &write(&graph, &options).unwrap());
        let again = read(&bytes).unwrap();
        let names: std::collections::HashSet<&str> = again.nodes.iter().map(|node| node.name.as_str()).collect();
        prop_assert!(graph.nodes.len() == 1 || names.len() >= again.nodes.len() - 1, "{names:?}");
        prop_assert_eq!(nameless(again), nameless(graph));
    }

    #[test]
    fn damaged_bytes_never_panic(steps in steps(), cut: usize, place: usize, bit in 0..8) {
        let graph = graph(steps.into_iter().map(|(choice, adds, seed)| (choice, adds, seed >> 1)).collect());
        let mut bytes = write(&graph, &WriteOptions { sparse_initializer: true, metadata: vec![] }).unwrap();
        let length = bytes.len();
        bytes[place % length] ^= 1_u8 << bit;
        let _ = read(&bytes);
        let _ = read(&bytes[..cut % length]);
    }

    #[test]
    fn noise_is_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(read(&bytes).is_err());
    }
}

#[test]
fn weights_of_mostly_zeros_take_less_room_without_them() {
    let weight: Vec<f32> = (0..4000).map(|n| if n % 10 == 0 { 1.0 + n as f32 } else { 0.0 }).collect();
    let input = Node { name: "input".to_owned(), op: Op::Input { shape: [4, 10, 10] }, inputs: vec![] };
    let flatten = Node { name: "flatten".to_owned(), op: Op::Flatten, inputs: vec![0] };
    let linear = Op::Linear { weight, bias: vec![0.0; 10], scales: None };
    let linear = Node { name: "fc".to_owned(), op: linear, inputs: vec![1] };
    let unread = Node { name: "unread".to_owned(), op: Op::Softmax, inputs: vec![2] };
    let mut graph = Graph { nodes: vec![input, flatten, linear, unread], output: 2 };
    let dense = write(&graph, &WriteOptions::default()).unwrap();
    let options = WriteOptions { sparse_initializer: true, ..WriteOptions::default() };
    let sparse = write(&graph, &options).unwrap();
    assert!(dense.len() > 16_000 && sparse.len() < 6_000, "{} and {}", dense.len(), sparse.len());
    graph.nodes.pop();
    assert_eq!(read(&sparse).unwrap(), graph);
    assert_eq!(read(&dense).unwrap(), graph);
}

#[test]
fn a_graph_that_cannot_be_computed_is_not_written() {
    let options = WriteOptions::default();
    assert!(matches!(write(&Graph::default(), &options), Err(OnnxError::Graph(_))));
    let input = Node { name: "input".to_owned(), op: Op::Input { shape: [4, 7, 6] }, inputs: vec![] };
    let window = Window { dilation: [2; 2], ..Window::square(2, 1, 0) };
    let pool = Op::AveragePool { window, counted: [0; 4] };
    let pool = Node { name: "pool".to_owned(), op: pool, inputs: vec![0] };
    let error = write(&Graph { nodes: vec![input, pool], output: 1 }, &options).unwrap_err();
    assert!(matches!(error, OnnxError::Node { node, .. } if node == "pool"));
}
