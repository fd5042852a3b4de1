//! A product written to memory, with the mean and variance of each row gathered on the way.

#![allow(unsafe_code)]

use super::super::activation::{Statistics, moments};
use super::left::Left;
use super::multiply::{Finish, Panels, RowTile, SharedRows, multiply, spill};
use super::panel::{Columns, width};
use super::row_sums::{RowSums, add_rows};
use super::split::Split;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use sparse_vectors::Real;
use sparse_vectors::arithmetic::Arithmetic;
use sparse_vectors::vector::{Stored, Vectors, lanes};
use std::marker::PhantomData;
use std::ops::Range;

/// Runs of blocks whose statistics are summed by themselves.
const MOST_RUNS: usize = 64;

/// `y = left · columns` for `rows` rows, and the statistics of each row.
pub(crate) fn product_with_statistics<E: Stored, A: Arithmetic<E::Real>>(
    left: &Left<'_, E::Real>,
    columns: &impl Columns<E::Real>,
    y: &mut [E],
    statistics: Option<Statistics<'_, E::Real>>,
    rows: usize,
) {
    let (inner, pixels) = (columns.rows().div_ceil(A::DEPTH), y.len() / rows);
    assert_eq!(y.len(), rows * pixels);
    let split = Split::new(pixels, inner * size_of::<E::Real>(), MOST_RUNS);
    let shift = statistics.as_ref().map(|statistics| statistics.shift);
    let out = SharedRows::new(y, pixels);
    let tasks = split.tasks(rows);
    let sums: Vec<Vec<[f64; 2]>> = tasks
        .par_iter()
        .map(|task| {
            let (run, rows) = (task.run, task.rows(rows));
            let arithmetic = PhantomData::<A>;
            A::dispatch(Task { left, columns, inner, out: &out, shift, split: &split, run, rows, arithmetic })
        })
        .collect();
    let Some(statistics) = statistics else { return };
    let totals = add_rows(rows, tasks.iter().map(|task| task.rows(rows)).zip(&sums));
    for (row, [sum, squares]) in totals.into_iter().enumerate() {
        let (mean, variance) = moments(statistics.shift[row], sum, squares, pixels);
        (statistics.mean[row], statistics.variance[row]) = (mean, variance);
    }
}

/// One run of blocks and one group of rows.
struct Task<'a, E: Stored, C, A> {
    left: &'a Left<'a, E::Real>,
    columns: &'a C,
    inner: usize,
    out: &'a SharedRows<'a, E>,
    shift: Option<&'a [E::Real]>,
    split: &'a Split,
    run: usize,
    rows: Range<usize>,
    arithmetic: PhantomData<A>,
}

impl<E: Stored, C: Columns<E::Real>, A: Arithmetic<E::Real>> WithSimd for Task<'_, E, C, A> {
    /// Σ (y − shift) and Σ (y − shift)² of each row of the group; empty without statistics.
    type Output = Vec<[f64; 2]>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let width = width::<E::Real, S>();
        let mut panels = vec![E::Real::from_f64(0.0); self.split.block.next_multiple_of(width) * self.inner];
        let counted = if self.shift.is_some() { self.rows.clone() } else { 0..0 };
        let mut store =
            Store { out: self.out, shift: self.shift, first_column: 0, sums: RowSums::new(simd, counted) };
        for block in self.split.blocks(self.run) {
            self.columns.pack::<A, S>(simd, block.clone(), &mut panels);
            store.first_column = block.start;
            let panels = Panels { values: &panels, inner: self.inner, columns: block.len() };
            multiply::<_, A, S>(simd, self.left, self.rows.clone(), panels, &mut store);
            store.sums.fold(simd);
        }
        store.sums.into_totals()
    }
}

/// Writes rows and gathers their statistics.
struct Store<'a, E: Stored, S: Simd> {
    out: &'a SharedRows<'a, E>,
    shift: Option<&'a [E::Real]>,
    first_column: usize,
    /// Σ (y − shift) and Σ (y − shift)²; of no row without a shift.
    sums: RowSums<E::Real, S>,
}

impl<E: Stored, S: Simd> Finish<E::Real, S> for Store<'_, E, S> {
    #[inline(always)]
    fn expect(&self, row: usize, columns: Range<usize>) {
        self.out.prefetch(row, self.first_column + columns.start..self.first_column + columns.end);
    }

    #[inline(always)]
    fn finish(&mut self, simd: S, row: usize, columns: Range<usize>, tile: RowTile<E::Real, S>) {
        let (width, lanes) = (width::<E::Real, S>(), lanes::<E::Real, S>());
        let at = self.first_column + columns.start..self.first_column + columns.end;
        // SAFETY: runs and row groups of different tasks do not overlap, and a task finishes each piece once.
        let y = unsafe { self.out.piece(row, at) };
        if y.len() == width {
            for (v, &vector) in tile.iter().enumerate() {
                E::store_vector(simd, &mut y[v * lanes..], vector);
            }
            if let Some(shift) = self.shift {
                let shift = E::Real::v_splat(simd, shift[row]);
                let [sum, squares] = self.sums.lanes(row);
                for vector in tile {
                    let centred = E::Real::v_sub(simd, vector, shift);
                    *sum = E::Real::v_add(simd, *sum, centred);
                    *squares = E::Real::v_mul_add(simd, centred, centred, *squares);
                }
            }
            return;
        }
        let tile = spill(simd, tile);
        for (y, &value) in y.iter_mut().zip(&tile) {
            *y = E::store(value);
            if let Some(shift) = self.shift {
                let centred = value.widen() - shift[row].widen();
                self.sums.add(row, [centred, centred * centred]);
            }
        }
    }
}
