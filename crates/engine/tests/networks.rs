//! Networks of torchvision from both exporters of PyTorch (made by `tests/onnx/networks.py`), against the scores of ONNX
//! Runtime.
//!
//! Small twins of them are in the project. The networks themselves are made where `$SPARSE_PYTHON` names a Python with torch,
//! torchvision, onnx, onnxscript, onnxruntime and safetensors; elsewhere that test says that it is left out.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use sparse_engine::graph::Graph;
use sparse_engine::onnx::{ReadOptions, WriteOptions, read, read_file, write};
use sparse_engine::{Engine, Options, Products};
use sparse_testing::{Need, python};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder that the script wrote.
struct Made {
    folder: PathBuf,
    /// `[2, 3, H, W]`.
    images: Vec<f32>,
}

impl Made {
    fn of(folder: &Path) -> Self {
        let (tensors, _) = sparse_formats::read(folder.join("io.safetensors")).unwrap();
        Self { folder: folder.to_owned(), images: tensors["input"].to_f32().unwrap() }
    }

    /// Every model: its name, its graph, and the scores of ONNX Runtime.
    fn models(&self) -> Vec<(String, Graph, Vec<f64>)> {
        let (tensors, _) = sparse_formats::read(self.folder.join("io.safetensors")).unwrap();
        let names = tensors.keys().filter_map(|key| key.strip_suffix(".logits").map(str::to_owned));
        let model = |name: String| {
            let path = self.folder.join(format!("{name}.onnx"));
            let graph =
                read_file(path, &ReadOptions::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
            let expected = tensors[&format!("{name}.logits")].to_f32().unwrap();
            (name, graph, expected.into_iter().map(f64::from).collect())
        };
        names.map(model).collect()
    }
}

/// The scores of the images on the engine.
fn scores(graph: &Graph, images: &[f32], products: Products) -> Vec<f32> {
    let engine = Engine::new(graph.clone(), Options { threads: 2, products, ..Options::default() }).unwrap();
    let mut outputs = vec![0.0; 2 * engine.outputs()];
    engine.session().unwrap().run(images, &mut outputs).unwrap();
    outputs
}

fn twins() -> Made {
    Made::of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/onnx/networks"))
}

#[test]
fn graphs_of_small_twins_give_the_scores_of_onnx_runtime() {
    let made = twins();
    let models = made.models();
    assert_eq!(models.len(), 14);
    for (name, graph, expected) in models {
        let images = made.images.chunks(made.images.len() / 2);
        let scores: Vec<f32> =
            images.flat_map(|image| common::evaluate(&graph, image)).map(|score| score as f32).collect();
        let error = common::relative_error(&scores, &expected);
        assert!(error < 1e-5, "{name}: relative error {error}");
    }
}

#[test]
fn small_twins_run_as_in_onnx_runtime_and_are_written_as_they_are_read() {
    let made = twins();
    for (name, graph, expected) in made.models() {
        for products in [Products::Dense, Products::Sparse] {
            let outputs = scores(&graph, &made.images, products);
            let error = common::relative_error(&outputs, &expected);
            assert!(error < 1e-5, "{name}: relative error {error}");
            let again = read(&write(&graph, &WriteOptions::default()).unwrap()).unwrap();
            assert_eq!(scores(&again, &made.images, products), outputs, "{name}: written and read again");
        }
    }
}

#[test]
fn networks_of_torchvision_run_as_in_onnx_runtime() {
    let Some(python) = python() else {
        return Need::Python.left_out("the networks of torchvision against ONNX Runtime");
    };
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/onnx/networks.py");
    let output = Command::new(&python).arg(script).arg("whole").arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{python}: {}", String::from_utf8_lossy(&output.stderr));
    let made = Made::of(folder.path());
    let models = made.models();
    assert_eq!(models.len(), 20);
    for (name, graph, expected) in models {
        let outputs = scores(&graph, &made.images, Products::Dense);
        let error = common::relative_error(&outputs, &expected);
        assert!(error < 1e-4, "{name}: relative error {error}");
    }
}
