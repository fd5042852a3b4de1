//! Two sums for each row of a product, gathered tile by tile.

use pulp::Simd;
use sparse_vectors::Real;
use sparse_vectors::vector::Vectors;
use std::ops::Range;

/// Two sums for each of some rows: in lanes while a block is computed, then in f64.
pub(crate) struct RowSums<T: Vectors, S: Simd> {
    first: usize,
    lanes: Vec<[T::Vector<S>; 2]>,
    totals: Vec<[f64; 2]>,
}

impl<T: Real, S: Simd> RowSums<T, S> {
    /// Zeros for `rows`.
    #[inline(always)]
    pub(crate) fn new(simd: S, rows: Range<usize>) -> Self {
        let zero = T::v_splat(simd, T::zero());
        Self { first: rows.start, lanes: vec![[zero; 2]; rows.len()], totals: vec![[0.0; 2]; rows.len()] }
    }

    /// The sums of one row, to be added to lane by lane.
    #[inline(always)]
    pub(crate) fn lanes(&mut self, row: usize) -> &mut [T::Vector<S>; 2] {
        &mut self.lanes[row - self.first]
    }

    /// Adds to the sums of one row.
    #[inline(always)]
    pub(crate) fn add(&mut self, row: usize, values: [f64; 2]) {
        let totals = &mut self.totals[row - self.first];
        totals[0] += values[0];
        totals[1] += values[1];
    }

    /// Moves the lanes into the totals, at the end of a block.
    #[inline(always)]
    pub(crate) fn fold(&mut self, simd: S) {
        let zero = T::v_splat(simd, T::zero());
        for (lanes, totals) in self.lanes.iter_mut().zip(&mut self.totals) {
            totals[0] += T::v_sum(simd, lanes[0]).widen();
            totals[1] += T::v_sum(simd, lanes[1]).widen();
            *lanes = [zero; 2];
        }
    }

    /// The sums of each row; what is still in lanes is left out.
    pub(crate) fn into_totals(self) -> Vec<[f64; 2]> {
        self.totals
    }
}

/// The sums of all rows from those of parts, in the order of the parts.
pub(crate) fn add_rows<'a>(
    rows: usize,
    parts: impl Iterator<Item = (Range<usize>, &'a Vec<[f64; 2]>)>,
) -> Vec<[f64; 2]> {
    let mut totals = vec![[0.0; 2]; rows];
    for (rows, sums) in parts {
        for (total, sum) in totals[rows].iter_mut().zip(sums) {
            total[0] += sum[0];
            total[1] += sum[1];
        }
    }
    totals
}
