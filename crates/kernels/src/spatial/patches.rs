//! What lies under a tap of the kernel, pixel by pixel, read as it is packed.

use super::super::activation::{ChannelNorm, ChannelNormGradient, Input, OutputGradient};
use super::super::lanes::{Vector, load, store};
use super::super::product::{Columns, prefetch_slice, width};
use super::Dims;
use pulp::Simd;
use sparse_vectors::Real;
use sparse_vectors::vector::{Stored, lanes};
use std::ops::Range;

/// A lattice of pixels seen through one tap: the pixel `(row, column)` of the lattice reads the pixel
/// `(row·step + shift)` of an image, along both axes, and zero outside of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tap {
    pub(super) step: [usize; 2],
    pub(super) shift: [isize; 2],
}

/// The image or gradient that is read.
#[derive(Clone, Copy)]
pub(super) enum Source<'a, E: Stored> {
    Input(Input<'a, E>),
    Gradient(OutputGradient<'a, E>),
}

/// A matrix with a row for each channel and tap and a column for each pixel of a lattice and image.
pub(super) struct Patches<'a, E: Stored> {
    source: Source<'a, E>,
    channels: usize,
    taps: Vec<Tap>,
    /// Height and width of what is read.
    size: [usize; 2],
    /// Width of the lattice.
    width: usize,
    batch: usize,
}

impl<'a, E: Stored> Patches<'a, E> {
    /// What each output pixel sees of the input, channel after channel.
    pub(super) fn of_input(x: Input<'a, E>, dims: Dims) -> Self {
        let before = dims.before();
        let window = dims.window;
        let shift = |axis: usize, tap: usize| (tap * window.dilation[axis]) as isize - before[axis] as isize;
        let taps = (0..dims.taps()).map(|index| {
            let (row, column) = (index / window.kernel[1], index % window.kernel[1]);
            Tap { step: window.stride, shift: [shift(0, row), shift(1, column)] }
        });
        Self {
            source: Source::Input(x),
            channels: dims.inputs,
            taps: taps.collect(),
            size: [dims.height, dims.width],
            width: dims.out_width(),
            batch: dims.batch,
        }
    }

    /// What each input pixel of a lattice of this width sees of the gradient to the output, through these taps.
    pub(super) fn of_gradient(dy: OutputGradient<'a, E>, taps: Vec<Tap>, width: usize, dims: Dims) -> Self {
        let size = [dims.out_height(), dims.out_width()];
        let source = Source::Gradient(dy);
        if taps.is_empty() {
            // One row of zeros.
            let nowhere = vec![Tap { step: [1; 2], shift: [isize::MIN / 2; 2] }];
            return Self { source, channels: 1, taps: nowhere, size, width, batch: dims.batch };
        }
        Self { source, channels: dims.outputs, taps, size, width, batch: dims.batch }
    }
}

/// Columns of one pixel that lie side by side in a panel.
struct Piece {
    /// Row and column of the pixel in the lattice.
    at: [usize; 2],
    /// The first image.
    image: usize,
    /// Where they go, for the first row of the panels.
    target: Range<usize>,
}

/// What a piece reads where a tap lies outside of the image.
const OUTSIDE: usize = usize::MAX;

impl<E: Stored> Patches<'_, E> {
    /// The pieces of `columns` in panels `[panel, row, width]` of so many rows.
    fn pieces(&self, columns: Range<usize>, (rows, width): (usize, usize)) -> Vec<Piece> {
        let mut pieces = Vec::with_capacity(columns.len() / self.batch.min(width) + 2);
        let (pixel, mut image) = (columns.start / self.batch, columns.start % self.batch);
        let mut at = [pixel / self.width, pixel % self.width];
        let mut done = 0;
        while done < columns.len() {
            let column = done % width;
            let len = (self.batch - image).min(width - column).min(columns.len() - done);
            let start = done / width * rows * width + column;
            pieces.push(Piece { at, image, target: start..start + len });
            (done, image) = (done + len, image + len);
            if image == self.batch {
                image = 0;
                at = if at[1] + 1 == self.width { [at[0] + 1, 0] } else { [at[0], at[1] + 1] };
            }
        }
        pieces
    }

    /// Where in a channel each piece starts to read through a tap.
    fn origins<'a>(&self, tap: Tap, pieces: &'a [Piece]) -> impl Iterator<Item = usize> + 'a {
        let (size, batch) = (self.size, self.batch);
        pieces.iter().map(move |piece| {
            let [row, column] =
                [0, 1].map(|axis| (piece.at[axis] * tap.step[axis]) as isize + tap.shift[axis]);
            // A place before the first is none, as is one behind the last.
            let [row, column] = [row as usize, column as usize];
            let inside = row < size[0] && column < size[1];
            if inside { (row * size[1] + column) * batch + piece.image } else { OUTSIDE }
        })
    }

    /// What the taps see for these pieces.
    fn seen(&self, pieces: &[Piece]) -> Seen {
        let places = self.taps.iter().flat_map(|&tap| {
            self.origins(tap, pieces).zip(pieces).map(|(from, piece)| (from, piece.target.len()))
        });
        let places: Vec<(usize, usize)> = places.collect();
        let mut sources: Vec<(usize, usize)> =
            places.iter().copied().filter(|&(from, _)| from != OUTSIDE).collect();
        sources.sort_unstable();
        sources.dedup();
        let seen = places.iter().map(|place| sources.binary_search(place).map_or(0, |at| at + 1)).collect();
        Seen { sources: sources.into_iter().map(|(from, len)| from..from + len).collect(), seen }
    }

    /// One channel of what is read.
    #[inline(always)]
    fn channel(&self, channel: usize) -> Read<'_, E> {
        let plane = self.size[0] * self.size[1] * self.batch;
        let plane = channel * plane..(channel + 1) * plane;
        match self.source {
            Source::Input(x) => match x.norm(channel) {
                None => Read::Plain(&x.values()[plane]),
                Some(norm) => Read::Normalised(&x.values()[plane], norm),
            },
            Source::Gradient(OutputGradient::Plain(dy)) => Read::Plain(&dy[plane]),
            Source::Gradient(OutputGradient::ThroughNorm(g, y, norm)) => {
                Read::ThroughNorm(&g[plane.clone()], &y[plane], norm.channel(channel))
            }
        }
    }
}

impl<E: Stored> Columns<E::Real> for Patches<'_, E> {
    fn rows(&self) -> usize {
        self.channels * self.taps.len()
    }

    #[inline(always)]
    fn read<S: Simd>(&self, simd: S, row: usize, columns: Range<usize>, target: &mut [E::Real]) {
        let (channel, tap) = (row / self.taps.len(), self.taps[row % self.taps.len()]);
        let channel = self.channel(channel);
        let pieces = self.pieces(columns, (1, target.len()));
        for (piece, from) in pieces.iter().zip(self.origins(tap, &pieces)) {
            channel.write(simd, from, &mut target[piece.target.clone()]);
        }
    }

    /// Where pieces lie is found once for all channels, and what several taps see of a channel is normalised once.
    #[inline(always)]
    fn pack_rows<S: Simd>(&self, simd: S, rows: Range<usize>, columns: Range<usize>, panels: &mut [E::Real]) {
        let (width, taps) = (width::<E::Real, S>(), self.taps.len());
        let pieces = self.pieces(columns.clone(), (rows.len(), width));
        let Seen { sources, seen } = self.seen(&pieces);
        let mut scratch = vec![E::Real::from_f64(0.0); (sources.len() + 1) * width];
        let (panel, filled) = (columns.len() / width, columns.len() % width);
        for (at, row) in rows.clone().enumerate() {
            let (channel, tap) = (row / taps, row % taps);
            if at == 0 || tap == 0 {
                let next = (channel + 1 < self.channels).then(|| self.channel(channel + 1));
                let channel = self.channel(channel);
                for (source, to) in sources.iter().zip(scratch.chunks_exact_mut(width).skip(1)) {
                    next.iter().for_each(|next| next.expect(source.clone()));
                    channel.write(simd, source.start, &mut to[..source.len()]);
                }
            }
            for (piece, &slot) in pieces.iter().zip(&seen[tap * pieces.len()..]) {
                let target = piece.target.start + at * width..piece.target.end + at * width;
                let from = &scratch[slot * width..][..target.len()];
                each(
                    simd,
                    [from],
                    &mut panels[target],
                    #[inline(always)]
                    |[x]| x,
                );
            }
            if filled > 0 {
                let end = (panel * rows.len() + at) * width;
                panels[end + filled..end + width].fill(E::Real::from_f64(0.0));
            }
        }
    }
}

/// What all taps see of a channel for some pieces.
struct Seen {
    /// Where in a channel, each place once.
    sources: Vec<Range<usize>>,
    /// For each tap and piece which source it is, counted from 1; 0 lies outside.
    seen: Vec<usize>,
}

/// A channel of what is read, and how.
#[derive(Clone, Copy)]
enum Read<'a, E: Stored> {
    Plain(&'a [E]),
    Normalised(&'a [E], ChannelNorm<E::Real>),
    ThroughNorm(&'a [E], &'a [E], ChannelNormGradient<E::Real>),
}

impl<E: Stored> Read<'_, E> {
    /// Asks for the cache lines of what lies there.
    #[inline(always)]
    fn expect(&self, at: Range<usize>) {
        match *self {
            Self::Plain(x) | Self::Normalised(x, _) => prefetch_slice(&x[at]),
            Self::ThroughNorm(g, y, _) => {
                prefetch_slice(&g[at.clone()]);
                prefetch_slice(&y[at]);
            }
        }
    }

    /// Writes what lies from `from` on.
    #[inline(always)]
    fn write<S: Simd>(&self, simd: S, from: usize, to: &mut [E::Real]) {
        if from == OUTSIDE {
            return to.fill(E::Real::from_f64(0.0));
        }
        let end = from + to.len();
        match *self {
            Self::Plain(x) => {
                each(
                    simd,
                    [&x[from..end]],
                    to,
                    #[inline(always)]
                    |[x]| x,
                );
            }
            Self::Normalised(y, norm) => {
                each(
                    simd,
                    [&y[from..end]],
                    to,
                    #[inline(always)]
                    |[y]| norm.apply_vector(simd, y),
                );
            }
            Self::ThroughNorm(g, y, norm) => {
                each(
                    simd,
                    [&g[from..end], &y[from..end]],
                    to,
                    #[inline(always)]
                    |[g, y]| norm.apply_vector(simd, g, y),
                );
            }
        }
    }
}

/// `to[i] = value(from[0][i], …)`.
#[inline(always)]
fn each<E: Stored, S: Simd, const K: usize>(
    simd: S,
    from: [&[E]; K],
    to: &mut [E::Real],
    value: impl Fn([Vector<E::Real, S>; K]) -> Vector<E::Real, S>,
) {
    let lanes = lanes::<E::Real, S>();
    let whole = to.len() / lanes * lanes;
    for at in (0..whole).step_by(lanes) {
        let vectors = from.map(
            #[inline(always)]
            |from| E::load_vector(simd, &from[at..]),
        );
        E::Real::store_vector(simd, &mut to[at..], value(vectors));
    }
    if whole < to.len() {
        let vectors = from.map(
            #[inline(always)]
            |from| load(simd, &from[whole..]),
        );
        store(simd, &mut to[whole..], value(vectors));
    }
}
