//! A tensor as a matrix: the first axis counts rows, the others together columns.

/// Rows of weights, each with whole bytes of bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Matrix {
    pub(super) rows: usize,
    pub(super) columns: usize,
}

impl Matrix {
    /// The matrix of a shape; `None` if it has more elements than a `usize` counts.
    pub(super) fn of(shape: &[usize]) -> Option<Self> {
        let product = |lengths: &[usize]| lengths.iter().try_fold(1_usize, |all, &one| all.checked_mul(one));
        product(shape)?;
        let (rows, columns) = match shape.split_first() {
            None => (1, 1),
            Some((&rows, rest)) => (rows, product(rest)?),
        };
        Some(Self { rows, columns })
    }

    /// Bytes with the bits of one row.
    pub(super) fn row_bytes(self) -> usize {
        self.columns.div_ceil(8)
    }

    /// Bytes with the bits of the blocks of one row.
    pub(super) fn block_bytes(self) -> usize {
        self.columns.div_ceil(super::int8::BLOCK).div_ceil(8)
    }

    /// Weights.
    pub(super) fn elements(self) -> usize {
        self.rows.saturating_mul(self.columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_axis_is_the_rows() {
        assert_eq!(Matrix::of(&[4, 3, 3, 3]), Some(Matrix { rows: 4, columns: 27 }));
        assert_eq!(Matrix::of(&[5]), Some(Matrix { rows: 5, columns: 1 }));
        assert_eq!(Matrix::of(&[]), Some(Matrix { rows: 1, columns: 1 }));
        assert_eq!(Matrix::of(&[4, 27]).map(Matrix::row_bytes), Some(4));
        assert_eq!(Matrix::of(&[0, 3]).map(Matrix::elements), Some(0));
        for huge in [vec![usize::MAX, 2], vec![2, usize::MAX], vec![0, usize::MAX, 2], vec![1 << 32; 3]] {
            assert_eq!(Matrix::of(&huge), None, "{huge:?}");
        }
    }
}
