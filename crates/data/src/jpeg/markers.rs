//! The segments of a file: tables, and where frames and scans begin.

use super::header::{Component, Part};
use super::huffman::{Table, ZIGZAG};
use super::standard;
use crate::ImageFault;
use memchr::memchr;

/// What tells the colours of components.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marks {
    pub(super) jfif: bool,
    pub(super) adobe: Option<u8>,
}

/// The tables that hold for the next scan.
#[derive(Clone, Default)]
pub(super) struct Tables {
    /// In rows, as libjpeg-turbo keeps them: 16 bits with a sign.
    pub(super) quantisation: [Option<[i16; 64]>; 4],
    pub(super) constant: [Option<Table>; 4],
    pub(super) other: [Option<Table>; 4],
    /// Conditioning of arithmetic codes: lower and upper bound of small differences (as exponents), and the last
    /// coefficient that counts as low. None is the default of the standard.
    pub(super) bounds: [Option<(u8, u8)>; 16],
    pub(super) low: [Option<u8>; 16],
    /// Units between restarts; 0 for none.
    pub(super) restart: usize,
}

/// What a file goes on with, its tables having been read.
pub(super) enum Event<'data> {
    /// The marker and the body of a frame header.
    Frame(u8, &'data [u8]),
    /// The body of a scan header; the coded data follow.
    Scan(&'data [u8]),
    End,
}

/// Reads a file segment by segment.
#[derive(Clone)]
pub(super) struct Reader<'data> {
    pub(super) rest: &'data [u8],
    pub(super) tables: Tables,
    pub(super) marks: Marks,
}

pub(super) fn damaged(what: impl Into<String>) -> ImageFault {
    ImageFault::Damaged(what.into())
}

impl<'data> Reader<'data> {
    /// Begins after the start of the image.
    pub(super) fn new(rest: &'data [u8]) -> Self {
        Self { rest, tables: Tables::default(), marks: Marks::default() }
    }

    /// Reads up to the next frame, scan or end.
    pub(super) fn next(&mut self) -> Result<Event<'data>, ImageFault> {
        loop {
            let (marker, after) = marker(self.rest).ok_or(ImageFault::Cut)?;
            self.rest = after;
            match marker {
                0x01 | 0xd0..=0xd7 => continue,
                0xd8 => return Err(damaged("a second image begins before the end of the first")),
                0xd9 => return Ok(Event::End),
                _ => {}
            }
            let (body, after) = body(after)?;
            self.rest = after;
            let read = match marker {
                0xc4 => self.tables.huffman(body),
                0xc8 => None,
                0xcc => self.tables.conditioning(body),
                0xc0..=0xcf => return Ok(Event::Frame(marker, body)),
                0xda => return Ok(Event::Scan(body)),
                0xdb => self.tables.quantisation(body),
                0xdd => self.tables.restart(body),
                0xde | 0xdf => return Err(super::header::unsupported_hierarchical()),
                0xe0 => {
                    self.marks.jfif |= body.len() >= 14 && body.starts_with(b"JFIF\0");
                    Some(())
                }
                0xee if body.len() >= 12 && body.starts_with(b"Adobe") => {
                    self.marks.adobe = Some(body[11]);
                    Some(())
                }
                0xdc | 0xe0..=0xef | 0xfe => Some(()),
                _ => None,
            };
            read.ok_or_else(|| damaged(format!("its {} cannot be read", name(marker))))?;
        }
    }
}

fn name(marker: u8) -> String {
    match marker {
        0xc4 => "Huffman table".to_owned(),
        0xcc => "table of arithmetic coding".to_owned(),
        0xdb => "quantisation table".to_owned(),
        0xdd => "restart interval".to_owned(),
        _ => format!("segment with marker {marker:#04x}"),
    }
}

/// The next marker and what follows it; other bytes before it are passed over, as libjpeg does.
pub(super) fn marker(mut bytes: &[u8]) -> Option<(u8, &[u8])> {
    loop {
        bytes = &bytes[memchr(0xff, bytes)?..];
        while let [0xff, rest @ ..] = bytes {
            bytes = rest;
        }
        let (&marker, rest) = bytes.split_first()?;
        bytes = rest;
        if marker != 0 {
            return Some((marker, rest));
        }
    }
}

/// The body of a segment, and what follows it.
fn body(bytes: &[u8]) -> Result<(&[u8], &[u8]), ImageFault> {
    let (length, rest) = bytes.split_first_chunk().ok_or(ImageFault::Cut)?;
    let length = usize::from(u16::from_be_bytes(*length));
    let length = length.checked_sub(2).ok_or_else(|| damaged("a segment claims less than two bytes"))?;
    rest.split_at_checked(length).ok_or(ImageFault::Cut)
}

impl Tables {
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
            let wide = kind >> 4 != 0;
            let (values, rest) = rest.split_at_checked(if wide { 128 } else { 64 })?;
            let mut table = [0; 64];
            for (at, place) in ZIGZAG[..64].iter().enumerate() {
                table[usize::from(*place)] = match wide {
                    false => i16::from(values[at]),
                    true => i16::from_be_bytes([values[2 * at], values[2 * at + 1]]),
                };
            }
            *self.quantisation.get_mut(usize::from(kind & 15))? = Some(table);
            body = rest;
        }
        Some(())
    }

    fn conditioning(&mut self, body: &[u8]) -> Option<()> {
        let (pairs, rest) = body.as_chunks();
        for &[table, value] in pairs {
            let slot = usize::from(table & 15);
            match table >> 4 {
                0 if value & 15 <= value >> 4 => self.bounds[slot] = Some((value & 15, value >> 4)),
                1 => self.low[slot] = Some(value),
                _ => return None,
            }
        }
        rest.is_empty().then_some(())
    }

    fn restart(&mut self, body: &[u8]) -> Option<()> {
        let &[high, low] = body else { return None };
        self.restart = usize::from(u16::from_be_bytes([high, low]));
        Some(())
    }

    /// Takes the tables of the standard where the file has none, as in frames of Motion JPEG.
    pub(super) fn fill_in(&mut self, parts: &[Part]) {
        for part in parts {
            for (tables, slot, kind) in
                [(&mut self.constant, part.constant, 0), (&mut self.other, part.other, 1)]
            {
                if let (Some(place @ None), Some(standard)) =
                    (tables.get_mut(slot), standard::TABLES.get(slot))
                {
                    let (counts, symbols) = standard[kind];
                    *place = Table::new(counts, symbols, kind == 0);
                }
            }
        }
    }

    /// The quantisation of a component.
    pub(super) fn quantisation_of(&self, component: &Component) -> Option<&[i16; 64]> {
        self.quantisation.get(component.quantisation)?.as_ref()
    }

    /// The Huffman tables of a part of a scan: constant coefficients, others.
    pub(super) fn tables_of(&self, part: &Part) -> Option<(&Table, &Table)> {
        let constant = self.constant.get(part.constant)?.as_ref()?;
        Some((constant, self.other.get(part.other)?.as_ref()?))
    }
}
