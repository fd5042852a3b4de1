//! Blocks of arithmetic codes, sequential or progressive (ITU-T T.81, annexes D, F.2.4 and G; `jdarith.c`).

use super::coefficients::{Blocks, State};
use super::header::Scan;
use super::huffman::ZIGZAG;
use super::markers::Tables;

/// Places of the statistics of the constant coefficients, and of the others.
const CONSTANT: usize = 64;
const OTHER: usize = 256;
/// A state that never changes: both symbols are as likely.
const EVEN: u8 = 113;

/// The coder itself: bits from bytes.
#[derive(Default)]
struct Coder<'data> {
    bytes: &'data [u8],
    next: usize,
    end: usize,
    code: i64,
    interval: i64,
    /// Bits of the code that are still unused; below zero while the first two bytes are missing.
    shift: i32,
}

impl<'data> Coder<'data> {
    fn new(bytes: &'data [u8], next: usize, end: usize) -> Self {
        Self { bytes, next, end, code: 0, interval: 0, shift: -16 }
    }

    /// The next symbol; the state in `bin` learns from it.
    fn symbol(&mut self, bin: &mut u8) -> bool {
        while self.interval < 0x8000 {
            self.shift -= 1;
            if self.shift < 0 {
                // Encoders leave zeros at the end out.
                let byte = if self.next < self.end { self.bytes.get(self.next) } else { None };
                self.next += 1;
                self.code = (self.code << 8) | i64::from(byte.copied().unwrap_or(0));
                self.shift += 8;
                if self.shift < 0 {
                    self.shift += 1;
                    if self.shift == 0 {
                        self.interval = 0x8000;
                    }
                }
            }
            self.interval <<= 1;
        }
        let likely = *bin & 0x80 != 0;
        let (width, less, more, switch) = STATES[usize::from(*bin & 0x7f).min(STATES.len() - 1)];
        let width = i64::from(width);
        self.interval -= width;
        let bound = self.interval << self.shift;
        let unlikely = if self.code >= bound {
            self.code -= bound;
            let exchanged = self.interval < width;
            self.interval = width;
            !exchanged
        } else if self.interval < 0x8000 {
            self.interval < width
        } else {
            return likely;
        };
        let (next, symbol) = if unlikely { (less, !likely) } else { (more, likely) };
        let kept = if unlikely && switch { !likely } else { likely };
        *bin = next | u8::from(kept) << 7;
        symbol
    }

    /// A symbol that is as likely as not.
    fn even(&mut self) -> bool {
        self.symbol(&mut { EVEN })
    }
}

/// What is learnt for a part of a scan.
struct Statistics {
    constant: [u8; CONSTANT],
    other: [u8; OTHER],
}

/// A part of a scan.
struct Part {
    /// Which statistics it uses.
    constant: usize,
    other: usize,
    /// Exponents between which differences are small.
    bounds: (u8, u8),
    /// The last coefficient that counts as low.
    low: usize,
    before: i32,
    /// Where the statistics for the next difference begin.
    context: usize,
}

/// Reads blocks of arithmetic codes.
pub(super) struct Arithmetic<'data> {
    coder: Coder<'data>,
    /// By number of the table.
    statistics: Vec<Statistics>,
    parts: Vec<Part>,
    first: usize,
    last: usize,
    /// Whether the scan has constant coefficients, others, and a further bit only.
    constant: bool,
    other: bool,
    refines: bool,
    shift: u32,
    bad: bool,
}

impl Arithmetic<'_> {
    /// None if a table has a number that there is none of.
    pub(super) fn new(scan: &Scan, tables: &Tables, progressive: bool) -> Option<Self> {
        let mut parts = Vec::with_capacity(4);
        for part in &scan.parts {
            parts.push(Part {
                constant: part.constant,
                other: part.other,
                bounds: tables.bounds.get(part.constant)?.unwrap_or((0, 1)),
                low: usize::from(tables.low.get(part.other)?.unwrap_or(5)),
                before: 0,
                context: 0,
            });
        }
        let statistics = || Statistics { constant: [0; CONSTANT], other: [0; OTHER] };
        let (first, last) = if progressive { (scan.first, scan.last) } else { (1, 63) };
        Some(Self {
            coder: Coder::default(),
            statistics: (0..16).map(|_| statistics()).collect(),
            parts,
            first,
            last,
            constant: !progressive || scan.first == 0,
            other: !progressive || scan.first > 0,
            refines: progressive && scan.before > 0,
            shift: if progressive { scan.after } else { 0 },
            bad: false,
        })
    }

    /// The number after its sign, less one: its size at `size`, then its bits. None if it is too large.
    fn magnitude(coder: &mut Coder, bins: &mut [u8], mut size: usize) -> Option<i32> {
        let mut most = 1;
        while coder.symbol(&mut bins[size]) {
            most <<= 1;
            if most == 0x8000 {
                return None;
            }
            size += 1;
        }
        Some(Self::bits(coder, bins, size, most))
    }

    fn bits(coder: &mut Coder, bins: &mut [u8], size: usize, most: i32) -> i32 {
        let (mut value, mut bit) = (most, most >> 1);
        while bit > 0 {
            if coder.symbol(&mut bins[size + 14]) {
                value |= bit;
            }
            bit >>= 1;
        }
        value
    }

    /// The difference of a constant coefficient to the one before; none if it makes no sense.
    fn difference(&mut self, part: usize) -> Option<i32> {
        let Self { coder, statistics, parts, .. } = self;
        let part = &mut parts[part];
        let bins = &mut statistics[part.constant].constant;
        let context = part.context;
        if !coder.symbol(&mut bins[context]) {
            part.context = 0;
            return Some(0);
        }
        let negative = coder.symbol(&mut bins[context + 1]);
        let start = context + 2 + usize::from(negative);
        let less_one = if coder.symbol(&mut bins[start]) { Self::magnitude(coder, bins, 20)? } else { 0 };
        let size = if less_one == 0 { 0 } else { 1 << less_one.ilog2() };
        let (lower, upper) = part.bounds;
        part.context = if size < (1 << lower) >> 1 {
            0
        } else if size > (1 << upper) >> 1 {
            12 + 4 * usize::from(negative)
        } else {
            4 + 4 * usize::from(negative)
        };
        Some(if negative { -less_one - 1 } else { less_one + 1 })
    }

    /// The coefficients after the constant one; none if they make no sense.
    fn others(&mut self, part: usize, block: &mut [i16; 64]) -> Option<()> {
        let Self { coder, statistics, parts, last, shift, .. } = self;
        let part = &parts[part];
        let bins = &mut statistics[part.other].other;
        let mut at = self.first;
        while at <= *last {
            if coder.symbol(&mut bins[3 * (at - 1)]) {
                return Some(());
            }
            while !coder.symbol(&mut bins[3 * (at - 1) + 1]) {
                at += 1;
                if at > *last {
                    return None;
                }
            }
            let negative = coder.even();
            let place = 3 * (at - 1) + 2;
            let mut less_one = 0;
            if coder.symbol(&mut bins[place]) {
                less_one = if coder.symbol(&mut bins[place]) {
                    let size = if at <= part.low { 189 } else { 217 };
                    Self::large(coder, bins, size)?
                } else {
                    Self::bits(coder, bins, place, 1)
                };
            }
            let value = if negative { -less_one - 1 } else { less_one + 1 };
            block[usize::from(ZIGZAG[at]) & 63] = (value << *shift) as i16;
            at += 1;
        }
        Some(())
    }

    /// As [`magnitude`](Self::magnitude), of two or more.
    fn large(coder: &mut Coder, bins: &mut [u8], mut size: usize) -> Option<i32> {
        let mut most = 2;
        while coder.symbol(&mut bins[size]) {
            most <<= 1;
            if most == 0x8000 {
                return None;
            }
            size += 1;
        }
        Some(Self::bits(coder, bins, size, most))
    }

    /// A further bit of the coefficients after the constant one; none if they make no sense.
    fn others_bit(&mut self, part: usize, block: &mut [i16; 64]) -> Option<()> {
        let Self { coder, statistics, parts, last, shift, .. } = self;
        let bins = &mut statistics[parts[part].other].other;
        let bit = 1i16 << *shift;
        let ended = (1..=*last).rev().find(|&at| block[usize::from(ZIGZAG[at]) & 63] != 0).unwrap_or(0);
        let mut at = self.first;
        while at <= *last {
            if at > ended && coder.symbol(&mut bins[3 * (at - 1)]) {
                return Some(());
            }
            loop {
                let place = &mut block[usize::from(ZIGZAG[at]) & 63];
                let bin = 3 * (at - 1);
                if *place != 0 {
                    if coder.symbol(&mut bins[bin + 2]) {
                        *place = place.wrapping_add(if *place < 0 { -bit } else { bit });
                    }
                    break;
                }
                if coder.symbol(&mut bins[bin + 1]) {
                    *place = if coder.even() { -bit } else { bit };
                    break;
                }
                at += 1;
                if at > *last {
                    return None;
                }
            }
            at += 1;
        }
        Some(())
    }
}

impl<'data> Blocks<'data> for Arithmetic<'data> {
    fn begin(&mut self, bytes: &'data [u8], start: usize, end: usize) {
        self.coder = Coder::new(bytes, start, end);
        for statistics in &mut self.statistics {
            *statistics = Statistics { constant: [0; CONSTANT], other: [0; OTHER] };
        }
        for part in &mut self.parts {
            (part.before, part.context) = (0, 0);
        }
    }

    fn block(&mut self, part: usize, block: &mut [i16; 64]) {
        if self.constant && self.refines {
            block[0] |= i16::from(self.coder.even()) << self.shift;
            return;
        }
        if self.constant {
            let Some(difference) = self.difference(part) else {
                self.bad = true;
                return;
            };
            let before = &mut self.parts[part].before;
            *before = (*before + difference) & 0xffff;
            block[0] = (*before << self.shift) as i16;
        }
        if self.other {
            let read = if self.refines { self.others_bit(part, block) } else { self.others(part, block) };
            self.bad |= read.is_none();
        }
    }

    fn state(&self) -> State {
        if self.bad { State::Bad } else { State::Good }
    }
}

/// By state: the width of the less likely symbol, the next state after it and after the other, and whether it becomes the
/// more likely one (table D.2, and one for even chances).
#[rustfmt::skip]
const STATES: [(u16, u8, u8, bool); 114] = [
    (0x5a1d, 1, 1, true), (0x2586, 14, 2, false), (0x1114, 16, 3, false), (0x080b, 18, 4, false),
    (0x03d8, 20, 5, false), (0x01da, 23, 6, false), (0x00e5, 25, 7, false), (0x006f, 28, 8, false),
    (0x0036, 30, 9, false), (0x001a, 33, 10, false), (0x000d, 35, 11, false), (0x0006, 9, 12, false),
    (0x0003, 10, 13, false), (0x0001, 12, 13, false), (0x5a7f, 15, 15, true), (0x3f25, 36, 16, false),
    (0x2cf2, 38, 17, false), (0x207c, 39, 18, false), (0x17b9, 40, 19, false), (0x1182, 42, 20, false),
    (0x0cef, 43, 21, false), (0x09a1, 45, 22, false), (0x072f, 46, 23, false), (0x055c, 48, 24, false),
    (0x0406, 49, 25, false), (0x0303, 51, 26, false), (0x0240, 52, 27, false), (0x01b1, 54, 28, false),
    (0x0144, 56, 29, false), (0x00f5, 57, 30, false), (0x00b7, 59, 31, false), (0x008a, 60, 32, false),
    (0x0068, 62, 33, false), (0x004e, 63, 34, false), (0x003b, 32, 35, false), (0x002c, 33, 9, false),
    (0x5ae1, 37, 37, true), (0x484c, 64, 38, false), (0x3a0d, 65, 39, false), (0x2ef1, 67, 40, false),
    (0x261f, 68, 41, false), (0x1f33, 69, 42, false), (0x19a8, 70, 43, false), (0x1518, 72, 44, false),
    (0x1177, 73, 45, false), (0x0e74, 74, 46, false), (0x0bfb, 75, 47, false), (0x09f8, 77, 48, false),
    (0x0861, 78, 49, false), (0x0706, 79, 50, false), (0x05cd, 48, 51, false), (0x04de, 50, 52, false),
    (0x040f, 50, 53, false), (0x0363, 51, 54, false), (0x02d4, 52, 55, false), (0x025c, 53, 56, false),
    (0x01f8, 54, 57, false), (0x01a4, 55, 58, false), (0x0160, 56, 59, false), (0x0125, 57, 60, false),
    (0x00f6, 58, 61, false), (0x00cb, 59, 62, false), (0x00ab, 61, 63, false), (0x008f, 61, 32, false),
    (0x5b12, 65, 65, true), (0x4d04, 80, 66, false), (0x412c, 81, 67, false), (0x37d8, 82, 68, false),
    (0x2fe8, 83, 69, false), (0x293c, 84, 70, false), (0x2379, 86, 71, false), (0x1edf, 87, 72, false),
    (0x1aa9, 87, 73, false), (0x174e, 72, 74, false), (0x1424, 72, 75, false), (0x119c, 74, 76, false),
    (0x0f6b, 74, 77, false), (0x0d51, 75, 78, false), (0x0bb6, 77, 79, false), (0x0a40, 77, 48, false),
    (0x5832, 80, 81, true), (0x4d1c, 88, 82, false), (0x438e, 89, 83, false), (0x3bdd, 90, 84, false),
    (0x34ee, 91, 85, false), (0x2eae, 92, 86, false), (0x299a, 93, 87, false), (0x2516, 86, 71, false),
    (0x5570, 88, 89, true), (0x4ca9, 95, 90, false), (0x44d9, 96, 91, false), (0x3e22, 97, 92, false),
    (0x3824, 99, 93, false), (0x32b4, 99, 94, false), (0x2e17, 93, 86, false), (0x56a8, 95, 96, true),
    (0x4f46, 101, 97, false), (0x47e5, 102, 98, false), (0x41cf, 103, 99, false), (0x3c3d, 104, 100, false),
    (0x375e, 99, 93, false), (0x5231, 105, 102, false), (0x4c0f, 106, 103, false), (0x4639, 107, 104, false),
    (0x415e, 103, 99, false), (0x5627, 105, 106, true), (0x50e7, 108, 107, false), (0x4b85, 109, 103, false),
    (0x5597, 110, 109, false), (0x504f, 111, 107, false), (0x5a10, 110, 111, true), (0x5522, 112, 109, false),
    (0x59eb, 112, 111, true), (0x5a1d, 113, 113, false),
];
