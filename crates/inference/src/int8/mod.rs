//! Convolutions in integers: activations of one byte, weights of one byte, sums of 32 bits.
//!
//! Four neighbouring channels of a pixel lie together, a *quad*, in the place of one number: planes of quads are [`Planes`](super::Planes) of a quarter of
//! the channels, and tiles, panels and threads are those of the rest of the engine. A register holds as many quads as sums, and one
//! instruction (`vpdpbusd`) multiplies the quads with four weights of an output and adds up the products, so that a block of 1 × 4
//! weights over input channels is what can be left out.
//!
//! Byte `q` stands for `(q − zero) · scale` ([`Quantization`](super::Quantization)). Sums are exact. They are multiplied in f32 by the scale of what is read times
//! that of the weights over that of the result, rounded half to even, as ONNX Runtime does it: the same bits for any number of threads, any
//! batch and any processor.
//!
//! Source: Jacob et al. 2018, arXiv:1712.05877.

mod channelwise;
mod convolution;
mod depthwise;
mod fill;
mod linear;
mod portable;
mod product;
mod requantise;
mod set;
#[cfg(test)]
mod tests;
mod weights;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use channelwise::{Channelwise, Operation};
pub(super) use convolution::Tiled;
pub use convolution::{Convolution, Source};
pub use depthwise::Depthwise;
pub use linear::Linear;
pub use requantise::Requantise;
pub use weights::Weights;

/// Channels of a quad.
pub const QUAD: usize = 4;
