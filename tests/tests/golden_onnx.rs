//! ONNX files that PyTorch exported, read and computed by plain loops, against the scores of ONNX Runtime.
//!
//! `tests/onnx` is made by the script `make.py` there.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use sparse_engine::onnx::{ReadOptions, WriteOptions, read, read_file, write};
use sparse_tests::plain::{relative_error, results};
use std::path::PathBuf;

#[test]
fn every_file_gives_the_scores_of_onnx_runtime() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("onnx");
    let (tensors, _) = sparse_formats::read(folder.join("io.safetensors")).unwrap();
    let names: Vec<&str> = tensors.keys().filter_map(|key| key.strip_suffix(".input")).collect();
    assert!(names.len() >= 9, "{names:?}");
    for name in names {
        let graph = read_file(folder.join(format!("{name}.onnx")), ReadOptions::default()).unwrap();
        let images = tensors[&format!("{name}.input")].to_f32().unwrap();
        let expected = tensors[&format!("{name}.logits")].to_f32().unwrap();
        let error = relative_error(&results(&graph, &images), &expected);
        assert!(error < 1e-5, "{name}: {error}");
        let copy = read(&write(&graph, &WriteOptions::default()).unwrap()).unwrap();
        assert_eq!(results(&copy, &images), results(&graph, &images), "{name}");
    }
}
