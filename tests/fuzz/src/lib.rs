//! Everything that reads bytes from outside, as functions that a fuzzer calls.
//!
//! A target takes any bytes and panics if something is wrong: a panic of the reader, or a difference between two ways of
//! reading the same bytes. `cargo xtask fuzz` looks for such bytes; what it found before lies in `corpus/`, a folder for
//! each target, and is tried again by the tests.

#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a target says by a panic what is wrong"
)]

mod archives;
mod images;
mod networks;
#[cfg(feature = "config")]
mod settings;
mod tensors;

/// A function that panics if it finds a fault.
pub type Target = fn(&[u8]);

/// The targets, by the name of their folder in `corpus/`.
pub const TARGETS: &[(&str, Target)] = &[
    ("jpeg", images::jpeg),
    ("png", images::png),
    ("idx", images::idx),
    ("tar", archives::tar),
    #[cfg(feature = "parquet")]
    ("parquet", archives::parquet),
    ("pickle", tensors::pickle),
    ("variable", tensors::variable),
    ("safetensors", tensors::safetensors),
    ("packed", tensors::packed),
    ("onnx", networks::onnx),
    #[cfg(feature = "config")]
    ("config", settings::config),
];

/// The target of a name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|&(_, target)| target)
}
