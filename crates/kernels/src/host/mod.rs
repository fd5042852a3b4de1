//! The operations on the CPU: rayon over channels or rows, SIMD by run-time dispatch.

pub mod batch_norm;
pub mod conv3x3;
pub mod cross_entropy;
pub mod depthwise;
pub mod linear;
pub mod matmul;
pub mod pointwise;
pub mod pool;
pub mod sgd;
mod simd;
pub mod transpose;
