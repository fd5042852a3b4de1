//! Convolutions: a source fills a panel for a tile of pixels, and a product makes output channels of it.
//!
//! Each tile is one piece of work: fill a block of the panel, multiply, go on to the next block. Images too small to be
//! shared so are done in two turns: threads fill the panels of all tiles together, then share the rows of the product.

#![allow(unsafe_code)]

use super::super::vector;
use super::channelwise::Finish;
use super::crew::Crew;
use super::fill::{Source, fill};
use super::memory::{Memory, Reading};
use super::multiply::{Target, block, load, store_part};
use super::planes::Place;
use super::tiles::{MOST_VECTORS, Registers, Tile, tiles};
use super::weights::{DENSE_BLOCK, ROWS, Weights};
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// Vectors of pixels for each thread from which on threads share the pixels.
const VECTORS_PER_THREAD: usize = 2;
/// Vectors of pixels for each thread from which on it does not matter that one thread has one more.
const EVEN_FROM: usize = 16;
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
    /// What results are then done to; nothing without weights.
    pub finish: Finish,
    /// Where they go.
    pub to: Place,
}

/// A convolution cut into tiles for this processor.
#[derive(Clone, Debug)]
pub(super) struct Tiled {
    pub(super) convolution: Convolution,
    /// For a thread alone.
    alone: Vec<Share>,
    /// For all threads together.
    together: Vec<Share>,
    /// Whether they fill panels together and share the rows of the product.
    shares_rows: bool,
}

/// A tile, or some rows of the product of it.
#[derive(Clone, Debug)]
struct Share {
    tile: Tile,
    /// `None` = all.
    rows: Option<Range<usize>>,
}

impl Share {
    fn whole(tile: Tile) -> Self {
        Self { tile, rows: None }
    }
}

impl Tiled {
    pub(super) fn new(convolution: Convolution, threads: usize) -> Self {
        let Registers { lanes, dense_vectors } = Registers::here();
        let (dense, groups, outputs) = match &convolution.weights {
            Some(weights) => (!weights.is_sparse(), weights.groups(), weights.outputs()),
            None => (false, 0, 0),
        };
        let most = if dense { dense_vectors } else { MOST_VECTORS };
        let pixels = convolution.to.planes.pixels();
        let vectors = pixels.div_ceil(lanes);
        let few = vectors < VECTORS_PER_THREAD * threads;
        let whole = |threads| tiles(pixels, lanes, most, threads).into_iter().map(Share::whole).collect();
        let uneven =
            dense && groups == 1 && vectors < EVEN_FROM * threads && !vectors.is_multiple_of(threads);
        let together = match (few, uneven) {
            (true, _) => whole(1),
            (false, true) => even_shares(vectors, lanes, most, (threads, outputs)),
            (false, false) => whole(threads),
        };
        Self { convolution, alone: whole(1), together, shares_rows: few && groups == 1 && threads > 1 }
    }

    /// The shares for so many threads.
    fn shares(&self, threads: usize) -> &[Share] {
        if threads == 1 { &self.alone } else { &self.together }
    }

    /// Numbers that shared panels take.
    pub(super) fn shared_panels(&self) -> usize {
        if !self.shares_rows {
            return 0;
        }
        let vectors: usize = self.together.iter().map(|share| share.tile.vectors).sum();
        let inner = self.convolution.weights.as_ref().map_or(0, Weights::inner);
        inner * vectors * Registers::here().lanes
    }

    /// Does the thread's part.
    ///
    /// # Safety
    /// `memory` must hold all places, `panel` [`PANEL`] numbers of this thread alone, and every thread of the crew must
    /// come here.
    pub(super) unsafe fn run(&self, crew: &Crew<'_>, memory: Memory, panel: *mut f32) {
        let shares = self.shares(crew.threads());
        let part = |share: usize, what| Part {
            convolution: &self.convolution,
            memory,
            panel,
            tile: shares[share].tile,
            what,
        };
        let Some(weights) = &self.convolution.weights else {
            let chunks = self.convolution.to.planes.channels.div_ceil(CHANNELS);
            crew.share(shares.len() * chunks, |item| {
                vector::dispatch(part(item / chunks, What::Source { chunk: item % chunks }));
            });
            return;
        };
        if !self.shares_rows || crew.threads() == 1 {
            crew.share(shares.len(), |share| {
                vector::dispatch(part(share, What::Tile { rows: shares[share].rows.clone() }));
            });
            return;
        }
        let blocks = weights.blocks.len();
        crew.share(shares.len() * blocks, |item| {
            vector::dispatch(part(item / blocks, What::Fill { block: item % blocks }));
        });
        let rows = weights.outputs();
        let chunk = rows.div_ceil(2 * crew.threads()).next_multiple_of(ROWS).max(LEAST_ROWS);
        let chunks = rows.div_ceil(chunk);
        crew.share(shares.len() * chunks, |item| {
            let first = item % chunks * chunk;
            vector::dispatch(part(item / chunks, What::Rows { rows: first..rows.min(first + chunk) }));
        });
    }
}

/// Tiles of equal work for each thread; of the vectors that are left over each thread computes some rows.
fn even_shares(vectors: usize, lanes: usize, most: usize, (threads, rows): (usize, usize)) -> Vec<Share> {
    let even = vectors / threads * threads;
    let whole = tiles(even * lanes, lanes, most, threads);
    let rest = Tile { start: even * lanes, vectors: vectors - even };
    let chunk = rows.div_ceil(threads).next_multiple_of(ROWS);
    let mut shares = Vec::new();
    for (thread, own) in whole.chunks(whole.len() / threads).enumerate() {
        shares.extend(own.iter().copied().map(Share::whole));
        for tile in split(rest, lanes, most) {
            let first = rows.min(thread * chunk);
            shares.push(Share { tile, rows: Some(first..rows.min(first + chunk)) });
        }
    }
    shares
}

/// A tile in pieces of at most `most` vectors.
fn split(tile: Tile, lanes: usize, most: usize) -> impl Iterator<Item = Tile> {
    (0..tile.vectors)
        .step_by(most)
        .map(move |first| Tile { start: tile.start + first * lanes, vectors: most.min(tile.vectors - first) })
}

/// Numbers of a panel that a thread has for itself: a block by the widest tile.
pub(super) const PANEL: usize = DENSE_BLOCK * MOST_VECTORS * super::arena::LINE;

/// A piece of work.
struct Part<'a> {
    convolution: &'a Convolution,
    tile: Tile,
    memory: Memory,
    panel: *mut f32,
    what: What,
}

enum What {
    /// All of a tile, or these rows.
    Tile { rows: Option<Range<usize>> },
    /// A block of the shared panel of a tile.
    Fill { block: usize },
    /// Some rows of a tile, from the shared panels.
    Rows { rows: Range<usize> },
    /// Some channels of a tile of what has no product.
    Source { chunk: usize },
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
                    let target = self.target();
                    for block in &weights.blocks {
                        self.fill(simd, tile, block.inner.clone(), self.panel);
                        let rows = rows.clone().unwrap_or(block.rows.clone());
                        product(simd, tile.vectors, weights, block, rows, self.panel, &target);
                    }
                    self.finish(&target, rows.clone().unwrap_or(0..weights.outputs()), tile.vectors * lanes);
                }
                (What::Fill { block }, Some(weights)) => {
                    let inner = weights.blocks[*block].inner.clone();
                    self.fill(simd, tile, inner.clone(), self.shared(weights, tile, inner.start, lanes));
                }
                (What::Rows { rows }, Some(weights)) => {
                    let target = self.target();
                    for block in &weights.blocks {
                        let panel = self.shared(weights, tile, block.inner.start, lanes);
                        product(simd, tile.vectors, weights, block, rows.clone(), panel, &target);
                    }
                    self.finish(&target, rows.clone(), tile.vectors * lanes);
                }
                (What::Source { chunk }, _) => {
                    let first = chunk * CHANNELS;
                    let channels = first..convolution.to.planes.channels.min(first + CHANNELS);
                    self.fill(simd, tile, channels.clone(), self.panel);
                    self.copy(simd, channels);
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
            fill(simd, &convolution.source, from, tile, rows, panel);
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
///
/// # Safety
/// As its caller promises to its own.
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
