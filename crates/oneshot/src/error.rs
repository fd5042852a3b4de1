//! What can go wrong when a layer is pruned.

/// An error of this crate.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// What the layer reads has numbers that are none.
    #[error("it reads values that are no numbers (NaN or infinite)")]
    NotFinite,
    /// A weight is no number.
    #[error("weight {index} is no number (NaN or infinite)")]
    WeightNotFinite {
        /// Place in the weight.
        index: usize,
    },
    /// Nothing was read.
    #[error("nothing is known of what it reads")]
    NoImages,
    /// Lengths do not go together.
    #[error("{got} numbers where {expected} were expected")]
    Length {
        /// Numbers given.
        got: usize,
        /// Numbers expected.
        expected: usize,
    },
    /// The support does not fit the layer.
    #[error("blocks of {rows}x{columns} do not divide a weight of {outputs}x{inputs}")]
    Blocks {
        /// Outputs of a block.
        rows: usize,
        /// Inputs of a block.
        columns: usize,
        /// Outputs of the layer.
        outputs: usize,
        /// Inputs of the layer.
        inputs: usize,
    },
    /// The pattern does not fit the layer.
    #[error("{n}:{m} needs a number of inputs that {m} divides, and 0 < {n} < {m}; there are {inputs}")]
    Pattern {
        /// Weights kept of each group.
        n: usize,
        /// Weights of a group.
        m: usize,
        /// Inputs of the layer.
        inputs: usize,
    },
    /// The covariance has no decomposition.
    #[error("its covariance cannot be decomposed; a larger damp makes it regular")]
    Singular,
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
