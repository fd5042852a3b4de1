//! How an image is cut: tiles of whole vectors, and the pieces of rows in them.

use super::arena::PAIR;
use pulp::{Simd, WithSimd};
use sparse_vectors::vector;

/// Most vectors of a tile: 14 × 14 pixels are two tiles of AVX-512.
pub(super) const MOST_VECTORS: usize = 7;
/// Most vectors of a tile for four rows of sums.
pub(super) const MOST_DENSE_VECTORS: usize = 5;

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
        let dense_vectors = if lanes == 8 { 3 } else { MOST_DENSE_VECTORS };
        Self { lanes, dense_vectors }
    }
}

/// Cuts `pixels` into tiles of nearly the same number of vectors, `most` at most; as many for each of the `threads`, whose parts begin at pairs of
/// cache lines if that does not make one much larger. Tiles may be empty where there are several threads.
pub(super) fn tiles(pixels: usize, lanes: usize, most: usize, threads: usize) -> Vec<Tile> {
    let vectors = pixels.div_ceil(lanes);
    let pair = (PAIR / lanes).max(1);
    let even = |thread: usize| vectors * thread / threads;
    let rounded = |thread: usize| match thread {
        _ if thread == threads => vectors,
        _ => (even(thread) + pair / 2) / pair * pair,
    };
    let sizes = (0..threads).map(|thread| rounded(thread + 1).saturating_sub(rounded(thread)));
    let most_of_one = vectors.div_ceil(threads) * 9 / 8 + 1;
    let is_fair = sizes.clone().all(|size| size > 0 && size <= most_of_one);
    let edge = |thread: usize| if is_fair { rounded(thread) } else { even(thread) };
    let largest = (0..threads).map(|thread| edge(thread + 1) - edge(thread)).max().unwrap_or(0);
    let each = largest.div_ceil(most).max(1);
    let tile = |index: usize| {
        let (start, end) = (edge(index / each), edge(index / each + 1));
        let cut = |part: usize| start + (end - start) * part / each;
        let (first, last) = (cut(index % each), cut(index % each + 1));
        Tile { start: first * lanes, vectors: last - first }
    };
    (0..threads * each).map(tile).collect()
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
    fn parts_of_threads_are_fair_and_begin_at_pairs_of_lines_where_they_can() {
        let parts = |pixels: usize, lanes: usize, most: usize, threads: usize| {
            let tiles = tiles(pixels, lanes, most, threads);
            let each = tiles.len() / threads;
            assert_eq!(tiles.len(), threads * each);
            let mut next = 0;
            for tile in &tiles {
                assert_eq!(tile.start, next);
                assert!(tile.vectors <= most);
                next += tile.vectors * lanes;
            }
            assert_eq!(next, pixels.next_multiple_of(lanes));
            tiles.chunks(each).map(|own| own.iter().map(|tile| tile.vectors).sum()).collect::<Vec<usize>>()
        };
        assert_eq!(parts(196, 16, 7, 2), [6, 7]);
        assert_eq!(parts(784, 16, 7, 2), [24, 25]);
        assert_eq!(parts(49, 16, 5, 2), [2, 2]);
        assert_eq!(parts(196, 8, 3, 2), [12, 13]);
        assert_eq!(parts(36, 4, 2, 2), [4, 5]);
        for pixels in [49, 196, 200, 784, 900, 12_544_usize] {
            for (lanes, most) in [(16, 7), (16, 1), (8, 3), (4, 2), (1, 5)] {
                for threads in 1..=5 {
                    let even = pixels.div_ceil(lanes).div_ceil(threads);
                    assert!(
                        parts(pixels, lanes, most, threads).into_iter().all(|own| own <= even * 9 / 8 + 1)
                    );
                }
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
