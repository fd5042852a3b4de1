//! Networks that PyTorch exported, against the scores of ONNX Runtime (`tests/onnx/make.py`).

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use sparse_engine::{Engine, Options, Products};
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
        let expected: Vec<f64> = expected.into_iter().map(f64::from).collect();
        for products in [Products::Dense, Products::Sparse] {
            let engine = Engine::load(&path, Options { threads: 2, products, size: None }).unwrap();
            let mut outputs = vec![0.0; expected.len()];
            engine.session().unwrap().run(&input, &mut outputs).unwrap();
            let error = common::relative_error(&outputs, &expected);
            assert!(error < 1e-5, "{name}: relative error {error}");
        }
    }
    assert!(files >= 9, "only {files} files in {}", folder.display());
}
