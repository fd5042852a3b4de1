//! Where the gradient to the input of a convolution goes: shut where the bounds in front were, with the sums that batch norm
//! needs.

#![allow(unsafe_code)]

use super::super::activation::{ChannelNorm, Input};
use super::super::lanes::{load, store};
use super::multiply::{Finish, RowTile, SharedRows, spill};
use super::panel::{prefetch_slice, width};
use super::row_sums::RowSums;
use pulp::Simd;
use sparse_vectors::Real;
use sparse_vectors::vector::{Stored, Vectors, lanes};
use std::ops::Range;

/// Every `step`-th pixel of a plane along both axes, from `first` on, whose columns are those of a product.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lattice {
    /// The first row and column.
    pub(crate) first: [usize; 2],
    pub(crate) step: [usize; 2],
    /// Columns of the lattice.
    pub(crate) width: usize,
    /// Columns of the plane.
    pub(crate) plane_width: usize,
    /// Images, innermost.
    pub(crate) batch: usize,
}

/// Columns of a panel that lie side by side in the plane.
struct Run {
    /// Where they start.
    start: usize,
    /// Which columns of the panel they are.
    columns: Range<usize>,
}

/// Where the columns of a block lie, panel by panel.
#[derive(Default)]
pub(crate) struct Places {
    runs: Vec<Run>,
    /// The first run of each panel, and the end of the last.
    panels: Vec<usize>,
    width: usize,
}

impl Places {
    /// Takes the columns of the next block, in panels of `width`.
    pub(crate) fn take(&mut self, lattice: Lattice, columns: Range<usize>, width: usize) {
        let Lattice { first, step, batch, .. } = lattice;
        (self.width, self.panels, self.runs) = (width, vec![0], Vec::new());
        let (pixel, mut image) = (columns.start / batch, columns.start % batch);
        let mut at = [pixel / lattice.width, pixel % lattice.width];
        for panel in columns.clone().step_by(width) {
            let len = width.min(columns.end - panel);
            let mut done = 0;
            while done < len {
                let run = (batch - image).min(len - done);
                let [r, c] = [0, 1].map(|axis| first[axis] + at[axis] * step[axis]);
                let start = (r * lattice.plane_width + c) * batch + image;
                self.runs.push(Run { start, columns: done..done + run });
                (done, image) = (done + run, image + run);
                if image == batch {
                    image = 0;
                    at = if at[1] + 1 == lattice.width { [at[0] + 1, 0] } else { [at[0], at[1] + 1] };
                }
            }
            self.panels.push(self.runs.len());
        }
    }

    /// The runs of the panel that begins with a column of the block.
    #[inline(always)]
    fn of(&self, column: usize) -> &[Run] {
        let panel = column / self.width;
        &self.runs[self.panels[panel]..self.panels[panel + 1]]
    }
}

/// Shuts the gradient where the bounds were shut, writes it, and gathers its sums.
pub(crate) struct Gate<'a, E: Stored, S: Simd> {
    pub(crate) out: &'a SharedRows<'a, E>,
    /// What the convolution read; `None` does not shut.
    pub(crate) x: Option<Input<'a, E>>,
    /// Elements of a row of `out`.
    pub(crate) pixels: usize,
    /// Whether what lies there is a part of the gradient.
    pub(crate) adds: bool,
    /// Where the columns of the block at work lie, if not side by side.
    pub(crate) places: Option<Places>,
    pub(crate) first_column: usize,
    /// Σ g and Σ g·(y − mean).
    pub(crate) sums: RowSums<E::Real, S>,
}

impl<E: Stored, S: Simd> Finish<E::Real, S> for Gate<'_, E, S> {
    #[inline(always)]
    fn expect(&self, row: usize, columns: Range<usize>) {
        match &self.places {
            None => self.ask(row, self.first_column + columns.start..self.first_column + columns.end),
            Some(places) => {
                let runs = places.of(columns.start).iter();
                runs.for_each(|run| self.ask(row, run.start..run.start + run.columns.len()));
            }
        }
    }

    #[inline(always)]
    fn finish(&mut self, simd: S, row: usize, columns: Range<usize>, tile: RowTile<E::Real, S>) {
        let Some(places) = self.places.take() else {
            let columns = self.first_column + columns.start..self.first_column + columns.end;
            return self.piece(simd, row, columns, tile);
        };
        let tile = spill(simd, tile);
        for run in places.of(columns.start) {
            self.run(simd, row, run.start..run.start + run.columns.len(), &tile[run.columns.clone()]);
        }
        self.places = Some(places);
    }
}

impl<E: Stored, S: Simd> Gate<'_, E, S> {
    /// Asks for the lines of what is written and of what it is shut by.
    #[inline(always)]
    fn ask(&self, row: usize, at: Range<usize>) {
        if let Some(read) = self.x.and_then(|x| x.values().get(row * self.pixels..(row + 1) * self.pixels)) {
            prefetch_slice(&read[at.clone()]);
        }
        self.out.prefetch(row, at);
    }

    /// A tile whose columns lie side by side.
    #[inline(always)]
    fn piece(&mut self, simd: S, row: usize, at: Range<usize>, mut tile: RowTile<E::Real, S>) {
        let (width, lanes) = (width::<E::Real, S>(), lanes::<E::Real, S>());
        let (norm, y) = gate(self.x, row, self.pixels, &at);
        // SAFETY: runs and row groups of different tasks do not overlap, and a task finishes each piece once.
        let dx = unsafe { self.out.piece(row, at) };
        if dx.len() < width {
            let tile = spill(simd, tile);
            for (i, (dx, &value)) in dx.iter_mut().zip(&tile).enumerate() {
                let value = if self.adds { value + dx.load() } else { value };
                let Some(norm) = norm else {
                    *dx = E::store(value);
                    continue;
                };
                let y = y[i].load();
                let g = if norm.lets_through(y) { value } else { E::Real::from_f64(0.0) };
                *dx = E::store(g);
                self.sums.add(row, [g.widen(), g.widen() * (y - norm.mean).widen()]);
            }
            return;
        }
        if self.adds {
            for (v, vector) in tile.iter_mut().enumerate() {
                *vector = E::Real::v_add(simd, *vector, E::load_vector(simd, &dx[v * lanes..]));
            }
        }
        let Some(norm) = norm else {
            for (v, &vector) in tile.iter().enumerate() {
                E::store_vector(simd, &mut dx[v * lanes..], vector);
            }
            return;
        };
        let mean = E::Real::v_splat(simd, norm.mean);
        let [sum, product] = self.sums.lanes(row);
        for (v, vector) in tile.into_iter().enumerate() {
            let y = E::load_vector(simd, &y[v * lanes..]);
            let g = norm.gate(simd, norm.linear_vector(simd, y), vector);
            E::store_vector(simd, &mut dx[v * lanes..], g);
            *sum = E::Real::v_add(simd, *sum, g);
            *product = E::Real::v_mul_add(simd, g, E::Real::v_sub(simd, y, mean), *product);
        }
    }

    /// A run of columns that lie side by side, of any length.
    #[inline(always)]
    fn run(&mut self, simd: S, row: usize, at: Range<usize>, values: &[E::Real]) {
        let lanes = lanes::<E::Real, S>();
        let (norm, y) = gate(self.x, row, self.pixels, &at);
        // SAFETY: as in `piece`.
        let dx = unsafe { self.out.piece(row, at) };
        let mut start = 0;
        while start < values.len() {
            let end = values.len().min(start + lanes);
            let mut vector = load(simd, &values[start..end]);
            if self.adds {
                vector = E::Real::v_add(simd, vector, load(simd, &dx[start..end]));
            }
            if let Some(norm) = norm {
                let y = load(simd, &y[start..end]);
                vector = norm.gate(simd, norm.linear_vector(simd, y), vector);
                // Lanes past the end hold a gradient of zero, and add nothing.
                let centred = E::Real::v_sub(simd, y, E::Real::v_splat(simd, norm.mean));
                let [sum, product] = self.sums.lanes(row);
                *sum = E::Real::v_add(simd, *sum, vector);
                *product = E::Real::v_mul_add(simd, vector, centred, *product);
            }
            store(simd, &mut dx[start..end], vector);
            start = end;
        }
    }
}

/// How a row is shut, and what it read there.
#[inline(always)]
fn gate<'a, E: Stored>(
    x: Option<Input<'a, E>>,
    row: usize,
    pixels: usize,
    at: &Range<usize>,
) -> (Option<ChannelNorm<E::Real>>, &'a [E]) {
    match x {
        None => (None, &[]),
        Some(x) => (x.gate(row), &x.values()[row * pixels + at.start..row * pixels + at.end]),
    }
}
