//! Runs pruned convolutional classifiers fast on a CPU.

pub mod graph;
pub mod onnx;
mod shape;

pub use shape::{GraphError, Shape, shapes};
