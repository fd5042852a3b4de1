//! The forward pass: convolution, with batch norm and ReLU of the layer before on the way in and statistics on the way out.

use super::super::activation::{Input, Statistics};
use super::super::product::{InputRows, Left, Matrix, Pattern, product_with_statistics};
use super::super::vector::Stored;
use super::Dims;

/// `y = weight · x` at every pixel, and the statistics of `y` if asked for.
///
/// Shapes: `weight: [outputs, inputs]`, `x: [inputs, pixels]`, `y: [outputs, pixels]`. With `kept` the other
/// weights are left out; they must be zero, and then the bits of the result are those of the dense product.
pub fn forward<E: Stored>(
    weight: &[E::Real],
    kept: Option<&Pattern>,
    x: Input<'_, E>,
    y: &mut [E],
    statistics: Option<Statistics<'_, E::Real>>,
    dims: Dims,
) {
    let Dims { outputs, inputs, pixels } = dims;
    assert_eq!(x.values().len(), inputs * pixels, "input of {dims:?}");
    let weight = Matrix::row_major(weight, outputs, inputs, inputs);
    let left = match kept {
        None => Left::dense(weight),
        Some(pattern) => Left::sparse(weight, pattern.by_output()),
    };
    let columns = InputRows { x, channels: inputs, pixels };
    product_with_statistics(&left, &columns, y, statistics, outputs);
}
