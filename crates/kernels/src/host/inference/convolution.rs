//! Convolutions: a source fills a panel for a tile of pixels, and a product makes output channels of it.
//!
//! With many tiles each is one piece of work: fill a block of the panel, multiply, go on to the next block. With few
//! tiles (small images) threads fill the panels of all tiles together, wait, and share the rows of the product.

#![allow(unsafe_code)]

use super::super::vector;
use super::arena::Memory;
use super::crew::Crew;
use super::fill::{From, Source, fill};
use super::multiply::{Bounds, Tail, Target, block, clear, load, store};
use super::planes::Place;
use super::tiles::{MOST_VECTORS, Registers, Tile, tiles};
use super::weights::{BLOCK, ROWS, Weights};
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// Tiles for each thread from which on tiles are shared out whole.
const TILES_PER_THREAD: usize = 4;
/// Rows of a product that a thread takes at least.
const LEAST_ROWS: usize = 32;
/// Channels of a depthwise convolution that a thread takes at a time.
const CHANNELS: usize = 16;

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
    /// What results are kept between.
    pub bounds: Bounds,
    /// Where they go.
    pub to: Place,
}

/// A convolution cut into tiles for this processor.
#[derive(Clone, Debug)]
pub(super) struct Tiled {
    pub(super) convolution: Convolution,
    tiles: Vec<Tile>,
}

impl Tiled {
    pub(super) fn new(convolution: Convolution) -> Self {
        let Registers { lanes, dense_vectors } = Registers::here();
        let dense = convolution.weights.as_ref().is_some_and(|weights| !weights.is_sparse());
        let most = if dense { dense_vectors } else { MOST_VECTORS };
        let tiles = tiles(convolution.to.planes.pixels(), lanes, most);
        Self { convolution, tiles }
    }

    /// Whether `threads` share the rows of the product instead of tiles.
    fn shares_rows(&self, threads: usize) -> bool {
        let groups = self.convolution.weights.as_ref().map_or(0, Weights::groups);
        threads > 1 && groups == 1 && self.tiles.len() < TILES_PER_THREAD * threads
    }

    /// Numbers that panels shared by `threads` take.
    pub(super) fn shared_panels(&self, threads: usize) -> usize {
        if !self.shares_rows(threads) {
            return 0;
        }
        let pixels: usize =
            self.tiles.iter().map(|tile| tile.vectors).sum::<usize>() * Registers::here().lanes;
        self.convolution.weights.as_ref().map_or(0, Weights::inner) * pixels
    }

    /// Does the thread's part.
    ///
    /// # Safety
    /// `memory` must hold all places, `panel` [`PANEL`] numbers of this thread alone, and every thread of the crew must
    /// come here.
    pub(super) unsafe fn run(&self, crew: &Crew<'_>, memory: Memory, panel: *mut f32) {
        let part = |what| Part { tiled: self, memory, panel, what };
        let Some(weights) = &self.convolution.weights else {
            let chunks = self.convolution.to.planes.channels.div_ceil(CHANNELS);
            crew.share(self.tiles.len() * chunks, |item| {
                let (tile, chunk) = (item / chunks, item % chunks);
                vector::dispatch(part(What::Source { tile, chunk }));
            });
            return;
        };
        if !self.shares_rows(crew.threads()) {
            crew.share(self.tiles.len(), |tile| vector::dispatch(part(What::Tile { tile })));
            return;
        }
        let blocks = weights.blocks.len();
        crew.share(self.tiles.len() * blocks, |item| {
            vector::dispatch(part(What::Fill { tile: item / blocks, block: item % blocks }));
        });
        let rows = weights.outputs();
        let chunk = rows.div_ceil(2 * crew.threads()).next_multiple_of(ROWS).max(LEAST_ROWS);
        let chunks = rows.div_ceil(chunk);
        crew.share(self.tiles.len() * chunks, |item| {
            let first = item % chunks * chunk;
            let rows = first..rows.min(first + chunk);
            vector::dispatch(part(What::Rows { tile: item / chunks, rows }));
        });
    }
}

/// Numbers of a panel that a thread has for itself: a block by the widest tile.
pub(super) const PANEL: usize = BLOCK * MOST_VECTORS * super::arena::LINE;

/// A piece of work.
struct Part<'a> {
    tiled: &'a Tiled,
    memory: Memory,
    panel: *mut f32,
    what: What,
}

enum What {
    /// All of a tile.
    Tile { tile: usize },
    /// A block of the shared panel of a tile.
    Fill { tile: usize, block: usize },
    /// Some rows of a tile, from the shared panels.
    Rows { tile: usize, rows: Range<usize> },
    /// Some channels of a tile of what has no product.
    Source { tile: usize, chunk: usize },
}

impl WithSimd for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let convolution = &self.tiled.convolution;
        let lanes = vector::lanes::<f32, S>();
        // SAFETY: `Tiled::run` promises the memory; pieces of work that run side by side write different tiles, rows,
        // channels or parts of the shared panels.
        unsafe {
            match (&self.what, &convolution.weights) {
                (What::Tile { tile }, Some(weights)) => {
                    let tile = self.tiled.tiles[*tile];
                    let target = self.target(tile, lanes, 0);
                    for block in &weights.blocks {
                        self.fill(simd, tile, block.inner.clone(), self.panel);
                        product(simd, tile.vectors, weights, block, block.rows.clone(), self.panel, &target);
                    }
                }
                (What::Fill { tile, block }, Some(weights)) => {
                    let tile = self.tiled.tiles[*tile];
                    let inner = weights.blocks[*block].inner.clone();
                    self.fill(simd, tile, inner.clone(), self.shared(weights, tile, inner.start, lanes));
                }
                (What::Rows { tile, rows }, Some(weights)) => {
                    let tile = self.tiled.tiles[*tile];
                    let target = self.target(tile, lanes, rows.start);
                    for block in &weights.blocks {
                        let panel = self.shared(weights, tile, block.inner.start, lanes);
                        product(simd, tile.vectors, weights, block, rows.clone(), panel, &target);
                    }
                }
                (What::Source { tile, chunk }, _) => {
                    let tile = self.tiled.tiles[*tile];
                    let first = chunk * CHANNELS;
                    let channels = first..convolution.to.planes.channels.min(first + CHANNELS);
                    self.fill(simd, tile, channels.clone(), self.panel);
                    self.copy(simd, tile, channels);
                }
                (_, None) => {}
            }
        }
    }
}

impl Part<'_> {
    /// Where the rows of a tile's shared panel are, from inner index `row` on.
    #[inline(always)]
    unsafe fn shared(&self, weights: &Weights, tile: Tile, row: usize, lanes: usize) -> *mut f32 {
        // SAFETY: `shared_panels` counts `inner` rows for all pixels of all tiles.
        unsafe { self.memory.panels.add(tile.start * weights.inner() + row * tile.vectors * lanes) }
    }

    #[inline(always)]
    unsafe fn fill<S: Simd>(&self, simd: S, tile: Tile, rows: Range<usize>, panel: *mut f32) {
        let convolution = &self.tiled.convolution;
        let (from, to) = (convolution.from, convolution.to.planes);
        // SAFETY: the program checks that places lie within memory and fit the source.
        unsafe {
            let start = self.memory.at(from.slot).add(from.planes.front()).cast_const();
            let from = From { start, planes: from.planes, width: to.width, pixels: to.pixels() };
            fill(simd, &convolution.source, from, tile, rows, panel);
        }
    }

    /// Where the results of a tile go; the first rows of the first tile clear the space before the first channel.
    #[inline(always)]
    unsafe fn target(&self, tile: Tile, lanes: usize, first_row: usize) -> Target {
        let convolution = &self.tiled.convolution;
        let planes = convolution.to.planes;
        // SAFETY: the program checks that places lie within memory.
        unsafe {
            let out = self.memory.at(convolution.to.slot);
            if tile.start == 0 && first_row == 0 {
                out.write_bytes(0, planes.front());
            }
            let offset = planes.front() + tile.start;
            let residual = convolution
                .residual
                .map_or(std::ptr::null(), |residual| self.memory.at(residual.slot).add(offset).cast_const());
            let is_last = tile.start + tile.vectors * lanes >= planes.pixels();
            Target {
                out: out.add(offset),
                residual,
                pitch: planes.pitch(),
                bias: convolution.bias.as_ptr(),
                bounds: convolution.bounds,
                tail: is_last
                    .then(|| Tail { start: planes.pixels() - tile.start, end: planes.pitch() - tile.start }),
            }
        }
    }

    /// Copies channels from the panel to where they go.
    #[inline(always)]
    unsafe fn copy<S: Simd>(&self, simd: S, tile: Tile, channels: Range<usize>) {
        let lanes = vector::lanes::<f32, S>();
        let width = tile.vectors * lanes;
        // SAFETY: as in `target`; the panel was filled with these channels.
        unsafe {
            let target = self.target(tile, lanes, channels.start);
            for (index, channel) in channels.enumerate() {
                let (from, to) = (self.panel.add(index * width), target.out.add(channel * target.pitch));
                for v in 0..tile.vectors {
                    store::<S>(to.add(v * lanes), load::<S>(from.add(v * lanes).cast_const()));
                }
                if let Some(Tail { start, end }) = target.tail {
                    clear(simd, to, start, end);
                }
            }
        }
    }
}

/// [`block`] for a number of vectors that is known at run time.
#[inline(always)]
unsafe fn product<S: Simd>(
    simd: S,
    vectors: usize,
    weights: &Weights,
    of: &super::weights::Block,
    rows: Range<usize>,
    panel: *const f32,
    target: &Target,
) {
    // SAFETY: as the caller promises to `block`.
    unsafe {
        match vectors {
            1 => block::<S, 1>(simd, weights, of, rows, panel, target),
            2 => block::<S, 2>(simd, weights, of, rows, panel, target),
            3 => block::<S, 3>(simd, weights, of, rows, panel, target),
            4 => block::<S, 4>(simd, weights, of, rows, panel, target),
            _ => block::<S, MOST_VECTORS>(simd, weights, of, rows, panel, target),
        }
    }
}
