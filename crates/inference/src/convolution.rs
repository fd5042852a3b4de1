//! Convolutions: a source fills a panel for a tile of pixels, and a product makes output channels of it.
//!
//! A tile is filled block by block: fill a block of the panel, multiply, go on to the next block.

#![allow(unsafe_code)]

use super::channelwise::Finish;
use super::crew::Crew;
use super::fill::{Fill, Source};
use super::memory::{Memory, Reading};
use super::multiply::{Target, block, load, store};
use super::planes::Place;
use super::precision::{Form, Work, dispatch, rounded};
use super::shares::{Cut, LEAST_SHARED, Product, Shares, What};
use super::tiles::{MOST_DENSE_VECTORS, MOST_VECTORS, Registers, Tile};
use super::weights::{self, DENSE_BLOCK, ROWS, SORTED_ROWS, Weights};
use pulp::Simd;
use sparse_vectors::arithmetic::Arithmetic;
use sparse_vectors::vector;
use std::ops::Range;

/// A convolution with bias, what is added to it, and bounds; or a depthwise convolution alone.
#[derive(Clone, Debug)]
pub struct Convolution {
    /// What is read.
    pub from: Place,
    /// How it becomes the right side of the product.
    pub source: Source,
    /// The left side; `None` if the source is all there is.
    pub weights: Option<Weights>,
    /// `[outputs]`; nothing without weights.
    pub bias: Vec<f32>,
    /// Planes like the output's that are added before the bounds.
    pub residual: Option<Place>,
    /// What results are then done to; nothing without weights.
    pub finish: Finish,
    /// Where they go.
    pub to: Place,
}

/// A convolution cut into tiles for this processor.
#[derive(Clone, Debug)]
pub(super) struct Tiled {
    pub(super) convolution: Convolution,
    shares: Shares,
    lanes: usize,
}

impl Tiled {
    pub(super) fn new(convolution: Convolution, threads: usize) -> Self {
        let Registers { lanes, dense_vectors } = Registers::here();
        let product = convolution.weights.as_ref().map(|weights| Product {
            outputs: weights.outputs(),
            is_dense: !weights.is_sparse(),
            rows: if weights.is_sparse() { SORTED_ROWS } else { ROWS },
            is_whole: weights.groups() == 1,
            least_shared: if convolution.source.is_fast() { LEAST_SHARED } else { 1 },
        });
        let most = if product.is_some_and(|product| product.is_dense) { dense_vectors } else { MOST_VECTORS };
        let pixels = convolution.to.planes.pixels();
        Self { shares: Shares::new(Cut { pixels, lanes, most, threads, product }), convolution, lanes }
    }

    /// Numbers that shared panels take.
    pub(super) fn shared_panels(&self) -> usize {
        let inner = self.convolution.weights.as_ref().map_or(0, Weights::inner);
        inner * self.shares.shared_vectors() * self.lanes
    }

    /// Numbers of the panel of a thread, and behind it of the sums that wait for further blocks.
    pub(super) fn panel(&self) -> usize {
        let rows = match &self.convolution.weights {
            Some(weights) if weights.blocks.len() > weights.groups() => weights.outputs(),
            _ => 0,
        };
        PANEL + rows * self.shares.widest() * self.lanes
    }

    /// Does the thread's part.
    ///
    /// # Safety
    /// `memory` must hold all places, `panel` [`Tiled::panel`] numbers of this thread alone, and every thread of the crew must
    /// come here.
    pub(super) unsafe fn run(&self, crew: &Crew<'_>, memory: Memory, panel: *mut f32) {
        let convolution = &self.convolution;
        let blocks = convolution.weights.as_ref().map_or(0, |weights| weights.blocks.len());
        self.shares.run(crew, blocks, convolution.to.planes.channels, |tile, what| {
            // SAFETY: the caller promises it; `Shares` hands out different tiles, rows, channels and blocks.
            unsafe { Part { convolution, memory, panel, tile, what, lanes: self.lanes }.run() };
        });
    }
}

/// Numbers of a panel that a thread has for itself: a block by the widest tile, which dense products leave room in for [`ROUNDED`] rows more.
const PANEL: usize = DENSE_BLOCK * MOST_VECTORS * super::arena::LINE;
/// Numbers of an output that the second cache keeps, 1 MiB.
const NEAR: usize = 1 << 18;
/// Rows of a panel that are filled before they are rounded, an even number.
const ROUNDED: usize = 32;
const _: () = assert!((DENSE_BLOCK + ROUNDED) * MOST_DENSE_VECTORS <= DENSE_BLOCK * MOST_VECTORS);

/// A piece of work.
struct Part<'a> {
    convolution: &'a Convolution,
    tile: Tile,
    memory: Memory,
    panel: *mut f32,
    what: What,
    /// Numbers of a vector.
    lanes: usize,
}

impl Part<'_> {
    /// Does it.
    ///
    /// # Safety
    /// As [`Tiled::run`]; pieces of work that run side by side must write different tiles, rows, channels or parts of the shared panels.
    unsafe fn run(&self) {
        // SAFETY: as the caller promises.
        unsafe {
            match (&self.what, &self.convolution.weights) {
                (What::Tile { rows }, Some(weights)) => {
                    let target = self.target();
                    for block in &weights.blocks {
                        self.fill(block.inner.clone(), self.panel, weights.form());
                        let rows = rows.clone().unwrap_or(block.rows.clone());
                        self.multiply(weights, block, rows, self.panel, &target);
                    }
                    self.finish(&target, rows.clone().unwrap_or(0..weights.outputs()));
                }
                (What::Fill { block }, Some(weights)) => {
                    let inner = weights.blocks[*block].inner.clone();
                    self.fill(inner.clone(), self.shared(weights, inner.start), weights.form());
                }
                (What::Rows { rows }, Some(weights)) => {
                    let target = self.target();
                    for block in &weights.blocks {
                        let panel = self.shared(weights, block.inner.start);
                        self.multiply(weights, block, rows.clone(), panel, &target);
                    }
                    self.finish(&target, rows.clone());
                }
                (What::Source { channels }, _) => {
                    self.fill(channels.clone(), self.panel, Form::Plain);
                    self.copy(channels.clone());
                }
                (_, None) => {}
            }
        }
    }

    /// Numbers of a row of the panel.
    fn width(&self) -> usize {
        self.tile.vectors * self.lanes
    }

    /// Where the rows of a tile's shared panel are, from inner index `row` on.
    ///
    /// # Safety
    /// As its caller promises to its own.
    unsafe fn shared(&self, weights: &Weights, row: usize) -> *mut f32 {
        // SAFETY: `shared_panels` counts `inner` rows for all pixels of all tiles.
        unsafe { self.memory.panels.add(self.tile.start * weights.inner() + row * self.width()) }
    }

    /// Fills a panel with `rows`; those that are rounded some at a time, so that they are still in the first cache.
    ///
    /// # Safety
    /// As its caller promises to its own.
    unsafe fn fill(&self, rows: Range<usize>, panel: *mut f32, form: Form) {
        // SAFETY: the panel has room for these rows, or for joined ones and [`ROUNDED`] more.
        unsafe {
            if form == Form::Plain {
                return self.fill_numbers(rows, panel);
            }
            let end = rows.end;
            for first in rows.clone().step_by(ROUNDED) {
                let some = first..end.min(first + ROUNDED);
                let panel = panel.add((first - rows.start) / form.depth() * self.width());
                self.fill_numbers(some.clone(), panel);
                dispatch(form, Round { panel, rows: some.len(), vectors: self.tile.vectors, form });
            }
        }
    }

    /// # Safety
    /// As its caller promises to its own.
    unsafe fn fill_numbers(&self, rows: Range<usize>, panel: *mut f32) {
        let (convolution, len) = (self.convolution, rows.len() * self.width());
        let (from, to) = (convolution.from, convolution.to.planes);
        // SAFETY: the program checks that places lie within memory and fit the source.
        unsafe {
            let start = self.memory.at(from.slot).add(from.planes.front()).cast_const();
            let from = Reading { start, planes: from.planes, width: to.width, pixels: to.pixels() };
            dispatch(Form::Plain, Fill { source: &convolution.source, from, tile: self.tile, rows, panel });
            if let Some(function) = convolution.source.function() {
                function.apply_in_place(std::slice::from_raw_parts_mut(panel, len));
            }
        }
    }

    /// Multiplies rows of a block with its panel.
    ///
    /// # Safety
    /// As its caller promises to its own.
    unsafe fn multiply(
        &self,
        weights: &Weights,
        block: &weights::Block,
        rows: Range<usize>,
        panel: *const f32,
        target: &Target,
    ) {
        let vectors = self.tile.vectors;
        dispatch(weights.form(), Multiply { vectors, weights, block, rows, panel, target });
    }

    /// Applies the function that comes after the bounds to rows of the tile, which are still in the cache.
    ///
    /// # Safety
    /// As its caller promises to its own.
    unsafe fn finish(&self, target: &Target, rows: Range<usize>) {
        let Some(function) = self.convolution.finish.function else { return };
        for row in rows {
            // SAFETY: as in `target`; nobody else writes to these rows of the tile.
            let results = unsafe {
                std::slice::from_raw_parts_mut(
                    target.out.add(row * target.pitch),
                    self.width().min(target.pixels),
                )
            };
            function.apply_in_place(results);
        }
    }

    /// Where the results of the tile go.
    ///
    /// # Safety
    /// As its caller promises to its own.
    unsafe fn target(&self) -> Target {
        let convolution = self.convolution;
        let planes = convolution.to.planes;
        let offset = planes.front() + self.tile.start;
        // SAFETY: the program checks that places lie within memory.
        unsafe {
            let residual = convolution
                .residual
                .map_or(std::ptr::null(), |residual| self.memory.at(residual.slot).add(offset).cast_const());
            Target {
                out: self.memory.at(convolution.to.slot).add(offset),
                residual,
                pitch: planes.pitch(),
                partial: self.panel.add(PANEL),
                bias: convolution.bias.as_ptr(),
                bounds: convolution.finish.bounds,
                is_far: planes.len() > NEAR,
                pixels: planes.pixels() - self.tile.start,
            }
        }
    }

    /// Copies channels from the panel to where they go.
    ///
    /// # Safety
    /// As its caller promises to its own.
    unsafe fn copy(&self, channels: Range<usize>) {
        // SAFETY: as in `target`; the panel was filled with these channels.
        unsafe {
            let target = self.target();
            for (index, channel) in channels.enumerate() {
                let (from, to) =
                    (self.panel.add(index * self.width()), target.out.add(channel * target.pitch));
                to.copy_from_nonoverlapping(from, self.width().min(target.pixels));
            }
        }
    }
}

/// [`block`] for a number of vectors that is known at run time.
struct Multiply<'a> {
    vectors: usize,
    weights: &'a Weights,
    block: &'a weights::Block,
    rows: Range<usize>,
    panel: *const f32,
    target: &'a Target,
}

impl Work for Multiply<'_> {
    #[inline(always)]
    fn run<A: Arithmetic<f32>, S: Simd>(self, simd: S) {
        let Self { vectors, weights, block: of, rows, panel, target } = self;
        // SAFETY: who makes one promises it to `block`.
        unsafe {
            match vectors {
                1 => block::<A, S, 1>(simd, weights, of, rows, panel, target),
                2 => block::<A, S, 2>(simd, weights, of, rows, panel, target),
                3 => block::<A, S, 3>(simd, weights, of, rows, panel, target),
                4 => block::<A, S, 4>(simd, weights, of, rows, panel, target),
                5 => block::<A, S, 5>(simd, weights, of, rows, panel, target),
                6 => block::<A, S, 6>(simd, weights, of, rows, panel, target),
                _ => block::<A, S, MOST_VECTORS>(simd, weights, of, rows, panel, target),
            }
        }
    }
}

/// Rounds each two rows of a panel to bf16, in place, and joins them or leaves them in the other order as the form says.
struct Round {
    panel: *mut f32,
    rows: usize,
    vectors: usize,
    form: Form,
}

impl Work for Round {
    #[inline(always)]
    fn run<A: Arithmetic<f32>, S: Simd>(self, simd: S) {
        let Self { panel, rows, vectors, form } = self;
        let (lanes, width) = (vector::lanes::<f32, S>(), vectors * vector::lanes::<f32, S>());
        for (row, at) in
            (0..rows).step_by(2).flat_map(|row| (0..width).step_by(lanes).map(move |at| (row, at)))
        {
            // SAFETY: who makes one promises `rows` of `vectors`; what is written was read, now or before.
            unsafe {
                let place = panel.add(row * width + at);
                let is_single = row + 1 == rows;
                let first = load::<S>(place);
                let second = if is_single { simd.splat_f32s(0.0) } else { load::<S>(place.add(width)) };
                match form {
                    Form::Pairs => {
                        store::<S>(panel.add(row / 2 * width + at), A::join_rows(simd, [first, second]));
                    }
                    _ if is_single => store::<S>(place, rounded(simd, first)),
                    _ => {
                        store::<S>(place, rounded(simd, second));
                        store::<S>(place.add(width), rounded(simd, first));
                    }
                }
            }
        }
    }
}
