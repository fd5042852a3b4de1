//! Huffman tables and the reader of their codes.
//!
//! A lookup by the next few bits gives run, value and length of a coefficient in one step if code and value fit
//! into them, as nearly all do; else it gives the code alone, and a code longer than that is searched for.

/// Bits looked up at once.
const LOOK: u32 = 11;
/// In an entry: value bits follow that are still to be read; run and size are given.
const PARTIAL: u32 = 1 << 6;
/// A length that no code has.
const NO_CODE: u32 = 17;
/// In an entry: the lowest bits count what is consumed.
const LENGTH: u32 = (1 << 6) - 1;
/// Runs from here on end a block: past every coefficient. A progressive scan takes how much more is a power of two of
/// blocks that end.
pub(super) const END: u32 = 128;

/// A table of either kind (constant or other coefficients).
#[derive(Clone)]
pub(super) struct Table {
    /// Length in bits 0 to 5, `PARTIAL`, run in bits 8 to 15, value (or size, if partial) above; 0 for a code that is
    /// longer than `LOOK` or none.
    look: Box<[u32; 1 << LOOK]>,
    /// By length: the first code that is longer, aligned to the left in 16 bits.
    beyond: [u32; 17],
    /// By length: what to add to a code to get the place of its symbol.
    place: [i32; 17],
    symbols: Vec<u8>,
}

impl Table {
    /// From the counts of codes by length (1 to 16) and their symbols; none if they are no prefix code, use a code of ones
    /// alone, or ask for values of more than 15 bits.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8], constant: bool) -> Option<Self> {
        if constant && symbols.iter().any(|&symbol| symbol > 15) || symbols.len() > 256 {
            return None;
        }
        let mut look = Box::new([0; 1 << LOOK]);
        let (mut beyond, mut place) = ([0; 17], [0; 17]);
        let (mut code, mut at) = (0u32, 0usize);
        for length in 1..=16u32 {
            let count = usize::from(counts[length as usize - 1]);
            place[length as usize] = at as i32 - code as i32;
            for &symbol in symbols.get(at..at + count)? {
                if code + 1 >= 1 << length {
                    return None;
                }
                if length <= LOOK {
                    fill(&mut look[..], code, length, symbol);
                }
                code += 1;
            }
            at += count;
            beyond[length as usize] = code << (16 - length);
            code <<= 1;
        }
        Some(Self { look, beyond, place, symbols: symbols.to_vec() })
    }

    /// The symbol of a long code, and its length; length 17 and symbol 0 if there is no such code.
    #[cold]
    fn search(&self, next: u32) -> (u32, u8) {
        for length in LOOK + 1..=16 {
            if next < self.beyond[length as usize] {
                let place = (next >> (16 - length)) as i32 + self.place[length as usize];
                return (length, self.symbols.get(place as usize).copied().unwrap_or(0));
            }
        }
        (NO_CODE, 0)
    }
}

/// Writes the entries of one code, for each value that may follow.
fn fill(look: &mut [u32], code: u32, length: u32, symbol: u8) {
    let (run, size) = split(symbol);
    let first = (code << (LOOK - length)) as usize;
    let rest = LOOK - length;
    for (low, entry) in look[first..first + (1 << rest)].iter_mut().enumerate() {
        *entry = if size > rest {
            length | PARTIAL | run << 8 | size << 16
        } else {
            let value = extend(low as u32 >> (rest - size), size);
            (length + size) | run << 8 | (value as u32) << 16
        };
    }
}

/// Run and size of a symbol; the end of a block, or of a power of two of them, as a run past everything.
#[inline(always)]
fn split(symbol: u8) -> (u32, u32) {
    let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
    if size == 0 && run != 15 { (END + run, 0) } else { (run, size) }
}

/// The signed number that `size` bits stand for.
#[inline(always)]
fn extend(bits: u32, size: u32) -> i32 {
    let half = (1u32 << size) >> 1;
    if bits < half { bits as i32 - (1 << size) + 1 } else { bits as i32 }
}

/// Reads codes from bytes without stuffing.
pub(super) struct Bits<'data> {
    data: &'data [u8],
    /// The next byte that is not in the buffer.
    next: usize,
    /// The next bits, from the highest down; below `count` of them, ones that come again.
    buffer: u64,
    count: u32,
    /// What was read is no coded image: there is no such code, or a block has too many coefficients.
    pub(super) bad: bool,
}

impl<'data> Bits<'data> {
    pub(super) fn new(data: &'data [u8], start: usize) -> Self {
        Self { data, next: start, buffer: 0, count: 0, bad: false }
    }

    /// Bits consumed since the first byte of the data.
    pub(super) fn position(&self) -> usize {
        self.next * 8 - self.count as usize
    }

    /// At least 32 bits, zeros after the end.
    #[inline(always)]
    fn refill(&mut self) {
        if self.count < 32 {
            let eight = self.data.get(self.next..).and_then(<[u8]>::first_chunk);
            let word = eight.map_or(0, |bytes| u64::from_be_bytes(*bytes));
            self.buffer |= word >> self.count;
            let bytes = (63 - self.count) >> 3;
            self.next += bytes as usize;
            self.count += 8 * bytes;
        }
    }

    #[inline(always)]
    fn skip(&mut self, bits: u32) {
        self.buffer <<= bits;
        self.count -= bits;
    }

    /// The next bits as a number, at most 15.
    #[inline(always)]
    pub(super) fn take(&mut self, bits: u32) -> u32 {
        self.refill();
        let value = ((self.buffer >> 32) >> (32 - bits)) as u32;
        self.skip(bits);
        value
    }

    #[inline(always)]
    fn value(&mut self, size: u32) -> i32 {
        let bits = ((self.buffer >> 32) >> (32 - size)) as u32;
        self.skip(size);
        extend(bits, size)
    }

    /// The next coefficient: how many zeros before it ([`END`] or more for the end), and its value.
    #[inline(always)]
    pub(super) fn coefficient(&mut self, table: &Table) -> (usize, i32) {
        self.refill();
        let entry = table.look[(self.buffer >> (64 - LOOK)) as usize];
        if entry & PARTIAL == 0 && entry != 0 {
            self.skip(entry & LENGTH);
            return (((entry >> 8) & 0xff) as usize, entry as i32 >> 16);
        }
        let (run, size) = if entry == 0 {
            let (length, symbol) = table.search((self.buffer >> 48) as u32);
            self.skip(length);
            self.bad |= length == NO_CODE;
            split(symbol)
        } else {
            self.skip(entry & LENGTH);
            ((entry >> 8) & 0xff, entry >> 16)
        };
        (run as usize, self.value(size))
    }

    /// Reads one block: the difference of its constant coefficient, and where its last other coefficient lies (0 for
    /// none), having written the others to their places in `block`, which holds zeros, if `STORE`.
    #[inline(always)]
    pub(super) fn block<const STORE: bool>(
        &mut self,
        constant: &Table,
        other: &Table,
        block: &mut [i16; 64],
    ) -> (i32, usize) {
        let (_, difference) = self.coefficient(constant);
        let (mut at, mut last) = (1, 0);
        while at < 64 {
            let (run, value) = self.coefficient(other);
            at += run;
            if STORE {
                block[usize::from(ZIGZAG[at & 255]) & 63] = value as i16;
                last = if at < 64 { at } else { last };
            }
            at += 1;
        }
        // The last coefficient ends a block as well; a run past it does not.
        if at.wrapping_sub(65) < END as usize - 64 {
            self.bad = true;
        }
        (difference, last)
    }
}

/// From zigzag to rows; places past the end, which a wrong run may reach, are the last one.
pub(super) const ZIGZAG: [u8; 256] = {
    let mut places = [63; 256];
    let (mut x, mut y, mut at) = (0i32, 0i32, 0);
    while at < 64 {
        places[at] = (y * 8 + x) as u8;
        let up = (x + y) % 2 == 0;
        let (along, across) = if up { (x, y) } else { (y, x) };
        let (along, across) =
            if along == 7 { (7, across + 1) } else { (along + 1, if across == 0 { 0 } else { across - 1 }) };
        if up {
            (x, y) = (along, across);
        } else {
            (y, x) = (along, across);
        }
        at += 1;
    }
    places
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Symbols by code: 0x01 = 0, 0x02 = 10, 0x11 = 110, 0x00 (end) = 1110, then one of each longer length.
    fn table() -> Table {
        let counts = [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1];
        let symbols = [1, 2, 0x11, 0, 3, 4, 5, 6, 7, 8, 9, 10, 0xf0, 0x3a, 0x21, 0x0f];
        Table::new(&counts, &symbols, false).unwrap()
    }

    fn bytes(bits: &str) -> Vec<u8> {
        let padded = format!("{bits:0<800}");
        padded
            .as_bytes()
            .chunks(8)
            .map(|byte| byte.iter().fold(0, |sum, bit| sum * 2 + (bit - b'0')))
            .collect()
    }

    #[test]
    fn zigzag_is_the_order_of_the_standard() {
        assert_eq!(ZIGZAG[..16], [0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5]);
        assert_eq!(ZIGZAG[54..64], [39, 46, 53, 60, 61, 54, 47, 55, 62, 63][..]);
        let mut sorted = ZIGZAG[..64].to_vec();
        sorted.sort_unstable();
        assert!(sorted.iter().enumerate().all(|(at, &place)| usize::from(place) == at));
    }

    #[test]
    fn codes_of_every_length_are_read() {
        let table = table();
        let next = |bits: &str| {
            let data = bytes(bits);
            let mut reader = Bits::new(&data, 0);
            let read = reader.coefficient(&table);
            (read.0, read.1, reader.position())
        };
        assert_eq!(next("01"), (0, 1, 2));
        assert_eq!(next("00"), (0, -1, 2));
        assert_eq!(next("1011"), (0, 3, 4));
        assert_eq!(next("1000"), (0, -3, 4));
        assert_eq!(next("1101"), (1, 1, 4));
        assert_eq!(next("1110"), (END as usize, 0, 4));
        // A code that fits with a value that does not, then codes longer than the lookup.
        assert_eq!(next("1111111101111111"), (0, 127, 16));
        assert_eq!(next("1111111111110"), (15, 0, 13));
        assert_eq!(next("111111111111100000000001"), (3, -1022, 24));
        assert_eq!(next("1111111111111110111111111111111"), (0, 32767, 31));
        // No such code.
        assert_eq!(next("1111111111111111"), (END as usize, 0, 17));
    }

    #[test]
    fn what_is_no_prefix_code_is_refused() {
        let mut counts = [0; 16];
        counts[0] = 3;
        assert!(Table::new(&counts, &[1, 2, 3], false).is_none());
        assert!(Table::new(&counts, &[1, 2], false).is_none());
        counts[0] = 1;
        assert!(Table::new(&counts, &[16], true).is_none());
        counts[0] = 2;
        assert!(Table::new(&counts, &[1, 2], false).is_none(), "a code of ones alone");
        counts[0] = 1;
        assert!(Table::new(&counts, &[16], false).is_some());
    }

    #[test]
    fn a_block_ends_and_reading_past_the_data_gives_zeros() {
        let table = table();
        let data = bytes("01110111100");
        let mut block = [0; 64];
        let mut reader = Bits::new(&data, 0);
        assert_eq!(reader.block::<true>(&table, &table, &mut block), (1, 2));
        assert_eq!((block[8], block[1]), (1, 0));
        let mut reader = Bits::new(&[], 0);
        let (difference, last) = reader.block::<true>(&table, &table, &mut block);
        assert_eq!((difference, last), (-1, 63));
    }
}
