//! Blocks of Huffman codes, sequential or in one of the four kinds of progressive scans (`jdphuff.c`).

use super::coefficients::{Blocks, State};
use super::header::Scan;
use super::huffman::{Bits, END, Table, ZIGZAG};
use super::markers::Tables;

/// What a scan tells of each block.
#[derive(Clone, Copy)]
enum Kind {
    /// All of it.
    Whole,
    /// The upper bits of the constant coefficient, or of others.
    Constant,
    Others,
    /// A further bit.
    ConstantBit,
    OthersBit,
}

/// Reads blocks of Huffman codes.
pub(super) struct Huffman<'data> {
    kind: Kind,
    first: usize,
    last: usize,
    /// Bits below those that the scan tells.
    shift: u32,
    /// By part: tables of the constant coefficients and the others, where they are needed.
    constant: Vec<Option<&'data Table>>,
    other: Vec<Option<&'data Table>>,
    bits: Bits<'data>,
    end: usize,
    /// The constant coefficients of the blocks before.
    before: [i32; 4],
    /// Blocks that have ended already.
    ended: u32,
    bad: bool,
}

impl<'data> Huffman<'data> {
    /// None if a table is missing.
    pub(super) fn new(scan: &Scan, tables: &'data Tables, progressive: bool) -> Option<Self> {
        let kind = match (progressive, scan.first, scan.before) {
            (false, ..) => Kind::Whole,
            (true, 0, 0) => Kind::Constant,
            (true, 0, _) => Kind::ConstantBit,
            (true, _, 0) => Kind::Others,
            (true, _, _) => Kind::OthersBit,
        };
        let constant = scan.parts.iter().map(|part| tables.constant.get(part.constant)?.as_ref());
        let other = scan.parts.iter().map(|part| tables.other.get(part.other)?.as_ref());
        let (constant, other): (Vec<_>, Vec<_>) = (constant.collect(), other.collect());
        let (needs_constant, needs_other) = match kind {
            Kind::Whole => (true, true),
            Kind::Constant => (true, false),
            Kind::ConstantBit => (false, false),
            Kind::Others | Kind::OthersBit => (false, true),
        };
        let lacks = |tables: &[Option<_>]| tables.iter().any(Option::is_none);
        if needs_constant && lacks(&constant) || needs_other && lacks(&other) {
            return None;
        }
        let bits = Bits::new(&[], 0);
        let Scan { first, last, after, .. } = *scan;
        Some(Self {
            kind,
            first,
            last,
            shift: after,
            constant,
            other,
            bits,
            end: 0,
            before: [0; 4],
            ended: 0,
            bad: false,
        })
    }

    fn whole(&mut self, part: usize, block: &mut [i16; 64]) {
        if let (Some(constant), Some(other)) = (self.constant[part], self.other[part]) {
            let (difference, _) = self.bits.block::<true>(constant, other, block);
            self.before[part] = self.before[part].wrapping_add(difference);
            block[0] = self.before[part] as i16;
        }
    }

    fn constant(&mut self, part: usize, block: &mut [i16; 64]) {
        if let Some(table) = self.constant[part] {
            let (_, difference) = self.bits.coefficient(table);
            self.before[part] = self.before[part].wrapping_add(difference);
            block[0] = (self.before[part] << self.shift) as i16;
        }
    }

    fn others(&mut self, table: &Table, block: &mut [i16; 64]) {
        if self.ended > 0 {
            self.ended -= 1;
            return;
        }
        let mut at = self.first;
        while at <= self.last {
            let (run, value) = self.bits.coefficient(table);
            if run >= END as usize {
                self.ended = self.blocks(run) - 1;
                return;
            }
            at += run;
            if value != 0 {
                self.bad |= at > self.last;
                block[usize::from(ZIGZAG[at]) & 63] = (value << self.shift) as i16;
            }
            at += 1;
        }
    }

    /// How many blocks end at such a run: a power of two and so many bits more.
    fn blocks(&mut self, run: usize) -> u32 {
        let bits = run as u32 - END;
        (1 << bits) + self.bits.take(bits)
    }

    fn others_bit(&mut self, table: &Table, block: &mut [i16; 64]) {
        let mut at = self.first;
        if self.ended == 0 {
            while at <= self.last {
                let (run, value) = self.bits.coefficient(table);
                if run >= END as usize {
                    self.ended = self.blocks(run);
                    break;
                }
                at = self.refine(at, run, block);
                if value != 0 {
                    self.bad |= at > self.last || value.abs() > 1;
                    block[usize::from(ZIGZAG[at]) & 63] = (value << self.shift) as i16;
                }
                at += 1;
            }
        }
        if self.ended > 0 {
            self.refine(at, 64, block);
            self.ended -= 1;
        }
    }

    /// Passes over so many zeros and up to the next one, adding a bit to each coefficient that is not zero; where that is.
    fn refine(&mut self, mut at: usize, mut zeros: usize, block: &mut [i16; 64]) -> usize {
        let bit = 1i16 << self.shift;
        while at <= self.last {
            let place = &mut block[usize::from(ZIGZAG[at]) & 63];
            if *place != 0 {
                if self.bits.take(1) == 1 && *place & bit == 0 {
                    *place = place.wrapping_add(if *place >= 0 { bit } else { -bit });
                }
            } else if zeros == 0 {
                break;
            } else {
                zeros -= 1;
            }
            at += 1;
        }
        at
    }
}

impl<'data> Blocks<'data> for Huffman<'data> {
    fn begin(&mut self, bytes: &'data [u8], start: usize, end: usize) {
        self.bad |= self.bits.bad;
        self.bits = Bits::new(bytes, start);
        (self.end, self.before, self.ended) = (end, [0; 4], 0);
    }

    #[inline(always)]
    fn block(&mut self, part: usize, block: &mut [i16; 64]) {
        match (self.kind, self.other[part]) {
            (Kind::Whole, _) => self.whole(part, block),
            (Kind::Constant, _) => self.constant(part, block),
            (Kind::ConstantBit, _) => block[0] |= (self.bits.take(1) as i16) << self.shift,
            (Kind::Others, Some(table)) => self.others(table, block),
            (Kind::OthersBit, Some(table)) => self.others_bit(table, block),
            _ => {}
        }
    }

    #[inline(always)]
    fn state(&self) -> State {
        if self.bad || self.bits.bad {
            State::Bad
        } else if self.bits.position() > 8 * self.end {
            State::Over
        } else {
            State::Good
        }
    }
}
