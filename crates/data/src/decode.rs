//! From an image file to resized 8-bit pixels.

use crate::geometry::Rectangle;
use crate::normalise::Table;
use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::{DynamicImage, ImageFormat, RgbImage};

/// Largest resized image, in bytes.
const RESIZED_LIMIT: u64 = 1 << 29;

/// Decodes a JPEG or PNG file, told apart by content, to 8-bit RGB: grey is repeated, transparency dropped.
///
/// For grey and RGB images this equals converting after the resize, as the filter treats channels alike.
pub(crate) fn decode(bytes: &[u8]) -> std::result::Result<RgbImage, String> {
    Ok(decode_bytes(bytes)?.into_rgb8())
}

/// Decodes within the decoder's own limit of 512 MiB for the pixels.
///
/// The call for bytes in memory is used because it is compiled once in the decoder's crate; its generic reader
/// would be compiled again in this one.
fn decode_bytes(bytes: &[u8]) -> std::result::Result<DynamicImage, String> {
    let format = image::guess_format(bytes).map_err(|error| error.to_string())?;
    if format == ImageFormat::Jpeg && !jpeg_has_end(bytes) {
        return Err("the file is cut short (no end-of-image marker)".to_owned());
    }
    image::load_from_memory(bytes).map_err(|error| error.to_string())
}

/// Whether an end-of-image marker follows the first start of scan.
///
/// The decoder fills what a cut file lacks with grey, so the cut has to be found here. Segments before the scan
/// are skipped by their length, since a thumbnail in one has an end marker too. A file without a scan passes:
/// the decoder refuses it.
fn jpeg_has_end(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(2..).unwrap_or_default();
    loop {
        rest = match rest {
            [0xff, 0xff, ..] => &rest[1..],
            [0xff, 0xda, scan @ ..] => return scan.windows(2).any(|pair| pair == [0xff, 0xd9]),
            [0xff, _, high, low, ..] => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                rest.get(2 + length..).unwrap_or_default()
            }
            _ => return true,
        };
    }
}

/// Resizes with the Lanczos filter of three lobes, widened when shrinking as Pillow's is.
pub(crate) fn resize(image: &RgbImage, width: u32, height: u32) -> std::result::Result<RgbImage, String> {
    if u64::from(width) * u64::from(height) * 3 > RESIZED_LIMIT {
        return Err(format!("its sides of {}x{} pixels differ too much", image.width(), image.height()));
    }
    // The typed views compile the filter for this one pixel type; the untyped ones compile thirteen.
    let source = TypedImageRef::<U8x3>::from_buffer(image.width(), image.height(), image.as_raw());
    let source = source.map_err(|error| error.to_string())?;
    let mut resized = RgbImage::new(width, height);
    let mut target =
        TypedImage::<U8x3>::from_buffer(width, height, &mut resized).map_err(|error| error.to_string())?;
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3));
    Resizer::new().resize_typed(&source, &mut target, &options).map_err(|error| error.to_string())?;
    Ok(resized)
}

/// Cuts a rectangle out first, so that the filter sees nothing outside it, then resizes to a square.
pub(crate) fn crop_and_resize(
    image: &RgbImage,
    crop: Rectangle,
    size: u32,
) -> std::result::Result<RgbImage, String> {
    let Rectangle { left, top, width, height } = crop;
    resize(&image::imageops::crop_imm(image, left, top, width, height).to_image(), size, size)
}

/// Writes the square window at (`left`, `top`) that fills `target: [3, size, size]`, each channel through its
/// table, mirrored left to right if asked.
pub(crate) fn write_window(
    image: &RgbImage,
    (left, top): (u32, u32),
    flip: bool,
    tables: &[Table],
    target: &mut [f32],
) {
    let (size, width) = ((target.len() / 3).isqrt(), image.width() as usize);
    for (channel, (plane, table)) in target.chunks_exact_mut(size * size).zip(tables).enumerate() {
        for (y, row) in plane.chunks_exact_mut(size).enumerate() {
            let start = ((top as usize + y) * width + left as usize) * 3;
            for (value, pixel) in row.iter_mut().zip(image.as_raw()[start..].chunks_exact(3)) {
                *value = table[usize::from(pixel[channel])];
            }
            if flip {
                row.reverse();
            }
        }
    }
}
