//! A decoded image in one of the modes of Pillow, and its conversion to RGB.

use crate::geometry::Rectangle;
use crate::lines::Lines;
use crate::turn::turned;

/// What the bytes of a pixel mean; the names and the conversions to RGB are Pillow's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One byte, 0 or 255 (`1`). It is resized to the nearest pixel.
    Bit,
    /// Grey (`L`).
    Grey,
    /// Grey of 16 bits (`I;16`), the lower byte first. It is resized as such; then what is brighter than 255 is white.
    Grey16,
    /// Grey and opacity (`LA`). It is resized with the opacity multiplied in, which is dropped in the end.
    GreyAlpha,
    /// A number of a colour (`P`). It is resized to the nearest pixel.
    Palette,
    /// Red, green, blue.
    Rgb,
    /// Red, green, blue and opacity, treated as [`Mode::GreyAlpha`] is.
    Rgba,
    /// Cyan, magenta, yellow, black.
    Cmyk,
}

impl Mode {
    /// Bytes of a pixel.
    pub fn channels(self) -> usize {
        match self {
            Self::Bit | Self::Grey | Self::Palette => 1,
            Self::GreyAlpha | Self::Grey16 => 2,
            Self::Rgb => 3,
            Self::Rgba | Self::Cmyk => 4,
        }
    }

    fn alpha(self) -> bool {
        matches!(self, Self::GreyAlpha | Self::Rgba)
    }

    /// Before a resize: multiplies the opacity in.
    pub(crate) fn before(self, lines: &mut Lines) {
        if self.alpha() {
            with_alpha(lines, multiplied);
        }
    }

    /// After a resize: takes the opacity out again.
    pub(crate) fn after(self, lines: &mut Lines) {
        if self.alpha() {
            with_alpha(lines, |value, alpha| match alpha {
                0 | 255 => value,
                _ => (255 * u32::from(value) / u32::from(alpha)).min(255) as u8,
            });
        }
    }

    /// Makes the lines red, green and blue; an opacity is dropped.
    pub(crate) fn rgb(self, palette: &[[u8; 3]], lines: &Lines, rgb: &mut Lines) {
        rgb.reshape(3, lines.count(), lines.length());
        let size = lines.count() * lines.stride();
        let (source, target) = (lines.data(), rgb.data_mut());
        for (channel, target) in target.chunks_exact_mut(size).enumerate() {
            match self {
                Self::Rgb | Self::Rgba => target.copy_from_slice(&source[channel * size..][..size]),
                Self::Bit | Self::Grey | Self::GreyAlpha => target.copy_from_slice(&source[..size]),
                Self::Grey16 => {
                    for (value, (&low, &high)) in target.iter_mut().zip(source.iter().zip(&source[size..])) {
                        *value = if high == 0 { low } else { 255 };
                    }
                }
                Self::Palette => {
                    for (value, &number) in target.iter_mut().zip(source) {
                        // Numbers past the palette are black, as in Pillow 13.
                        *value = palette.get(usize::from(number)).map_or(0, |colour| colour[channel]);
                    }
                }
                Self::Cmyk => {
                    let ink = source[channel * size..][..size].iter().zip(&source[3 * size..]);
                    for (value, (&ink, &black)) in target.iter_mut().zip(ink) {
                        let light = 255 - black;
                        *value = light.saturating_sub(multiplied(ink, light));
                    }
                }
            }
        }
    }
}

/// The product of two fractions of 255, rounded.
fn multiplied(a: u8, b: u8) -> u8 {
    let product = u32::from(a) * u32::from(b) + 128;
    (((product >> 8) + product) >> 8) as u8
}

/// Changes every channel but the last by the last, the opacity.
fn with_alpha(lines: &mut Lines, change: impl Fn(u8, u8) -> u8) {
    let size = lines.count() * lines.stride();
    let channels = lines.channels();
    let (colours, alpha) = lines.data_mut().split_at_mut((channels - 1) * size);
    for colour in colours.chunks_exact_mut(size) {
        for (value, &alpha) in colour.iter_mut().zip(&*alpha) {
            *value = change(*value, alpha);
        }
    }
}

/// Decoded pixels.
#[derive(Clone, Debug)]
pub struct Picture {
    /// What the bytes mean.
    pub mode: Mode,
    /// Pixels across, 1 or more.
    pub width: usize,
    /// Pixels down, 1 or more.
    pub height: usize,
    /// `[height, width, channels of the mode]`.
    pub pixels: Vec<u8>,
    /// Red, green and blue of each number, for [`Mode::Palette`].
    pub palette: Vec<[u8; 3]>,
}

impl Picture {
    /// Writes the columns of an area.
    pub(crate) fn columns(&self, area: Rectangle, columns: &mut Lines) {
        columns.fill_columns(&self.pixels, self.width, self.mode.channels(), area);
    }

    /// Turned by so many degrees against the clock around its centre, the corners black (number 0), the size kept.
    pub(crate) fn rotated(&self, degrees: i32) -> Self {
        let channels = self.mode.channels();
        let mut pixels = vec![0; self.pixels.len()];
        let sources = turned(f64::from(degrees), self.width, self.height);
        for (pixel, source) in pixels.chunks_exact_mut(channels).zip(sources) {
            if let Some((x, y)) = source {
                pixel.copy_from_slice(&self.pixels[(y * self.width + x) * channels..][..channels]);
            }
        }
        Self { pixels, palette: self.palette.clone(), ..*self }
    }
}
