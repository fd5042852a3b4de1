//! What can go wrong between an ONNX file and a graph.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::GraphError;

/// Why an ONNX file cannot be read as a graph, or a graph not be written as one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// The operating system refused; the reason is the source.
    #[error("cannot read `{}`; check that it exists and may be read", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason given by the operating system.
        source: io::Error,
    },
    /// The bytes are no ONNX model.
    #[error("this is no ONNX model ({reason}); check that it is such a file, then copy or export it again")]
    NotOnnx {
        /// What is wrong.
        reason: String,
    },
    /// The version of the operators is not known here.
    #[error(
        "the model has operator set {got}, expected {least} to {most}; export it with `opset_version=17`"
    )]
    OperatorSet {
        /// Version in the file; 0 if it names none.
        got: i64,
        /// Oldest version that is read.
        least: i64,
        /// Newest version that is read.
        most: i64,
    },
    /// Operators that the graph has no node for: all of them.
    #[error("unsupported operators: {}; replace them in the model, or run it elsewhere", list(operators))]
    Unsupported {
        /// By name.
        operators: Vec<UnsupportedOperator>,
    },
    /// A supported operator in a way that is not supported, or that is malformed.
    #[error("node {node} ({operator}): {reason}")]
    Node {
        /// Its name, or that of its first output if it has none.
        node: String,
        /// Its operator.
        operator: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// A node reads what nobody makes before it.
    #[error(
        "node {node} reads tensor `{tensor}`, which is no input, constant or first output of a node before it; the \
         nodes must be sorted, and mask or index outputs are not computed"
    )]
    Undefined {
        /// Name of the node.
        node: String,
        /// Name of the tensor.
        tensor: String,
    },
    /// Two tensors have one name.
    #[error("tensor `{tensor}` is made twice; names of tensors must be unique")]
    Duplicate {
        /// Its name.
        tensor: String,
    },
    /// A constant is malformed, or of a type that is not read.
    #[error("constant `{tensor}`: {reason}")]
    Constant {
        /// Its name.
        tensor: String,
        /// What is wrong.
        reason: String,
    },
    /// A constant lies in another file.
    #[error("constant `{tensor}` lies in the file `{location}`; save the model with its weights inside")]
    External {
        /// Its name.
        tensor: String,
        /// Where the file says that it is.
        location: String,
    },
    /// The inputs of the network are not one image.
    #[error("the model has the inputs [{names}] besides its constants, expected one: the image")]
    Inputs {
        /// Their names.
        names: String,
    },
    /// The input is no image.
    #[error(
        "the input `{name}` is {got}, expected floating-point numbers of shape [N, C, H, W] with C known"
    )]
    Input {
        /// Its name.
        name: String,
        /// What it is.
        got: String,
    },
    /// The file leaves height and width open, and the caller does too.
    #[error("the input `{name}` has no fixed height and width; say which to use")]
    NeedsSize {
        /// Its name.
        name: String,
    },
    /// Nothing is said to be the result.
    #[error("the model has no output that depends on its input; export it again")]
    NoOutput,
    /// A limit that keeps a small file from taking much memory.
    #[error("the model passes the limit of {limit} {what}; check where it comes from")]
    TooLarge {
        /// Of what there is too much.
        what: &'static str,
        /// How much there may be.
        limit: usize,
    },
    /// The graph cannot be computed.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// An operator that is not supported, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsupportedOperator {
    /// Its name, after its domain and a dot if that is not ONNX's own.
    pub operator: String,
    /// The first nodes with it.
    pub nodes: Vec<String>,
    /// How many nodes have it.
    pub count: usize,
}

impl fmt::Display for UnsupportedOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.count > self.nodes.len() { ", …" } else { "" };
        write!(f, "{} ({}×: {}{more})", self.operator, self.count, self.nodes.join(", "))
    }
}

fn list(operators: &[UnsupportedOperator]) -> String {
    operators.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
