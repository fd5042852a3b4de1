//! Networks that PyTorch exported, against the scores of ONNX Runtime (`tests/onnx/make.py`).

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use sparse_engine::graph::Graph;
use sparse_engine::onnx::{self, WriteOptions};
use sparse_engine::{Engine, Options, Products, load};
use std::path::Path;

#[test]
fn scores_are_those_of_onnx_runtime() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/onnx");
    let (tensors, _) = sparse_formats::read(folder.join("io.safetensors")).unwrap();
    let mut files = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "onnx") {
            continue;
        }
        files += 1;
        let name = path.file_stem().unwrap().to_str().unwrap();
        let tensor = |what: &str| tensors[&format!("{name}.{what}")].to_f32().unwrap();
        let (input, expected) = (tensor("input"), tensor("logits"));
        let graph = load(&path, None).unwrap().graph;
        let copy = onnx::read(&onnx::write(&graph, &WriteOptions::default()).unwrap()).unwrap();
        let expected: Vec<f64> = expected.into_iter().map(f64::from).collect();
        for products in [Products::Dense, Products::Sparse] {
            let scores = |graph: &Graph| {
                let engine =
                    Engine::new(graph.clone(), Options { threads: 2, products, ..Options::default() })
                        .unwrap();
                let mut outputs = vec![0.0; expected.len()];
                engine.session().unwrap().run(&input, &mut outputs).unwrap();
                outputs
            };
            let outputs = scores(&graph);
            let error = common::relative_error(&outputs, &expected);
            assert!(error < 1e-5, "{name}: relative error {error}");
            assert_eq!(scores(&copy), outputs, "{name}: written and read again");
        }
    }
    assert!(files >= 9, "only {files} files in {}", folder.display());
}

#[test]
fn weights_of_another_program_are_told_by_what_they_are() {
    let error = load(Path::new("../../tests/torch/timm.pth"), None).unwrap_err().to_string();
    assert!(error.contains("PyTorch") && error.contains("sparse-train convert"), "{error}");
    let error = load(Path::new("/dev/null"), None);
    assert!(error.is_err_and(|error| !cfg!(unix) || error.to_string().contains("a device")));
}
