//! What stands before the coded samples: size, components, tables.

use super::huffman::{Table, ZIGZAG};

/// How components become red, green and blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    Grey,
    Rgb,
    YCbCr,
}

/// One component of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Component {
    id: u8,
    /// Blocks of one unit of the scan, across and down.
    pub(super) across: usize,
    pub(super) down: usize,
    quantisation: usize,
    /// Numbers of the Huffman tables, for the constant coefficients and the others.
    pub(super) constant: usize,
    pub(super) other: usize,
}

/// The header of a sequential Huffman JPEG of 8 bits with one or three components in one scan.
pub(crate) struct Header<'data> {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(super) colour: Colour,
    pub(super) components: Vec<Component>,
    quantisation: [Option<[i32; 64]>; 4],
    constant: [Option<Table>; 4],
    other: [Option<Table>; 4],
    /// Units between restarts; 0 for none.
    pub(super) restart: usize,
    /// The coded samples and what follows them.
    pub(super) scan: &'data [u8],
}

/// What was seen on the way that decides on the colours.
#[derive(Default)]
struct Marks {
    jfif: bool,
    adobe: Option<u8>,
}

impl<'data> Header<'data> {
    /// Reads the header; none if it is damaged or this decoder does not read such a file.
    pub(crate) fn read(bytes: &'data [u8]) -> Option<Self> {
        let mut header = Self {
            width: 0,
            height: 0,
            colour: Colour::Grey,
            components: Vec::new(),
            quantisation: [None; 4],
            constant: [const { None }; 4],
            other: [const { None }; 4],
            restart: 0,
            scan: &[],
        };
        let mut marks = Marks::default();
        let mut rest = bytes.strip_prefix(&[0xff, 0xd8])?;
        loop {
            let (marker, body, after) = segment(rest)?;
            rest = after;
            match marker {
                0xc0 | 0xc1 => header.frame(body)?,
                0xc4 => header.huffman(body)?,
                0xda => {
                    header.scan = after;
                    header.start_of_scan(body, &marks)?;
                    return Some(header);
                }
                0xdb => header.quantisation(body)?,
                0xdd => header.restart = usize::from(u16::from_be_bytes(*body.first_chunk()?)),
                0xe0 => marks.jfif |= body.starts_with(b"JFIF\0"),
                0xee if body.starts_with(b"Adobe") => marks.adobe = body.get(11).copied(),
                0xe1..=0xef | 0xfe => {}
                _ => return None,
            }
        }
    }

    /// The quantisation of a component, in rows.
    pub(super) fn quantisation_of(&self, component: &Component) -> Option<&[i32; 64]> {
        self.quantisation.get(component.quantisation)?.as_ref()
    }

    /// The Huffman tables of a component: constant coefficients, others.
    pub(super) fn tables_of(&self, component: &Component) -> Option<(&Table, &Table)> {
        Some((self.constant[component.constant].as_ref()?, self.other[component.other].as_ref()?))
    }

    fn frame(&mut self, body: &[u8]) -> Option<()> {
        let &[precision, h1, h0, w1, w0, count, ref list @ ..] = body else { return None };
        let size = |high, low| usize::from(u16::from_be_bytes([high, low]));
        (self.height, self.width) = (size(h1, h0), size(w1, w0));
        let fits = precision == 8 && matches!(count, 1 | 3) && self.components.is_empty();
        if !fits || self.width == 0 || self.height == 0 || list.len() != 3 * usize::from(count) {
            return None;
        }
        for &[id, sampling, quantisation] in list.as_chunks().0 {
            let (across, down) = (usize::from(sampling >> 4), usize::from(sampling & 15));
            let quantisation = usize::from(quantisation);
            let component = Component { id, across, down, quantisation, constant: 0, other: 0 };
            self.components.push(component);
        }
        self.check_sampling()
    }

    /// Grey, or colours sampled at a half or at full resolution in each direction.
    fn check_sampling(&mut self) -> Option<()> {
        if let [grey] = &mut self.components[..] {
            // The blocks of a single component follow each other whatever its sampling says.
            (grey.across, grey.down) = (1, 1);
            return Some(());
        }
        let [luma, others @ ..] = &self.components[..] else { return None };
        let fits = matches!((luma.across, luma.down), (1 | 2, 1 | 2))
            && others.iter().all(|other| (other.across, other.down) == (1, 1));
        fits.then_some(())
    }

    fn huffman(&mut self, mut body: &[u8]) -> Option<()> {
        while let [kind, rest @ ..] = body {
            let (counts, rest) = rest.split_first_chunk::<16>()?;
            let symbols = counts.iter().map(|&count| usize::from(count)).sum();
            let (symbols, rest) = rest.split_at_checked(symbols)?;
            let tables = if kind >> 4 == 0 { &mut self.constant } else { &mut self.other };
            let slot = (kind >> 4 < 2).then(|| tables.get_mut(usize::from(kind & 15)))??;
            *slot = Some(Table::new(counts, symbols, kind >> 4 == 0)?);
            body = rest;
        }
        Some(())
    }

    fn quantisation(&mut self, mut body: &[u8]) -> Option<()> {
        while let [kind, rest @ ..] = body {
            let wide = usize::from(kind >> 4);
            let (values, rest) = rest.split_at_checked(64 << wide.min(1))?;
            let mut table = [0; 64];
            for (at, place) in ZIGZAG[..64].iter().enumerate() {
                table[usize::from(*place)] = match wide {
                    0 => i32::from(values[at]),
                    1 => i32::from(u16::from_be_bytes([values[2 * at], values[2 * at + 1]])),
                    _ => return None,
                };
            }
            *self.quantisation.get_mut(usize::from(kind & 15))? = Some(table);
            body = rest;
        }
        Some(())
    }

    fn start_of_scan(&mut self, body: &[u8], marks: &Marks) -> Option<()> {
        let (&count, list) = body.split_first()?;
        let count = usize::from(count);
        if count == 0 || count != self.components.len() || list.len() != 2 * count + 3 {
            return None;
        }
        for (component, &[id, tables]) in self.components.iter_mut().zip(list.as_chunks().0) {
            (component.constant, component.other) = (usize::from(tables >> 4), usize::from(tables & 15));
            if component.id != id || component.constant > 3 || component.other > 3 {
                return None;
            }
        }
        self.colour = colour(&self.components, marks);
        let complete = |component| self.tables_of(component).and(self.quantisation_of(component)).is_some();
        self.components.iter().all(complete).then_some(())
    }
}

/// The colours as libjpeg tells them (`default_decompress_parms`).
fn colour(components: &[Component], marks: &Marks) -> Colour {
    let [a, b, c] = components else { return Colour::Grey };
    match (marks.jfif, marks.adobe) {
        (true, _) => Colour::YCbCr,
        (false, Some(0)) => Colour::Rgb,
        (false, Some(_)) => Colour::YCbCr,
        (false, None) if [a.id, b.id, c.id] == *b"RGB" => Colour::Rgb,
        (false, None) => Colour::YCbCr,
    }
}

/// The first segment: its marker, its body, and what follows.
pub(super) fn segment(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let mut rest = bytes.strip_prefix(&[0xff])?;
    while let [0xff, more @ ..] = rest {
        rest = more;
    }
    let (&marker, rest) = rest.split_first()?;
    let length = usize::from(u16::from_be_bytes(*rest.first_chunk()?)).checked_sub(2)?;
    let (body, after) = rest.get(2..)?.split_at_checked(length)?;
    Some((marker, body, after))
}
