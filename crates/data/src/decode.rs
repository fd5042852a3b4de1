//! From the bytes of a file to pixels, within bounds.

use crate::cache::Slot;
use crate::geometry::Rectangle;
use crate::jpeg;
use crate::lines::Lines;
use crate::worker::panic_message;
use crate::{ImageFault, Mode, Picture, png_file};
use std::panic::{AssertUnwindSafe, catch_unwind};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

/// Most pixels of an image, 2^26 (8192 × 8192). The decoders take at most 16 bytes a pixel, so 1 GiB at a time.
pub const PIXEL_LIMIT: usize = 1 << 26;
/// Most pixels that a byte of a JPEG file can stand for: each block of 64 takes a bit at the very least.
const PIXELS_PER_JPEG_BYTE: usize = 512;

/// An image whose size is known; a JPEG of the usual kind is decoded where it is needed only.
pub(crate) enum Source<'data> {
    Jpeg { header: Box<jpeg::Header<'data>>, bytes: &'data [u8] },
    Picture(Picture),
    Cached(Slot<'data>),
}

impl<'data> Source<'data> {
    /// Tells the format by content and reads the header, or where that does not suffice everything.
    pub(crate) fn open(bytes: &'data [u8]) -> Result<Self, ImageFault> {
        match bytes {
            [] => Err(ImageFault::Empty),
            [0xff, 0xd8, ..] => match jpeg::Header::read(bytes) {
                Some(header) => {
                    check_jpeg(header.width, header.height, bytes.len())?;
                    Ok(Self::Jpeg { header: Box::new(header), bytes })
                }
                None => any_jpeg(bytes).map(Self::Picture),
            },
            [0x89, b'P', b'N', b'G', ..] => guarded(|| png_file::decode(bytes)).map(Self::Picture),
            _ => Err(ImageFault::Format),
        }
    }

    /// Width and height.
    pub(crate) fn size(&self) -> (usize, usize) {
        match self {
            Self::Jpeg { header, .. } => (header.width, header.height),
            Self::Picture(picture) => (picture.width, picture.height),
            Self::Cached(slot) => slot.size(),
        }
    }

    /// Decodes an area; afterwards the source may hold everything.
    pub(crate) fn columns(
        &mut self,
        area: Rectangle,
        scratch: &mut jpeg::Scratch,
        columns: &mut Lines,
    ) -> Result<Mode, ImageFault> {
        if let Self::Jpeg { header, bytes } = self {
            if jpeg::decode(header, area, scratch, columns).is_some() {
                return Ok(if columns.channels() == 1 { Mode::Grey } else { Mode::Rgb });
            }
            *self = Self::Picture(any_jpeg(bytes)?);
        }
        match self {
            Self::Picture(picture) => {
                picture.columns(area, columns);
                Ok(picture.mode)
            }
            Self::Cached(slot) => slot.columns(area, columns).map(|()| Mode::Rgb),
            Self::Jpeg { .. } => Err(ImageFault::Format),
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
        if matches!(self, Self::Picture(_)) {
            return Ok(());
        }
        columns.transpose_into(&mut rows);
        let pixels = interleaved(&rows);
        *self = Self::Picture(Picture { mode, width, height, pixels, palette: Vec::new() });
        Ok(())
    }

    /// The colours of a palette.
    pub(crate) fn palette(&self) -> &[[u8; 3]] {
        match self {
            Self::Jpeg { .. } | Self::Cached(_) => &[],
            Self::Picture(picture) => &picture.palette,
        }
    }
}

/// Rows of one channel or three as pixels `[height, width, channels]`.
fn interleaved(rows: &Lines) -> Vec<u8> {
    let (count, width, stride) = (rows.count(), rows.length(), rows.stride());
    let row = |channel: usize, y: usize| &rows.channel(channel)[y * stride..][..width];
    let mut pixels = vec![0; count * width * rows.channels()];
    for (y, line) in pixels.chunks_exact_mut(width * rows.channels()).enumerate() {
        if rows.channels() == 1 {
            line.copy_from_slice(row(0, y));
        } else {
            let (red, green, blue) = (row(0, y), row(1, y), row(2, y));
            for (x, pixel) in line.as_chunks_mut().0.iter_mut().enumerate() {
                *pixel = [red[x], green[x], blue[x]];
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
            Source::Jpeg { .. } | Source::Cached(_) => Err(ImageFault::Format),
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

fn check_jpeg(width: usize, height: usize, bytes: usize) -> Result<(), ImageFault> {
    check_size(width, height, bytes, PIXEL_LIMIT.min(PIXELS_PER_JPEG_BYTE.saturating_mul(bytes)))
}

/// Any JPEG file that `zune-jpeg` reads, whole.
fn any_jpeg(bytes: &[u8]) -> Result<Picture, ImageFault> {
    if !jpeg::has_end(bytes) {
        return Err(ImageFault::Cut);
    }
    guarded(|| {
        let fault = |error: zune_jpeg::errors::DecodeErrors| ImageFault::Decoder(error.to_string());
        let limit = usize::from(u16::MAX);
        let options = DecoderOptions::default().set_max_width(limit).set_max_height(limit);
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
        decoder.decode_headers().map_err(fault)?;
        let (width, height) = decoder.dimensions().ok_or(ImageFault::Format)?;
        check_jpeg(width, height, bytes.len())?;
        let input = decoder.input_colorspace().ok_or(ImageFault::Format)?;
        let (output, mode) = match input {
            ColorSpace::Luma => (ColorSpace::Luma, Mode::Grey),
            ColorSpace::CMYK | ColorSpace::YCCK => (input, Mode::Cmyk),
            _ => (ColorSpace::RGB, Mode::Rgb),
        };
        decoder.set_options(options.jpeg_set_out_colorspace(output));
        let mut pixels = decoder.decode().map_err(fault)?;
        if pixels.len() != width * height * mode.channels() {
            return Err(ImageFault::Decoder("it has fewer pixels than its header claims".to_owned()));
        }
        if mode == Mode::Cmyk {
            inks(&mut pixels, input == ColorSpace::YCCK);
        }
        Ok(Picture { mode, width, height, pixels, palette: Vec::new() })
    })
}

/// What is stored of four inks, as Adobe's programs do it: inverted, and perhaps with the equations of YCbCr.
fn inks(pixels: &mut [u8], equations: bool) {
    for pixel in pixels.as_chunks_mut::<4>().0 {
        if equations {
            let [y, cb, cr, _] = pixel.map(i32::from);
            let (cb, cr) = (cb - 128, cr - 128);
            let colours = [
                y + ((91_881 * cr + 32_768) >> 16),
                y + ((32_768 - 22_554 * cb - 46_802 * cr) >> 16),
                y + ((116_130 * cb + 32_768) >> 16),
            ];
            let [cyan, magenta, yellow] = colours.map(|value| value.clamp(0, 255) as u8);
            *pixel = [cyan, magenta, yellow, 255 - pixel[3]];
        } else {
            *pixel = pixel.map(|value| 255 - value);
        }
    }
}

/// Runs a decoder; its panic becomes a fault.
pub(crate) fn guarded<T>(decode: impl FnOnce() -> Result<T, ImageFault>) -> Result<T, ImageFault> {
    catch_unwind(AssertUnwindSafe(decode))
        .unwrap_or_else(|payload| Err(ImageFault::Panicked(panic_message(&*payload))))
}
