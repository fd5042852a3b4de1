//! Files whose coefficients come in several scans, or by arithmetic codes: all coefficients are kept until the end.
//!
//! So are those of files that the quick way of `scan.rs` gave up: what is damaged is told here.

use super::Window;
use super::arithmetic::Arithmetic;
use super::header::{Component, Header, Scan};
use super::idct;
use super::markers::{Event, Tables, damaged};
use super::progressive::Huffman;
use super::scan::Plane;
use super::segments::Coded;
use super::smooth::Smoothing;
use crate::ImageFault;

/// Bits of a coefficient that are unknown before its first scan; more than there are.
pub(super) const UNKNOWN: u32 = 16;

/// The coefficients of a component.
pub(super) struct Coefficients {
    /// `[down, across]` blocks, whole units of the image, each in rows.
    pub(super) blocks: Vec<[i16; 64]>,
    pub(super) across: usize,
    /// Blocks that hold pixels.
    pub(super) used_across: usize,
    pub(super) used_down: usize,
    /// The table that held when its first scan began.
    pub(super) quantisation: Option<[i16; 64]>,
    /// By place in zigzag: bits that are not known yet.
    pub(super) unknown: [u32; 64],
}

impl Coefficients {
    fn new(header: &Header, component: &Component) -> Self {
        let (across, down) = header.units();
        let (across, down) = (across * component.across, down * component.down);
        let used = |side: usize, pixels: usize| side.div_ceil(pixels).div_ceil(8);
        Self {
            blocks: vec![[0; 64]; across * down],
            across,
            used_across: used(header.width, component.pixels_across),
            used_down: used(header.height, component.pixels_down),
            quantisation: None,
            unknown: [UNKNOWN; 64],
        }
    }
}

/// Reads the blocks of a scan, segment by segment.
pub(super) trait Blocks<'data> {
    /// Begins anew in the bytes from `start` on, which end with zeros; `end` is where those of the segment end.
    fn begin(&mut self, bytes: &'data [u8], start: usize, end: usize);

    /// Reads a block of a part of the scan.
    fn block(&mut self, part: usize, block: &mut [i16; 64]);

    /// How it went since the start of the segment.
    fn state(&self) -> State;
}

/// How reading goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Good,
    /// More was read than the segment has.
    Over,
    /// What was read makes no sense.
    Bad,
}

/// Reads every scan.
pub(super) fn read(header: &Header, coded: &mut Coded) -> Result<Vec<Coefficients>, ImageFault> {
    let mut reader = header.reader.clone();
    let mut scan = header.scan.clone();
    let mut planes: Vec<_> =
        header.components.iter().map(|component| Coefficients::new(header, component)).collect();
    let single = !header.progressive && scan.parts.len() == planes.len();
    loop {
        reader.rest = coded.read(reader.rest).ok_or(ImageFault::Cut)?;
        if !header.progressive && !header.arithmetic {
            reader.tables.fill_in(&scan.parts);
        }
        begin(header, &scan, &reader.tables, &mut planes)?;
        read_scan(header, &scan, &reader.tables, coded, &mut planes)?;
        scan = match reader.next()? {
            Event::Scan(_) if single => return Err(damaged("more coded data follow a complete picture")),
            Event::Scan(body) => Scan::read(body, &header.components)?,
            Event::Frame(..) => return Err(damaged("it tells its size twice")),
            Event::End => break,
        };
    }
    if planes.iter().any(|plane| plane.quantisation.is_none()) {
        return Err(damaged("a component has no coded data"));
    }
    Ok(planes)
}

/// Checks that a scan may come now, and notes what it tells.
fn begin(
    header: &Header,
    scan: &Scan,
    tables: &Tables,
    planes: &mut [Coefficients],
) -> Result<(), ImageFault> {
    let Scan { first, last, before, after, .. } = *scan;
    for part in &scan.parts {
        let plane = &mut planes[part.component];
        let table = tables.quantisation_of(&header.components[part.component]);
        let unlatched = plane.quantisation.is_none();
        if unlatched {
            plane.quantisation = Some(*table.ok_or_else(|| damaged("a quantisation table is missing"))?);
        }
        if !header.progressive {
            if !unlatched {
                return Err(damaged("a component is coded twice"));
            }
            plane.unknown = [0; 64];
            continue;
        }
        let refines = before != 0;
        let possible = last < 64
            && (first == 0 && last == 0 || first > 0 && first <= last && scan.parts.len() == 1)
            && after <= 13
            && (!refines || before == after + 1);
        let expected = if refines { before } else { UNKNOWN };
        if !possible
            || first > 0 && plane.unknown[0] == UNKNOWN
            || plane.unknown[first..=last].iter().any(|&unknown| unknown != expected)
        {
            return Err(damaged("its progressive scans do not follow from each other"));
        }
        plane.unknown[first..=last].fill(after);
    }
    Ok(())
}

fn read_scan(
    header: &Header,
    scan: &Scan,
    tables: &Tables,
    coded: &Coded,
    planes: &mut [Coefficients],
) -> Result<(), ImageFault> {
    let walk = Walk::new(header, scan, tables.restart, coded, planes);
    if header.arithmetic {
        let blocks = Arithmetic::new(scan, tables, header.progressive);
        return walk
            .run(blocks.ok_or_else(|| damaged("it names a table of arithmetic coding past the 16th"))?);
    }
    let blocks = Huffman::new(scan, tables, header.progressive);
    walk.run(blocks.ok_or_else(|| damaged("a Huffman table is missing"))?)
}

/// The way through the units of a scan.
struct Walk<'a> {
    scan: &'a Scan,
    coded: &'a Coded,
    planes: &'a mut [Coefficients],
    /// By part: blocks of a unit, across and down.
    blocks: Vec<(usize, usize)>,
    across: usize,
    down: usize,
    restart: usize,
}

impl<'a> Walk<'a> {
    fn new(
        header: &Header,
        scan: &'a Scan,
        restart: usize,
        coded: &'a Coded,
        planes: &'a mut [Coefficients],
    ) -> Self {
        let (mut across, mut down) = header.units();
        let mut blocks = Vec::with_capacity(4);
        for part in &scan.parts {
            let component = &header.components[part.component];
            blocks.push((component.across, component.down));
        }
        if let [part] = &scan.parts[..] {
            // A component on its own has units of a block, and none beside the pixels.
            blocks = vec![(1, 1)];
            (across, down) = (planes[part.component].used_across, planes[part.component].used_down);
        }
        Self { scan, coded, planes, blocks, across, down, restart }
    }

    /// Reads every unit. Where restarts are lost or out of order, what is missing stays zero as libjpeg leaves it;
    /// segments that end too early else are damage.
    fn run<B: Blocks<'a>>(self, mut blocks: B) -> Result<(), ImageFault> {
        let coded = self.coded;
        let regular = coded.regular(self.across * self.down, self.restart);
        let (mut segment, mut number, mut left, mut idle) = (0, 0, self.restart, false);
        let start = |segment: usize| coded.segments[segment].range.clone();
        blocks.begin(coded.up_to(0), start(0).start, start(0).end);
        for row in 0..self.down {
            for column in 0..self.across {
                if self.restart > 0 && left == 0 {
                    let early =
                        || damaged(format!("its coded data end at row {row} of {} of its units", self.down));
                    let (next, fresh) = coded.resume(segment, number).ok_or_else(early)?;
                    (segment, number, left) = (next, (number + 1) & 7, self.restart);
                    if fresh {
                        idle = false;
                        blocks.begin(coded.up_to(segment), start(segment).start, start(segment).end);
                    } else {
                        blocks.begin(&[], 0, 0);
                    }
                }
                left = left.saturating_sub(1);
                if idle {
                    continue;
                }
                for (at, (part, &(across, down))) in self.scan.parts.iter().zip(&self.blocks).enumerate() {
                    let plane = &mut self.planes[part.component];
                    for y in row * down..(row + 1) * down {
                        let first = y * plane.across + column * across;
                        for block in &mut plane.blocks[first..first + across] {
                            blocks.block(at, block);
                        }
                    }
                }
                match blocks.state() {
                    State::Good => {}
                    State::Over if !regular && self.restart > 0 => idle = true,
                    State::Over => {
                        let what = format!("its coded data end at row {row} of {} of its units", self.down);
                        return Err(damaged(what));
                    }
                    State::Bad => {
                        let what = format!(
                            "its coded data make no sense at row {row} of {} of its units",
                            self.down
                        );
                        return Err(damaged(what));
                    }
                }
            }
        }
        let ignored = |marker: u8| matches!(marker, 0x01 | 0xc0..);
        if coded.segments[segment..].iter().all(|segment| ignored(segment.marker)) {
            return Ok(());
        }
        Err(damaged("its coded data hold markers that do not exist"))
    }
}

/// Transforms the blocks of a window.
#[inline(always)]
pub(super) fn transform(
    header: &Header,
    coefficients: &[Coefficients],
    window: &Window,
    planes: &mut [Plane],
) {
    let smoothing = Smoothing::new(header, coefficients);
    for (at, (source, plane)) in coefficients.iter().zip(planes).enumerate() {
        let component = &header.components[at];
        let Some(quantisation) = &source.quantisation else { continue };
        plane.fit(component, window);
        let (left, top) = (component.across * window.columns.start, component.down * window.rows.start);
        for y in top..component.down * window.rows.end {
            for x in left..component.across * window.columns.end {
                let mut block = source.blocks[y * source.across + x];
                if let Some(smoothing) = &smoothing {
                    smoothing.fill_in(at, source, (x, y), &mut block);
                }
                plane.put(8 * (x - left), 8 * (y - top), idct::inverse(&block, quantisation));
            }
        }
    }
}
