//! Resizing, equal to Pillow's to the last bit (`Resample.c`: fixed-point weights of 22 bits, across before down, 8
//! bits between).

use crate::lines::{Lines, VECTOR};
use std::f64::consts::PI;
use std::ops::Range;

/// The filter of a resize.
///
/// Each is widened with the scale when an image shrinks, and none sees pixels outside of what is resized.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interpolation {
    /// A sinc windowed to three lobes, as PaddleSlim's reader uses.
    #[default]
    Lanczos,
    /// Keys' cubic with a = -0.5, as timm uses.
    Bicubic,
    /// A triangle, as torchvision uses.
    Bilinear,
}

impl Interpolation {
    /// Half of the filter's width in pixels.
    fn support(self) -> f64 {
        match self {
            Self::Lanczos => 3.0,
            Self::Bicubic => 2.0,
            Self::Bilinear => 1.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        let distance = x.abs();
        let sinc = |x: f64| if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) };
        match self {
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Bicubic if distance < 1.0 => (1.5 * distance - 2.5) * distance * distance + 1.0,
            Self::Bicubic if distance < 2.0 => (((distance - 5.0) * distance + 8.0) * distance - 4.0) * -0.5,
            Self::Bilinear if distance < 1.0 => 1.0 - distance,
            _ => 0.0,
        }
    }
}

/// Bits of fraction of a weight.
const FRACTION: u32 = 22;

/// What each line of the result takes from which lines of the source.
#[derive(Default)]
pub(crate) struct Taps {
    /// By line: first source line, first weight, number of weights.
    lines: Vec<(usize, usize, usize)>,
    weights: Vec<i32>,
    /// The weights before they were rounded.
    reals: Vec<f64>,
    /// The source lines that are needed.
    needed: Range<usize>,
}

impl Taps {
    /// For the lines `wanted` out of `target`, made of `source` lines.
    pub(crate) fn set(&mut self, filter: Interpolation, source: usize, target: usize, wanted: Range<usize>) {
        self.lines.clear();
        self.weights.clear();
        self.reals.clear();
        self.needed = source..0;
        let scale = source as f64 / target as f64;
        let widening = scale.max(1.0);
        let support = filter.support() * widening;
        let mut reals = Vec::with_capacity(2 * support.ceil() as usize + 1);
        for line in wanted {
            let centre = (line as f64 + 0.5) * scale;
            let first = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5) as usize).min(source);
            reals.clear();
            reals.extend((first..end).map(|at| filter.weight((at as f64 - centre + 0.5) * (1.0 / widening))));
            let sum: f64 = reals.iter().sum();
            self.lines.push((first, self.weights.len(), end - first));
            reals.iter_mut().for_each(|real| *real = if sum == 0.0 { *real } else { *real / sum });
            self.weights.extend(reals.iter().map(|&real| fixed(real)));
            self.reals.extend_from_slice(&reals);
            self.needed = self.needed.start.min(first)..self.needed.end.max(end);
        }
    }

    /// The source lines that are needed.
    pub(crate) fn needed(&self) -> Range<usize> {
        self.needed.clone()
    }
}

fn fixed(weight: f64) -> i32 {
    (weight * f64::from(1 << FRACTION)).round() as i32
}

/// Buffers of a resize.
#[derive(Default)]
pub(crate) struct Scratch {
    across: Lines,
    rows: Lines,
}

/// Resizes `columns`, which holds what is needed of the source, to rows.
pub(crate) fn resize(columns: &Lines, across: &Taps, down: &Taps, scratch: &mut Scratch, rows: &mut Lines) {
    pulp::Arch::new().dispatch(Work { columns, across, down, scratch, rows });
}

/// What is compiled for each instruction set.
struct Work<'a> {
    columns: &'a Lines,
    across: &'a Taps,
    down: &'a Taps,
    scratch: &'a mut Scratch,
    rows: &'a mut Lines,
}

impl pulp::WithSimd for Work<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let Scratch { across, rows } = self.scratch;
        pass(self.columns, self.across, across);
        across.transpose_into(rows);
        pass(rows, self.down, self.rows);
    }
}

/// Adds up lines.
#[inline(always)]
fn pass(source: &Lines, taps: &Taps, target: &mut Lines) {
    target.reshape(source.channels(), taps.lines.len(), source.length());
    let stride = source.stride();
    let lines = target.data_mut().chunks_exact_mut(stride);
    let wanted =
        (0..source.channels()).flat_map(|channel| taps.lines.iter().map(move |line| (channel, line)));
    for (line, (channel, &(first, weight, count))) in lines.zip(wanted) {
        let weights = &taps.weights[weight..weight + count];
        let start = (first - taps.needed.start) * stride;
        let sources = &source.channel(channel)[start..start + count * stride];
        for (at, part) in line.as_chunks_mut::<VECTOR>().0.iter_mut().enumerate() {
            let mut sums = [1 << (FRACTION - 1); VECTOR];
            for (&weight, source) in weights.iter().zip(sources.chunks_exact(stride)) {
                if let Some(pixels) = source[at * VECTOR..].first_chunk::<VECTOR>() {
                    for (sum, &pixel) in sums.iter_mut().zip(pixels) {
                        *sum += weight * i32::from(pixel);
                    }
                }
            }
            for (value, sum) in part.iter_mut().zip(sums) {
                *value = (sum >> FRACTION).clamp(0, 255) as u8;
            }
        }
    }
}

/// Resizes `columns` of 16-bit grey, the lower bytes in the first channel, to rows, in real numbers as Pillow does
/// (`ImagingResampleHorizontal_16bpc`).
pub(crate) fn resize_words(columns: &Lines, across: &Taps, down: &Taps, rows: &mut Lines) {
    let (height, stride) = (columns.length(), columns.stride());
    let (low, high) = columns.data().split_at(columns.count() * stride);
    let word =
        |column: usize, y: usize| u16::from_le_bytes([low[column * stride + y], high[column * stride + y]]);
    // Columns of the result, as high as the source.
    let mut wide = Vec::with_capacity(across.lines.len() * height);
    for &line in &across.lines {
        wide.extend((0..height).map(|y| across.word(line, |column| word(column, y))));
    }
    rows.reshape(2, down.lines.len(), across.lines.len());
    let stride = rows.stride();
    let (low, high) = rows.data_mut().split_at_mut(down.lines.len() * stride);
    for (y, &line) in down.lines.iter().enumerate() {
        for x in 0..across.lines.len() {
            let value = down.word(line, |row| wide[x * height + row]);
            [low[y * stride + x], high[y * stride + x]] = value.to_le_bytes();
        }
    }
}

impl Taps {
    /// A word of a line of the result.
    fn word(&self, (first, weight, count): (usize, usize, usize), source: impl Fn(usize) -> u16) -> u16 {
        let weights = &self.reals[weight..weight + count];
        let start = first - self.needed.start;
        let terms = weights.iter().zip(start..).map(|(&weight, at)| f64::from(source(at)) * weight);
        let sum = terms.fold(0.0, |sum, term| sum + term);
        // Below 0 a number becomes 0, and past the end the greatest.
        (sum + 0.5) as u16
    }
}

/// By line of the result: the source line that is nearest, as Pillow's nearest filter finds it (`Geometry.c`).
pub(crate) fn nearest(source: usize, target: usize, wanted: Range<usize>) -> Vec<usize> {
    let step = source as f64 / target as f64;
    let mut at = step * 0.5;
    let mut places = Vec::with_capacity(wanted.len());
    for line in 0..wanted.end {
        if wanted.contains(&line) {
            places.push((at as usize).min(source - 1));
        }
        at += step;
    }
    places
}

/// Takes single pixels: of `columns` those at `x` and `y`, as rows.
pub(crate) fn pick(columns: &Lines, x: &[usize], y: &[usize], rows: &mut Lines) {
    rows.reshape(columns.channels(), y.len(), x.len());
    let (stride, row_stride) = (columns.stride(), rows.stride());
    for channel in 0..columns.channels() {
        let source = columns.channel(channel);
        let target = &mut rows.data_mut()[channel * y.len() * row_stride..];
        for (row, &y) in target.chunks_exact_mut(row_stride).zip(y) {
            for (value, &x) in row.iter_mut().zip(x) {
                *value = source[x * stride + y];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Rectangle;

    fn resized(filter: Interpolation, pixels: &[u8], width: usize, to: (usize, usize)) -> Vec<u8> {
        let height = pixels.len() / width;
        let (mut across, mut down) = (Taps::default(), Taps::default());
        across.set(filter, width, to.0, 0..to.0);
        down.set(filter, height, to.1, 0..to.1);
        let area = Rectangle { left: 0, top: 0, width: width as u32, height: height as u32 };
        let (mut columns, mut rows) = (Lines::default(), Lines::default());
        columns.fill_columns(pixels, width, 1, area);
        resize(&columns, &across, &down, &mut Scratch::default(), &mut rows);
        rows.channel(0).chunks(rows.stride()).flat_map(|row| row[..to.0].to_vec()).collect()
    }

    /// Pillow 13: `Image.frombytes("L", (5, 3), bytes([0, 200, 50, 255, 7, 90, 3, 180, 77, 255, 31, 64, 128, 250, 9]))
    /// .resize((3, 2), filter)` and `.resize((7, 4), filter)`.
    #[test]
    fn values_are_pillows() {
        let pixels = [0, 200, 50, 255, 7, 90, 3, 180, 77, 255, 31, 64, 128, 250, 9];
        let shrunk = |filter| resized(filter, &pixels, 5, (3, 2));
        assert_eq!(shrunk(Interpolation::Lanczos), PILLOW_SHRUNK[0]);
        assert_eq!(shrunk(Interpolation::Bicubic), PILLOW_SHRUNK[1]);
        assert_eq!(shrunk(Interpolation::Bilinear), PILLOW_SHRUNK[2]);
        let grown = |filter| resized(filter, &pixels, 5, (7, 4));
        assert_eq!(grown(Interpolation::Lanczos), PILLOW_GROWN[0]);
        assert_eq!(grown(Interpolation::Bicubic), PILLOW_GROWN[1]);
        assert_eq!(grown(Interpolation::Bilinear), PILLOW_GROWN[2]);
        assert_eq!(resized(Interpolation::Lanczos, &pixels, 5, (5, 3)), pixels);
    }

    const PILLOW_SHRUNK: [[u8; 6]; 3] =
        [[69, 133, 141, 36, 136, 148], [71, 129, 140, 42, 136, 142], [74, 125, 138, 48, 132, 137]];
    const PILLOW_GROWN: [[u8; 28]; 3] = [
        [
            0, 136, 183, 40, 239, 167, 0, 69, 63, 94, 133, 124, 153, 185, 86, 17, 39, 177, 140, 144, 185, 23,
            49, 79, 121, 255, 150, 0,
        ],
        [
            0, 127, 179, 43, 226, 160, 0, 64, 63, 88, 135, 130, 153, 178, 77, 29, 46, 170, 140, 149, 178, 26,
            46, 80, 125, 248, 152, 0,
        ],
        [
            0, 114, 157, 50, 196, 149, 7, 56, 68, 93, 131, 140, 152, 162, 68, 44, 65, 161, 147, 151, 163, 31,
            50, 82, 128, 215, 147, 9,
        ],
    ];

    #[test]
    fn a_part_of_the_result_needs_a_part_of_the_source() {
        let (mut whole, mut part) = (Taps::default(), Taps::default());
        whole.set(Interpolation::Lanczos, 500, 300, 0..300);
        part.set(Interpolation::Lanczos, 500, 300, 100..110);
        assert_eq!(whole.needed(), 0..500);
        assert_eq!(part.needed(), 163..188);
        assert_eq!(part.lines[3].0, whole.lines[103].0);
    }

    #[test]
    fn nearest_takes_the_middle() {
        assert_eq!(nearest(6, 3, 0..3), [1, 3, 5]);
        assert_eq!(nearest(2, 5, 1..5), [0, 1, 1, 1]);
    }
}
