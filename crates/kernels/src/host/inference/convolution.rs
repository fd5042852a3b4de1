//! Convolutions: a source fills a panel for a tile of pixels, and a product makes output channels of it.
//!
//! A tile is filled block by block: fill a block of the panel, multiply, go on to the next block.

#![allow(unsafe_code)]

use super::super::vector;
use super::channelwise::Finish;
use super::crew::Crew;
use super::fill::{Fill, Source};
use super::memory::{Memory, Reading};
use super::multiply::{Target, block, load, store_part};
use super::planes::Place;
use super::shares::{Cut, Product, Shares, What};
use super::tiles::{MOST_VECTORS, Registers, Tile};
use super::weights::{self, DENSE_BLOCK, Weights};
use pulp::{Simd, WithSimd};
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
}

impl Tiled {
    pub(super) fn new(convolution: Convolution, threads: usize) -> Self {
        let Registers { lanes, dense_vectors } = Registers::here();
        let product = convolution.weights.as_ref().map(|weights| Product {
            outputs: weights.outputs(),
            is_dense: !weights.is_sparse(),
            is_whole: weights.groups() == 1,
        });
        let most = if product.is_some_and(|product| product.is_dense) { dense_vectors } else { MOST_VECTORS };
        let pixels = convolution.to.planes.pixels();
        Self { shares: Shares::new(Cut { pixels, lanes, most, threads, product }), convolution }
    }

    /// Numbers that shared panels take.
    pub(super) fn shared_panels(&self) -> usize {
        let inner = self.convolution.weights.as_ref().map_or(0, Weights::inner);
        inner * self.shares.shared_vectors() * Registers::here().lanes
    }

    /// Numbers of the panel of a thread, and behind it of the sums that wait for further blocks.
    pub(super) fn panel(&self) -> usize {
        let rows = match &self.convolution.weights {
            Some(weights) if weights.blocks.len() > weights.groups() => weights.outputs(),
            _ => 0,
        };
        PANEL + rows * self.shares.widest() * Registers::here().lanes
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
            vector::dispatch(Part { convolution, memory, panel, tile, what });
        });
    }
}

/// Numbers of a panel that a thread has for itself: a block by the widest tile.
const PANEL: usize = DENSE_BLOCK * MOST_VECTORS * super::arena::LINE;

/// A piece of work.
struct Part<'a> {
    convolution: &'a Convolution,
    tile: Tile,
    memory: Memory,
    panel: *mut f32,
    what: What,
}

impl WithSimd for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (convolution, tile) = (self.convolution, self.tile);
        let lanes = vector::lanes::<f32, S>();
        // SAFETY: `Tiled::run` promises the memory; pieces of work that run side by side write different tiles, rows,
        // channels or parts of the shared panels.
        unsafe {
            match (&self.what, &convolution.weights) {
                (What::Tile { rows }, Some(weights)) => {
                    let target = &self.target();
                    for block in &weights.blocks {
                        self.fill(simd, tile, block.inner.clone(), self.panel);
                        let rows = rows.clone().unwrap_or(block.rows.clone());
                        let panel = self.panel.cast_const();
                        vector::apart(
                            simd,
                            Block { vectors: tile.vectors, weights, block, rows, panel, target },
                        );
                    }
                    self.finish(target, rows.clone().unwrap_or(0..weights.outputs()), tile.vectors * lanes);
                }
                (What::Fill { block }, Some(weights)) => {
                    let inner = weights.blocks[*block].inner.clone();
                    self.fill(simd, tile, inner.clone(), self.shared(weights, tile, inner.start, lanes));
                }
                (What::Rows { rows }, Some(weights)) => {
                    let target = &self.target();
                    for block in &weights.blocks {
                        let panel = self.shared(weights, tile, block.inner.start, lanes).cast_const();
                        vector::apart(
                            simd,
                            Block {
                                vectors: tile.vectors,
                                weights,
                                block,
                                rows: rows.clone(),
                                panel,
                                target,
                            },
                        );
                    }
                    self.finish(target, rows.clone(), tile.vectors * lanes);
                }
                (What::Source { channels: chunk }, _) => {
                    self.fill(simd, tile, chunk.clone(), self.panel);
                    self.copy(simd, chunk.clone());
                }
                (_, None) => {}
            }
        }
    }
}

impl Part<'_> {
    /// Where the rows of a tile's shared panel are, from inner index `row` on.
    ///
    /// # Safety
    /// As its caller promises to its own.
    #[inline(always)]
    unsafe fn shared(&self, weights: &Weights, tile: Tile, row: usize, lanes: usize) -> *mut f32 {
        // SAFETY: `shared_panels` counts `inner` rows for all pixels of all tiles.
        unsafe { self.memory.panels.add(tile.start * weights.inner() + row * tile.vectors * lanes) }
    }

    /// # Safety
    /// As its caller promises to its own.
    #[inline(always)]
    unsafe fn fill<S: Simd>(&self, simd: S, tile: Tile, rows: Range<usize>, panel: *mut f32) {
        let convolution = self.convolution;
        let (from, to) = (convolution.from, convolution.to.planes);
        // SAFETY: the program checks that places lie within memory and fit the source.
        unsafe {
            let start = self.memory.at(from.slot).add(from.planes.front()).cast_const();
            let from = Reading { start, planes: from.planes, width: to.width, pixels: to.pixels() };
            let len = rows.len() * tile.vectors * vector::lanes::<f32, S>();
            vector::apart(simd, Fill { source: &convolution.source, from, tile, rows, panel });
            if let Some(function) = convolution.source.function() {
                function.apply_in_place(std::slice::from_raw_parts_mut(panel, len));
            }
        }
    }

    /// Applies the function that comes after the bounds to rows of the tile, which are still in the cache.
    ///
    /// # Safety
    /// As its caller promises to its own.
    #[inline(always)]
    unsafe fn finish(&self, target: &Target, rows: Range<usize>, width: usize) {
        let Some(function) = self.convolution.finish.function else { return };
        for row in rows {
            // SAFETY: as in `target`; nobody else writes to these rows of the tile.
            let results = unsafe {
                std::slice::from_raw_parts_mut(target.out.add(row * target.pitch), width.min(target.pixels))
            };
            function.apply_in_place(results);
        }
    }

    /// Where the results of the tile go.
    ///
    /// # Safety
    /// As its caller promises to its own.
    #[inline(always)]
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
                pixels: planes.pixels() - self.tile.start,
            }
        }
    }

    /// Copies channels from the panel to where they go.
    ///
    /// # Safety
    /// As its caller promises to its own.
    #[inline(always)]
    unsafe fn copy<S: Simd>(&self, simd: S, channels: Range<usize>) {
        let lanes = vector::lanes::<f32, S>();
        let mut from = self.panel.cast_const();
        // SAFETY: as in `target`; the panel was filled with these channels.
        unsafe {
            let target = self.target();
            for channel in channels {
                let to = target.out.add(channel * target.pitch);
                for at in (0..self.tile.vectors * lanes).step_by(lanes) {
                    store_part(simd, to.add(at), load::<S>(from), target.pixels.saturating_sub(at));
                    from = from.add(lanes);
                }
            }
        }
    }
}

/// [`block`] for a number of vectors that is known at run time.
struct Block<'a> {
    vectors: usize,
    weights: &'a Weights,
    block: &'a weights::Block,
    rows: Range<usize>,
    panel: *const f32,
    target: &'a Target,
}

impl WithSimd for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { vectors, weights, block: of, rows, panel, target } = self;
        // SAFETY: who makes one promises it to `block`.
        unsafe {
            match vectors {
                1 => block::<S, 1>(simd, weights, of, rows, panel, target),
                2 => block::<S, 2>(simd, weights, of, rows, panel, target),
                3 => block::<S, 3>(simd, weights, of, rows, panel, target),
                4 => block::<S, 4>(simd, weights, of, rows, panel, target),
                5 => block::<S, 5>(simd, weights, of, rows, panel, target),
                6 => block::<S, 6>(simd, weights, of, rows, panel, target),
                _ => block::<S, MOST_VECTORS>(simd, weights, of, rows, panel, target),
            }
        }
    }
}
