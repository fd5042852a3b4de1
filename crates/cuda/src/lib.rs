//! The operations of a training step on a CUDA device: which kernel is launched over which blocks.
//!
//! The sources are `kernels/*.cu`, an operation each. What is here decides on grids and arguments and sends them to a [`Queue`]: a stream of
//! a device (`Stream`, feature `cuda`), or, in tests, the same sources run on the CPU. Activations are `[C, H, W, N]` as on the host.
//!
//! # Where things lie
//!
//! How the kernels of `kernels/*.cu` are launched: a file per operation decides on grid and arguments, checks
//! sizes, and sends them to a `Queue` (`queue.rs`). The queue of a device is `device.rs` (feature `cuda`, through
//! cudarc, which looks for the driver at run time, so that it builds anywhere); the other is the emulator.
//! Activations have the layout of the host, so that a warp reads 32 neighbours, a pointwise convolution is one
//! product of cuBLAS (`blas.rs`), and host and device are compared number by number. A convolution of any other
//! window over all channels is products with patches of the image, made piece by piece (`spatial.rs`, `weight.rs`).
//! All parameters lie in one run of memory (`chunks.rs`), so that masks, selection and optimizer are one launch
//! over all tensors. `AllReduce` (`all_reduce.rs`) is the seam between the devices of several ranks: begun beside
//! the work of a queue, joined before its results are read. NCCL is one (`nccl.rs`, feature `nccl`); `across.rs`
//! gathers by it what batch norm sums over all ranks. Compiled PTX is committed with the hash of its source.

pub mod across;
mod all_reduce;
pub mod batch_norm;
#[cfg(feature = "cuda")]
mod blas;
pub mod chunks;
#[cfg(feature = "cuda")]
mod copies;
pub mod cross_entropy;
pub mod depthwise;
#[cfg(feature = "cuda")]
mod device;
mod element;
mod error;
pub mod layout;
pub mod masks;
#[cfg(feature = "nccl")]
pub mod nccl;
pub mod partial_sums;
pub mod pool;
#[cfg(feature = "cuda")]
mod ptx;
mod queue;
pub mod select;
pub mod sgd;
pub mod sparse_pointwise;
pub mod spatial;
pub mod stem;
pub mod sum;
pub mod weight;
pub mod window_pool;
pub mod windows;

pub use all_reduce::{AllReduce, Reduction};
pub use batch_norm::{Coefficients, Reading};
#[cfg(feature = "cuda")]
pub use device::{DeviceMemory, Stream};
pub use element::Element;
pub use error::{Error, Result};
pub use queue::{Argument, Launch, Matrix, Memory, Operand, Product, Queue, Slice, download, upload};
