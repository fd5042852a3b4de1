//! The classifier head: `y = x · weight + bias`.

use super::matmul::multiply;
use super::product::Matrix;
use sparse_vectors::Real;

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
    let x = Matrix::row_major(x, batch, inputs, inputs);
    multiply(x, Matrix::row_major(weight, inputs, outputs, outputs), y);
    for row in y.chunks_exact_mut(outputs) {
        row.iter_mut().zip(bias).for_each(|(y, &bias)| *y += bias);
    }
}

/// Gradient to the input: `dx = dy · weightᵀ`.
///
/// Shapes: `weight: [inputs, outputs]`, `dy: [batch, outputs]`, `dx: [batch, inputs]`.
pub fn input_gradient<T: Real>(weight: &[T], dy: &[T], dx: &mut [T], dims: Dims) {
    let Dims { batch, inputs, outputs } = dims;
    let dy = Matrix::row_major(dy, batch, outputs, outputs);
    multiply(dy, Matrix::row_major(weight, inputs, outputs, outputs).transposed(), dx);
}

/// Gradient to the weight: `dw = xᵀ · dy`.
///
/// Shapes: `x: [batch, inputs]`, `dy: [batch, outputs]`, `dw: [inputs, outputs]`.
pub fn weight_gradient<T: Real>(x: &[T], dy: &[T], dw: &mut [T], dims: Dims) {
    let Dims { batch, inputs, outputs } = dims;
    let x = Matrix::row_major(x, batch, inputs, inputs).transposed();
    multiply(x, Matrix::row_major(dy, batch, outputs, outputs), dw);
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
