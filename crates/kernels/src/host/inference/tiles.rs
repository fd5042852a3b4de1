//! How an image is cut: tiles of whole vectors, and the pieces of rows in them.

use super::super::vector;
use pulp::{Simd, WithSimd};

/// Most vectors of a tile.
pub(super) const MOST_VECTORS: usize = 5;

/// Neighbouring pixels of all channels, over the ends of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    /// First pixel.
    pub(super) start: usize,
    /// Vectors.
    pub(super) vectors: usize,
}

/// What the registers of this processor hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Registers {
    /// Numbers in one.
    pub(super) lanes: usize,
    /// Most vectors of a tile that four rows of sums leave room for.
    pub(super) dense_vectors: usize,
}

impl Registers {
    pub(super) fn here() -> Self {
        struct Lanes;
        impl WithSimd for Lanes {
            type Output = usize;
            #[inline(always)]
            fn with_simd<S: Simd>(self, _: S) -> usize {
                vector::lanes::<f32, S>()
            }
        }
        let lanes = vector::dispatch(Lanes);
        // AVX-512 and NEON have 32 registers, AVX2 has 16: four rows of three sums, three columns and a factor.
        let dense_vectors = if lanes == 8 { 3 } else { MOST_VECTORS };
        Self { lanes, dense_vectors }
    }
}

/// Cuts `pixels` into tiles of nearly the same number of vectors, `most` at most; a multiple of `threads` tiles.
pub(super) fn tiles(pixels: usize, lanes: usize, most: usize, threads: usize) -> Vec<Tile> {
    let vectors = pixels.div_ceil(lanes);
    let count = vectors.div_ceil(most).next_multiple_of(threads);
    let edge = |index: usize| vectors * index / count;
    (0..count)
        .map(|index| Tile { start: edge(index) * lanes, vectors: edge(index + 1) - edge(index) })
        .collect()
}

/// A piece of an output row in a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Row of the output.
    pub(super) row: usize,
    /// First pixel of the row.
    pub(super) column: usize,
    /// Pixels.
    pub(super) len: usize,
    /// Where it begins in the tile.
    pub(super) at: usize,
}

/// The pieces of rows that make up the pixels from `start` to `end`.
#[inline(always)]
pub(super) fn pieces(start: usize, end: usize, width: usize) -> impl Iterator<Item = Piece> {
    let mut pixel = start;
    std::iter::from_fn(move || {
        if pixel >= end {
            return None;
        }
        let (row, column) = (pixel / width, pixel % width);
        let len = (width - column).min(end - pixel);
        let piece = Piece { row, column, len, at: pixel - start };
        pixel += len;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_every_pixel_once_and_are_alike() {
        for pixels in [1, 7, 16, 49, 196, 784, 12_544] {
            for (lanes, most) in [(16, 5), (8, 3), (4, 5), (1, 5)] {
                let tiles = tiles(pixels, lanes, most, 1);
                let mut next = 0;
                for tile in &tiles {
                    assert_eq!(tile.start, next);
                    assert!(tile.vectors <= most && tile.vectors > 0);
                    next += tile.vectors * lanes;
                }
                assert_eq!(next, pixels.next_multiple_of(lanes));
                let [least, greatest] = [Iterator::min, Iterator::max].map(
                    |of: fn(std::vec::IntoIter<usize>) -> Option<usize>| {
                        of(tiles.iter().map(|tile| tile.vectors).collect::<Vec<_>>().into_iter()).unwrap()
                    },
                );
                assert!(greatest - least <= 1);
            }
        }
    }

    #[test]
    fn pieces_end_at_the_ends_of_rows() {
        let found: Vec<_> = pieces(5, 13, 4).collect();
        let piece = |row, column, len, at| Piece { row, column, len, at };
        assert_eq!(found, [piece(1, 1, 3, 0), piece(2, 0, 4, 3), piece(3, 0, 1, 7)]);
    }
}
