//! Panels of quads: as those of numbers, with the byte that stands for 0 where a window hangs over the edge.

#![allow(unsafe_code)]

use super::convolution::Source;
use super::depthwise;
use super::set::Set;
use crate::memory::Reading;
use crate::tiles::Tile;
use crate::windows;
use std::ops::Range;

/// Writes the `rows` of a panel for a tile; `zero` is the byte of 0 in what is read.
///
/// # Safety
/// `from` must describe planes of quads in memory that fit the source, and `panel` must have room for `rows` times the tile.
#[inline(always)]
pub(super) unsafe fn fill<I: Set>(
    set: I,
    source: &Source,
    zero: u8,
    from: Reading,
    tile: Tile,
    rows: Range<usize>,
    panel: *mut u32,
) {
    // SAFETY: as the caller promises. Quads are moved as numbers of 32 bits.
    unsafe {
        match source {
            Source::Pixels => pixels(set, from, tile, rows, panel),
            Source::Windows(window) => {
                let outside = f32::from_bits(u32::from_ne_bytes([zero; 4]));
                let (width, panel) = (tile.vectors * I::LANES, panel.cast());
                windows::fill(set.simd(), window, from, (tile.start, width), rows, panel, outside);
            }
            Source::Depthwise(depthwise) => depthwise::fill(set, depthwise, from, tile, rows, panel),
        }
    }
}

/// Copies the pixels of the quads of channels `rows`.
///
/// # Safety
/// As its caller promises to its own.
#[inline(always)]
unsafe fn pixels<I: Set>(set: I, from: Reading, tile: Tile, rows: Range<usize>, mut panel: *mut u32) {
    for row in rows {
        // SAFETY: planes are followed by at least a vector of zeros; the panel has room.
        unsafe {
            let mut channel = from.start.cast::<u32>().add(row * from.planes.pitch() + tile.start);
            for _ in 0..tile.vectors {
                set.store(panel, set.load(channel), I::LANES);
                (channel, panel) = (channel.add(I::LANES), panel.add(I::LANES));
            }
        }
    }
}
