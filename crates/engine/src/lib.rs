//! Runs pruned convolutional classifiers fast on a CPU: zeros among the weights are left out where that pays.
//!
//! An [`Engine`] is made once, from a weights file of `sparse-train` (packed or not) or an ONNX file: batch norms become
//! part of the convolutions, a depthwise convolution is computed as part of the one after it, and each layer is measured
//! with and without its zeros on this machine. It does not change any more and may be shared among threads; every caller
//! takes a [`Session`], which owns memory and threads and allocates nothing once its largest batch has come. Networks
//! can also be put together node by node ([`graph::Graph`]), and written as ONNX ([`onnx::write`]).
//!
//! Invariant: no candle, no C; the same bits for any number of threads, any batch, and with or without zeros left out.
//!
//! ```
//! use sparse_engine::graph::{Convolution, Graph, Node, Op, Window};
//! use sparse_engine::{Engine, Options};
//!
//! // One 1×1 convolution from two channels to one: y = 3·a − b. Usually: Engine::load("weights.safetensors", options).
//! let convolution = Convolution {
//!     weight: vec![3.0, -1.0],
//!     shape: [1, 2, 1, 1],
//!     bias: vec![0.0],
//!     groups: 1,
//!     window: Window::square(1, 1, 0),
//!     scales: None,
//! };
//! let node = |name: &str, op, inputs| Node { name: name.to_owned(), op, inputs };
//! let nodes = vec![
//!     node("image", Op::Input { shape: [2, 1, 2] }, vec![]),
//!     node("mix", Op::Convolution(convolution), vec![0]),
//!     node("scores", Op::Flatten, vec![1]),
//! ];
//! let engine = Engine::new(Graph { nodes, output: 2 }, Options::default())?;
//! let mut session = engine.session()?;
//! let mut scores = [0.0; 2];
//! session.run(&[1.0, 2.0, 10.0, 20.0], &mut scores)?;
//! assert_eq!(scores, [-7.0, -14.0]);
//! # Ok::<(), sparse_engine::Error>(())
//! ```

mod arrange;
mod bind;
#[cfg(feature = "cdylib")]
pub mod c_api;
mod compile;
mod engine;
mod error;
mod fold;
pub mod graph;
mod graph_error;
mod head;
mod int8;
mod load;
mod lower;
mod measure;
mod multiples;
pub mod onnx;
mod place;
pub mod quantized;
mod report;
mod roundings;
mod shape;

/// The program in the manual.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/embedding.md")]
struct Manual;

pub use bind::bind;
pub use engine::{Engine, Options, Products, Session};
pub use error::{Error, Result};
pub use fold::fold;
pub use load::{Loaded, input_side, is_onnx, load, load_with};
pub use multiples::multiples;
pub use quantized::is_quantized;
pub use report::LayerReport;
pub use shape::{GraphError, Shape, shapes};
pub use sparse_inference::Precision;
