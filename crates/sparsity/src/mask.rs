//! Masks: one bit per weight, 1 = kept.

use crate::{Error, Result, Weight};

/// Weights per word of a mask.
pub const WORD_BITS: usize = 64;

/// Which weights of one tensor are kept: one bit per weight in the order of the weights, 1 = kept.
///
/// Weight `i` is bit `i % 64` of word `i / 64`, least significant bit first. The bits of the last word that
/// stand for no weight are 0.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mask {
    len: usize,
    words: Vec<u64>,
}

impl Mask {
    /// A mask that keeps all of `len` weights.
    pub fn all_kept(len: usize) -> Self {
        let mut mask = Self { len, words: vec![u64::MAX; len.div_ceil(WORD_BITS)] };
        mask.clear_tail();
        mask
    }

    /// A mask that prunes all of `len` weights.
    pub fn all_pruned(len: usize) -> Self {
        Self { len, words: vec![0; len.div_ceil(WORD_BITS)] }
    }

    /// A mask of `len` weights that keeps those for which `keep(index)` is true.
    pub fn from_fn(len: usize, mut keep: impl FnMut(usize) -> bool) -> Self {
        let mut mask = Self::all_pruned(len);
        for index in 0..len {
            mask.words[index / WORD_BITS] |= u64::from(keep(index)) << (index % WORD_BITS);
        }
        mask
    }

    /// A mask that keeps the weights that are not zero.
    pub fn non_zero<T: Weight>(weights: &[T]) -> Self {
        let mut mask = Self::all_pruned(weights.len());
        crate::threshold::keep_words(weights, smallest_non_zero(), &mut mask.words);
        mask
    }

    /// Number of weights.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no weights.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether weight `index` is kept; false from `len()` on.
    pub fn get(&self, index: usize) -> bool {
        self.words.get(index / WORD_BITS).is_some_and(|word| word >> (index % WORD_BITS) & 1 == 1)
    }

    /// Number of kept weights.
    pub fn kept(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Number of pruned weights.
    pub fn pruned(&self) -> usize {
        self.len - self.kept()
    }

    /// The bits, 64 weights per word.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// The bits for writing. The caller leaves the bits after the last weight at 0.
    pub fn words_mut(&mut self) -> &mut [u64] {
        &mut self.words
    }

    /// Marks the weights `range` as kept; the part of the range from `len()` on is ignored.
    pub fn keep_range(&mut self, range: std::ops::Range<usize>) {
        let end = range.end.min(self.len);
        let mut start = range.start;
        while start < end {
            let word_end = ((start / WORD_BITS + 1) * WORD_BITS).min(end);
            let run = u64::MAX >> (WORD_BITS - (word_end - start));
            self.words[start / WORD_BITS] |= run << (start % WORD_BITS);
            start = word_end;
        }
    }

    /// Number of kept weights within `range`; the part of the range from `len()` on holds none.
    pub fn kept_in(&self, range: std::ops::Range<usize>) -> usize {
        let end = range.end.min(self.len);
        let mut start = range.start;
        let mut kept = 0;
        while start < end {
            let word_end = ((start / WORD_BITS + 1) * WORD_BITS).min(end);
            let run = u64::MAX >> (WORD_BITS - (word_end - start));
            kept += (self.words[start / WORD_BITS] >> (start % WORD_BITS) & run).count_ones() as usize;
            start = word_end;
        }
        kept
    }

    /// Prunes what `other` prunes as well.
    ///
    /// # Errors
    /// [`Error::Length`] if the masks are of different lengths.
    pub fn intersect(&mut self, other: &Self) -> Result<()> {
        if self.len != other.len {
            return Err(Error::Length { expected: self.len, got: other.len });
        }
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word &= other;
        }
        Ok(())
    }

    /// The bits as `len().div_ceil(8)` bytes, least significant bit first.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.truncate(self.len.div_ceil(8));
        bytes
    }

    /// The mask of `len` weights that [`Mask::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`Error::MaskBytes`] if the number of bytes is another, [`Error::MaskTail`] if bits are set after the
    /// last weight.
    pub fn from_bytes(len: usize, bytes: &[u8]) -> Result<Self> {
        let expected = len.div_ceil(8);
        if bytes.len() != expected {
            return Err(Error::MaskBytes { len, expected, got: bytes.len() });
        }
        let words = bytes
            .chunks(8)
            .map(|chunk| {
                let mut word = [0; 8];
                word[..chunk.len()].copy_from_slice(chunk);
                u64::from_le_bytes(word)
            })
            .collect();
        let mask = Self { len, words };
        let mut cleared = mask.clone();
        cleared.clear_tail();
        if cleared != mask {
            return Err(Error::MaskTail { len });
        }
        Ok(mask)
    }

    /// Sets the pruned weights to +0 and leaves the others as they are, bit for bit.
    ///
    /// `weights` has `len()` values; weights after the end of the mask are left alone.
    pub fn apply<T: Weight>(&self, weights: &mut [T]) {
        debug_assert_eq!(self.len, weights.len(), "the mask belongs to another tensor");
        apply_words(&self.words, weights);
    }

    fn clear_tail(&mut self) {
        let used = self.len % WORD_BITS;
        if let (1.., Some(last)) = (used, self.words.last_mut()) {
            *last &= u64::MAX >> (WORD_BITS - used);
        }
    }
}

/// Sets the weights whose bit in `words` is 0 to +0; `weights` starts at bit 0 of `words`.
pub fn apply_words<T: Weight>(words: &[u64], weights: &mut [T]) {
    for (&word, group) in words.iter().zip(weights.chunks_mut(WORD_BITS)) {
        match word {
            u64::MAX => {}
            0 => group.fill(T::ZERO),
            _ => {
                let lanes = spread_bits(word);
                for (weight, &lane) in group.iter_mut().zip(&lanes) {
                    *weight = weight.masked(lane != 0);
                }
            }
        }
    }
}

/// One byte per bit of a word, not 0 where the bit is 1; with whole bytes at hand the caller's loop runs on many
/// weights at a time.
#[inline]
fn spread_bits(word: u64) -> [u8; WORD_BITS] {
    let mut lanes = [0; WORD_BITS];
    for (eight, byte) in lanes.as_chunks_mut::<8>().0.iter_mut().zip(word.to_le_bytes()) {
        // Eight copies of the byte, each with another one of its bits left.
        *eight = ((u64::from(byte) * 0x0101_0101_0101_0101) & 0x8040_2010_0804_0201).to_le_bytes();
    }
    lanes
}

/// The smallest magnitude above zero: `|w| >= smallest_non_zero()` exactly when `w` is not zero.
pub(crate) fn smallest_non_zero<T: Weight>() -> T {
    T::from_magnitude_key(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_zero() {
        for len in [0, 1, 63, 64, 65, 130] {
            let mask = Mask::all_kept(len);
            assert_eq!((mask.kept(), mask.pruned(), mask.words().len()), (len, 0, len.div_ceil(64)));
            assert_eq!(mask, Mask::from_fn(len, |_| true));
            assert!(!mask.get(len));
        }
    }

    #[test]
    fn bytes_are_least_significant_bit_first() {
        let mask = Mask::from_fn(10, |index| index == 1 || index == 8);
        assert_eq!(mask.to_bytes(), [0b10, 0b01]);
        assert_eq!(Mask::from_bytes(10, &[2, 1]), Ok(mask));
    }

    #[test]
    fn bytes_of_another_tensor_are_refused() {
        assert_eq!(Mask::from_bytes(10, &[2]), Err(Error::MaskBytes { len: 10, expected: 2, got: 1 }));
        assert_eq!(Mask::from_bytes(10, &[2, 4]), Err(Error::MaskTail { len: 10 }));
    }

    #[test]
    fn pruned_weights_become_positive_zero() {
        let mut weights: Vec<f32> = (0..200).map(|index| -1.0 - index as f32).collect();
        let before = weights.clone();
        let mask = Mask::from_fn(200, |index| index >= 128 || (index >= 64 && index % 3 == 0));
        mask.apply(&mut weights);
        for (index, (after, before)) in weights.iter().zip(&before).enumerate() {
            let wanted = if mask.get(index) { *before } else { 0.0 };
            assert_eq!(after.to_bits(), wanted.to_bits(), "weight {index}");
        }
    }

    #[test]
    fn ranges_set_and_count_what_single_bits_would() {
        for (start, end) in [(0, 0), (0, 64), (3, 5), (60, 70), (1, 199), (150, 400)] {
            let mut mask = Mask::all_pruned(200);
            mask.keep_range(start..end);
            let inside = |index: usize| (start..end).contains(&index);
            assert_eq!(mask, Mask::from_fn(200, inside), "{start}..{end}");
            assert_eq!(mask.kept_in(2..150), (2..150).filter(|&index| inside(index)).count());
        }
    }

    #[test]
    fn only_zeros_are_missing_from_the_non_zero_mask() {
        let mask = Mask::non_zero(&[0.0_f32, -0.0, 1e-45, -3.0]);
        assert_eq!(mask.to_bytes(), [0b1100]);
    }

    #[test]
    fn an_intersection_keeps_what_both_keep() {
        let mut mask = Mask::from_fn(100, |index| index % 2 == 0);
        mask.intersect(&Mask::from_fn(100, |index| index % 3 == 0)).unwrap();
        assert_eq!(mask, Mask::from_fn(100, |index| index % 6 == 0));
        assert_eq!(mask.intersect(&Mask::all_kept(99)), Err(Error::Length { expected: 100, got: 99 }));
    }
}
