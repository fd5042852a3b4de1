//! The errors of this crate.

/// What can go wrong in the maths of sparsity; each variant carries the facts.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The bytes of a mask do not have the length that its weights ask for.
    #[error("a mask of {len} weights takes {expected} bytes, got {got}: it belongs to another tensor")]
    MaskBytes {
        /// Number of weights.
        len: usize,
        /// Bytes that so many weights take.
        expected: usize,
        /// Bytes given.
        got: usize,
    },
    /// The last byte of a mask has bits set beyond its last weight.
    #[error("a mask of {len} weights has bits set after its last weight: the bytes are damaged")]
    MaskTail {
        /// Number of weights.
        len: usize,
    },
    /// A weight is NaN: it has no magnitude, so it can be neither kept nor pruned.
    #[error("value {index} is NaN: it has no magnitude to rank; stop at the step that made it")]
    NotANumber {
        /// Index into the slice.
        index: usize,
    },
    /// A threshold is negative, NaN or infinite.
    #[error("threshold {got} is not usable: give a finite number that is 0 or above")]
    Threshold {
        /// The threshold given.
        got: f64,
    },
    /// A ratio lies outside [0, 1].
    #[error("{name} {got} is not a fraction: give a number from 0 to 1")]
    Ratio {
        /// Which setting.
        name: &'static str,
        /// The value given.
        got: f64,
    },
    /// A block has no rows or no columns.
    #[error("block {block:?} is empty: give two numbers that are 1 or above")]
    BlockSize {
        /// Rows and columns of the block.
        block: [usize; 2],
    },
    /// Blocks need two dimensions.
    #[error("a tensor of shape {shape:?} cannot be cut into blocks: it needs two dimensions or more")]
    BlockShape {
        /// Shape of the tensor.
        shape: Vec<usize>,
    },
    /// A slice does not have the length that its shape asks for.
    #[error("expected {expected} values, got {got}")]
    Length {
        /// Number of values wanted.
        expected: usize,
        /// Number of values given.
        got: usize,
    },
    /// Gradual pruning was asked to reach its target in no updates.
    #[error("gradual pruning needs 1 update of the ratio or more, got 0")]
    NoUpdates,
    /// The pruning phase is too short for the number of updates.
    #[error(
        "a pruning phase of {pruning_steps} steps is too short for {updates} updates of the ratio: \
         it needs {needed} steps or more"
    )]
    PruningPhaseTooShort {
        /// Steps of the pruning phase.
        pruning_steps: u64,
        /// Updates of the ratio within it.
        updates: u64,
        /// The shortest phase that is accepted.
        needed: u64,
    },
}

/// Result with the [`Error`] of this crate.
pub type Result<T> = std::result::Result<T, Error>;
