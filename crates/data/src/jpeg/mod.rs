//! A decoder for JPEG files: sequential and progressive, Huffman and arithmetic codes, 8 bits, grey, colour or four inks.
//!
//! A training crop shows less than half of an image, and is known from the header before anything is decoded. So of the
//! files that data sets consist of, sequential ones in one scan of Huffman codes, it reads the codes up to the last row
//! of the crop without keeping what lies outside, and transforms and converts the crop alone (`scan.rs`). Whatever is
//! otherwise, in its form or because it is damaged, goes the long way over all coefficients (`coefficients.rs`), which
//! tells what is wrong. The pixels are those of libjpeg-turbo with its default settings, bit for bit, either way.

mod arithmetic;
mod coefficients;
mod colour;
mod header;
mod huffman;
mod idct;
mod markers;
mod progressive;
mod scan;
mod segments;
mod smooth;
mod standard;

pub(crate) use header::Header;

use crate::geometry::Rectangle;
use crate::lines::Lines;
use crate::{ImageFault, Mode};
use coefficients::Coefficients;
use header::Colour;
use scan::Plane;
use segments::Coded;
use std::ops::Range;

/// Bytes of samples that are kept for the next image.
const KEPT: usize = 1 << 24;

/// Buffers that are used again.
#[derive(Default)]
pub(crate) struct Scratch {
    coded: Coded,
    planes: [Plane; 4],
}

/// The units of a scan that an area needs.
struct Window {
    columns: Range<usize>,
    rows: Range<usize>,
    /// Units in a row of the whole image.
    units_across: usize,
}

impl Window {
    /// The units with the area and, where colours are upsampled, the samples around it.
    fn new(header: &Header, area: Rectangle) -> Self {
        let units = |start: u32, length: u32, sampling: usize, side: usize| {
            let (start, end) = (start as usize, (start + length) as usize);
            let margin = if sampling == 1 { 0 } else { sampling };
            let (start, end) = (start.saturating_sub(margin), (end + margin).min(side));
            start / (8 * sampling)..end.div_ceil(8 * sampling)
        };
        Self {
            columns: units(area.left, area.width, header.across, header.width),
            rows: units(area.top, area.height, header.down, header.height),
            units_across: header.units().0,
        }
    }
}

/// Decodes `area`, which lies in the image, into `output`: one channel, three, or the four of inks.
///
/// # Errors
///
/// When the file is damaged.
pub(crate) fn decode(
    header: &Header,
    area: Rectangle,
    scratch: &mut Scratch,
    output: &mut Lines,
) -> Result<Mode, ImageFault> {
    output.reshape(header.components.len(), area.width as usize, area.height as usize);
    let window = Window::new(header, area);
    let Scratch { coded, planes } = scratch;
    let mut work = Work { header, coded, coefficients: None, window: &window, planes, area, output };
    if !quick(header, work.coded) || !pulp::Arch::new().dispatch(&mut work) {
        work.coefficients = Some(coefficients::read(header, work.coded)?);
        pulp::Arch::new().dispatch(&mut work);
    }
    for plane in planes {
        if plane.samples.capacity() > KEPT {
            *plane = Plane::default();
        }
    }
    Ok(match header.colour {
        Colour::Grey => Mode::Grey,
        Colour::Rgb | Colour::YCbCr => Mode::Rgb,
        Colour::Cmyk | Colour::Ycck => Mode::Cmyk,
    })
}

/// Whether the coded data, which it cuts, have the usual form.
fn quick(header: &Header, coded: &mut Coded) -> bool {
    let (across, down) = header.units();
    header.plain()
        && coded.read(header.reader.rest).is_some_and(|end| end.starts_with(&[0xff, 0xd9]))
        && coded.regular(across * down, header.reader.tables.restart)
}

/// What is compiled for each instruction set.
struct Work<'a> {
    header: &'a Header<'a>,
    coded: &'a mut Coded,
    /// All of them, if they have been read.
    coefficients: Option<Vec<Coefficients>>,
    window: &'a Window,
    planes: &'a mut [Plane],
    area: Rectangle,
    output: &'a mut Lines,
}

impl pulp::WithSimd for &mut Work<'_> {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> bool {
        let Work { header, coded, coefficients, window, planes, area, output } = self;
        if let Some(coefficients) = coefficients.take() {
            coefficients::transform(header, &coefficients, window, planes);
        } else if scan::decode(header, coded, window, planes).is_none() {
            return false;
        }
        let stride = output.stride();
        colour::convert(header, window, planes, *area, stride, output.data_mut());
        true
    }
}
