//! Pointwise (1×1) convolution: a matrix product over all pixels of the batch, dense or with the zeros left out.
//!
//! [`forward`] and [`backward`] read activations that are still to be normalised, and gather on the way out what batch
//! norm needs (see [`super::activation`]), so that each activation crosses the memory bus as seldom as possible.

mod backward;
mod choice;
mod forward;
#[cfg(test)]
mod tests;

pub use super::product::Pattern;
pub use backward::{Gradients, Kept, backward};
pub use choice::{Choice, Stopwatch, Trial, WallClock, choose, fixed};
pub use forward::forward;

/// Sizes of one pointwise convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    /// Output channels.
    pub outputs: usize,
    /// Input channels.
    pub inputs: usize,
    /// Pixels of the whole batch, H·W·N.
    pub pixels: usize,
}
