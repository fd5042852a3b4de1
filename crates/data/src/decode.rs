//! From the bytes of a file to pixels, within bounds.

use crate::cache::Slot;
use crate::geometry::Rectangle;
use crate::jpeg;
use crate::lines::Lines;
use crate::worker::panic_message;
use crate::{ImageFault, Mode, Picture, magic, png_file};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Most pixels of an image, 2^26 (8192 × 8192). The decoders take some 16 bytes a pixel, 1.1 GiB at a time for a progressive CMYK image.
pub const PIXEL_LIMIT: usize = 1 << 26;
/// Most pixels that a byte of a JPEG file can stand for: each block of 64 takes a bit at the very least.
const PIXELS_PER_JPEG_BYTE: usize = 512;
/// The same for arithmetic codes, which spend a fraction of a bit on a block without a difference.
const PIXELS_PER_ARITHMETIC_BYTE: usize = 1 << 16;

/// An image whose size is known; a JPEG is decoded when it is known what is needed of it.
pub(crate) enum Source<'data> {
    Jpeg(Box<jpeg::Header<'data>>),
    Picture(Picture),
    Cached(Slot<'data>),
}

impl<'data> Source<'data> {
    /// Tells the format by content and reads the header, or where that does not suffice everything.
    pub(crate) fn open(bytes: &'data [u8]) -> Result<Self, ImageFault> {
        match bytes {
            [] => Err(ImageFault::Empty),
            [0xff, 0xd8] | [0xff, 0xd8, 0xff, ..] => {
                let header = jpeg::Header::read(bytes)?;
                check_jpeg(&header, bytes.len())?;
                Ok(Self::Jpeg(Box::new(header)))
            }
            [0x89, b'P', b'N', b'G', ..] => guarded(|| png_file::decode(bytes)).map(Self::Picture),
            _ => Err(magic::format(bytes).map_or(ImageFault::Format, |format| ImageFault::Unsupported {
                what: format.to_owned(),
                remedy: "convert it to JPEG or PNG, the formats that are read",
            })),
        }
    }

    /// Width and height.
    pub(crate) fn size(&self) -> (usize, usize) {
        match self {
            Self::Jpeg(header) => (header.width, header.height),
            Self::Picture(picture) => (picture.width, picture.height),
            Self::Cached(slot) => slot.size(),
        }
    }

    /// Decodes an area.
    pub(crate) fn columns(
        &self,
        area: Rectangle,
        scratch: &mut jpeg::Scratch,
        columns: &mut Lines,
    ) -> Result<Mode, ImageFault> {
        match self {
            Self::Jpeg(header) => jpeg::decode(header, area, scratch, columns),
            Self::Picture(picture) => {
                picture.columns(area, columns);
                Ok(picture.mode)
            }
            Self::Cached(slot) => slot.columns(area, columns).map(|()| Mode::Rgb),
        }
    }

    /// Decodes everything, so that the source is a picture.
    pub(crate) fn decode(&mut self, scratch: &mut jpeg::Scratch) -> Result<(), ImageFault> {
        let (width, height) = self.size();
        let area = Rectangle { left: 0, top: 0, width: width as u32, height: height as u32 };
        let (mut columns, mut rows) = (Lines::default(), Lines::default());
        if matches!(self, Self::Picture(_)) {
            return Ok(());
        }
        let mode = self.columns(area, scratch, &mut columns)?;
        columns.transpose_into(&mut rows);
        let pixels = interleaved(&rows);
        *self = Self::Picture(Picture { mode, width, height, pixels, palette: Vec::new() });
        Ok(())
    }

    /// The colours of a palette.
    pub(crate) fn palette(&self) -> &[[u8; 3]] {
        match self {
            Self::Jpeg(_) | Self::Cached(_) => &[],
            Self::Picture(picture) => &picture.palette,
        }
    }
}

/// Rows of one channel, three or four as pixels `[height, width, channels]`.
fn interleaved(rows: &Lines) -> Vec<u8> {
    let (count, width, stride) = (rows.count(), rows.length(), rows.stride());
    let row = |channel: usize, y: usize| &rows.channel(channel)[y * stride..][..width];
    let mut pixels = vec![0; count * width * rows.channels()];
    for (y, line) in pixels.chunks_exact_mut(width * rows.channels()).enumerate() {
        match rows.channels() {
            1 => line.copy_from_slice(row(0, y)),
            3 => {
                let (red, green, blue) = (row(0, y), row(1, y), row(2, y));
                for (x, pixel) in line.as_chunks_mut().0.iter_mut().enumerate() {
                    *pixel = [red[x], green[x], blue[x]];
                }
            }
            channels => {
                for (at, value) in line.iter_mut().enumerate() {
                    *value = row(at % channels, y)[at / channels];
                }
            }
        }
    }
    pixels
}

/// Decodes a whole file; for what needs no part of it.
///
/// # Errors
///
/// When the bytes are no image that can be used.
pub fn decode_image(bytes: &[u8]) -> Result<Picture, ImageFault> {
    guarded(|| {
        let mut source = Source::open(bytes)?;
        source.decode(&mut jpeg::Scratch::default())?;
        match source {
            Source::Picture(picture) => Ok(picture),
            Source::Jpeg(_) | Source::Cached(_) => Err(ImageFault::Format),
        }
    })
}

/// Refuses a size before memory is taken for it.
pub(crate) fn check_size(width: usize, height: usize, bytes: usize, limit: usize) -> Result<(), ImageFault> {
    if width == 0 || height == 0 {
        return Err(ImageFault::Sides { width, height, reason: "an image has a pixel at least" });
    }
    if width.saturating_mul(height) > limit {
        return Err(ImageFault::TooLarge { width, height, bytes, limit });
    }
    Ok(())
}

fn check_jpeg(header: &jpeg::Header, bytes: usize) -> Result<(), ImageFault> {
    let pixels = if header.arithmetic { PIXELS_PER_ARITHMETIC_BYTE } else { PIXELS_PER_JPEG_BYTE };
    check_size(header.width, header.height, bytes, PIXEL_LIMIT.min(pixels.saturating_mul(bytes)))
}

/// Runs a decoder; its panic becomes a fault.
pub(crate) fn guarded<T>(decode: impl FnOnce() -> Result<T, ImageFault>) -> Result<T, ImageFault> {
    catch_unwind(AssertUnwindSafe(decode))
        .unwrap_or_else(|payload| Err(ImageFault::Panicked(panic_message(&*payload))))
}
