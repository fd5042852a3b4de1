//! Running a network on single images, with zeros left out: what the inference engine consists of.
//!
//! Activations are `[C, H, W]`, a plane per channel ([`Planes`]). Everything heavy is one scheme: a [`Source`] fills a
//! small panel for a tile of pixels, in the first cache, and a product of [`Weights`] with it, dense or sparse,
//! keeps its sums in registers from the first term to the bounds. The depthwise half of a separable block is such a
//! source, so that its result never goes to memory.
//!
//! A [`Program`] is a list of steps in memory that was laid out beforehand. It is checked when it is made; a [`Runner`]
//! then runs it without taking memory, with threads that walk through the steps together, or each with images of its own.
//!
//! Every result is one chain of multiply-adds in a fixed order, from the bias on. So threads, batch, tiles and the choice
//! between dense and sparse change no bit of it.

mod arena;
mod channelwise;
mod convolution;
mod crew;
mod depthwise;
mod error;
mod fill;
mod function;
mod head;
pub mod int8;
mod memory;
mod multiply;
mod planes;
mod pool;
mod precision;
mod program;
mod runner;
mod shares;
mod sync;
mod team;
#[cfg(test)]
mod tests;
mod tiles;
mod weights;
mod windows;

pub use arena::Buffer;
pub use channelwise::{Channelwise, Combination, Finish, Operation};
pub use convolution::Convolution;
pub use depthwise::Depthwise;
pub use error::{Error, Result};
pub use fill::Source;
pub use function::{Function, Quantization};
pub use head::{Layer, Linear};
pub use multiply::Bounds;
pub use planes::{Place, Planes, Slot, Window};
pub use precision::Precision;
pub use program::{Program, Step};
pub use runner::Runner;
pub use weights::Weights;
