//! What can go wrong with a file, said with the facts needed to mend it.

use std::io;
use std::path::PathBuf;

use crate::Dtype;
use crate::packed::{self, Fault};

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong; sizes are in bytes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused; the reason is the source.
    #[error("cannot {action} `{}`; check that the path exists, may be used and has free space", path.display())]
    Io {
        /// The file or folder the caller asked for.
        path: PathBuf,
        /// What was being done to it.
        action: &'static str,
        /// The reason given by the operating system.
        source: io::Error,
    },
    /// A pipe, a device or a folder stands where a file is read.
    #[error("`{}` is {what}, and a file is read here; write what it holds to a file and give that", path.display())]
    NoPlainFile {
        /// The path the caller asked for.
        path: PathBuf,
        /// What is there.
        what: &'static str,
    },
    /// A pipe, a device or a folder stands where a file is written.
    #[error("`{}` is {what}, and is left as it is; give the name of a file to write", path.display())]
    NoPlainTarget {
        /// The path the caller asked for, or what its links lead to.
        path: PathBuf,
        /// What is there.
        what: &'static str,
    },
    /// A folder is only ever written under a new name.
    #[error("`{}` exists already and is never replaced; choose another name or move it away", path.display())]
    TargetExists {
        /// The folder asked for.
        path: PathBuf,
    },
    /// The last part of a path, or the name of a file inside a new folder, is not a plain file name.
    #[error("`{name}` (for `{}`) is not a plain file name; use one without separators that is not `..`", path.display())]
    BadFileName {
        /// The path the name belongs to.
        path: PathBuf,
        /// The name that was refused.
        name: String,
    },
    /// The file is shorter or longer than its own header says.
    #[error(
        "`{}` has {got} bytes where its header asks for {expected}: it was cut short or added to; copy or write it again",
        path.display()
    )]
    WrongFileLength {
        /// The file.
        path: PathBuf,
        /// Length the file should have, or the least length it must have when its header is cut.
        expected: u128,
        /// Length the file has.
        got: usize,
    },
    /// The header is damaged, or the file is of another format.
    #[error("`{}` has no usable safetensors header ({reason}): it is of another format, or damaged", path.display())]
    BadHeader {
        /// The file.
        path: PathBuf,
        /// What is wrong with the header.
        reason: String,
    },
    /// The header names an element type that this crate does not know.
    #[error(
        "tensor `{tensor}` of `{}` has dtype {got}, expected one of {}; convert the file to one of these",
        path.display(),
        Dtype::list()
    )]
    UnsupportedDtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The dtype as the header spells it.
        got: String,
    },
    /// A tensor has more or fewer bytes than its shape and dtype need.
    #[error(
        "tensor `{tensor}` of `{}` has {got} bytes where {dtype} of shape {shape:?} needs {expected}; write it again",
        path.display()
    )]
    WrongTensorLength {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its element type.
        dtype: Dtype,
        /// Its shape.
        shape: Vec<usize>,
        /// Bytes that dtype and shape need.
        expected: u128,
        /// Bytes there are.
        got: usize,
    },
    /// The tensors of a file overlap or leave a gap.
    #[error("tensor `{tensor}` of `{}` starts at byte {got}, expected {expected}; copy or write the file again", path.display())]
    WrongOffset {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// End of the tensor before it, counted from the end of the header.
        expected: usize,
        /// Where the header says that it starts.
        got: usize,
    },
    /// A tensor cannot have the name that the format keeps for metadata.
    #[error("a tensor for `{}` is called `{tensor}`, which the format reserves; rename it", path.display())]
    ReservedName {
        /// The file.
        path: PathBuf,
        /// The name.
        tensor: String,
    },
    /// The metadata given to be written is not JSON.
    #[error("the metadata for `{}` is not JSON; serialise it with a JSON library", path.display())]
    BadMetadata {
        /// The file.
        path: PathBuf,
        /// Where the text stops being JSON.
        source: serde_json::Error,
    },
    /// A tensor was asked for as another element type than it has.
    #[error("the tensor has dtype {got}, expected {expected}; convert it, or read it as {got}")]
    WrongDtype {
        /// The dtype asked for.
        expected: Dtype,
        /// The dtype the tensor has.
        got: Dtype,
    },
    /// A tensor in memory has more or fewer bytes than its shape and dtype need.
    #[error(
        "the tensor has {got} bytes where {dtype} of shape {shape:?} needs {expected}; give as many values as the shape has"
    )]
    InconsistentTensor {
        /// Its element type.
        dtype: Dtype,
        /// Its shape.
        shape: Vec<usize>,
        /// Bytes that dtype and shape need.
        expected: u128,
        /// Bytes there are.
        got: usize,
    },
    /// The file is of a format that is not read.
    #[error("`{}` is {what}", path.display())]
    UnknownContent {
        /// The file.
        path: PathBuf,
        /// What it is, and what to do.
        what: &'static str,
    },
    /// A folder has no file of weights.
    #[error(
        "`{}` holds no weights; expected Paddle's one file per variable, or one file of safetensors, PyTorch or .pdparams",
        path.display()
    )]
    NoWeights {
        /// The folder.
        path: PathBuf,
    },
    /// A folder has more than one file of weights.
    #[error("`{}` holds several files of weights ({names}); name one of them", path.display())]
    SeveralWeights {
        /// The folder.
        path: PathBuf,
        /// Some of the files.
        names: String,
    },
    /// A file holds no tensors under names.
    #[error("`{}` holds no dictionary of tensors; save the state dict of the model", path.display())]
    NoDictionary {
        /// The file.
        path: PathBuf,
    },
    /// A file holds more than one dictionary with tensors.
    #[error("`{}` holds several dictionaries of tensors ({keys}); save one of them alone", path.display())]
    SeveralDictionaries {
        /// The file.
        path: PathBuf,
        /// Where some of them are.
        keys: String,
    },
    /// A pickle asks for a class or function that reaches beyond the program.
    #[error(
        "`{}` asks to call `{class}`, as files do that attack a computer; nothing from the file was run; do not load it in \
         Python, and take the weights from a source that you trust",
        path.display()
    )]
    ForbiddenClass {
        /// The file.
        path: PathBuf,
        /// Module and name.
        class: String,
    },
    /// A pickle is damaged, or does more than hold tensors.
    #[error("`{}` is no usable pickle: at byte {at}, {reason}", path.display())]
    BadPickle {
        /// The file.
        path: PathBuf,
        /// Where in the pickle, in bytes.
        at: usize,
        /// What is wrong.
        reason: String,
    },
    /// A tensor, or the file as a whole, is damaged.
    #[error("{}`{}`: {reason}", subject(tensor), path.display())]
    BadWeights {
        /// The file or folder.
        path: PathBuf,
        /// The tensor or entry; empty for the whole file.
        tensor: String,
        /// What is wrong.
        reason: String,
    },
    /// A file is marked as packed in a way that is not known here.
    #[error(
        "`{}` is packed as version {got}, this program reads versions {} and {}; take a newer one",
        path.display(),
        packed::VERSION,
        packed::VERSION_INT8
    )]
    PackedVersion {
        /// The file.
        path: PathBuf,
        /// The version in its metadata.
        got: String,
    },
    /// The parts of a packed tensor do not fit each other.
    #[error("packed tensor `{tensor}` of `{}`: {fault}; copy the file or export it again", path.display())]
    BadPacked {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// What does not fit.
        fault: Box<Fault>,
    },
    /// A tensor would get a name that packed files use for the parts of another.
    #[error(
        "tensor `{tensor}` for `{}` ends like a part of a packed tensor ({}); rename it",
        path.display(),
        packed::PARTS.join(", ")
    )]
    PartName {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
    },
    /// A number is too large for the type it is to be stored in.
    #[error("tensor `{tensor}` for `{}` holds {value:e}, which is too large for {dtype}; use {instead} values", path.display())]
    ValueTooLarge {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The number.
        value: f32,
        /// The type asked for.
        dtype: Dtype,
        /// The type to use instead.
        instead: packed::Values,
    },
    /// There is no tensor of this name.
    #[error("`{}` has no tensor `{tensor}`; its tensors are {names}", path.display())]
    NoTensor {
        /// The file.
        path: PathBuf,
        /// The name asked for.
        tensor: String,
        /// Some of the names there are.
        names: String,
    },
    /// A limit that keeps a hostile file from taking memory or time.
    #[error("`{}` passes the limit of {limit} for {what}; check where it comes from", path.display())]
    TooLarge {
        /// The file or folder.
        path: PathBuf,
        /// Of what there is too much.
        what: &'static str,
        /// How much there may be.
        limit: u64,
    },
}

/// The tensor that an error is about, as the start of a message.
fn subject(tensor: &str) -> String {
    if tensor.is_empty() { String::new() } else { format!("`{tensor}` of ") }
}
