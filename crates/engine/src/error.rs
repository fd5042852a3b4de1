//! What can go wrong when a network is read, built or run.

use crate::onnx::OnnxError;
use crate::shape::GraphError;
use std::path::PathBuf;

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read or is damaged.
    #[error(transparent)]
    File(Box<sparse_formats::Error>),
    /// The settings make no network.
    #[error(transparent)]
    Network(#[from] sparse_network::Error),
    /// A tensor of a weights file is not there.
    #[error(
        "`{}` has no tensor `{name}`: it holds no weights of a MobileNetV1 under our names; bring other weights into \
         this form with `sparse-train convert`, or give an ONNX file",
        path.display()
    )]
    TensorMissing {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// A tensor has another size than the network asks for.
    #[error(
        "tensor `{name}` has {got} numbers, expected {expected}; the file is for another network or damaged"
    )]
    TensorLength {
        /// The tensor.
        name: String,
        /// Numbers it should have.
        expected: usize,
        /// Numbers it has.
        got: usize,
    },
    /// The metadata of a weights file is not what `sparse-train` writes.
    #[error("the metadata of `{}` cannot be used: {reason}; bring it into our form with `sparse-train convert`", path.display())]
    Metadata {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file of 8 bits holds no network.
    #[error("`{}` holds no MobileNetV1 of 8 bits: {reason}; make it anew with `sparse-train quantize`", path.display())]
    Quantized {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// An output is named, but the file is no ONNX file.
    #[error("`{}` holds weights, which have one output: none can be named", path.display())]
    NoOutputs {
        /// The file or folder.
        path: PathBuf,
    },
    /// An ONNX file cannot be read.
    #[error(transparent)]
    Onnx(Box<OnnxError>),
    /// A graph cannot be computed.
    #[error(transparent)]
    Graph(Box<GraphError>),
    /// A node that the engine cannot bring into its steps.
    #[error("node `{node}` cannot be run: {what}")]
    Unsupported {
        /// Its name.
        node: String,
        /// Why.
        what: &'static str,
    },
    /// The steps do not fit together, or what a session is given does not fit them.
    #[error(transparent)]
    Run(#[from] sparse_inference::Error),
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! boxed {
    ($variant:ident, $source:ty) => {
        impl From<$source> for Error {
            fn from(error: $source) -> Self {
                Self::$variant(Box::new(error))
            }
        }
    };
}

boxed!(File, sparse_formats::Error);
boxed!(Onnx, OnnxError);
boxed!(Graph, GraphError);
