//! The operations of a training step on a CUDA device: which kernel is launched over which blocks.
//!
//! The sources are `kernels/*.cu`, an operation each. What is here decides on grids and arguments and sends them to a [`Queue`]: a stream of
//! a device (`Stream`, feature `cuda`), or, in tests, the same sources run on the CPU. Activations are `[C, H, W, N]` as on the host.

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
