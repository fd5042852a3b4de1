//! The weight as the left operand of a product: dense panels of rows, or the kept weights of each row.

use super::matrix::Matrix;
use super::pattern::Kept;
use super::tile::ROWS;
use pulp::Simd;
use rayon::prelude::*;
use sparse_vectors::Real;
use sparse_vectors::arithmetic::Arithmetic;
use sparse_vectors::vector::{MOST_LANES, lanes};

/// Whether this instruction set has 32 vector registers.
#[inline(always)]
pub(super) const fn many_registers<S: Simd>() -> bool {
    lanes::<f32, S>() == MOST_LANES || cfg!(target_arch = "aarch64")
}

/// A left operand `[rows, inner]`.
pub(crate) enum Left<'a, T> {
    /// Panels `[panel, packed inner, tile rows]`, the last filled up with zeros.
    Dense(Vec<T>),
    /// The kept positions, and their values in the same order.
    Sparse(&'a Kept, Vec<T>),
}

impl<'a, T: Real> Left<'a, T> {
    /// Dense panels of a matrix.
    pub(crate) fn dense<A: Arithmetic<T>>(matrix: Matrix<'_, T>) -> Self {
        let (rows, inner) = (matrix.rows(), matrix.columns().div_ceil(A::DEPTH));
        let mut panels = vec![T::zero(); rows.div_ceil(ROWS) * ROWS * inner];
        panels.par_chunks_mut((ROWS * inner).max(1)).enumerate().for_each(|(panel, target)| {
            let first = panel * ROWS;
            for (k, target) in target.chunks_exact_mut(ROWS).enumerate() {
                let next = A::DEPTH * k + A::DEPTH - 1;
                for (r, target) in target[..ROWS.min(rows - first)].iter_mut().enumerate() {
                    let second = if next < matrix.columns() { matrix.at(first + r, next) } else { T::zero() };
                    *target = A::join([matrix.at(first + r, A::DEPTH * k), second]);
                }
            }
        });
        Left::Dense(panels)
    }

    /// The kept values of a weight.
    pub(crate) fn sparse(weight: &[T], kept: &'a Kept) -> Self {
        let values = kept.positions().par_iter().with_min_len(4096);
        Left::Sparse(kept, values.map(|&position| weight[position as usize]).collect())
    }
}
