//! How threads share a convolution.
//!
//! Each tile of pixels is one piece of work. Images too small to be shared so are done in two turns: threads fill the panels of
//! all tiles together, then share the rows of the product.

use super::crew::Crew;
use super::tiles::{Tile, tiles};
use super::weights::ROWS;
use std::ops::Range;

/// Vectors of pixels for each thread from which on threads share the pixels; with fewer, weights would be read too often.
const VECTORS_PER_THREAD: usize = 3;
/// Vectors of pixels for each thread from which on it does not matter that one thread has one more.
const EVEN_FROM: usize = 16;
/// Rows of a product that a thread takes at least.
const LEAST_ROWS: usize = 32;
/// Channels of a depthwise convolution that a thread takes at a time.
const CHANNELS: usize = 16;

/// A convolution to be cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// Pixels of the result.
    pub(super) pixels: usize,
    /// Lanes of a vector.
    pub(super) lanes: usize,
    /// Most vectors of a tile.
    pub(super) most: usize,
    pub(super) threads: usize,
    /// Nothing if the source is all there is.
    pub(super) product: Option<Product>,
}

/// The product of a convolution.
#[derive(Clone, Copy, Debug)]
pub(super) struct Product {
    pub(super) outputs: usize,
    /// Whether zeros are multiplied.
    pub(super) is_dense: bool,
    /// Rows that are computed together: a thread takes a multiple of them.
    pub(super) rows: usize,
    /// Whether every row reads the whole panel.
    pub(super) is_whole: bool,
    /// Vectors of pixels of which threads share the rows, at least: of few, products are slow, but every thread fills all of them.
    pub(super) least_shared: usize,
}

/// [`Product::least_shared`] where panels are filled fast.
pub(super) const LEAST_SHARED: usize = 5;

/// The pieces of a convolution.
#[derive(Clone, Debug)]
pub(super) struct Shares {
    /// For a thread alone.
    alone: Vec<Share>,
    /// For all threads together.
    together: Vec<Share>,
    /// Whether they fill panels together and share the rows of the product.
    shares_rows: bool,
    /// [`Product::rows`], if there is one.
    rows: Option<usize>,
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

/// What is to be done with a tile.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// All of it, or these rows.
    Tile { rows: Option<Range<usize>> },
    /// A block of its shared panel.
    Fill { block: usize },
    /// Some rows, from the shared panels.
    Rows { rows: Range<usize> },
    /// These channels of what has no product.
    Source { channels: Range<usize> },
}

impl Shares {
    /// Cuts a convolution.
    pub(super) fn new(cut: Cut) -> Self {
        let Cut { pixels, lanes, most, threads, product } = cut;
        let vectors = pixels.div_ceil(lanes);
        let is_whole = product.is_some_and(|product| product.is_whole);
        let few = vectors < VECTORS_PER_THREAD * threads;
        let whole = |threads| tiles(pixels, lanes, most, threads).into_iter().map(Share::whole).collect();
        let dense = product.filter(|product| product.is_dense && product.is_whole);
        let uneven = vectors < EVEN_FROM * threads && !vectors.is_multiple_of(threads);
        let together = match dense {
            _ if few => whole(1),
            Some(product) if uneven => {
                even_shares(vectors, product.least_shared, (lanes, most), (threads, product.outputs))
            }
            _ => whole(threads),
        };
        let (shares_rows, rows) = (few && is_whole && threads > 1, product.map(|product| product.rows));
        Self { alone: whole(1), together, shares_rows, rows }
    }

    /// Vectors of the panels that all threads share.
    pub(super) fn shared_vectors(&self) -> usize {
        if !self.shares_rows {
            return 0;
        }
        self.together.iter().map(|share| share.tile.vectors).sum()
    }

    /// The most vectors of a tile.
    pub(super) fn widest(&self) -> usize {
        let vectors = self.alone.iter().chain(&self.together).map(|share| share.tile.vectors);
        vectors.max().unwrap_or(0)
    }

    /// Does the thread's part of a convolution of `channels` outputs, whose panels are filled in `blocks`.
    pub(super) fn run(
        &self,
        crew: &Crew<'_>,
        blocks: usize,
        channels: usize,
        mut work: impl FnMut(Tile, What),
    ) {
        let shares = if crew.threads() == 1 { &self.alone } else { &self.together };
        let Some(rows) = self.rows else {
            let chunks = channels.div_ceil(CHANNELS);
            crew.share(shares.len() * chunks, |item| {
                let first = item % chunks * CHANNELS;
                let channels = first..channels.min(first + CHANNELS);
                let tile = shares[item / chunks].tile;
                if tile.vectors > 0 {
                    work(tile, What::Source { channels });
                }
            });
            return;
        };
        if !self.shares_rows || crew.threads() == 1 {
            crew.share(shares.len(), |share| {
                let Share { tile, rows } = &shares[share];
                if tile.vectors > 0 {
                    work(*tile, What::Tile { rows: rows.clone() });
                }
            });
            return;
        }
        crew.share(shares.len() * blocks, |item| {
            work(shares[item / blocks].tile, What::Fill { block: item % blocks });
        });
        let chunk = channels.div_ceil(2 * crew.threads()).next_multiple_of(rows).max(LEAST_ROWS);
        let chunks = channels.div_ceil(chunk);
        crew.share(shares.len() * chunks, |item| {
            let first = item % chunks * chunk;
            let rows = first..channels.min(first + chunk);
            work(shares[item / chunks].tile, What::Rows { rows });
        });
    }
}

/// Tiles of equal work for each thread; of the vectors that are left over each thread computes some rows.
fn even_shares(
    vectors: usize,
    least: usize,
    (lanes, most): (usize, usize),
    (threads, rows): (usize, usize),
) -> Vec<Share> {
    let even = vectors - left_over(vectors, threads, least);
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

/// How many vectors are left over for all: `least` if there are so many and what is left for each thread is worth a tile of its own, else as few as
/// can be.
fn left_over(vectors: usize, threads: usize, least: usize) -> usize {
    let own = |shared: usize| (vectors - shared) / threads;
    let even = |shared: &usize| (vectors - shared).is_multiple_of(threads);
    let fits = |&shared: &usize| own(shared) > 0 && shared <= own(shared) + 1;
    (least..vectors).find(even).filter(fits).unwrap_or(vectors % threads)
}

/// A tile in pieces of at most `most` vectors.
fn split(tile: Tile, lanes: usize, most: usize) -> impl Iterator<Item = Tile> {
    (0..tile.vectors)
        .step_by(most)
        .map(move |first| Tile { start: tile.start + first * lanes, vectors: most.min(tile.vectors - first) })
}
