//! Strided views of matrices.

use super::panel::Columns;
use pulp::Simd;
use sparse_vectors::vector::Stored;
use std::ops::Range;

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
        if rows > 0 && columns > 0 {
            let last = (rows - 1) * row_stride + columns - 1;
            assert!(last < data.len(), "matrix ends at {last} in a slice of {}", data.len());
        }
        Self { data, rows, columns, row_stride, column_stride: 1 }
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

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }
}

impl<T: Copy> Matrix<'_, T> {
    /// One element.
    #[inline(always)]
    pub(super) fn at(&self, row: usize, column: usize) -> T {
        self.data[row * self.row_stride + column * self.column_stride]
    }
}

impl<E: Stored> Columns<E::Real> for Matrix<'_, E> {
    fn rows(&self) -> usize {
        self.rows
    }

    #[inline(always)]
    fn read<S: Simd>(&self, _: S, row: usize, columns: Range<usize>, target: &mut [E::Real]) {
        for (target, column) in target.iter_mut().zip(columns) {
            *target = self.at(row, column).load();
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    #[should_panic(expected = "matrix ends at")]
    fn a_short_slice_is_refused() {
        super::Matrix::row_major(&[0.0f32; 5], 2, 3, 3);
    }
}
