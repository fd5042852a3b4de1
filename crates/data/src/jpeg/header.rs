//! What stands before the coded samples: size, components, the first scan.

use super::markers::{Event, Marks, Reader, damaged};
use crate::ImageFault;

/// How components become red, green and blue, or four inks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    Grey,
    Rgb,
    YCbCr,
    Cmyk,
    Ycck,
}

/// One component of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Component {
    id: u8,
    /// Blocks of one unit of the image, across and down.
    pub(super) across: usize,
    pub(super) down: usize,
    /// Pixels of the image for a sample, across and down.
    pub(super) pixels_across: usize,
    pub(super) pixels_down: usize,
    pub(super) quantisation: usize,
}

/// A component of a scan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// Which component.
    pub(super) component: usize,
    /// Numbers of its tables, for the constant coefficients and the others.
    pub(super) constant: usize,
    pub(super) other: usize,
}

/// What a scan holds.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    pub(super) parts: Vec<Part>,
    /// Coefficients from the first to the last, in zigzag.
    pub(super) first: usize,
    pub(super) last: usize,
    /// Bits of them that were not known before and after; 0 before for a first scan.
    pub(super) before: u32,
    pub(super) after: u32,
}

/// The header of a file, up to its first scan.
pub(crate) struct Header<'data> {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(super) colour: Colour,
    pub(super) components: Vec<Component>,
    /// Blocks of a unit across and down, at full resolution.
    pub(super) across: usize,
    pub(super) down: usize,
    pub(super) progressive: bool,
    pub(crate) arithmetic: bool,
    pub(super) scan: Scan,
    /// What follows the header of the first scan, and the tables so far.
    pub(super) reader: Reader<'data>,
}

impl<'data> Header<'data> {
    /// Reads the header.
    ///
    /// # Errors
    ///
    /// When it is damaged, or says that the file is of a kind that is not read.
    pub(crate) fn read(bytes: &'data [u8]) -> Result<Self, ImageFault> {
        let mut reader = Reader::new(bytes.strip_prefix(&[0xff, 0xd8]).ok_or(ImageFault::Format)?);
        let mut frame = match reader.next()? {
            Event::Frame(marker, body) => Frame::read(marker, body)?,
            Event::Scan(_) => return Err(damaged("the picture comes before its size")),
            Event::End => return Err(damaged("it holds no picture")),
        };
        let body = match reader.next()? {
            Event::Scan(body) => body,
            Event::Frame(..) => return Err(damaged("it tells its size twice")),
            Event::End => return Err(damaged("it holds no picture")),
        };
        let scan = Scan::read(body, &frame.components)?;
        let (across, down) = frame.resolve()?;
        if !frame.progressive && !frame.arithmetic {
            reader.tables.fill_in(&scan.parts);
        }
        let Frame { width, height, components, progressive, arithmetic } = frame;
        let colour = colour(&components, reader.marks);
        Ok(Self { width, height, colour, components, across, down, progressive, arithmetic, scan, reader })
    }

    /// Whether all is in one scan of a sequential Huffman file, in the order of the components.
    pub(super) fn plain(&self) -> bool {
        let parts = self.scan.parts.iter();
        !self.progressive && !self.arithmetic && parts.map(|part| part.component).eq(0..self.components.len())
    }

    /// Units of the image across and down.
    pub(super) fn units(&self) -> (usize, usize) {
        (self.width.div_ceil(8 * self.across), self.height.div_ceil(8 * self.down))
    }
}

/// What a frame header says.
struct Frame {
    width: usize,
    height: usize,
    components: Vec<Component>,
    progressive: bool,
    arithmetic: bool,
}

fn unsupported(what: impl Into<String>, remedy: &'static str) -> ImageFault {
    ImageFault::Unsupported { what: what.into(), remedy }
}

const DECODE: &str = "decode it with the program that made it, and save it as a PNG or a baseline JPEG file";

pub(super) fn unsupported_hierarchical() -> ImageFault {
    unsupported("hierarchical JPEG", DECODE)
}

impl Frame {
    fn read(marker: u8, body: &[u8]) -> Result<Self, ImageFault> {
        match marker {
            0xc0..=0xc2 | 0xc9 | 0xca => {}
            0xc3 | 0xcb => return Err(unsupported("lossless JPEG", DECODE)),
            _ => return Err(unsupported_hierarchical()),
        }
        let &[precision, h1, h0, w1, w0, count, ref list @ ..] = body else {
            return Err(damaged("its frame header is too short"));
        };
        let size = |high, low| usize::from(u16::from_be_bytes([high, low]));
        let (height, width) = (size(h1, h0), size(w1, w0));
        if precision != 8 {
            return Err(unsupported(format!("JPEG with {precision} bits a sample"), DECODE));
        }
        if height == 0 {
            let remedy = "save it again with a program that writes the height in the header";
            return Err(unsupported("JPEG whose height follows the picture (DNL)", remedy));
        }
        if width == 0 || list.len() != 3 * usize::from(count) {
            return Err(damaged("its frame header contradicts itself"));
        }
        if !matches!(count, 1 | 3 | 4) {
            let remedy = "save it as grey, colour or CMYK, which have 1, 3 or 4";
            return Err(unsupported(format!("JPEG with {count} components"), remedy));
        }
        let mut components = Vec::with_capacity(4);
        for &[id, sampling, quantisation] in list.as_chunks().0 {
            let (across, down) = (usize::from(sampling >> 4), usize::from(sampling & 15));
            if !(1..=4).contains(&across) || !(1..=4).contains(&down) {
                return Err(damaged(format!(
                    "it claims sampling factors of {across}x{down}, 1 to 4 are possible"
                )));
            }
            let quantisation = usize::from(quantisation);
            components.push(Component { id, across, down, pixels_across: 1, pixels_down: 1, quantisation });
        }
        let progressive = matches!(marker, 0xc2 | 0xca);
        Ok(Self { width, height, components, progressive, arithmetic: marker > 0xc8 })
    }

    /// Works out the resolutions; the size of a unit in blocks.
    fn resolve(&mut self) -> Result<(usize, usize), ImageFault> {
        if let [grey] = &mut self.components[..] {
            // The blocks of a single component follow each other whatever its sampling says.
            (grey.across, grey.down) = (1, 1);
        }
        let most = |side: fn(&Component) -> usize| self.components.iter().map(side).max().unwrap_or(1);
        let (across, down) = (most(|component| component.across), most(|component| component.down));
        for component in &mut self.components {
            if across % component.across != 0 || down % component.down != 0 {
                let (x, y) = (component.across, component.down);
                let what = format!("JPEG with components sampled {x}x{y} beside {across}x{down}");
                return Err(unsupported(what, DECODE));
            }
            component.pixels_across = across / component.across;
            component.pixels_down = down / component.down;
        }
        Ok((across, down))
    }
}

impl Scan {
    /// Reads a scan header.
    pub(super) fn read(body: &[u8], components: &[Component]) -> Result<Self, ImageFault> {
        let fault = || damaged("the header of a scan contradicts that of the image");
        let (&count, rest) = body.split_first().ok_or_else(fault)?;
        let (list, &[first, last, bits]) = rest.split_at_checked(2 * usize::from(count)).ok_or_else(fault)?
        else {
            return Err(fault());
        };
        let mut parts: Vec<Part> = Vec::with_capacity(4);
        for &[id, tables] in list.as_chunks().0 {
            // Components may share an id, but not go back.
            let place = parts.len().min(components.len());
            let found = components[place..].iter().position(|component| component.id == id);
            let component = place + found.ok_or_else(fault)?;
            if parts.iter().any(|part| part.component == component) {
                return Err(fault());
            }
            let (constant, other) = (usize::from(tables >> 4), usize::from(tables & 15));
            parts.push(Part { component, constant, other });
        }
        let blocks =
            parts.iter().map(|part| components[part.component].across * components[part.component].down);
        if parts.is_empty() || parts.len() > 1 && blocks.sum::<usize>() > 10 {
            return Err(fault());
        }
        let (before, after) = (u32::from(bits >> 4), u32::from(bits & 15));
        Ok(Self { parts, first: usize::from(first), last: usize::from(last), before, after })
    }
}

/// The colours as libjpeg tells them (`default_decompress_parms`).
fn colour(components: &[Component], marks: Marks) -> Colour {
    match (components, marks.adobe) {
        ([_], _) => Colour::Grey,
        ([_, _, _, _], Some(0) | None) => Colour::Cmyk,
        ([_, _, _, _], Some(_)) => Colour::Ycck,
        _ if marks.jfif => Colour::YCbCr,
        (_, Some(0)) => Colour::Rgb,
        ([r, g, b], None) if [r.id, g.id, b.id] == *b"RGB" => Colour::Rgb,
        _ => Colour::YCbCr,
    }
}
