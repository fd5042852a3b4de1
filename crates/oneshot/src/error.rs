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
    /// Blocks have no weights.
    #[error("blocks of {}x{} have no weights", size[0], size[1])]
    Blocks {
        /// Outputs and inputs of a block.
        size: [usize; 2],
    },
    /// The pattern does not fit the layer.
    #[error("{n}:{m} needs a number of input channels that {m} divides, and 0 < {n} < {m}; there are {channels}{}", nearest(*channels, *m))]
    Pattern {
        /// Weights kept of each group.
        n: usize,
        /// Weights of a group.
        m: usize,
        /// Input channels of the layer.
        channels: usize,
    },
    /// The covariance has no decomposition.
    #[error("its covariance cannot be decomposed; a larger damp makes it regular")]
    Singular,
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What `m` would divide them.
fn nearest(channels: usize, m: usize) -> String {
    let divides = |m: &usize| channels.is_multiple_of(*m);
    match (2..m).rev().find(divides) {
        Some(m) => format!(" (groups of {m} would fit)"),
        None => String::new(),
    }
}
