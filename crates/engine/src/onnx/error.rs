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
    #[error("this is no ONNX model: {reason}")]
    NotOnnx {
        /// What it is instead or what is wrong, and what to do.
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
    /// The file names two versions of the operators.
    #[error("the model names the operator sets {got} for one domain, expected one; export it again")]
    OperatorSets {
        /// Versions in the file.
        got: String,
    },
    /// The version of the format is newer than those that are known here.
    #[error(
        "the model has version {got} of the format, expected at most {most}; export it with an older `ir_version`"
    )]
    Version {
        /// Version in the file.
        got: i64,
        /// Newest version that is read.
        most: i64,
    },
    /// Everything in the file that cannot be read: operators that the graph has no node for, all of them, and nodes that are
    /// malformed or of a kind that is not supported.
    #[error("{}", describe(operators, others, *left_out))]
    Unsupported {
        /// Operators, by name.
        operators: Vec<UnsupportedOperator>,
        /// The first other faults.
        others: Vec<OtherFault>,
        /// How many more there are.
        left_out: usize,
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
    /// A node reads what nobody makes.
    #[error(
        "node {node} reads tensor `{tensor}`, which is no input, no constant and no result of a node; the file is damaged or \
         was cut out of another"
    )]
    Undefined {
        /// Name of the node.
        node: String,
        /// Name of the tensor.
        tensor: String,
    },
    /// Nodes need their own results.
    #[error("nodes read each other in a circle: {nodes}; export the model again")]
    Cycle {
        /// Their names, each before those that read it.
        nodes: String,
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
    /// A constant lies in another file and cannot be had from there.
    #[error("constant `{tensor}` lies in the file `{location}` beside the model: {reason}")]
    External {
        /// Its name.
        tensor: String,
        /// Where the file says that it is.
        location: String,
        /// Why it cannot be had from there, and what to do.
        reason: String,
    },
    /// The inputs of the network are not one image.
    #[error(
        "the model has the inputs [{names}] besides its constants, expected one: the image; export it with the others \
         as constants"
    )]
    Inputs {
        /// Their names and shapes.
        names: String,
    },
    /// The network has several results, and nobody says which is wanted.
    #[error(
        "the model has the outputs [{outputs}]; name the one with the scores of the classes (`--output NAME`)"
    )]
    Outputs {
        /// Their names and shapes.
        outputs: String,
    },
    /// The network has no such result.
    #[error("the model has no output `{name}`; it has [{outputs}]")]
    NoSuchOutput {
        /// The name that was asked for.
        name: String,
        /// Names and shapes of those that there are.
        outputs: String,
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

impl UnsupportedOperator {
    /// Whether it is of another form of quantised models than the one that is read.
    fn computes_with_bytes(&self) -> bool {
        const OTHERS: [&str; 5] =
            ["ConvInteger", "DynamicQuantizeLinear", "DynamicQuantizeMatMul", "MatMulInteger", "QGemm"];
        let name = self.operator.rsplit('.').next().unwrap_or_default();
        name.starts_with("QLinear") || OTHERS.contains(&name)
    }
}

impl fmt::Display for UnsupportedOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.count > self.nodes.len() { ", …" } else { "" };
        write!(f, "{} ({}×: {}{more})", self.operator, self.count, self.nodes.join(", "))
    }
}

/// Nodes that cannot be read for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherFault {
    /// The message for the first of them.
    pub first: String,
    /// How many nodes have it.
    pub count: usize,
}

impl fmt::Display for OtherFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            0 | 1 => f.write_str(&self.first),
            count => write!(f, "{} (so with {count} nodes)", self.first),
        }
    }
}

fn describe(operators: &[UnsupportedOperator], others: &[OtherFault], left_out: usize) -> String {
    fn list(things: &[impl ToString], separator: &str) -> String {
        things.iter().map(ToString::to_string).collect::<Vec<_>>().join(separator)
    }
    let mut parts = Vec::new();
    if !operators.is_empty() {
        let advice = match operators.iter().any(UnsupportedOperator::computes_with_bytes) {
            true => {
                "quantise the model statically in the QDQ form (`quantize_static` of ONNX Runtime with \
                 `quant_format=QuantFormat.QDQ`), of which integers are computed here"
            }
            false => "replace them in the model, or run it elsewhere",
        };
        parts.push(format!("unsupported operators: {}; {advice}", list(operators, ", ")));
    }
    if !others.is_empty() {
        let more = if left_out > 0 { format!(" | and {left_out} more") } else { String::new() };
        parts.push(format!("{}{more}", list(others, " | ")));
    }
    parts.join(" | ")
}
