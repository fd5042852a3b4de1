//! Small twins of networks of torchvision from both exporters of PyTorch (made by `tests/onnx/networks.py`), against the
//! scores of ONNX Runtime.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use sparse_engine::graph::Graph;
use sparse_engine::onnx::{ReadOptions, read_file};
use std::path::{Path, PathBuf};

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
