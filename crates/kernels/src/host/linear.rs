//! The classifier head: `y = x · weight + bias`.

use super::matmul::{Destination, Matrix, multiply};
use crate::Real;

/// Sizes of one linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    /// Samples in the batch.
    pub batch: usize,
    /// Features in.
    pub inputs: usize,
    /// Features out (classes).
    pub outputs: usize,
}

/// `y = x · weight + bias`.
///
/// Shapes: `x: [batch, inputs]`, `weight: [inputs, outputs]`, `bias: [outputs]`, `y: [batch, outputs]`.
pub fn forward<T: Real>(x: &[T], weight: &[T], bias: &[T], y: &mut [T], dims: Dims) {
    let Dims { batch, inputs, outputs } = dims;
    y.chunks_exact_mut(outputs).for_each(|row| row.copy_from_slice(bias));
    multiply(
        Matrix::row_major(x, batch, inputs, inputs),
        Matrix::row_major(weight, inputs, outputs, outputs),
        y,
        Destination { row_stride: outputs, first_column: 0, accumulate: true },
    );
}

/// Gradient to the input: `dx = dy · weightᵀ`.
///
/// Shapes: `weight: [inputs, outputs]`, `dy: [batch, outputs]`, `dx: [batch, inputs]`.
pub fn input_gradient<T: Real>(weight: &[T], dy: &[T], dx: &mut [T], dims: Dims) {
    let Dims { batch, inputs, outputs } = dims;
    multiply(
        Matrix::row_major(dy, batch, outputs, outputs),
        Matrix::row_major(weight, inputs, outputs, outputs).transposed(),
        dx,
        Destination { row_stride: inputs, first_column: 0, accumulate: false },
    );
}

/// Gradient to the weight: `dw = xᵀ · dy`.
///
/// Shapes: `x: [batch, inputs]`, `dy: [batch, outputs]`, `dw: [inputs, outputs]`.
pub fn weight_gradient<T: Real>(x: &[T], dy: &[T], dw: &mut [T], dims: Dims) {
    let Dims { batch, inputs, outputs } = dims;
    multiply(
        Matrix::row_major(x, batch, inputs, inputs).transposed(),
        Matrix::row_major(dy, batch, outputs, outputs),
        dw,
        Destination { row_stride: outputs, first_column: 0, accumulate: false },
    );
}

/// Gradient to the bias: the sum of `dy: [batch, outputs]` over the batch, in order.
pub fn bias_gradient<T: Real>(dy: &[T], db: &mut [T]) {
    db.fill(T::zero());
    for row in dy.chunks_exact(db.len()) {
        for (sum, &value) in db.iter_mut().zip(row) {
            *sum += value;
        }
    }
}
