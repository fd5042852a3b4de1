//! Networks as graphs: what is computed, over which tensors, and in which steps it is trained.
//!
//! A [`Graph`] is a list of nodes over named [`Parameter`]s; shapes, counts of parameters and multiply-adds are walked here
//! and nowhere else. [`NetworkConfig`] builds the networks there are by name, [`Builder`] any other. [`Plan`] lowers a graph
//! to fused steps, which host and device execute alike.
//!
//! Invariant: no values, no kernels, no candle.
//!
//! # Where things lie
//!
//! Networks as graphs over named parameters (`graph.rs`), built by name (`config.rs`; `mobilenet_v1.rs`,
//! `mobilenet_v2.rs`, `resnet.rs`) or node by node (`builder.rs`), their shapes and multiply-adds (`shape.rs`), and
//! what the metadata of a weights file says about them (`architecture.rs`). `plan.rs` lowers a graph to the steps
//! in which it is trained: a convolution with the batch norm and bounds behind it is one, and each value says how
//! it is read, how often, and where its gradient lies.
//!
//! ```
//! use sparse_network::NetworkConfig;
//!
//! let graph = NetworkConfig::mobilenet(1.0, 3, 1000).graph()?;
//! assert_eq!(graph.parameters.len(), 137);
//! assert_eq!(graph.macs([224, 224])?.iter().sum::<u64>(), 568_740_352);
//! # Ok::<(), sparse_network::Error>(())
//! ```

mod architecture;
mod bounds;
mod builder;
mod config;
mod error;
mod graph;
mod layers;
mod mobilenet_v1;
mod mobilenet_v2;
mod padding;
mod plan;
mod resnet;
mod shape;

pub use architecture::Architecture;
pub use bounds::{Activation, Bounds};
pub use builder::{Builder, Layer};
pub use config::{Kind, NetworkConfig};
pub use error::{Error, Result};
pub use graph::{BatchNorm, Conv, Graph, Initial, Node, Op, Parameter, ParameterId, Window};
pub use layers::{ConvLayer, layers, parameters};
pub use padding::Padding;
pub use plan::{ConvKind, Norm, Plan, Step, StepOp, Value, Way};
pub use shape::Shape;
