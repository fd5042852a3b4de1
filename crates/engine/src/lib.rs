//! Runs pruned convolutional classifiers fast on a CPU.

pub mod graph;
