//! Dense matrix products.

use super::product::{self, Left, Matrix};
use sparse_vectors::Real;
use sparse_vectors::arithmetic::Plain;

/// `out = left · right`.
///
/// Shapes: `left: [m, k]`, `right: [k, n]`, `out: [m, n]`.
///
/// # Panics
/// If shapes and slices do not fit together: a fault of the calling kernel.
pub fn multiply<T: Real>(left: Matrix<'_, T>, right: Matrix<'_, T>, out: &mut [T]) {
    assert_eq!(left.columns(), right.rows(), "inner dimensions differ");
    assert_eq!(out.len(), left.rows() * right.columns(), "result of another size");
    if left.columns() == 0 {
        out.fill(T::zero());
    } else if !out.is_empty() {
        let left_panels = Left::dense::<Plain>(left);
        product::product_with_statistics::<T, Plain>(&left_panels, &right, out, None, left.rows());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn product_matches_the_definition_with_transposes_and_strides() {
        for (m, k, n) in [(70, 5, 9), (1, 1, 1), (7, 64, 130), (13, 0, 3)] {
            let left: Vec<f64> = (0..m * (k + 2)).map(|i| (i % 7) as f64 - 3.0).collect();
            let right: Vec<f64> = (0..k * n).map(|i| (i % 5) as f64 - 2.0).collect();
            let mut out = vec![1.0; m * n];
            // `right` is stored transposed: [n, k].
            multiply(
                Matrix::row_major(&left, m, k, k + 2),
                Matrix::row_major(&right, n, k, k).transposed(),
                &mut out,
            );
            for row in 0..m {
                for column in 0..n {
                    let sum: f64 = (0..k).map(|i| left[row * (k + 2) + i] * right[column * k + i]).sum();
                    assert_eq!(out[row * n + column], sum);
                }
            }
        }
    }
}
