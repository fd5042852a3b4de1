//! The gradient to the weight, summed block by block: dense tiles, or an inner product per kept weight.

#![allow(unsafe_code)]

use super::left::many_registers;
use super::multiply::Panels;
use super::panel::{Columns, width};
use super::pattern::{Kept, Pattern};
use super::split::Split;
use super::tile::{self, HALF, ROWS, Strides, TWICE, VECTORS};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use sparse_vectors::Real;
use sparse_vectors::arithmetic::{Arithmetic, Plain};
use sparse_vectors::vector::{MOST_LANES, dispatch, lanes, prefetch};
use std::marker::PhantomData;
use std::ops::Range;

/// Columns of the widest panel, which rows of a dense sum are filled up to.
const ROW_STEP: usize = VECTORS * MOST_LANES;
/// Most runs of blocks; each sums a weight gradient of its own.
const MOST_RUNS: usize = 8;
/// Numbers in the sums of all runs, where there are more than two: they are cleared, written and added up in every step.
const RUN_SUMS: usize = 2 << 20;

/// Runs of blocks for a weight `[outputs, inputs]`: fewer for a larger one.
pub(crate) fn most_runs(outputs: usize, inputs: usize) -> usize {
    (RUN_SUMS / (outputs * inputs).max(1)).clamp(2, MOST_RUNS)
}

/// Sums of `dy · xᵀ` for some rows (output channels).
pub(crate) struct WeightSums<'a, T> {
    kept: Option<&'a Pattern>,
    rows: Range<usize>,
    /// The rows of the gradient that are packed, those at work among them.
    packed: Range<usize>,
    inputs: usize,
    /// Dense: `[rows, inputs up to a multiple of ROW_STEP]`. Sparse: one per kept weight, of the rows at work alone.
    sums: Vec<T>,
}

impl<'a, T: Real> WeightSums<'a, T> {
    pub(crate) fn new(
        pattern: Option<&'a Pattern>,
        rows: Range<usize>,
        packed: Range<usize>,
        inputs: usize,
    ) -> Self {
        let len = match pattern {
            None => rows.len() * inputs.next_multiple_of(ROW_STEP),
            Some(pattern) => pattern.kept(),
        };
        Self { kept: pattern, rows, packed, inputs, sums: vec![T::zero(); len] }
    }

    /// Elements of a packed block of the gradient: the last tile of rows may read past the last channel.
    pub(crate) fn gradient_elements<S: Simd>(&self, block: usize) -> usize {
        let width = width::<T, S>();
        block.next_multiple_of(width) * self.packed.len() + TWICE * width
    }

    /// Elements of a packed block of the input.
    pub(crate) fn input_elements<S: Simd>(&self, block: usize) -> usize {
        block.next_multiple_of(width::<T, S>()) * self.inputs.next_multiple_of(ROW_STEP)
    }

    /// Adds one block: `dy` is `[panel, packed row, packed column]`, `x` is packed here into `room`.
    #[inline(always)]
    pub(crate) fn add<A: Arithmetic<T>, S: Simd>(
        &mut self,
        simd: S,
        dy: Panels<'_, T>,
        x: &impl Columns<T>,
        block: Range<usize>,
        room: &mut [T],
    ) {
        match self.kept {
            None => {
                x.pack_transposed::<A, S>(simd, block, room);
                self.add_dense::<A, S>(simd, dy, room);
            }
            Some(pattern) => {
                x.pack::<Plain, S>(simd, block, room);
                self.add_sparse(simd, pattern.by_output(), dy, room);
            }
        }
    }

    /// `sums[o, i] += Σ_t dy[o, t] · x[t, i]`, `x` in panels `[panel of i, t, width]`. A last panel that is not half full is
    /// multiplied with narrower and higher tiles.
    #[inline(always)]
    fn add_dense<A: Arithmetic<T>, S: Simd>(&mut self, simd: S, dy: Panels<'_, T>, x: &[T]) {
        let width = width::<T, S>();
        let columns = dy.columns.next_multiple_of(width) / A::DEPTH;
        for (panel, x) in x.chunks_exact(columns * width).take(self.inputs.div_ceil(width)).enumerate() {
            let first = panel * width;
            let fills_half = self.inputs - first > width / 2;
            match (many_registers::<S>(), fills_half) {
                (true, true) => self.add_panel::<A, S, ROWS, VECTORS>(simd, dy, x, first),
                (true, false) => self.add_panel::<A, S, TWICE, HALF>(simd, dy, x, first),
                (false, _) => {
                    self.add_panel::<A, S, ROWS, HALF>(simd, dy, x, first);
                    if fills_half {
                        self.add_panel::<A, S, ROWS, HALF>(simd, dy, &x[width / 2..], first + width / 2);
                    }
                }
            }
        }
    }

    /// [`Self::add_dense`] for `V` registers of inputs from `start` on, which `x` begins with.
    #[inline(always)]
    fn add_panel<A: Arithmetic<T>, S: Simd, const ROWS: usize, const V: usize>(
        &mut self,
        simd: S,
        dy: Panels<'_, T>,
        x: &[T],
        start: usize,
    ) {
        let (width, lanes) = (width::<T, S>(), lanes::<T, S>());
        let stride = self.inputs.next_multiple_of(ROW_STEP);
        let depth = width / A::DEPTH;
        let columns = dy.columns.next_multiple_of(width) / A::DEPTH;
        let packed = self.packed.len();
        assert!(dy.values.len() >= columns * packed + (ROWS - 1) * depth);
        for first in self.rows.clone().step_by(ROWS) {
            let rows = first..self.rows.end.min(first + ROWS);
            for row in rows.clone() {
                for v in 0..V {
                    prefetch(&self.sums, (row - self.rows.start) * stride + start + v * lanes);
                }
            }
            let mut sums = tile::zero::<T, S, ROWS, V>(simd);
            for (piece, x) in x.chunks(depth * width).enumerate() {
                assert!(x.len() >= (depth - 1) * width + V * lanes);
                let left = dy.values[(piece * packed + first - self.packed.start) * depth..].as_ptr();
                // SAFETY: the tile reads `depth` values of each of ROWS rows from `first` on; the last ones may belong to
                // the next panel or to the room after the last panel (asserted above). `x` holds the start of `depth` rows of a panel (asserted).
                sums = unsafe {
                    let strides = Strides { inner: 1, row: depth };
                    tile::dense::<T, A, S, ROWS, V>(simd, sums, depth, (left, strides), x.as_ptr())
                };
            }
            for (row, sums) in rows.zip(sums) {
                let target = &mut self.sums[(row - self.rows.start) * stride + start..][..V * lanes];
                for (v, sum) in sums.into_iter().enumerate() {
                    let old = T::load_vector(simd, &target[v * lanes..]);
                    T::store_vector(simd, &mut target[v * lanes..], T::v_add(simd, old, sum));
                }
            }
        }
    }

    /// `sums[kept] += Σ_t dy[o, t] · x[i, t]`, segment by segment of the inputs.
    #[inline(always)]
    fn add_sparse<S: Simd>(&mut self, simd: S, kept: &Kept, dy: Panels<'_, T>, x: &[T]) {
        let width = width::<T, S>();
        let pieces = dy.columns.div_ceil(width);
        let panels =
            dy.values.chunks_exact(self.packed.len() * width).zip(x.chunks_exact(self.inputs * width));
        for (dy, x) in panels.take(pieces) {
            for segment in 0..kept.segments() {
                let x = x[kept.first(segment) * width..].as_ptr();
                for row in self.rows.clone() {
                    let range = kept.range(segment, row);
                    let kept = &kept.indices()[range.clone()];
                    // SAFETY: a `Kept` holds indices below `inputs`, and the panel has that many rows.
                    unsafe {
                        let dy = &dy[(row - self.packed.start) * width..];
                        inner_products(simd, dy, kept, x, &mut self.sums[range]);
                    }
                }
            }
        }
    }
}

/// `sums[j] += Σ_t dy[t] · x[indices[j], t]` over one panel.
///
/// # Safety
/// Every index must be a row of the panel at `x`.
#[inline(always)]
unsafe fn inner_products<T: Real, S: Simd>(simd: S, dy: &[T], indices: &[u16], x: *const T, sums: &mut [T]) {
    let lanes = lanes::<T, S>();
    let dy: [T::Vector<S>; VECTORS] = std::array::from_fn(|v| T::load_vector(simd, &dy[v * lanes..]));
    let x = x.cast::<T::Vector<S>>();
    let (fours, rest) = indices.as_chunks::<4>();
    let (sum_fours, sum_rest) = sums.as_chunks_mut::<4>();
    for (sums, &[a, b, c, d]) in sum_fours.iter_mut().zip(fours) {
        // SAFETY: passed on from the caller.
        let products = unsafe {
            [
                product::<T, S>(simd, dy, x, a),
                product::<T, S>(simd, dy, x, b),
                product::<T, S>(simd, dy, x, c),
                product::<T, S>(simd, dy, x, d),
            ]
        };
        let products = T::v_sum_four(simd, products);
        sums.iter_mut().zip(products).for_each(|(sum, product)| *sum += product);
    }
    if !rest.is_empty() {
        let mut products = [T::v_splat(simd, T::zero()); 4];
        for (to, &index) in products.iter_mut().zip(rest) {
            // SAFETY: passed on from the caller.
            *to = unsafe { product::<T, S>(simd, dy, x, index) };
        }
        let products = T::v_sum_four(simd, products);
        sum_rest.iter_mut().zip(products).for_each(|(sum, product)| *sum += product);
    }
}

/// `dy[t] · x[index, t]`, summed down to one register.
///
/// # Safety
/// `index` must be a row of the panel at `x`.
#[inline(always)]
unsafe fn product<T: Real, S: Simd>(
    simd: S,
    dy: [T::Vector<S>; VECTORS],
    x: *const T::Vector<S>,
    index: u16,
) -> T::Vector<S> {
    // SAFETY: the caller promises that row `index` lies in the panel.
    unsafe {
        let row = x.add(usize::from(index) * VECTORS);
        let mut product = T::v_mul(simd, dy[0], row.read_unaligned());
        for (v, &dy) in dy.iter().enumerate().skip(1) {
            product = T::v_mul_add(simd, dy, row.add(v).read_unaligned(), product);
        }
        product
    }
}

/// `dw = Σ partials`, each partial the sums of some rows; several of the same rows are added in order.
pub(crate) fn add_partials<T: Real>(
    partials: &[(Range<usize>, &WeightSums<'_, T>)],
    kept: Option<&Pattern>,
    dw: &mut [T],
    inputs: usize,
) {
    let stride = inputs.next_multiple_of(ROW_STEP);
    dw.par_chunks_mut(inputs).enumerate().for_each(|(row, dw)| {
        dw.fill(T::zero());
        for (rows, partial) in partials.iter().filter(|(rows, _)| rows.contains(&row)) {
            match kept {
                None => {
                    let sums = &partial.sums[(row - rows.start) * stride..];
                    dw.iter_mut().zip(sums).for_each(|(total, &sum)| *total += sum);
                }
                Some(pattern) => {
                    let kept = pattern.by_output();
                    for segment in 0..kept.segments() {
                        let range = kept.range(segment, row);
                        let dw = &mut dw[kept.first(segment)..];
                        for (&index, &sum) in kept.indices()[range.clone()].iter().zip(&partial.sums[range]) {
                            dw[usize::from(index)] += sum;
                        }
                    }
                }
            }
        }
    });
}

/// `dw = dy · xᵀ` summed over all columns; with a pattern at kept positions alone, the others get zero.
///
/// Shapes: `x: [inputs, columns]`, `dy: [outputs, columns]`, `dw: [outputs, inputs]`.
pub(crate) fn weight_gradient<T: Real>(
    x: &impl Columns<T>,
    dy: &impl Columns<T>,
    kept: Option<&Pattern>,
    columns: usize,
    dw: &mut [T],
) {
    let (inputs, outputs) = (x.rows(), dy.rows());
    let split = Split::new(columns, (inputs + outputs) * size_of::<T>(), most_runs(outputs, inputs));
    let tasks = split.tasks(outputs);
    let sums: Vec<WeightSums<'_, T>> = tasks
        .par_iter()
        .map(|task| {
            let rows = task.rows(outputs);
            dispatch(Task { x, dy, kept, split: &split, run: task.run, rows, number: PhantomData })
        })
        .collect();
    let partials: Vec<_> = tasks.iter().zip(&sums).map(|(task, sums)| (task.rows(outputs), sums)).collect();
    add_partials(&partials, kept, dw, inputs);
}

/// One run of blocks and one group of output channels.
struct Task<'a, T, X, Y> {
    x: &'a X,
    dy: &'a Y,
    kept: Option<&'a Pattern>,
    split: &'a Split,
    run: usize,
    rows: Range<usize>,
    number: PhantomData<T>,
}

impl<'a, T: Real, X: Columns<T>, Y: Columns<T>> WithSimd for Task<'a, T, X, Y> {
    type Output = WeightSums<'a, T>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let rows = self.rows;
        let mut sums = WeightSums::new(self.kept, rows.clone(), rows.clone(), self.x.rows());
        let mut dy_panels = vec![T::zero(); sums.gradient_elements::<S>(self.split.block)];
        let mut x_panels = vec![T::zero(); sums.input_elements::<S>(self.split.block)];
        for block in self.split.blocks(self.run) {
            self.dy.pack_rows(simd, rows.clone(), block.clone(), &mut dy_panels);
            let panels = Panels { values: &dy_panels, inner: rows.len(), columns: block.len() };
            sums.add::<Plain, S>(simd, panels, self.x, block.clone(), &mut x_panels);
        }
        sums
    }
}
