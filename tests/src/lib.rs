//! What the golden tests share: data taken from the original system.
//!
//! The files lie in `tests/golden`; the environment variable `GOLDEN_DIR` names another folder with files of the same
//! names and structure, so that the same tests run on further cases.

#![allow(clippy::expect_used, clippy::panic, reason = "test support: a missing golden file ends the test")]

use serde_json::Value;
use sparse_formats::Tensors;
use std::path::PathBuf;

/// A golden file.
pub fn golden_path(name: &str) -> PathBuf {
    let folder = std::env::var_os("GOLDEN_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden"), PathBuf::from);
    folder.join(name)
}

/// A golden JSON file.
///
/// # Panics
/// If it is missing or malformed.
pub fn golden_json(name: &str) -> Value {
    let path = golden_path(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("golden JSON")
}

/// The tensors of a golden safetensors file.
///
/// # Panics
/// If it is missing or malformed.
pub fn golden_tensors(name: &str) -> Tensors {
    sparse_formats::read(golden_path(name)).expect("golden tensors").0
}
