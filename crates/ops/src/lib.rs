//! Candle operations, forward and backward, over [`sparse_kernels`].
//!
//! Candle can hold the tensors and walk the graph backwards, but its grouped convolution and its batch norm
//! are too slow to train a depthwise network. These operations replace them: [`conv`], [`depthwise3x3`],
//! [`pointwise`], [`batch_norm`], [`global_mean_pool`], [`linear`], [`cross_entropy`], and the optimizer
//! [`Sgd`]. Activations between them are channel-major with the batch innermost, `[C, H, W, N]` (see
//! [`sparse_kernels`]): [`batch_innermost`] brings images `[N, C, H, W]` there, and features leave
//! [`global_mean_pool`] as `[N, C]`.
//!
//! Invariant: the only place where autograd meets kernels. All operations take f32 and f64 tensors.
//!
//! # Where things lie
//!
//! The kernels as operations on candle tensors, one file per operation with the same name: a forward candle can
//! differentiate, and the gradients as further operations. `host.rs` is the one bridge between candle's storage and
//! slices; `sgd.rs` is the optimizer.
//!
//! ```
//! use candle_core::{Device, Tensor, Var};
//!
//! # fn main() -> candle_core::Result<()> {
//! // Gradient of a depthwise convolution to its weight: two channels, 4×4 pixels, one image.
//! let x = Tensor::ones((2, 4, 4, 1), candle_core::DType::F32, &Device::Cpu)?;
//! let weight = Var::ones((2, 1, 3, 3), candle_core::DType::F32, &Device::Cpu)?;
//! let y = sparse_ops::depthwise3x3(&x, weight.as_tensor(), 1, sparse_ops::Padding::Symmetric)?;
//! let gradients = y.sum_all()?.backward()?;
//! let gradient = gradients.get(weight.as_tensor()).map(|g| g.dims().to_vec());
//! assert_eq!(gradient, Some(vec![2, 1, 3, 3]));
//! # Ok(())
//! # }
//! ```

mod average;
mod batch_norm;
mod clip;
mod conv;
mod cross_entropy;
mod depthwise;
mod host;
mod layout;
mod linear;
mod pointwise;
mod pool;
mod sgd;

pub use average::move_average;
pub use batch_norm::{ChannelStatistics, Form, batch_norm};
pub use clip::clip;
pub use conv::conv;
pub use cross_entropy::cross_entropy;
pub use depthwise::depthwise3x3;
pub use host::{Element, with_values};
pub use layout::batch_innermost;
pub use linear::linear;
pub use pointwise::pointwise;
pub use pool::{Pool, global_mean_pool, pool};
pub use sgd::{GradientMask, Sgd, SgdConfig};
pub use sparse_network::{Bounds, Padding, Window};
