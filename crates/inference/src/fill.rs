//! Panels: the inputs of a tile as a product reads them, a row of vectors for each inner index.
//!
//! A panel is made right before it is used and stays in the first cache: copied from the planes, gathered from the
//! windows of a convolution, or computed by the depthwise convolution that comes before, whose result then never goes
//! to memory.

#![allow(unsafe_code)]

use super::depthwise::{self, Depthwise};
use super::function::Function;
use super::memory::Reading;
use super::multiply::{load, store};
use super::planes::Window;
use super::precision::Work;
use super::tiles::Tile;
use super::windows;
use pulp::Simd;
use sparse_vectors::arithmetic::Arithmetic;
use sparse_vectors::vector;
use std::ops::Range;

/// What a product multiplies its weights with.
#[derive(Clone, Debug)]
pub enum Source {
    /// The input channels, pixel by pixel.
    Pixels,
    /// For each input channel the positions of a window.
    Windows(Window),
    /// The result of a depthwise convolution.
    Depthwise(Depthwise),
}

impl Source {
    /// Whether a panel is filled in a small part of the time of the product.
    pub(super) fn is_fast(&self) -> bool {
        match self {
            Self::Pixels => true,
            Self::Windows(_) => false,
            Self::Depthwise(depthwise) => depthwise.window().is_neighbourhood(),
        }
    }

    /// What is done to the numbers of a panel after it is filled.
    pub(super) fn function(&self) -> Option<Function> {
        match self {
            Self::Depthwise(depthwise) => depthwise.function(),
            Self::Pixels | Self::Windows(_) => None,
        }
    }
}

/// Writes the `rows` of a panel for a tile: `from` must describe planes in memory that fit the source, and `panel` must have room for `rows`
/// times the tile.
pub(super) struct Fill<'a> {
    pub(super) source: &'a Source,
    pub(super) from: Reading,
    pub(super) tile: Tile,
    pub(super) rows: Range<usize>,
    pub(super) panel: *mut f32,
}

impl Work for Fill<'_> {
    #[inline(always)]
    fn run<A: Arithmetic<f32>, S: Simd>(self, simd: S) {
        let Self { source, from, tile, rows, panel } = self;
        // SAFETY: who makes one promises it.
        unsafe {
            match source {
                Source::Pixels => pixels::<S>(from, tile, rows, panel),
                Source::Windows(window) => {
                    let width = tile.vectors * vector::lanes::<f32, S>();
                    windows::fill(simd, window, from, (tile.start, width), rows, panel, 0.0);
                }
                Source::Depthwise(depthwise) => depthwise::fill(simd, depthwise, from, tile, rows, panel),
            }
        }
    }
}

/// Copies the pixels of channels `rows`.
///
/// # Safety
/// As its caller promises to its own.
#[inline(always)]
unsafe fn pixels<S: Simd>(from: Reading, tile: Tile, rows: Range<usize>, mut panel: *mut f32) {
    let lanes = vector::lanes::<f32, S>();
    for row in rows {
        // SAFETY: a channel is followed by at least a vector of zeros; the panel has room.
        unsafe {
            let mut channel = from.start.add(row * from.planes.pitch() + tile.start);
            for _ in 0..tile.vectors {
                store::<S>(panel, load::<S>(channel));
                (channel, panel) = (channel.add(lanes), panel.add(lanes));
            }
        }
    }
}
