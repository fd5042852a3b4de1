//! Runs pruned convolutional classifiers fast on a CPU.

pub mod graph;
mod shape;

pub use shape::{GraphError, Shape, shapes};
