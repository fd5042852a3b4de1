//! A left operand times packed panels, and where the results go.

#![allow(unsafe_code)]

use super::left::{Left, many_registers};
use super::panel::width;
use super::pattern::Kept;
use super::tile::{self, HALF, ROWS, Strides, Tile, VECTORS};
use pulp::Simd;
use sparse_vectors::Real;
use sparse_vectors::arithmetic::Arithmetic;
use sparse_vectors::vector::{MOST_LANES, Vectors, lanes, prefetch_lines};
use std::marker::PhantomData;
use std::ops::Range;

/// Rows that a sparse product asks for in advance.
const AHEAD: usize = 4;
/// Bytes of a panel that a dense product goes through at a time, to stay in the first-level cache.
const STRETCH: usize = 24 * 1024;

/// One row of a tile, finished.
pub(crate) type RowTile<T, S> = [<T as Vectors>::Vector<S>; VECTORS];

/// Panels of one block: `[panel, inner, width]` with `inner` packed rows, `columns` of them in use.
#[derive(Clone, Copy)]
pub(crate) struct Panels<'a, T> {
    pub(crate) values: &'a [T],
    pub(crate) inner: usize,
    pub(crate) columns: usize,
}

/// What is done with a finished piece of a row of a product.
pub(crate) trait Finish<T: Real, S: Simd> {
    /// Says that `columns` of `row` will be finished soon, so that memory can be asked for what that needs.
    fn expect(&self, row: usize, columns: Range<usize>);

    /// Takes `columns` (counted from the start of the block) of `row`; the tile may hold more than that.
    fn finish(&mut self, simd: S, row: usize, columns: Range<usize>, tile: RowTile<T, S>);
}

/// `rows` of `left · panels`, tile by tile.
#[inline(always)]
pub(crate) fn multiply<T: Real, A: Arithmetic<T>, S: Simd>(
    simd: S,
    left: &Left<'_, T>,
    rows: Range<usize>,
    panels: Panels<'_, T>,
    finish: &mut impl Finish<T, S>,
) {
    assert!(panels.values.len() >= panels.columns.div_ceil(width::<T, S>()) * panels.inner * width::<T, S>());
    match left {
        Left::Dense(values) if many_registers::<S>() => {
            dense::<T, A, S, VECTORS>(simd, values, rows, panels, finish);
        }
        Left::Dense(values) => dense::<T, A, S, HALF>(simd, values, rows, panels, finish),
        Left::Sparse(kept, values) => sparse(simd, (kept, values), rows, panels, finish),
    }
}

/// Each panel and the columns it holds.
#[inline(always)]
fn pieces<'a, T: Real, S: Simd>(panels: Panels<'a, T>) -> impl Iterator<Item = (&'a [T], Range<usize>)> {
    let width = width::<T, S>();
    let starts = (0..panels.columns).step_by(width);
    let columns = starts.map(move |start| start..(start + width).min(panels.columns));
    panels.values.chunks_exact(panels.inner * width).zip(columns)
}

/// Panel by panel and stretch by stretch of the inner index, so that what all rows read stays in the first-level cache. Sums wait
/// in memory between two stretches, which changes no bit of them. `V` registers of a tile's columns are at work together.
#[inline(always)]
fn dense<T: Real, A: Arithmetic<T>, S: Simd, const V: usize>(
    simd: S,
    left: &[T],
    rows: Range<usize>,
    panels: Panels<'_, T>,
    finish: &mut impl Finish<T, S>,
) {
    let (inner, width) = (panels.inner, width::<T, S>());
    assert!(rows.start.is_multiple_of(ROWS) && left.len() >= rows.end.div_ceil(ROWS) * ROWS * inner);
    let stretches = inner.div_ceil(STRETCH / (width * size_of::<T>())).max(1);
    let edge = |stretch: usize| stretch * inner / stretches;
    let zero = tile::zero::<T, S, ROWS, VECTORS>(simd);
    let mut waiting = vec![zero; if stretches > 1 { rows.len().div_ceil(ROWS) } else { 0 }];
    for (panel, columns) in pieces::<T, S>(panels) {
        for stretch in 0..stretches {
            let (start, last) = (edge(stretch), stretch == stretches - 1);
            let (len, part) = (edge(stretch + 1) - start, panel[start * width..].as_ptr());
            for (tile, first) in rows.clone().step_by(ROWS).enumerate() {
                let left = (left[first * inner + start * ROWS..].as_ptr(), Strides { inner: ROWS, row: 1 });
                if last {
                    for row in first..rows.end.min(first + ROWS) {
                        finish.expect(row, columns.clone());
                    }
                }
                let sums = if stretch == 0 { zero } else { waiting[tile] };
                // SAFETY: the panel of `left` holds `inner · ROWS` values from `first · inner` on (asserted above), the
                // panel of columns `inner` rows of one tile, and a stretch ends before both do.
                let sums = unsafe { by_parts::<T, A, S, V>(simd, sums, len, left, part) };
                if !last {
                    waiting[tile] = sums;
                    continue;
                }
                for (r, sums) in sums.into_iter().enumerate() {
                    if first + r < rows.end {
                        finish.finish(simd, first + r, columns.clone(), sums);
                    }
                }
            }
        }
    }
}

/// [`tile::dense`], some registers of the columns after others.
///
/// # Safety
/// As of [`tile::dense`] for all of them.
#[inline(always)]
unsafe fn by_parts<T: Real, A: Arithmetic<T>, S: Simd, const V: usize>(
    simd: S,
    mut sums: Tile<T, S, ROWS, VECTORS>,
    inner: usize,
    left: (*const T, Strides),
    right: *const T,
) -> Tile<T, S, ROWS, VECTORS> {
    for first in (0..VECTORS).step_by(V) {
        let mut part = tile::zero::<T, S, ROWS, V>(simd);
        for (part, sums) in part.iter_mut().zip(&sums) {
            part.copy_from_slice(&sums[first..first + V]);
        }
        // SAFETY: passed on from the caller.
        let part = unsafe {
            tile::dense::<T, A, S, ROWS, V>(simd, part, inner, left, right.add(first * lanes::<T, S>()))
        };
        for (part, sums) in part.iter().zip(&mut sums) {
            sums[first..first + V].copy_from_slice(part);
        }
    }
    sums
}

/// Segment by segment, so that the rows of the panel at work stay in the first-level cache.
#[inline(always)]
fn sparse<T: Real, S: Simd>(
    simd: S,
    (kept, values): (&Kept, &[T]),
    rows: Range<usize>,
    panels: Panels<'_, T>,
    finish: &mut impl Finish<T, S>,
) {
    let mut sums = vec![tile::zero::<T, S, 1, VECTORS>(simd)[0]; rows.len()];
    let last = kept.segments() - 1;
    for (panel, columns) in pieces::<T, S>(panels) {
        for segment in 0..=last {
            let part = panel[kept.first(segment) * width::<T, S>()..].as_ptr();
            for (row, sums) in rows.clone().zip(&mut sums) {
                if segment == last {
                    finish.expect(rows.end.min(row + AHEAD), columns.clone());
                }
                let range = kept.range(segment, row);
                let before = if segment == 0 { tile::zero::<T, S, 1, VECTORS>(simd)[0] } else { *sums };
                let kept = (&kept.indices()[range.clone()], &values[range]);
                // SAFETY: a `Kept` holds indices below the inner dimension, and the panel has that many rows, as the
                // caller asserts.
                *sums = unsafe { tile::sparse(simd, before, kept, part) };
                if segment == last {
                    finish.finish(simd, row, columns.clone(), *sums);
                }
            }
        }
    }
}

/// The elements of a tile row one by one, where it is not full.
#[inline(always)]
pub(crate) fn spill<T: Real, S: Simd>(simd: S, tile: RowTile<T, S>) -> [T; VECTORS * MOST_LANES] {
    let mut values = [T::zero(); VECTORS * MOST_LANES];
    for (v, vector) in tile.into_iter().enumerate() {
        T::store_vector(simd, &mut values[v * lanes::<T, S>()..], vector);
    }
    values
}

/// A matrix that several tasks write, each its own rows and columns.
pub(crate) struct SharedRows<'a, E> {
    start: *mut E,
    rows: usize,
    columns: usize,
    owner: PhantomData<&'a mut [E]>,
}

// SAFETY: a task reaches elements through `piece` alone, whose caller promises that no two tasks overlap.
unsafe impl<E: Send> Sync for SharedRows<'_, E> {}

impl<'a, E> SharedRows<'a, E> {
    pub(crate) fn new(values: &'a mut [E], columns: usize) -> Self {
        Self { start: values.as_mut_ptr(), rows: values.len() / columns.max(1), columns, owner: PhantomData }
    }

    /// Asks for the cache lines of part of one row, if there is such a row.
    #[inline(always)]
    pub(crate) fn prefetch(&self, row: usize, columns: Range<usize>) {
        if row < self.rows && columns.end <= self.columns {
            prefetch_lines(self.start.wrapping_add(row * self.columns + columns.start), columns.len());
        }
    }

    /// Part of one row.
    ///
    /// # Safety
    /// No other piece that overlaps may be alive, on this thread or another.
    #[inline(always)]
    #[allow(clippy::mut_from_ref, reason = "disjoint pieces of one exclusive borrow, as the caller promises")]
    pub(crate) unsafe fn piece(&self, row: usize, columns: Range<usize>) -> &mut [E] {
        assert!(row < self.rows && columns.start <= columns.end && columns.end <= self.columns);
        // SAFETY: the range lies inside the borrowed slice (asserted), and is not aliased (the caller).
        unsafe {
            std::slice::from_raw_parts_mut(self.start.add(row * self.columns + columns.start), columns.len())
        }
    }
}
