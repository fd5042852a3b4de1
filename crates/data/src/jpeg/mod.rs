//! A decoder for the JPEG files that data sets consist of: sequential, Huffman coded, 8 bits, grey or colour.
//!
//! A training crop shows less than half of an image, and is known from the header before anything is decoded. So this
//! decoder reads the codes up to the last row of the crop without keeping what lies outside, and transforms and
//! converts the crop alone. Its pixels are those of libjpeg-turbo with its default settings, bit for bit. Whatever it
//! does not read (progressive files, CMYK, unusual sampling, damage) it leaves to another decoder.

mod colour;
mod header;
mod huffman;
mod idct;
mod scan;

pub(crate) use header::Header;

use crate::geometry::Rectangle;
use crate::lines::Lines;
use header::segment;
use scan::{Coded, Plane};
use std::ops::Range;

/// Buffers that are used again.
#[derive(Default)]
pub(crate) struct Scratch {
    coded: Coded,
    planes: [Plane; 3],
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
        let luma = &header.components[0];
        let units = |start: u32, length: u32, sampling: usize, side: usize| {
            let (start, end) = (start as usize, (start + length) as usize);
            let margin = if sampling == 1 { 0 } else { sampling };
            let (start, end) = (start.saturating_sub(margin), (end + margin).min(side));
            start / (8 * sampling)..end.div_ceil(8 * sampling)
        };
        Self {
            columns: units(area.left, area.width, luma.across, header.width),
            rows: units(area.top, area.height, luma.down, header.height),
            units_across: header.width.div_ceil(8 * luma.across),
        }
    }
}

/// Decodes `area`, which lies in the image, into `output`, one channel or three; none if the file is not as its header
/// says.
pub(crate) fn decode(
    header: &Header,
    area: Rectangle,
    scratch: &mut Scratch,
    output: &mut Lines,
) -> Option<()> {
    let channels = header.components.len();
    scratch.coded.read(header.scan)?;
    output.reshape(channels, area.width as usize, area.height as usize);
    let window = Window::new(header, area);
    let Scratch { coded, planes } = scratch;
    pulp::Arch::new().dispatch(Work { header, coded, window: &window, planes, area, output })
}

/// What is compiled for each instruction set.
struct Work<'a> {
    header: &'a Header<'a>,
    coded: &'a Coded,
    window: &'a Window,
    planes: &'a mut [Plane],
    area: Rectangle,
    output: &'a mut Lines,
}

impl pulp::WithSimd for Work<'_> {
    type Output = Option<()>;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> Option<()> {
        let Self { header, coded, window, planes, area, output } = self;
        scan::decode(header, coded, window, planes)?;
        let stride = output.stride();
        colour::convert(header, window, planes, area, stride, output.data_mut());
        Some(())
    }
}

/// Whether an end-of-image marker follows the first start of scan.
///
/// Decoders fill what a cut file lacks with grey, so the cut has to be found here. Segments before the scan are
/// skipped by their length, since a thumbnail in one has an end marker too. A file without a scan passes: decoders
/// refuse it.
pub(crate) fn has_end(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(2..).unwrap_or_default();
    while let Some((marker, _, after)) = segment(rest) {
        if marker == 0xda {
            let mut ends = memchr::memchr_iter(0xff, after);
            return ends.any(|at| after.get(at + 1) == Some(&0xd9));
        }
        rest = after;
    }
    true
}
