//! ONNX files in and out.
//!
//! [`read()`] takes convolutional classifiers that other programs exported. What it knows: `Conv`, `BatchNormalization`,
//! `Relu`, `Clip`, `Add`, the poolings, means over rows and columns, `Gemm`, `MatMul` with a constant, arithmetic with
//! constants for each channel, flattening in all the ways in which exporters write it, and `Softmax`; operator sets 7
//! to 22, weights dense or sparse, in `f32`, `f64`, `f16` or `bf16`. Operators that it does not know are named all at once.
//!
//! Invariant: a file is never trusted. Lengths are checked before memory is taken, sparse constants and weights that
//! many nodes share have a limit in total, and what comes out has passed [`shapes`](crate::shapes).

mod call;
mod dense;
mod error;
mod finish;
mod operators;
mod pointwise;
mod proto;
mod read;
mod reshape;
mod scope;
mod sizes;
mod tensor;
mod windows;

pub use error::{OnnxError, UnsupportedOperator};
pub use read::{ReadOptions, read, read_file, read_with};
