//! What can go wrong when a network is described.

/// Errors of this crate.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// The width multiplier leaves a layer without channels, or is not a number.
    #[error("model.scale {scale} gives layer {layer} {channels} channels; use a scale of at least {least}")]
    Scale {
        /// The multiplier given.
        scale: f64,
        /// The first layer that does not work.
        layer: String,
        /// What it would have.
        channels: usize,
        /// The smallest multiplier that works.
        least: f64,
    },
    /// No input channels or no classes.
    #[error("a network needs at least one input channel and one class, got {channels} and {classes}")]
    Empty {
        /// Input channels given.
        channels: usize,
        /// Classes given.
        classes: usize,
    },
    /// A node that does not fit what it reads.
    #[error("the node `{node}` of the network {reason}")]
    Graph {
        /// Which.
        node: String,
        /// Why.
        reason: String,
    },
    /// A node that training has no step for.
    #[error("the node `{node}` of the network cannot be trained: {reason}")]
    NoStep {
        /// Which.
        node: String,
        /// Why.
        reason: String,
    },
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
