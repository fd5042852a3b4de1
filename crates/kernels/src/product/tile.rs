//! The innermost loops: products of small tiles that stay in registers.
//!
//! A tile has [`VECTORS`] registers of columns. Every element is one chain of fused multiply-adds over the inner
//! index, in order, from zero. Leaving out a zero weight leaves the chain as it is, so the sparse product gives the
//! bits of the dense one.

#![allow(unsafe_code)]

use pulp::Simd;
use sparse_vectors::Real;
use sparse_vectors::arithmetic::Arithmetic;

/// Registers side by side in a tile.
pub(super) const VECTORS: usize = 4;

/// Rows of a dense tile.
pub(super) const ROWS: usize = 6;
/// Registers side by side in a tile of half the columns: where there are 16 registers, [`ROWS`] of them leave some for the operands.
pub(super) const HALF: usize = VECTORS / 2;
/// Rows of a tile of half the columns where there are 32.
pub(super) const TWICE: usize = 2 * ROWS;

/// Accumulators of a tile.
pub(super) type Tile<T, S, const ROWS: usize, const V: usize> =
    [[<T as sparse_vectors::vector::Vectors>::Vector<S>; V]; ROWS];

/// A tile of zeros.
#[inline(always)]
pub(super) fn zero<T: Real, S: Simd, const ROWS: usize, const V: usize>(simd: S) -> Tile<T, S, ROWS, V> {
    [[T::v_splat(simd, T::zero()); V]; ROWS]
}

/// Elements between neighbours of a left operand: along the inner index, and between rows.
#[derive(Clone, Copy)]
pub(super) struct Strides {
    pub(super) inner: usize,
    pub(super) row: usize,
}

/// `tile[r] += Σ_k left[k, r] · right[k]` for `k < inner`, where `right[k]` is a row of one panel.
///
/// # Safety
/// `left` must be readable at `k·strides.inner + r·strides.row` for all k and r, and `right` for `V` registers at the start of each
/// of `inner` rows of `VECTORS` registers.
#[inline(always)]
pub(super) unsafe fn dense<T: Real, A: Arithmetic<T>, S: Simd, const ROWS: usize, const V: usize>(
    simd: S,
    mut tile: Tile<T, S, ROWS, V>,
    inner: usize,
    (left, strides): (*const T, Strides),
    right: *const T,
) -> Tile<T, S, ROWS, V> {
    let (mut left, mut right) = (left, right.cast::<T::Vector<S>>());
    for _ in 0..inner {
        // SAFETY: step k of the loop reads row k of the panel and column k of the left operand, which the caller
        // promises; vectors are read without regard to alignment.
        unsafe {
            let columns: [T::Vector<S>; V] = std::array::from_fn(|v| right.add(v).read_unaligned());
            for (r, sums) in tile.iter_mut().enumerate() {
                let factor = T::v_splat(simd, *left.add(r * strides.row));
                for (sum, &column) in sums.iter_mut().zip(&columns) {
                    *sum = A::fused(simd, factor, column, *sum);
                }
            }
            left = left.add(strides.inner);
            right = right.add(VECTORS);
        }
    }
    tile
}

/// `row + Σ value · panel[index]` over kept positions, in order.
///
/// # Safety
/// Every index must be a row of the panel at `panel`.
#[inline(always)]
pub(super) unsafe fn sparse<T: Real, S: Simd>(
    simd: S,
    mut row: [T::Vector<S>; VECTORS],
    (indices, values): (&[u16], &[T]),
    panel: *const T,
) -> [T::Vector<S>; VECTORS] {
    let panel = panel.cast::<T::Vector<S>>();
    for (&index, &value) in indices.iter().zip(values) {
        let factor = T::v_splat(simd, value);
        // SAFETY: the caller promises that row `index` lies in the panel.
        unsafe {
            let columns = panel.add(usize::from(index) * VECTORS);
            for (v, sum) in row.iter_mut().enumerate() {
                *sum = T::v_mul_add(simd, factor, columns.add(v).read_unaligned(), *sum);
            }
        }
    }
    row
}
