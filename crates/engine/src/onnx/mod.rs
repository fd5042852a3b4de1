//! ONNX files in and out.
//!
//! [`read()`] takes convolutional classifiers that other programs exported. What it knows: `Conv`, `BatchNormalization`,
//! `Relu`, `Clip`, `Add`, the poolings, `Pad` with zeros, means over rows and columns, `Gemm`, `MatMul` with a constant, arithmetic with
//! constants for each channel, flattening in all the ways in which exporters write it, and `Softmax`; operator sets 7
//! to 22, weights dense or sparse, in `f32`, `f64`, `f16` or `bf16`. Operators that it does not know are named all at once.
//!
//! [`write()`] makes a file that other engines run: operator set 13, plain operators only, the same bytes for the same graph.
//!
//! ```
//! use sparse_engine::graph::{Graph, Node, Op};
//! use sparse_engine::onnx::{WriteOptions, read, write};
//!
//! let node = |name: &str, op, inputs| Node { name: name.to_owned(), op, inputs };
//! let graph = Graph {
//!     nodes: vec![
//!         node("input", Op::Input { shape: [3, 8, 8] }, vec![]),
//!         node("pool", Op::GlobalAveragePool, vec![0]),
//!         node("flatten", Op::Flatten, vec![1]),
//!         node("fc", Op::Linear { weight: vec![0.5; 6], bias: vec![0.0, 1.0] }, vec![2]),
//!     ],
//!     output: 3,
//! };
//! let bytes = write(&graph, &WriteOptions::default())?;
//! assert_eq!(read(&bytes)?, graph);
//! # Ok::<(), sparse_engine::onnx::OnnxError>(())
//! ```
//!
//! Invariant: a file is never trusted. Lengths are checked before memory is taken, sparse constants and weights that
//! many nodes share have a limit in total, and what comes out has passed [`shapes`](crate::shapes).

mod call;
mod dense;
mod emit;
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
#[cfg(test)]
mod tests;
mod windows;
mod write;

pub use error::{OnnxError, UnsupportedOperator};
pub(crate) use read::read_bytes;
pub use read::{ReadOptions, metadata, read, read_file, read_with};
pub use write::{WriteOptions, write};
