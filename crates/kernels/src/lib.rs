//! The operations of a training step on the CPU, on raw slices: rayon over channels, column blocks or rows, registers by `sparse_vectors`.
//!
//! Activations are channel-major with the batch innermost, `[C, H, W, N]`. A pointwise convolution is then one
//! matrix product without a copy, batch norm reads each channel in one run, and a depthwise convolution adds
//! up runs of N numbers: a 1×1 image at the end of the network is as efficient as a 112×112 one at its start.
//!
//! Invariant: no candle, no files; slices in, slices out. Each reduction has an order fixed by the shapes
//! alone, so no result depends on the number of threads.
//!
//! ```
//! use sparse_kernels::activation::Input;
//! use sparse_kernels::pointwise;
//!
//! // Two input channels of three pixels each, one output channel: y = 1·x0 + 10·x1.
//! let x = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0];
//! let weight = [1.0f32, 10.0];
//! let mut y = [0.0f32; 3];
//! let dims = pointwise::Dims { outputs: 1, inputs: 2, pixels: 3 };
//! pointwise::forward(&weight, None, Input::Plain(&x), &mut y, None, dims);
//! assert_eq!(y, [41.0, 52.0, 63.0]);
//! ```

pub mod activation;
pub mod average;
pub mod batch_norm;
pub mod cross_entropy;
pub mod depthwise;
pub mod distillation;
pub mod features;
mod lanes;
pub mod linear;
pub mod matmul;
pub mod pointwise;
pub mod pool;
pub mod product;
pub mod sgd;
mod simd;
pub mod spatial;
pub mod sum;
pub mod transpose;
pub mod window_pool;
