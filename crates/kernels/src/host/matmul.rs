//! Dense matrix products over the `gemm` crate, split into row blocks that depend on the shape alone.

use crate::Real;
use rayon::prelude::*;

/// Rows of the result computed by one task.
const ROWS_PER_TASK: usize = 64;

/// A strided view of a matrix in a slice.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a, T> {
    data: &'a [T],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// A row-major matrix `[rows, columns]` whose rows start `row_stride` elements apart.
    ///
    /// # Panics
    /// If the slice is too short for the shape: a fault of the calling kernel.
    pub fn row_major(data: &'a [T], rows: usize, columns: usize, row_stride: usize) -> Self {
        assert!(columns <= row_stride || rows <= 1, "rows of {columns} overlap at stride {row_stride}");
        let matrix = Self { data, rows, columns, row_stride, column_stride: 1 };
        matrix.check();
        matrix
    }

    /// The same elements with rows and columns exchanged.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    /// Rows `first..first + count`.
    fn rows(self, first: usize, count: usize) -> Self {
        let data = &self.data[first * self.row_stride..];
        let matrix = Self { data, rows: count, ..self };
        matrix.check();
        matrix
    }

    fn check(&self) {
        if self.rows > 0 && self.columns > 0 {
            let last = (self.rows - 1) * self.row_stride + (self.columns - 1) * self.column_stride;
            assert!(last < self.data.len(), "matrix ends at {last} in a slice of {}", self.data.len());
        }
    }
}

/// Where a product goes: rows of `columns` elements, `row_stride` apart, from `first_column` on.
#[derive(Clone, Copy, Debug)]
pub struct Destination {
    /// Elements between the starts of two rows.
    pub row_stride: usize,
    /// Offset of the first column in each row.
    pub first_column: usize,
    /// Add to what is there in place of overwriting it.
    pub accumulate: bool,
}

/// `out = left · right` (or `+=`), parallel over blocks of 64 rows of `out`.
///
/// Shapes: `left: [m, k]`, `right: [k, n]`, `out`: `m` rows laid out as `destination` says.
///
/// # Panics
/// If shapes and slices do not fit together: a fault of the calling kernel.
pub fn multiply<T: Real>(left: Matrix<'_, T>, right: Matrix<'_, T>, out: &mut [T], destination: Destination) {
    assert_eq!(left.columns, right.rows, "inner dimensions differ");
    assert!(
        destination.first_column + right.columns <= destination.row_stride,
        "columns overlap the next row"
    );
    assert!(out.len() >= left.rows * destination.row_stride, "result slice too short");
    if left.rows == 0 || right.columns == 0 {
        return;
    }
    out[..left.rows * destination.row_stride]
        .par_chunks_mut(ROWS_PER_TASK * destination.row_stride)
        .enumerate()
        .for_each(|(task, block)| {
            let rows = block.len() / destination.row_stride;
            block_product(left.rows(task * ROWS_PER_TASK, rows), right, block, destination);
        });
}

/// One task of [`multiply`], on one thread.
fn block_product<T: Real>(
    left: Matrix<'_, T>,
    right: Matrix<'_, T>,
    out: &mut [T],
    destination: Destination,
) {
    let out = &mut out[destination.first_column..];
    let last = (left.rows - 1) * destination.row_stride + right.columns - 1;
    assert!(last < out.len(), "result block too short");
    let read = if destination.accumulate { T::one() } else { T::zero() };
    // SAFETY: `Matrix::check` and the assertion above keep every element of `left`, `right` and `out` inside
    // its slice, `out` is borrowed mutably and so overlaps neither operand, strides are in elements, and `T` is
    // f32 or f64, the types `gemm` dispatches on.
    #[allow(unsafe_code)]
    unsafe {
        gemm::gemm(
            left.rows,
            right.columns,
            left.columns,
            out.as_mut_ptr(),
            1,
            destination.row_stride as isize,
            destination.accumulate,
            left.data.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.data.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            read,
            T::one(),
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn product_matches_the_definition_with_transposes_offsets_and_accumulation() {
        let (m, k, n) = (70, 5, 9);
        let left: Vec<f64> = (0..m * k).map(|i| (i % 7) as f64 - 3.0).collect();
        let right: Vec<f64> = (0..k * n).map(|i| (i % 5) as f64 - 2.0).collect();
        let mut out = vec![1.0; m * (n + 3)];
        let destination = Destination { row_stride: n + 3, first_column: 2, accumulate: true };
        // `right` is stored transposed: [n, k].
        multiply(
            Matrix::row_major(&left, m, k, k),
            Matrix::row_major(&right, n, k, k).transposed(),
            &mut out,
            destination,
        );
        for row in 0..m {
            for column in 0..n {
                let sum: f64 = (0..k).map(|i| left[row * k + i] * right[column * k + i]).sum();
                assert_eq!(out[row * (n + 3) + 2 + column], 1.0 + sum);
            }
            assert_eq!(out[row * (n + 3)], 1.0);
            assert_eq!(out[row * (n + 3) + n + 2], 1.0);
        }
    }

    #[test]
    #[should_panic(expected = "matrix ends at")]
    fn a_short_slice_is_refused() {
        Matrix::row_major(&[0.0f32; 5], 2, 3, 3);
    }
}
