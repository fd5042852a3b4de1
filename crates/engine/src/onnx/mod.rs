//! ONNX files in and out.
//!
//! [`read()`] takes convolutional classifiers that other programs exported, of operator sets 7 to 26: what it knows of each
//! operator is one table (`operators.rs`), and what is not in it is refused by name, everything at once. Weights may be dense
//! or sparse, of any type of real numbers, in the file or beside it, and computed from other constants. A result may have any
//! axes on its way (`view.rs`); only what reads it asks for an image or a vector.
//!
//! Quantised models are read in the QDQ form (`quantised.rs`): roundings to 256 steps are [`Function::Quantize`], and weights of
//! bytes have [`scales`](crate::graph::Convolution::scales).
//!
//! [`write()`] makes a file that other engines run: operator set 13 (17 where hard swish asks for it), plain operators only,
//! the same bytes for the same graph. What is quantised is written in the QDQ form as well (`steps.rs`).
//!
//! [`Function::Quantize`]: crate::graph::Function::Quantize
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
//!         node("fc", Op::Linear { weight: vec![0.5; 6], bias: vec![0.0, 1.0], scales: None }, vec![2]),
//!     ],
//!     output: 3,
//! };
//! let bytes = write(&graph, &WriteOptions::default())?;
//! assert_eq!(read(&bytes)?, graph);
//! # Ok::<(), sparse_engine::onnx::OnnxError>(())
//! ```
//!
//! Invariant: a file is never trusted. Lengths are checked before memory is taken, all constants together have a limit by the
//! size of the file, no file outside of the model's folder is opened, and what comes out has passed
//! [`shapes`](crate::shapes).

mod arithmetic;
mod call;
mod check;
mod combine;
mod constant;
mod dense;
mod element;
mod emit;
mod error;
mod external;
mod findings;
mod finish;
mod forms;
mod inputs;
mod kind;
mod layout;
mod moves;
mod operators;
mod order;
mod pointwise;
mod pools;
mod proto;
mod quantised;
mod read;
mod reshape;
mod scope;
mod settle;
mod steps;
mod table;
mod tensor;
#[cfg(test)]
mod tests;
mod view;
mod windows;
mod write;
#[cfg(test)]
mod written;

pub use error::{OnnxError, OtherFault, UnsupportedOperator};
pub use read::{ReadOptions, metadata, read, read_file, read_with};
pub(crate) use read::{read_beside, read_bytes};
pub use write::{WriteOptions, write};
