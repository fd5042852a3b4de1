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
//! # Where things lie
//!
//! Trained networks on a CPU. `load.rs` reads weights (mapped, packed or not) and `bind.rs` puts them into the
//! graph of `network`, for one size of images (`graph.rs`), or an ONNX file (`onnx/`, which also writes one:
//! `operators.rs` is one table of what each operator set lets a node have, `check.rs` holds nodes against it;
//! results are views with any axes (`view.rs`) until something reads them as image or vector (`settle.rs`);
//! constants are computed while reading (`arithmetic.rs`, `moves.rs`) and may lie beside the model
//! (`external.rs`)); `shape.rs` checks it. `fold.rs` makes batch norms part of convolutions and pads part of
//! windows, `lower.rs` brings the nodes into units (a convolution with the depthwise one before it, what is added,
//! the bounds and the function), `head.rs` takes the layers at the end, which work on a whole batch, `place.rs`
//! decides what lies together (concatenations are written in place, ranges of channels are views), `arrange.rs`
//! gives each room memory, `compile.rs` makes a program of it. A quantised network is a graph like any other:
//! weights that are multiples of scales, and roundings (`Function::Quantize`); `int8.rs` finds what can be computed
//! in integers, `multiples.rs` keeps weights and their scales true, `roundings.rs` joins roundings that come twice,
//! `quantized.rs` is the file of eight bits, `onnx/quantised.rs` and `onnx/steps.rs` read and write the QDQ form.
//! `measure.rs` times every unit with and without its zeros, `engine.rs` holds the result and hands out sessions,
//! `report.rs` tells what layers do. `c_api.rs` (feature `cdylib`) and `include/sparse_engine.h` are the face for
//! C.
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
