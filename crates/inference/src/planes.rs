//! Where the channels of one image lie, and windows over them.

use super::arena::{PAIR, SLACK, round_up};

/// The channels of one image, `[C, H, W]`: each channel a run of rows, and zeros between channels.
///
/// A channel is followed by more than a row of zeros, and so is the space before the first. They are there from the start
/// and never written: a 3×3 window that hangs over the upper or lower edge reads them, and vectors that are read may reach
/// past the last pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planes {
    /// Channels.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Pixels of a row.
    pub width: usize,
    padded: bool,
}

impl Planes {
    /// Channels with zeros between them.
    pub const fn padded(channels: usize, height: usize, width: usize) -> Self {
        Self { channels, height, width, padded: true }
    }

    /// Channels without a gap, as images come.
    pub const fn tight(channels: usize, height: usize, width: usize) -> Self {
        Self { channels, height, width, padded: false }
    }

    /// Whether there are zeros between the channels.
    pub const fn is_padded(&self) -> bool {
        self.padded
    }

    /// Pixels of a channel.
    pub const fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Numbers before the first channel.
    pub const fn front(&self) -> usize {
        if self.padded { round_up(self.width + 1) } else { 0 }
    }

    /// Numbers from one channel to the next.
    pub const fn pitch(&self) -> usize {
        if !self.padded {
            return self.pixels();
        }
        let pitch = round_up(self.pixels()) + self.front();
        // Channels at multiples of a kilobyte would meet in few places of a cache.
        if pitch.is_multiple_of(2 * 128) { pitch + PAIR } else { pitch }
    }

    /// Numbers of the whole image, with those behind the last channel that vectors may reach.
    pub const fn len(&self) -> usize {
        let behind = if self.padded { SLACK } else { 0 };
        self.front() + self.channels * self.pitch() + behind
    }

    /// Whether there is nothing in it.
    pub const fn is_empty(&self) -> bool {
        self.channels == 0 || self.pixels() == 0
    }
}

/// Planes in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where.
    pub slot: Slot,
    /// How.
    pub planes: Planes,
}

/// Which memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The image that is classified; its planes are tight.
    Image,
    /// The arena, from this number on: a multiple of 16.
    Arena(usize),
}

/// Windows over the rows and columns of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Height and width.
    pub kernel: [usize; 2],
    /// Steps down and to the right.
    pub stride: [usize; 2],
    /// Distance between neighbours in a window.
    pub dilation: [usize; 2],
    /// Lines around the image: top, left, bottom, right.
    pub padding: [usize; 4],
}

impl Window {
    /// Windows of `kernel × kernel`, `padding` lines on every side.
    pub const fn square(kernel: usize, stride: usize, padding: usize) -> Self {
        Self { kernel: [kernel; 2], stride: [stride; 2], dilation: [1; 2], padding: [padding; 4] }
    }

    /// Height and width of the result for an image of this height and width; `None` if no window fits.
    pub fn output(&self, size: [usize; 2]) -> Option<[usize; 2]> {
        let side = |axis: usize| {
            let reach = self.dilation[axis].checked_mul(self.kernel[axis].checked_sub(1)?)?.checked_add(1)?;
            let padded = size[axis].checked_add(self.padding[axis])?.checked_add(self.padding[axis + 2])?;
            padded.checked_sub(reach)?.checked_div(self.stride[axis])?.checked_add(1)
        };
        Some([side(0)?, side(1)?])
    }

    /// Positions in a window.
    pub const fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Whether windows are 3×3, two pixels apart, and reach at most one pixel out of the image.
    pub(super) fn is_halving(&self) -> bool {
        *self == Self { padding: self.padding, ..Self::square(3, 2, 0) }
            && self.padding.iter().all(|&lines| lines <= 1)
    }

    /// Whether every output pixel reads the 3×3 pixels around its own position.
    pub(super) fn is_neighbourhood(&self) -> bool {
        *self == Self::square(3, 1, 1)
    }
}
