//! ONNX files that PyTorch exported, read into graphs (made by `tests/onnx/make.py`).

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use sparse_engine::graph::{Graph, Op};
use sparse_engine::onnx::{OnnxError, ReadOptions, WriteOptions, read, read_file, read_with, write};
use sparse_engine::{GraphError, Shape, shapes};
use std::collections::BTreeMap;
use std::path::PathBuf;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/onnx").join(format!("{name}.onnx"))
}

fn exported(name: &str) -> Graph {
    read_file(path(name), &ReadOptions::default()).unwrap()
}

fn kind(op: &Op) -> &'static str {
    match op {
        Op::Input { .. } => "input",
        Op::Convolution(_) => "convolution",
        Op::Affine { .. } => "affine",
        Op::Clip { .. } => "clip",
        Op::Add => "add",
        Op::MaxPool(_) => "max pool",
        Op::AveragePool { .. } => "average pool",
        Op::GlobalAveragePool => "global average pool",
        Op::Flatten => "flatten",
        Op::Linear { .. } => "linear",
        Op::Softmax => "softmax",
        _ => "another",
    }
}

/// How many nodes of each kind a graph has, in order of the kinds.
fn kinds(graph: &Graph) -> Vec<(&'static str, usize)> {
    let mut counts = BTreeMap::new();
    graph.nodes.iter().for_each(|node| *counts.entry(kind(&node.op)).or_insert(0) += 1);
    counts.into_iter().collect()
}

#[test]
fn a_resnet_reads_the_same_with_batch_norm_apart_and_folded() {
    let folded = [("add", 2), ("clip", 5), ("convolution", 6), ("flatten", 1), ("global average pool", 1)];
    let rest = [("input", 1), ("linear", 1), ("max pool", 1)];
    let folded = [&folded[..], &rest].concat();
    assert_eq!(kinds(&exported("resnet_13")), folded);
    let mut apart = folded;
    apart.insert(1, ("affine", 6));
    for name in ["resnet_9", "resnet_17"] {
        let graph = exported(name);
        assert_eq!(kinds(&graph), apart, "{name}");
        let shapes = shapes(&graph).unwrap();
        assert_eq!(shapes[0], Shape::Image([3, 32, 24]));
        assert!(shapes.contains(&Shape::Image([8, 4, 3])), "{shapes:?}");
        assert_eq!(shapes[graph.output], Shape::Flat(5));
    }
}

#[test]
fn a_mobilenet_keeps_its_normalisation_clips_and_depthwise_convolutions() {
    for (name, affines) in [("mobilenet_9", 2), ("mobilenet_13", 12), ("mobilenet_18", 2)] {
        let graph = exported(name);
        let expected = [("add", 2), ("affine", affines), ("clip", 7), ("convolution", 10), ("flatten", 1)];
        let rest = [("global average pool", 1), ("input", 1), ("linear", 1)];
        assert_eq!(kinds(&graph), [&expected[..], &rest].concat(), "{name}");
        let is_relu6 = |op: &Op| !matches!(op, Op::Clip { .. }) || *op == Op::Clip { low: 0.0, high: 6.0 };
        assert!(graph.nodes.iter().all(|node| is_relu6(&node.op)), "{name}");
        let depthwise = graph.nodes.iter().filter(|node| match &node.op {
            Op::Convolution(convolution) => convolution.groups > 1 && convolution.shape[1] == 1,
            _ => false,
        });
        assert_eq!(depthwise.count(), 3, "{name}");
        assert_eq!(shapes(&graph).unwrap()[graph.output], Shape::Flat(5), "{name}");
    }
}

#[test]
fn windows_groups_and_matrices_arrive() {
    for (name, counts) in [("grouped_9", true), ("grouped_13", false), ("grouped_17", true)] {
        let graph = exported(name);
        let expected = [("average pool", 2), ("clip", 3), ("convolution", 2), ("flatten", 1), ("input", 1)];
        assert_eq!(kinds(&graph), [&expected[..], &[("linear", 2), ("softmax", 1)]].concat(), "{name}");
        let convolutions = graph.nodes.iter().filter_map(|node| match &node.op {
            Op::Convolution(convolution) => Some((convolution.shape, convolution.groups, convolution.window)),
            _ => None,
        });
        let [first, second]: [_; 2] = convolutions.collect::<Vec<_>>().try_into().unwrap();
        assert_eq!((first.0, first.2.stride, first.2.padding), ([6, 3, 5, 3], [1, 2], [2, 1, 2, 1]));
        assert_eq!((second.0, second.1, second.2.dilation), ([8, 3, 5, 5], 2, [2, 2]));
        let pool = graph.nodes.iter().find_map(|node| match node.op {
            Op::AveragePool { window, counted } => Some((window.padding, counted != [0; 4])),
            _ => None,
        });
        assert_eq!(pool, Some(([1; 4], counts)), "{name}");
        let clip = Op::Clip { low: -0.5, high: 2.0 };
        assert!(graph.nodes.iter().any(|node| node.op == clip), "{name}");
    }
}

#[test]
fn what_is_read_and_written_reads_the_same() {
    for entry in std::fs::read_dir(path("").parent().unwrap()).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_none_or(|extension| extension != "onnx") {
            continue;
        }
        let graph = read_file(&file, &ReadOptions::default()).unwrap();
        let mut again = read(&write(&graph, &WriteOptions::default()).unwrap()).unwrap();
        again.nodes[0].name.clone_from(&graph.nodes[0].name);
        assert_eq!(again, graph, "{}", file.display());
    }
}

#[test]
fn another_size_of_the_image_can_be_chosen() {
    let options = ReadOptions { size: Some([64, 40]), output: None };
    let graph = read_file(path("mobilenet_18"), &options).unwrap();
    assert_eq!(graph.nodes[0].op, Op::Input { shape: [3, 64, 40] });
    let bytes = std::fs::read(path("grouped_17")).unwrap();
    let error = read_with(&bytes, &options).unwrap_err();
    assert!(matches!(error, OnnxError::Graph(GraphError::Length { .. })), "{error}");
    let missing = read_file(path("none"), &options).unwrap_err();
    assert!(matches!(missing, OnnxError::Io { .. }));
}

#[test]
fn damaged_files_give_errors_and_never_a_panic() {
    for name in ["resnet_9", "mobilenet_13", "grouped_9"] {
        let bytes = std::fs::read(path(name)).unwrap();
        for end in (0..bytes.len()).step_by(7) {
            let _ = read(&bytes[..end]);
        }
        // Names, shapes and attributes are what a flipped bit changes most: every byte, one of its bits.
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1 << (place * 5 % 8);
            let _ = read(&damaged);
        }
    }
}
