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
//!
//! # Where things lie
//!
//! What the engine is made of, in f32 and (`int8/`) in integers. A `Program` (`program.rs`) is a list of steps in
//! memory that was laid out before, checked once when it is made; a `Runner` (`runner.rs`) runs it with a `Team` of
//! threads (`team.rs`, `crew.rs`; `sync.rs` gives them the atomics of `loom` when every order of the threads is
//! tried).
//!
//! - Every convolution is one scheme (`convolution.rs`): a source (`fill.rs`) writes a small panel for a tile of
//!   pixels (`tiles.rs`), in the first cache, and a product (`multiply.rs`) of weights with it, dense or without
//!   zeros (`weights.rs`), keeps its sums in registers up to the bounds.
//! - Sources are the pixels themselves, gathered windows (`windows.rs`), or a depthwise convolution
//!   (`depthwise.rs`), whose result so never goes to memory.
//! - Channels have zeros between them that are never written (`planes.rs`): windows at the upper and lower edge
//!   need no special case.
//! - `channelwise.rs` is what mixes no channels: pools (`pool.rs`), sums and products of two results, scales,
//!   copies; `function.rs` activations, as types that are always inlined (a closure would stay outside of the
//!   vector code, a hundred times slower); `head.rs` linear layers and softmax, for a whole batch.
//! - Threads share an image by its pixels, and a place in memory is used again only for planes of the same shape:
//!   what a thread reads it has mostly written itself.
//! - `int8/` is the same in integers. Four channels of a pixel, a quad, lie in the place of a number, so that
//!   planes, tiles, panels and threads (`shares.rs`) are the same. `set.rs` says what an instruction set has to
//!   offer; `x86.rs` has four of them (with and without VNNI), `portable.rs` is what they are held against.
//!   `product.rs` is the inner loops, `weights.rs` what they read: whole, or without blocks of four zeros;
//!   `depthwise.rs`, `requantise.rs`, `channelwise.rs`, `linear.rs` are what is around.
//! - Sums of a row that wait for a further block lie in memory of the thread alone, and parts of threads begin at
//!   pairs of cache lines: threads that write side by side take lines from each other.
//! - `precision.rs` says in which numbers products are computed and how these lie: as they are, rounded to bf16, or
//!   two bf16 in the place of one number.
//! - A result in f32 is one chain of multiply-adds from the bias on, so that neither threads, batch, tiles nor
//!   left-out zeros change a bit of it.

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
