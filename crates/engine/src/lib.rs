//! Runs pruned convolutional classifiers fast on a CPU.

mod arrange;
mod compile;
mod engine;
mod error;
mod fold;
pub mod graph;
mod lower;
mod measure;
mod mobilenet;
mod report;

pub use engine::{Engine, Options, Products, Session};
pub use error::{Error, Result};
pub use fold::fold;
pub use mobilenet::mobilenet;
pub use report::LayerReport;
