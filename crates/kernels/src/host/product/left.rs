//! The weight as the left operand of a product: dense panels of rows, or the kept weights of each row.

use super::super::vector::{MOST_LANES, dispatch, lanes};
use super::matrix::Matrix;
use super::pattern::Rows;
use super::tile::{FEW_ROWS, MANY_ROWS};
use crate::Real;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Whether this instruction set has 32 vector registers.
#[inline(always)]
pub(super) const fn many_registers<S: Simd>() -> bool {
    lanes::<f32, S>() == MOST_LANES || cfg!(target_arch = "aarch64")
}

/// Rows of a dense tile on this processor.
struct TileRows;

impl WithSimd for TileRows {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        if many_registers::<S>() { MANY_ROWS } else { FEW_ROWS }
    }
}

/// A left operand `[rows, inner]`.
pub(crate) enum Left<'a, T> {
    /// Panels `[panel, inner, tile rows]`, the last filled up with zeros.
    Dense(Vec<T>),
    /// The kept positions of each row, and their values in the same order.
    Sparse(Rows<'a>, Vec<T>),
}

impl<'a, T: Real> Left<'a, T> {
    /// Dense panels of a matrix.
    pub(crate) fn dense(matrix: Matrix<'_, T>) -> Self {
        let tile = dispatch(TileRows);
        let (rows, inner) = (matrix.rows(), matrix.columns());
        let mut panels = vec![T::zero(); rows.div_ceil(tile) * tile * inner];
        panels.par_chunks_mut((tile * inner).max(1)).enumerate().for_each(|(panel, target)| {
            let first = panel * tile;
            for r in 0..tile.min(rows - first) {
                for k in 0..inner {
                    target[k * tile + r] = matrix.at(first + r, k);
                }
            }
        });
        Left::Dense(panels)
    }

    /// The values of a matrix at kept positions.
    pub(crate) fn sparse(matrix: Matrix<'_, T>, kept: Rows<'a>) -> Self {
        let mut values = Vec::with_capacity(kept.indices.len());
        for row in 0..matrix.rows() {
            values.extend(kept.row(row).iter().map(|&k| matrix.at(row, k as usize)));
        }
        Left::Sparse(kept, values)
    }
}
