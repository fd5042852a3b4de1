//! Operands laid out as the tiles read them.
//!
//! A panel is a few columns of an activation, all channels under each other: `[channels, width]` with `width` one tile.
//! Packing is where batch norm and ReLU happen, so that they cost no pass of their own.

use super::super::activation::{Input, OutputGradient};
use super::super::vector::{MOST_LANES, Stored, Vectors, lanes};
use super::tile::VECTORS;
use crate::Real;
use pulp::Simd;
use std::ops::Range;

/// Columns of a panel.
pub(crate) const fn width<T: Real, S: Simd>() -> usize {
    VECTORS * lanes::<T, S>()
}

/// A matrix `[rows, columns]` that can be laid out in panels, some columns at a time.
pub(crate) trait Columns<T: Real>: Sync {
    /// Rows.
    fn rows(&self) -> usize;

    /// Writes `columns` of one row to the start of `target`, which has room for a whole panel row.
    fn read<S: Simd>(&self, simd: S, row: usize, columns: Range<usize>, target: &mut [T]);

    /// Writes `columns` into panels `[panel, row, width]`; what is missing in the last panel is zero.
    #[inline(always)]
    fn pack<S: Simd>(&self, simd: S, columns: Range<usize>, panels: &mut [T]) {
        let width = width::<T, S>();
        let rows = self.rows();
        for row in 0..rows {
            for (panel, start) in columns.clone().step_by(width).enumerate() {
                let end = (start + width).min(columns.end);
                let target = &mut panels[(panel * rows + row) * width..][..width];
                target[end - start..].fill(T::zero());
                self.read(simd, row, start..end, target);
            }
        }
    }

    /// Writes `columns` with rows side by side, panels `[panel of rows, column, width]`; columns are filled up with zeros
    /// to whole panels, rows that are missing in the last one are left as they are.
    #[inline(always)]
    fn pack_transposed<S: Simd>(&self, simd: S, columns: Range<usize>, panels: &mut [T]) {
        let (width, lanes) = (width::<T, S>(), lanes::<T, S>());
        let depth = columns.len().next_multiple_of(width);
        let rows = self.rows();
        let mut strip = [T::zero(); MOST_LANES * VECTORS * MOST_LANES];
        for first in (0..rows).step_by(lanes) {
            let target = &mut panels[first / width * depth * width..][..depth * width];
            for (piece, start) in columns.clone().step_by(width).enumerate() {
                let end = (start + width).min(columns.end);
                for (row, strip) in (first..rows.min(first + lanes)).zip(strip.chunks_exact_mut(width)) {
                    strip[end - start..].fill(T::zero());
                    self.read(simd, row, start..end, strip);
                }
                for v in 0..VECTORS {
                    let mut square = [T::v_splat(simd, T::zero()); MOST_LANES];
                    for (row, vector) in square[..lanes].iter_mut().enumerate() {
                        *vector = T::load_vector(simd, &strip[row * width + v * lanes..]);
                    }
                    T::v_transpose(simd, &mut square[..lanes]);
                    for (t, &vector) in square[..lanes].iter().enumerate() {
                        let at = (piece * width + v * lanes + t) * width + first % width;
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
