//! The operations on the CPU: rayon over channels or rows, SIMD by run-time dispatch.

pub mod activation;
pub mod average;
pub mod batch_norm;
pub mod cross_entropy;
pub mod depthwise;
pub mod distillation;
pub mod features;
pub mod inference;
mod lanes;
pub mod linear;
pub mod matmul;
pub mod pointwise;
pub mod pool;
pub mod product;
pub mod sgd;
mod simd;
pub mod spatial;
mod square;
pub mod sum;
pub mod transpose;
pub mod vector;
pub mod window_pool;
