//! Convolutions in integers, cut and shared as those in numbers are.

#![allow(unsafe_code)]

use super::QUAD;
use super::depthwise::Depthwise;
use super::fill::fill;
use super::product::{Target, product};
use super::requantise::Requantise;
use super::set::{Set, Work, dispatch, registers};
use super::weights::Weights;
use crate::crew::Crew;
use crate::memory::{Memory, Reading};
use crate::planes::{Place, Window};
use crate::shares::{Cut, LEAST_SHARED, Product, Shares, What};
use crate::tiles::Tile;
use std::ops::Range;

/// Bytes of a panel that a thread reads again and again when zeros are left out: about what the first cache holds.
const PANEL_BYTES: usize = 40 << 10;
/// Vectors of a tile from which on it is better to read the panel from the second cache than the weights more often.
const LEAST_VECTORS: usize = 4;

/// A convolution, alone or with the depthwise one before it; or a depthwise convolution alone.
#[derive(Clone, Debug)]
pub struct Convolution {
    /// Quads that are read.
    pub from: Place,
    /// The byte that stands for 0 in what the windows of the source read.
    pub zero: u8,
    /// How they become the right side of the product.
    pub source: Source,
    /// The left side, and what becomes of the sums; `None` if the source is all there is.
    pub product: Option<(Weights, Requantise)>,
    /// Where the quads of outputs go.
    pub to: Place,
}

/// What a product multiplies its weights with.
#[derive(Clone, Debug)]
pub enum Source {
    /// The input channels, pixel by pixel.
    Pixels,
    /// For each quad of input channels the positions of a window.
    Windows(Window),
    /// The result of a depthwise convolution.
    Depthwise(Depthwise),
}

impl Convolution {
    /// With `inner_zero`, the byte of 0 in what the product reads, taken into account: `Σ w · (q − zero) = Σ w · q − zero · Σ w`.
    #[must_use]
    pub fn shifted(mut self, inner_zero: u8) -> Self {
        if let Some((weights, requantise)) = &mut self.product {
            requantise.shift(inner_zero, weights.sums());
        }
        self
    }
}

/// A convolution cut into tiles for this processor.
#[derive(Clone, Debug)]
pub(crate) struct Tiled {
    pub(crate) convolution: Convolution,
    shares: Shares,
    lanes: usize,
}

impl Tiled {
    pub(crate) fn new(convolution: Convolution, threads: usize) -> Self {
        let (lanes, [dense, sparse]) = registers();
        let product = convolution.product.as_ref().map(|(weights, _)| Product {
            outputs: weights.outputs(),
            is_dense: !weights.is_sparse(),
            rows: QUAD,
            is_whole: true,
            least_shared: LEAST_SHARED,
        });
        let most = match &convolution.product {
            Some((weights, _)) if !weights.is_sparse() => dense,
            Some((weights, _)) => {
                (PANEL_BYTES / (weights.quads() * lanes * QUAD).max(1)).max(LEAST_VECTORS).min(sparse)
            }
            None => sparse,
        };
        let pixels = convolution.to.planes.pixels();
        Self { shares: Shares::new(Cut { pixels, lanes, most, threads, product }), convolution, lanes }
    }

    /// Rows of a panel.
    fn quads(&self) -> usize {
        self.convolution
            .product
            .as_ref()
            .map_or(self.convolution.to.planes.channels, |(weights, _)| weights.quads())
    }

    /// Quads of the panel of a thread.
    pub(crate) fn panel(&self) -> usize {
        self.quads() * self.shares.widest() * self.lanes
    }

    /// Quads that shared panels take.
    pub(crate) fn shared_panels(&self) -> usize {
        self.quads() * self.shares.shared_vectors() * self.lanes
    }

    /// Does the thread's part.
    ///
    /// # Safety
    /// `memory` must hold all places, `panel` [`Tiled::panel`] numbers of this thread alone, and every thread of the crew must come here.
    pub(crate) unsafe fn run(&self, crew: &Crew<'_>, memory: Memory, panel: *mut f32) {
        let (convolution, panel) = (&self.convolution, panel.cast());
        // Rows are shared by outputs, what has no product by quads.
        let channels = match &convolution.product {
            Some((weights, _)) => weights.outputs(),
            None => convolution.to.planes.channels,
        };
        self.shares.run(crew, self.quads().div_ceil(BLOCK), channels, |tile, what| {
            dispatch(Part { convolution, memory, panel, tile, what, quads: self.quads() });
        });
    }
}

/// Rows of a shared panel that a thread fills at a time.
const BLOCK: usize = 32;

/// A piece of work.
struct Part<'a> {
    convolution: &'a Convolution,
    tile: Tile,
    memory: Memory,
    panel: *mut u32,
    what: What,
    /// Rows of a panel.
    quads: usize,
}

impl Work for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Set>(self, set: I) {
        // SAFETY: `Tiled::run` promises the memory; pieces of work that run side by side write different tiles, rows,
        // channels or parts of the shared panels.
        unsafe {
            match (&self.what, &self.convolution.product) {
                (What::Tile { rows }, Some((weights, requantise))) => {
                    self.fill(set, 0..weights.quads(), self.panel);
                    let rows = rows.clone().unwrap_or(0..weights.outputs());
                    self.rows(set, weights, requantise, rows, self.panel);
                }
                (What::Fill { block }, Some(_)) => {
                    let rows = block * BLOCK..self.quads.min((block + 1) * BLOCK);
                    let width = self.tile.vectors * I::LANES;
                    self.fill(set, rows.clone(), self.shared().add(rows.start * width));
                }
                (What::Rows { rows }, Some((weights, requantise))) => {
                    self.rows(set, weights, requantise, rows.clone(), self.shared());
                }
                (What::Source { channels }, _) => {
                    self.fill(set, channels.clone(), self.panel);
                    self.copy(set, channels.clone());
                }
                (_, None) => {}
            }
        }
    }
}

impl Part<'_> {
    /// Where the shared panel of the tile is.
    ///
    /// # Safety
    /// As its caller promises to its own.
    #[inline(always)]
    unsafe fn shared(&self) -> *mut u32 {
        // SAFETY: `shared_panels` counts all rows for all pixels of all tiles.
        unsafe { self.memory.panels.cast::<u32>().add(self.tile.start * self.quads) }
    }

    /// # Safety
    /// As its caller promises to its own.
    #[inline(always)]
    unsafe fn fill<I: Set>(&self, set: I, rows: Range<usize>, panel: *mut u32) {
        let Convolution { from, zero, source, to, .. } = self.convolution;
        // SAFETY: the program checks that places lie within memory and fit the source.
        unsafe {
            let start = self.memory.at(from.slot).add(from.planes.front()).cast_const();
            let (width, pixels) = (to.planes.width, to.planes.pixels());
            let from = Reading { start, planes: from.planes, width, pixels };
            fill(set, source, *zero, from, self.tile, rows, panel);
        }
    }

    /// Where the results of the tile go.
    ///
    /// # Safety
    /// As its caller promises to its own.
    #[inline(always)]
    unsafe fn target(&self) -> Target {
        let Place { slot, planes } = self.convolution.to;
        // SAFETY: the program checks that places lie within memory.
        let out = unsafe { self.memory.at(slot).add(planes.front() + self.tile.start) };
        Target { out: out.cast(), pitch: planes.pitch(), pixels: planes.pixels() - self.tile.start }
    }

    /// [`product`] for a number of vectors that is known at run time.
    ///
    /// # Safety
    /// As its caller promises to its own.
    #[inline(always)]
    unsafe fn rows<I: Set>(
        &self,
        set: I,
        weights: &Weights,
        by: &Requantise,
        rows: Range<usize>,
        panel: *const u32,
    ) {
        // SAFETY: as the caller promises.
        unsafe {
            let target = &self.target();
            match self.tile.vectors {
                1 => product::<I, 1>(set, weights, by, rows, panel, target),
                2 => product::<I, 2>(set, weights, by, rows, panel, target),
                3 => product::<I, 3>(set, weights, by, rows, panel, target),
                4 => product::<I, 4>(set, weights, by, rows, panel, target),
                5 => product::<I, 5>(set, weights, by, rows, panel, target),
                _ => product::<I, 6>(set, weights, by, rows, panel, target),
            }
        }
    }

    /// Copies quads of channels from the panel to where they go.
    ///
    /// # Safety
    /// As its caller promises to its own.
    #[inline(always)]
    unsafe fn copy<I: Set>(&self, set: I, channels: Range<usize>) {
        let mut from = self.panel.cast_const();
        // SAFETY: as in `target`; the panel was filled with these channels.
        unsafe {
            let target = self.target();
            for channel in channels {
                let to = target.out.add(channel * target.pitch);
                for at in (0..self.tile.vectors * I::LANES).step_by(I::LANES) {
                    set.store(to.add(at), set.load(from), target.pixels.saturating_sub(at));
                    from = from.add(I::LANES);
                }
            }
        }
    }
}
