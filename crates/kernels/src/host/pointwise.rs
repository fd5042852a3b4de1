//! Pointwise (1×1) convolution: one matrix product over all pixels of the batch.

use super::matmul::{Destination, Matrix, multiply};
use crate::Real;

/// Sizes of one pointwise convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    /// Output channels.
    pub outputs: usize,
    /// Input channels.
    pub inputs: usize,
    /// Pixels of the whole batch, H·W·N.
    pub pixels: usize,
}

/// `y = weight · x`.
///
/// Shapes: `weight: [outputs, inputs]`, `x: [inputs, pixels]`, `y: [outputs, pixels]`.
pub fn forward<T: Real>(weight: &[T], x: &[T], y: &mut [T], dims: Dims) {
    let Dims { outputs, inputs, pixels } = dims;
    multiply(
        Matrix::row_major(weight, outputs, inputs, inputs),
        Matrix::row_major(x, inputs, pixels, pixels),
        y,
        Destination { row_stride: pixels, first_column: 0, accumulate: false },
    );
}

/// Gradient to the input: `dx = weightᵀ · dy`.
///
/// Shapes: `weight: [outputs, inputs]`, `dy: [outputs, pixels]`, `dx: [inputs, pixels]`.
pub fn input_gradient<T: Real>(weight: &[T], dy: &[T], dx: &mut [T], dims: Dims) {
    let Dims { outputs, inputs, pixels } = dims;
    multiply(
        Matrix::row_major(weight, outputs, inputs, inputs).transposed(),
        Matrix::row_major(dy, outputs, pixels, pixels),
        dx,
        Destination { row_stride: pixels, first_column: 0, accumulate: false },
    );
}

/// Gradient to the weight: `dw = dy · xᵀ`.
///
/// Shapes: `dy: [outputs, pixels]`, `x: [inputs, pixels]`, `dw: [outputs, inputs]`.
pub fn weight_gradient<T: Real>(dy: &[T], x: &[T], dw: &mut [T], dims: Dims) {
    let Dims { outputs, inputs, pixels } = dims;
    multiply(
        Matrix::row_major(dy, outputs, pixels, pixels),
        Matrix::row_major(x, inputs, pixels, pixels).transposed(),
        dw,
        Destination { row_stride: inputs, first_column: 0, accumulate: false },
    );
}
