//! The forward pass: convolution, with batch norm and ReLU of the layer before on the way in and statistics on the way out.

use super::super::activation::{Input, Statistics};
use super::super::product::{InputRows, Left, Matrix, Pattern, product_with_statistics};
use super::Dims;
#[cfg(target_arch = "x86_64")]
use sparse_vectors::arithmetic::Pairs;
use sparse_vectors::arithmetic::Plain;
use sparse_vectors::vector::Stored;

/// `y = weight · x` at every pixel, and the statistics of `y` if asked for.
///
/// Shapes: `weight: [outputs, inputs]`, `x: [inputs, pixels]`, `y: [outputs, pixels]`. With `kept` the other
/// weights are left out; they must be zero, and then the bits of the result are those of the dense product.
///
/// # Panics
/// If the slices or the pattern are of another shape: a fault of the caller.
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
    kept.iter().for_each(|pattern| pattern.check(outputs, inputs));
    let matrix = Matrix::row_major(weight, outputs, inputs, inputs);
    let columns = InputRows { x, channels: inputs, pixels };
    match kept {
        #[cfg(target_arch = "x86_64")]
        None if E::BF16 && Pairs::available() => {
            let left = Left::dense::<Pairs>(matrix);
            product_with_statistics::<E, Pairs>(&left, &columns, y, statistics, outputs);
        }
        _ => {
            let left = match kept {
                None => Left::dense::<Plain>(matrix),
                Some(pattern) => Left::sparse(weight, pattern.by_output()),
            };
            product_with_statistics::<E, Plain>(&left, &columns, y, statistics, outputs);
        }
    }
}
