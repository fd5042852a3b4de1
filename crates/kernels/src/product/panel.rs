//! Operands laid out as the tiles read them.
//!
//! A panel is a few columns of an activation, all channels under each other: `[channels, width]` with `width` one tile.
//! Packing is where batch norm and ReLU happen, so that they cost no pass of their own.

use super::super::activation::{Input, OutputGradient};
use super::tile::VECTORS;
use pulp::Simd;
use sparse_vectors::Real;
use sparse_vectors::arithmetic::Arithmetic;
use sparse_vectors::vector::{MOST_LANES, Stored, Vectors, lanes, prefetch_lines};
use std::ops::Range;

/// Columns of a panel.
pub(crate) const fn width<T: Real, S: Simd>() -> usize {
    VECTORS * lanes::<T, S>()
}

/// Rows that are asked for in advance: those of one block lie too far apart for the processor to foresee them.
const AHEAD: usize = 3;

/// A matrix `[rows, columns]` that can be laid out in panels, some columns at a time.
pub(crate) trait Columns<T: Real>: Sync {
    /// Rows.
    fn rows(&self) -> usize;

    /// Says that `columns` of a row will be read soon, so that memory can be asked for them.
    #[inline(always)]
    fn expect(&self, _row: usize, _columns: Range<usize>) {}

    /// Writes `columns` of one row to the start of `target`, which has room for a whole panel row.
    fn read<S: Simd>(&self, simd: S, row: usize, columns: Range<usize>, target: &mut [T]);

    /// Writes `columns` of one row to the start of `strip`, and zeros up to the width of a panel.
    #[inline(always)]
    fn read_filled<S: Simd>(&self, simd: S, row: usize, columns: Range<usize>, strip: &mut [T]) {
        if row < self.rows() {
            strip[columns.len()..width::<T, S>()].fill(T::zero());
            self.read(simd, row, columns, strip);
        } else {
            strip[..width::<T, S>()].fill(T::zero());
        }
    }

    /// Writes some rows of `columns` into panels `[panel, row, width]`; what is missing in the last panel is zero.
    #[inline(always)]
    fn pack_rows<S: Simd>(&self, simd: S, rows: Range<usize>, columns: Range<usize>, panels: &mut [T]) {
        let width = width::<T, S>();
        for (at, row) in rows.clone().enumerate() {
            for (panel, start) in columns.clone().step_by(width).enumerate() {
                let columns = start..(start + width).min(columns.end);
                let target = &mut panels[(panel * rows.len() + at) * width..][..width];
                if row + AHEAD < rows.end {
                    self.expect(row + AHEAD, columns.clone());
                }
                self.read_filled(simd, row, columns, target);
            }
        }
    }

    /// Writes `columns` into panels `[panel, packed row, width]`; what is missing in the last panel is zero.
    #[inline(always)]
    fn pack<A: Arithmetic<T>, S: Simd>(&self, simd: S, columns: Range<usize>, panels: &mut [T]) {
        self.pack_both::<A, S>(simd, columns, panels, None);
    }

    /// The same, and also `[panel, row, packed column]` into `rows`.
    #[inline(always)]
    fn pack_both<A: Arithmetic<T>, S: Simd>(
        &self,
        simd: S,
        columns: Range<usize>,
        panels: &mut [T],
        mut by_row: Option<&mut [T]>,
    ) {
        let (width, lanes, rows) = (width::<T, S>(), lanes::<T, S>(), self.rows());
        if A::DEPTH == 1 {
            return self.pack_rows(simd, 0..rows, columns, panels);
        }
        let packed_rows = rows.div_ceil(A::DEPTH);
        let mut strips = [[T::zero(); VECTORS * MOST_LANES]; 2];
        for packed in 0..packed_rows {
            for (panel, start) in columns.clone().step_by(width).enumerate() {
                let columns = start..(start + width).min(columns.end);
                let target = &mut panels[(panel * packed_rows + packed) * width..][..width];
                for (r, strip) in strips.iter_mut().enumerate() {
                    self.read_filled(simd, 2 * packed + r, columns.clone(), strip);
                }
                for v in (0..width).step_by(lanes) {
                    let rows = [T::load_vector(simd, &strips[0][v..]), T::load_vector(simd, &strips[1][v..])];
                    T::store_vector(simd, &mut target[v..], A::join_rows(simd, rows));
                }
                let Some(by_row) = by_row.as_deref_mut() else { continue };
                for (r, strip) in strips.iter().enumerate().take(rows - 2 * packed) {
                    let target = &mut by_row[(panel * rows + 2 * packed + r) * width / 2..][..width / 2];
                    for v in (0..width / 2).step_by(lanes) {
                        let pair = [
                            T::load_vector(simd, &strip[2 * v..]),
                            T::load_vector(simd, &strip[2 * v + lanes..]),
                        ];
                        T::store_vector(simd, &mut target[v..], A::join_neighbours(simd, pair));
                    }
                }
            }
        }
    }

    /// Writes `columns` with rows side by side, panels `[panel of rows, packed column, width]`; columns are filled up with
    /// zeros to whole panels, rows that are missing in the last one are left as they are.
    #[inline(always)]
    fn pack_transposed<A: Arithmetic<T>, S: Simd>(&self, simd: S, columns: Range<usize>, panels: &mut [T]) {
        let (width, lanes) = (width::<T, S>(), lanes::<T, S>());
        let depth = columns.len().next_multiple_of(width) / A::DEPTH;
        let rows = self.rows();
        let mut strip = [T::zero(); MOST_LANES * VECTORS * MOST_LANES];
        for first in (0..rows).step_by(lanes) {
            let target = &mut panels[first / width * depth * width..][..depth * width];
            for (piece, start) in columns.clone().step_by(width).enumerate() {
                let columns = start..(start + width).min(columns.end);
                for (row, strip) in (first..rows.min(first + lanes)).zip(strip.chunks_exact_mut(width)) {
                    if row + lanes < rows {
                        self.expect(row + lanes, columns.clone());
                    }
                    self.read_filled(simd, row, columns.clone(), strip);
                }
                for part in (0..width / A::DEPTH).step_by(lanes) {
                    let mut square = [T::v_splat(simd, T::zero()); MOST_LANES];
                    for (row, vector) in square[..lanes].iter_mut().enumerate() {
                        let from = &strip[row * width + part * A::DEPTH..];
                        let next = &from[(A::DEPTH - 1) * lanes..];
                        let pair = [T::load_vector(simd, from), T::load_vector(simd, next)];
                        *vector = A::join_neighbours(simd, pair);
                    }
                    T::v_transpose(simd, &mut square[..lanes]);
                    for (t, &vector) in square[..lanes].iter().enumerate() {
                        let at = (piece * width / A::DEPTH + part + t) * width + first % width;
                        T::store_vector(simd, &mut target[at..], vector);
                    }
                }
            }
        }
    }
}

/// The input of a convolution, a row per channel.
#[derive(Clone, Copy)]
pub(crate) struct InputRows<'a, E: Stored> {
    pub(crate) x: Input<'a, E>,
    pub(crate) channels: usize,
    pub(crate) pixels: usize,
}

impl<E: Stored> Columns<E::Real> for InputRows<'_, E> {
    fn rows(&self) -> usize {
        self.channels
    }

    #[inline(always)]
    fn expect(&self, row: usize, columns: Range<usize>) {
        prefetch_slice(&self.x.values()[row * self.pixels..][columns]);
    }

    #[inline(always)]
    fn read<S: Simd>(&self, simd: S, row: usize, columns: Range<usize>, target: &mut [E::Real]) {
        let from = [&self.x.values()[row * self.pixels..][columns]];
        match self.x.norm(row) {
            None => map(simd, from, target, |[value]| value, |[value]| value),
            Some(norm) => map(
                simd,
                from,
                target,
                #[inline(always)]
                |[y]| norm.apply_vector(simd, y),
                #[inline(always)]
                |[y]| norm.apply(y),
            ),
        }
    }
}

/// The gradient to the output of a convolution, a row per channel.
#[derive(Clone, Copy)]
pub(crate) struct GradientRows<'a, E: Stored> {
    pub(crate) dy: OutputGradient<'a, E>,
    pub(crate) channels: usize,
    pub(crate) pixels: usize,
}

impl<E: Stored> Columns<E::Real> for GradientRows<'_, E> {
    fn rows(&self) -> usize {
        self.channels
    }

    #[inline(always)]
    fn expect(&self, row: usize, columns: Range<usize>) {
        let at = row * self.pixels + columns.start..row * self.pixels + columns.end;
        match self.dy {
            OutputGradient::Plain(dy) => prefetch_slice(&dy[at]),
            OutputGradient::ThroughNorm(g, y, _) => {
                prefetch_slice(&g[at.clone()]);
                prefetch_slice(&y[at]);
            }
        }
    }

    #[inline(always)]
    fn read<S: Simd>(&self, simd: S, row: usize, columns: Range<usize>, target: &mut [E::Real]) {
        let at = row * self.pixels + columns.start..row * self.pixels + columns.end;
        match self.dy {
            OutputGradient::Plain(dy) => map(simd, [&dy[at]], target, |[value]| value, |[value]| value),
            OutputGradient::ThroughNorm(g, y, norm) => {
                let norm = norm.channel(row);
                map(
                    simd,
                    [&g[at.clone()], &y[at]],
                    target,
                    #[inline(always)]
                    |[g, y]| norm.apply_vector(simd, g, y),
                    #[inline(always)]
                    |[g, y]| norm.apply(g, y),
                );
            }
        }
    }
}

/// Asks for the cache lines of a slice.
#[inline(always)]
pub(crate) fn prefetch_slice<E>(values: &[E]) {
    prefetch_lines(values.as_ptr(), values.len());
}

/// `target[i] = function(from[0][i], …)`, by whole registers while the rows last.
#[inline(always)]
fn map<E: Stored, S: Simd, const N: usize>(
    simd: S,
    from: [&[E]; N],
    target: &mut [E::Real],
    vector: impl Fn([<E::Real as Vectors>::Vector<S>; N]) -> <E::Real as Vectors>::Vector<S>,
    element: impl Fn([E::Real; N]) -> E::Real,
) {
    let (width, lanes) = (width::<E::Real, S>(), lanes::<E::Real, S>());
    if from[0].len() == width {
        let target = &mut target[..width];
        for v in 0..VECTORS {
            let vectors = from.map(|row| E::load_vector(simd, &row[v * lanes..]));
            E::Real::store_vector(simd, &mut target[v * lanes..], vector(vectors));
        }
    } else {
        for (i, target) in target[..from[0].len()].iter_mut().enumerate() {
            *target = element(from.map(|row| row[i].load()));
        }
    }
}
