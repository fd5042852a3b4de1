//! Quantised models in the QDQ form, against the scores of ONNX Runtime (made by `tests/onnx/quantised.py`).
//!
//! Where `$SPARSE_PYTHON` names a Python with onnxruntime and safetensors, ONNX Runtime also computes what is written here.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use sparse_engine::graph::{Function, Graph, Op};
use sparse_engine::onnx::{ReadOptions, WriteOptions, read, read_file, write};
use sparse_engine::{Engine, Options, Products, multiples};
use sparse_formats::Tensors;
use sparse_testing::{Need, python};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Images in the file.
const IMAGES: usize = 8;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/onnx/quantised")
}

fn tensors() -> Tensors {
    sparse_formats::read(folder().join("io.safetensors")).unwrap().0
}

/// Names and graphs of all models.
fn models() -> Vec<(String, Graph)> {
    let tensors = tensors();
    let names = tensors.keys().filter_map(|key| key.strip_suffix(".logits"));
    let model = |name: &str| {
        let path = folder().join(format!("{name}.onnx"));
        let graph =
            read_file(path, &ReadOptions::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name.to_owned(), graph)
    };
    names.map(model).collect()
}

fn scores(graph: &Graph, images: &[f32], products: Products) -> Vec<f32> {
    let engine = Engine::new(graph.clone(), Options { threads: 2, products, ..Options::default() }).unwrap();
    let mut outputs = vec![0.0; IMAGES * engine.outputs()];
    engine.session().unwrap().run(images, &mut outputs).unwrap();
    outputs
}

/// How far scores are apart by which one number that is rounded before them can differ: a step of the scores, or what a step of what the
/// last layer reads does to them.
fn step(graph: &Graph) -> f32 {
    let node = &graph.nodes[graph.output];
    match &node.op {
        Op::Function(Function::Quantize(quantization)) => quantization.scale,
        Op::Linear { weight, .. } => match graph.nodes[node.inputs[0]].op {
            Op::Function(Function::Quantize(quantization)) => {
                quantization.scale * weight.iter().map(|weight| weight.abs()).fold(0.0, f32::max)
            }
            _ => panic!("a head that reads bytes"),
        },
        _ => panic!("scores of bytes, or a head"),
    }
}

/// The greatest difference, in steps of the scores.
fn steps_apart(graph: &Graph, got: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(got.len(), expected.len());
    got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / step(graph)
}

#[test]
fn scores_are_those_of_onnx_runtime() {
    let tensors = tensors();
    let images = tensors["input"].to_f32().unwrap();
    let models = models();
    assert_eq!(models.len(), 8);
    for (name, graph) in models {
        let expected = tensors[&format!("{name}.logits")].to_f32().unwrap();
        for products in [Products::Dense, Products::Sparse] {
            let got = scores(&graph, &images, products);
            let apart = steps_apart(&graph, &got, &expected);
            assert!(apart < 1.01, "{name}: {apart} steps");
            let same = got.iter().zip(&expected).filter(|(a, b)| (*a - *b).abs() < 1e-5).count();
            // Biases that are no whole multiples are rounded to such here, and stay as they are there.
            let whole_biases = name != "fake_quantised";
            assert!(
                !whole_biases || same * 10 >= got.len() * 8,
                "{name}: {same} of {} are the same",
                got.len()
            );
        }
    }
}

#[test]
fn weights_of_bytes_are_multiples_and_results_have_256_steps() {
    for (name, graph) in models() {
        let mut counts = [0; 2];
        for node in &graph.nodes {
            let (weight, outputs, scales) = match &node.op {
                Op::Convolution(convolution) => {
                    (&convolution.weight, convolution.shape[0], &convolution.scales)
                }
                Op::Linear { weight, bias, scales } => (weight, bias.len(), scales),
                Op::Function(Function::Quantize(_)) => {
                    counts[1] += 1;
                    continue;
                }
                _ => continue,
            };
            let scales = scales.as_ref().unwrap_or_else(|| panic!("{name}, {}: no scales", node.name));
            assert_eq!(scales.len(), outputs, "{name}, {}", node.name);
            let numbers = multiples(weight, scales).unwrap();
            assert!(numbers.iter().any(|number| number.unsigned_abs() > 60), "{name}, {}", node.name);
            let differ = scales.iter().any(|scale| scale != &scales[0]);
            let per_channel = name.contains("channel") || name == "fake_quantised" && node.name != "/Gemm";
            assert_eq!(differ, per_channel, "{name}, {}", node.name);
            counts[0] += 1;
        }
        let [layers, roundings] = match name.as_str() {
            "fake_quantised" => [3, 4],
            "mobilenet_tensor_s8" => [8, 11],
            "residual_channel_s8_symmetric" => [6, 17],
            "residual_twins" => [6, 15],
            _ if name.starts_with("mobilenet") => [8, 11],
            _ => [6, 13],
        };
        assert_eq!(counts, [layers, roundings], "{name}");
    }
}

#[test]
fn what_is_read_and_written_reads_the_same() {
    for (name, graph) in models() {
        for sparse_initializer in [false, true] {
            let options = WriteOptions { sparse_initializer, ..WriteOptions::default() };
            let mut again = read(&write(&graph, &options).unwrap()).unwrap();
            again.nodes[0].name.clone_from(&graph.nodes[0].name);
            assert_eq!(again, graph, "{name}");
        }
    }
}

#[test]
fn onnx_runtime_computes_what_is_written() {
    let Some(python) = python() else {
        return Need::Python.left_out("quantised models of ours in ONNX Runtime");
    };
    let made = tempfile::tempdir().unwrap();
    std::fs::copy(folder().join("io.safetensors"), made.path().join("io.safetensors")).unwrap();
    let models = models();
    for (name, graph) in &models {
        let bytes = write(graph, &WriteOptions::default()).unwrap();
        std::fs::write(made.path().join(format!("{name}.onnx")), bytes).unwrap();
    }
    let script = folder().join("../quantised.py");
    let output = Command::new(&python).arg(script).arg("scores").arg(made.path()).output().unwrap();
    assert!(output.status.success(), "{python}: {}", String::from_utf8_lossy(&output.stderr));
    let (expected, _) = sparse_formats::read(made.path().join("scores.safetensors")).unwrap();
    let images = tensors()["input"].to_f32().unwrap();
    for (name, graph) in &models {
        let expected = expected[name].to_f32().unwrap();
        let apart = steps_apart(graph, &scores(graph, &images, Products::Dense), &expected);
        assert!(apart < 1.01, "{name}: {apart} steps");
    }
}

#[test]
fn damaged_files_give_errors_and_never_a_panic() {
    for name in ["fake_quantised", "residual_twins"] {
        let bytes = std::fs::read(folder().join(format!("{name}.onnx"))).unwrap();
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1 << (place * 5 % 8);
            let Ok(graph) = read(&damaged) else { continue };
            if let Ok(written) = write(&graph, &WriteOptions::default()) {
                let shapes = |graph: &Graph| sparse_engine::shapes(graph).unwrap()[graph.output];
                assert_eq!(shapes(&read(&written).unwrap()), shapes(&graph), "{name}, byte {place}");
            }
        }
    }
}
