//! Pixels by channel and line, a line being a column or a row of the image.
//!
//! A pass of a resize adds whole lines, which is quick whatever the filter. So images are decoded by columns, resized
//! across, turned to rows, and resized down.

use crate::geometry::Rectangle;

/// Bytes `[channel, line, position]`, the lines padded to a whole number of vectors.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines {
    channels: usize,
    count: usize,
    length: usize,
    data: Vec<u8>,
}

/// A line's length in memory is a multiple of this.
pub(crate) const VECTOR: usize = 32;

impl Lines {
    /// Takes a new shape: `count` lines of `length` pixels. The bytes are arbitrary.
    pub(crate) fn reshape(&mut self, channels: usize, count: usize, length: usize) {
        (self.channels, self.count, self.length) = (channels, count, length);
        self.data.resize(channels * count * self.stride(), 0);
    }

    /// The columns of `area`, from interleaved rows `[height, width, channels]` of an image so wide.
    pub(crate) fn fill_columns(&mut self, rows: &[u8], width: usize, channels: usize, area: Rectangle) {
        self.reshape(channels, area.width as usize, area.height as usize);
        let (stride, count) = (self.stride(), self.count);
        let rows = rows.chunks_exact(width * channels).skip(area.top as usize).take(self.length);
        for (y, row) in rows.enumerate() {
            let row = &row[area.left as usize * channels..][..count * channels];
            for (x, pixel) in row.chunks_exact(channels).enumerate() {
                for (channel, &value) in pixel.iter().enumerate() {
                    self.data[(channel * count + x) * stride + y] = value;
                }
            }
        }
    }

    /// Turns columns to rows, or rows to columns.
    #[inline(always)]
    pub(crate) fn transpose_into(&self, turned: &mut Lines) {
        turned.reshape(self.channels, self.length, self.count);
        let (stride, turned_stride) = (self.stride(), turned.stride());
        for channel in 0..self.channels {
            let source = &self.data[channel * self.count * stride..][..self.count * stride];
            let target = &mut turned.data[channel * self.length * turned_stride..];
            for line in (0..self.count).step_by(8) {
                for at in (0..self.length).step_by(8) {
                    let mut eight = [0; 8];
                    for (k, word) in eight.iter_mut().enumerate() {
                        let start = (line + k).min(self.count - 1) * stride + at;
                        if let Some(bytes) = source[start..].first_chunk() {
                            *word = u64::from_le_bytes(*bytes);
                        }
                    }
                    transpose_8x8(&mut eight);
                    for (k, word) in eight.iter().enumerate().take(self.length - at) {
                        let start = (at + k) * turned_stride + line;
                        target[start..start + 8].copy_from_slice(&word.to_le_bytes());
                    }
                }
            }
        }
    }

    pub(crate) fn channels(&self) -> usize {
        self.channels
    }

    /// Lines of a channel.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Pixels of a line.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Bytes from one line to the next.
    pub(crate) fn stride(&self) -> usize {
        self.length.next_multiple_of(VECTOR)
    }

    /// The lines `[channel, line, stride]`.
    pub(crate) fn data(&self) -> &[u8] {
        &self.data
    }

    /// The lines, to be changed.
    pub(crate) fn data_mut(&mut self) -> &mut [u8] {
        &mut self.data
    }

    /// The lines of one channel, padded.
    pub(crate) fn channel(&self, channel: usize) -> &[u8] {
        let size = self.count * self.stride();
        &self.data[channel * size..][..size]
    }
}

/// Transposes eight by eight bytes, by swapping ever smaller squares.
#[inline(always)]
fn transpose_8x8(x: &mut [u64; 8]) {
    for at in 0..4 {
        swap(x, at, 4, 0x0000_0000_ffff_ffff);
    }
    for at in [0, 1, 4, 5] {
        swap(x, at, 2, 0x0000_ffff_0000_ffff);
    }
    for at in [0, 2, 4, 6] {
        swap(x, at, 1, 0x00ff_00ff_00ff_00ff);
    }
}

#[inline(always)]
fn swap(x: &mut [u64; 8], at: usize, step: usize, mask: u64) {
    let (low, high, shift) = (x[at], x[at + step], 8 * step);
    x[at] = (low & mask) | ((high & mask) << shift);
    x[at + step] = ((low >> shift) & mask) | (high & !mask);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_become_columns_and_rows_again(
            width in 1usize..70, height in 1usize..70, channels in 1usize..5, cut: (u8, u8)
        ) {
            let rows: Vec<u8> = (0..width * height * channels).map(|at| (at * 7 + at / 251) as u8).collect();
            let (left, top) = (usize::from(cut.0) % width, usize::from(cut.1) % height);
            let area = Rectangle {
                left: left as u32, top: top as u32, width: (width - left) as u32, height: (height - top) as u32
            };
            let (mut columns, mut turned) = (Lines::default(), Lines::default());
            columns.fill_columns(&rows, width, channels, area);
            columns.transpose_into(&mut turned);
            prop_assert_eq!((turned.channels(), turned.count(), turned.length()), (channels, height - top, width - left));
            for channel in 0..channels {
                for (y, line) in turned.channel(channel).chunks(turned.stride()).enumerate() {
                    for (x, &value) in line[..width - left].iter().enumerate() {
                        prop_assert_eq!(value, rows[((y + top) * width + x + left) * channels + channel]);
                    }
                }
            }
        }
    }
}
