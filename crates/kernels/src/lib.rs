//! The operations of a training step on the CPU, on raw slices: rayon over channels, column blocks or rows, registers by `sparse_vectors`.
//!
//! Activations are channel-major with the batch innermost, `[C, H, W, N]`. A pointwise convolution is then one
//! matrix product without a copy, batch norm reads each channel in one run, and a depthwise convolution adds
//! up runs of N numbers: a 1×1 image at the end of the network is as efficient as a 112×112 one at its start.
//!
//! Invariant: no candle, no files; slices in, slices out. Each reduction has an order fixed by the shapes
//! alone, so no result depends on the number of threads.
//!
//! # Where things lie
//!
//! The arithmetic of a training step on raw slices: rayon over channels, column blocks or rows, registers by
//! `vectors`. Generic over f32 and f64, with activations stored as such or as bf16; the f64 path is the reference
//! for tests.
//!
//! - `activation.rs` is the contract between layers: what a convolution reads (`Input`: raw output of the layer
//!   before, normalised and rectified on the way), what it gathers (`Statistics`, `GateSums`), and how a gradient
//!   passes batch norm (`OutputGradient`).
//! - `product/` is matrix products the way these layers need them: operands packed in panels with their batch norm
//!   applied (`panel.rs`), tiles in registers (`tile.rs`, `multiply.rs`), results finished before they leave
//!   registers (`store.rs`), sums over columns for weight gradients (`weight_gradient.rs`), the cut into tasks
//!   (`split.rs`), and kept positions of a sparse weight (`pattern.rs`).
//! - `pointwise/`, `spatial/` (any window over all channels: patches are read as they are packed, zeros left out;
//!   the gradient to the input goes class by class of pixels that see the same taps), `depthwise/`, `pool.rs`,
//!   `window_pool.rs`, `sum.rs` (the end of a residual block), `linear.rs`, `cross_entropy.rs`, `sgd.rs`,
//!   `batch_norm.rs` are the operations, `average.rs` and `features.rs` those of averages and of feature
//!   distillation.
//! - `pointwise/choice.rs` says which products leave a layer's zeros out: what decides bits is a function of the
//!   mask alone (`fixed`), the rest is measured by a clock that is passed in (`choose`).
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
