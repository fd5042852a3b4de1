//! PNG files, in the modes in which Pillow opens them.

use crate::decode::{PIXEL_LIMIT, check_size};
use crate::{ImageFault, Mode, Picture};
use png::{BitDepth, ColorType, Decoder, Limits, Transformations};
use std::io::Cursor;

/// Bytes that the decoder may take beside the pixels.
const WORKSPACE: usize = 1 << 26;

/// Decodes a file; of an animation the first picture.
///
/// Of 16 bits the upper 8 are kept, but for grey without opacity, which keeps all.
pub(crate) fn decode(bytes: &[u8]) -> Result<Picture, ImageFault> {
    let fault = |error: png::DecodingError| ImageFault::Decoder(error.to_string());
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: WORKSPACE });
    // The checksum of the pixels too, which the decoder passes over unless it is told.
    decoder.ignore_checksums(false);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let info = decoder.read_header_info().map_err(fault)?;
    let (width, height) = (info.width as usize, info.height as usize);
    check_size(width, height, bytes.len(), PIXEL_LIMIT)?;
    let (colour, depth) = (info.color_type, info.bit_depth);
    if colour != ColorType::Grayscale && depth == BitDepth::Sixteen {
        decoder.set_transformations(Transformations::STRIP_16);
    }
    let mut reader = decoder.read_info().map_err(fault)?;
    let size = reader.output_buffer_size().unwrap_or(usize::MAX);
    if size > 4 * width * height {
        return Err(ImageFault::Decoder("its pixels are larger than its header claims".to_owned()));
    }
    let mut pixels = vec![0; size];
    let frame = reader.next_frame(&mut pixels).map_err(fault)?;
    if (frame.width as usize, frame.height as usize) != (width, height) {
        return Err(ImageFault::Decoder("its first picture does not fill the frame".to_owned()));
    }
    let palette = reader.info().palette.as_deref().unwrap_or_default().as_chunks().0.to_vec();
    let mode = match (colour, depth) {
        (ColorType::Grayscale, BitDepth::One) => Mode::Bit,
        (ColorType::Grayscale, BitDepth::Sixteen) => Mode::Grey16,
        (ColorType::Grayscale, _) => Mode::Grey,
        (ColorType::GrayscaleAlpha, _) => Mode::GreyAlpha,
        (ColorType::Indexed, _) => Mode::Palette,
        (ColorType::Rgb, _) => Mode::Rgb,
        (ColorType::Rgba, _) => Mode::Rgba,
    };
    let pixels = match (depth, mode) {
        (_, Mode::Grey16) => {
            pixels.as_chunks_mut::<2>().0.iter_mut().for_each(|word| word.reverse());
            pixels
        }
        (BitDepth::Eight | BitDepth::Sixteen, _) => pixels,
        (_, Mode::Palette) => unpack(&pixels, width, depth as usize, 1),
        (_, _) => unpack(&pixels, width, depth as usize, 255 / ((1 << depth as usize) - 1)),
    };
    Ok(Picture { mode, width, height, pixels, palette })
}

/// Pixels of less than a byte, each row in whole bytes, times a factor.
fn unpack(packed: &[u8], width: usize, bits: usize, factor: u8) -> Vec<u8> {
    let mask = (1u8 << bits) - 1;
    let rows = packed.chunks_exact((width * bits).div_ceil(8));
    let pixel = |row: &[u8], x: usize| (row[x * bits / 8] >> (8 - bits - x * bits % 8)) & mask;
    rows.flat_map(|row| (0..width).map(move |x| pixel(row, x) * factor)).collect()
}
