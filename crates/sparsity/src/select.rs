//! Exact selection of the smallest magnitudes, without sorting.
//!
//! A magnitude is an integer key ([`Weight::magnitude_key`]). A pass over the values counts how often each value
//! of the key's most significant 11 bits occurs; the count wanted falls into one of those bins; the next pass
//! counts the next 11 bits within that bin; and so on: three passes for `f32`, six for `f64`. What comes out is a
//! [`Cutoff`]: prune all magnitudes below it, and so many of those equal to it, lowest index first.
//!
//! Counts of chunks add up ([`Histogram::merge`]), so a caller may count chunks on several threads: integer sums
//! do not depend on the order. A value may stand for several weights (a block): then it carries their number.

use std::marker::PhantomData;
use std::ops::ControlFlow;

use crate::mask::WORD_BITS;
use crate::threshold::keep_word;
use crate::weight::first_nan;
use crate::{Error, Mask, Result, Weight};

/// Most bits of a key that one pass resolves.
pub const DIGIT_BITS: u32 = 11;

const BINS: usize = 1 << DIGIT_BITS;

/// The bits of the key that one pass counts, among the keys that begin with `prefix`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Digit {
    prefix: u64,
    shift: u32,
    bits: u32,
}

/// A selection under way: the leading bits of the cutoff's key that are known so far.
#[derive(Debug, Clone)]
pub struct Selection<T> {
    digit: Digit,
    /// Weights still to prune among the keys that begin with the prefix.
    count: u64,
    weight: PhantomData<T>,
}

/// How many weights fall into each bin of one digit of their keys.
#[derive(Debug, Clone)]
pub struct Histogram<T> {
    digit: Digit,
    bins: Vec<u64>,
    weight: PhantomData<T>,
}

/// The magnitude at which pruning stops.
///
/// Smaller magnitudes are pruned and larger ones kept. Of those equal to it the first ones in index order are
/// pruned, as many as fit into [`Cutoff::budget`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cutoff<T> {
    key: u64,
    budget: u64,
    weight: PhantomData<T>,
}

impl<T: Weight> Selection<T> {
    /// Starts the selection of the `count` weights with the smallest magnitudes.
    pub fn new(count: u64) -> Self {
        let digit = Digit { prefix: 0, shift: T::KEY_BITS - DIGIT_BITS, bits: DIGIT_BITS };
        Self { digit, count, weight: PhantomData }
    }

    /// An empty histogram of the digit that is to be counted next, over all values.
    pub fn histogram(&self) -> Histogram<T> {
        Histogram { digit: self.digit, bins: vec![0; BINS], weight: PhantomData }
    }

    /// Resolves one digit by its complete histogram: goes on to the next digit, or breaks with the cutoff.
    ///
    /// If there are no more weights than asked for, the cutoff prunes them all.
    pub fn narrow(self, histogram: &Histogram<T>) -> ControlFlow<Cutoff<T>, Self> {
        debug_assert_eq!(self.digit, histogram.digit, "the histogram counts another digit");
        let Digit { prefix, shift, bits } = self.digit;
        let mut count = self.count;
        for (bin, &weights) in (0..).zip(&histogram.bins) {
            if count < weights {
                let prefix = prefix << bits | bin;
                if shift == 0 {
                    return ControlFlow::Break(Cutoff { key: prefix, budget: count, weight: PhantomData });
                }
                let bits = shift.min(DIGIT_BITS);
                let digit = Digit { prefix, shift: shift - bits, bits };
                return ControlFlow::Continue(Self { digit, count, weight: PhantomData });
            }
            count -= weights;
        }
        ControlFlow::Break(Cutoff::everything())
    }
}

impl<T: Weight> Histogram<T> {
    /// Counts values that stand for `weights_each` weights each.
    ///
    /// # Errors
    /// [`Error::NotANumber`], with the index into `values`, if a value is NaN; the first pass finds it.
    pub fn add(&mut self, values: &[T], weights_each: u64) -> Result<()> {
        // Two tables in turns: equal digits often follow each other, and an increment waits for the one before
        // it in the same place. 32-bit counters keep both in the nearest cache.
        for part in values.chunks(1 << 30) {
            let mut tables = [[0_u32; BINS]; 2];
            for pair in part.chunks(2) {
                for (table, value) in tables.iter_mut().zip(pair) {
                    if let Some(bin) = self.digit.bin(value.magnitude_key()) {
                        table[bin] += 1;
                    }
                }
            }
            for table in &tables {
                for (bin, &count) in self.bins.iter_mut().zip(table) {
                    *bin += u64::from(count) * weights_each;
                }
            }
        }
        self.refuse_nan(values)
    }

    /// Counts values that stand for `weights_of(index)` weights each; 0 leaves a value out.
    ///
    /// # Errors
    /// [`Error::NotANumber`], with the index into `values`, if a value is NaN; the first pass finds it.
    pub fn add_weighted(&mut self, values: &[T], weights_of: impl Fn(usize) -> u64) -> Result<()> {
        for (index, value) in values.iter().enumerate() {
            if let Some(bin) = self.digit.bin(value.magnitude_key()) {
                self.bins[bin] += weights_of(index);
            }
        }
        first_nan_error(values, self.digit.is_first::<T>())
    }

    /// Adds the counts of other values for the same digit.
    pub fn merge(&mut self, other: &Self) {
        debug_assert_eq!(self.digit, other.digit, "the histograms count different digits");
        for (bin, other) in self.bins.iter_mut().zip(&other.bins) {
            *bin += other;
        }
    }

    /// A NaN falls into the topmost bins of the first digit, beside infinity: only if these hold anything are
    /// the values looked at again.
    fn refuse_nan(&self, values: &[T]) -> Result<()> {
        let first = self.digit.is_first::<T>();
        let top = (T::INFINITY_KEY >> self.digit.shift) as usize;
        first_nan_error(values, first && self.bins[top..].iter().any(|&count| count > 0))
    }
}

impl Digit {
    /// The bin of a key, if the key begins with the prefix.
    #[inline]
    fn bin(self, key: u64) -> Option<usize> {
        let bin = (key >> self.shift) as usize & ((1 << self.bits) - 1) & (BINS - 1);
        (key >> (self.shift + self.bits) == self.prefix).then_some(bin)
    }

    fn is_first<T: Weight>(self) -> bool {
        self.shift + self.bits == T::KEY_BITS
    }
}

impl<T: Weight> Cutoff<T> {
    /// The cutoff that prunes every weight.
    pub fn everything() -> Self {
        Self { key: T::INFINITY_KEY + 1, budget: 0, weight: PhantomData }
    }

    /// The cutoff that prunes the first `count` of the zeros, and nothing else.
    pub(crate) fn within_zeros(count: u64) -> Self {
        Self { key: 0, budget: count, weight: PhantomData }
    }

    /// The cutoff as a threshold: the magnitudes below it are pruned. Infinite if everything is pruned.
    pub fn magnitude(&self) -> T {
        T::from_magnitude_key(self.key.min(T::INFINITY_KEY))
    }

    /// How many weights to prune among those equal to the cutoff, lowest index first.
    pub fn budget(&self) -> u64 {
        self.budget
    }

    /// How many weights of these values are equal to the cutoff; a value stands for `weights_of(index)` weights.
    pub fn tied(&self, values: &[T], weights_of: impl Fn(usize) -> u64) -> u64 {
        self.ties(values).map(weights_of).sum()
    }

    /// Index of the first value equal to the cutoff that no longer fits into what is left of the budget, or the
    /// number of values if all fit. Ties before it are pruned, ties from it on are kept.
    pub fn boundary(&self, values: &[T], budget: u64, weights_of: impl Fn(usize) -> u64) -> usize {
        let mut left = budget;
        self.ties(values)
            .find(|&index| {
                let weights = weights_of(index);
                let fits = weights <= left;
                left = left.saturating_sub(weights);
                !fits
            })
            .unwrap_or(values.len())
    }

    /// The smallest magnitude that is kept where ties are pruned, or where they are kept.
    ///
    /// If everything is pruned this is NaN, and no magnitude is `>=` NaN.
    pub fn minimum(&self, ties_are_kept: bool) -> T {
        T::from_magnitude_key(if ties_are_kept { self.key } else { self.key + 1 })
    }

    /// Writes the mask bits of one chunk whose ties are pruned before index `boundary` and kept from it on.
    ///
    /// `values` starts at bit 0 of `words`.
    pub fn keep_words(&self, values: &[T], boundary: usize, words: &mut [u64]) {
        let (before, after) = (self.minimum(false), self.minimum(true));
        for (index, (group, word)) in values.chunks(WORD_BITS).zip(words).enumerate() {
            *word = match boundary.saturating_sub(index * WORD_BITS) {
                0 => keep_word(group, after),
                WORD_BITS.. => keep_word(group, before),
                inside => {
                    let low = u64::MAX >> (WORD_BITS - inside);
                    keep_word(group, before) & low | keep_word(group, after) & !low
                }
            };
        }
    }

    fn ties<'a>(&self, values: &'a [T]) -> impl Iterator<Item = usize> + use<'a, T> {
        let key = self.key;
        let equal = move |(index, value): (usize, &T)| (value.magnitude_key() == key).then_some(index);
        values.iter().enumerate().filter_map(equal)
    }
}

/// The mask that prunes exactly `count` weights, those with the smallest magnitudes; ties go by index. A count
/// above the number of weights prunes them all.
///
/// # Errors
/// [`Error::NotANumber`] if a weight is NaN.
pub fn prune_smallest<T: Weight>(weights: &[T], count: usize) -> Result<Mask> {
    let cutoff = cutoff_of(&[weights], count as u64)?;
    let boundary = cutoff.boundary(weights, cutoff.budget(), |_| 1);
    let mut mask = Mask::all_pruned(weights.len());
    cutoff.keep_words(weights, boundary, mask.words_mut());
    Ok(mask)
}

/// The cutoff that prunes `count` weights of several slices taken together.
///
/// # Errors
/// [`Error::NotANumber`], with the index into its slice, if a weight is NaN.
pub fn cutoff_of<T: Weight>(parts: &[&[T]], count: u64) -> Result<Cutoff<T>> {
    let mut selection = Selection::new(count);
    loop {
        let mut histogram = selection.histogram();
        for part in parts {
            histogram.add(part, 1)?;
        }
        match selection.narrow(&histogram) {
            ControlFlow::Continue(next) => selection = next,
            ControlFlow::Break(cutoff) => return Ok(cutoff),
        }
    }
}

fn first_nan_error<T: Weight>(values: &[T], look: bool) -> Result<()> {
    match look.then(|| first_nan(values)).flatten() {
        Some(index) => Err(Error::NotANumber { index }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_by_index() {
        let mask = prune_smallest(&[1.0_f32, -0.5, 0.5, 0.5, 2.0], 2).unwrap();
        assert_eq!(mask.to_bytes(), [0b11001]);
    }

    #[test]
    fn no_count_and_every_count_are_exact() {
        let weights = [0.25_f64, -0.25, 0.0, 3.0, f64::INFINITY];
        for count in 0..=weights.len() {
            assert_eq!(prune_smallest(&weights, count).unwrap().pruned(), count);
        }
        assert_eq!(prune_smallest(&weights, 9).unwrap().pruned(), 5);
        assert_eq!(prune_smallest::<f32>(&[], 0).unwrap().len(), 0);
    }

    #[test]
    fn the_cutoff_is_the_smallest_kept_magnitude() {
        let weights = [0.3_f32, -0.1, 0.2, 0.4];
        assert_eq!(cutoff_of(&[&weights], 2).unwrap().magnitude(), 0.3);
        assert_eq!(cutoff_of(&[&weights[..2], &weights[2..]], 0).unwrap().magnitude(), 0.1);
        assert_eq!(cutoff_of(&[&weights], 4).unwrap().magnitude(), f32::INFINITY);
    }

    #[test]
    fn nan_is_refused_and_infinity_is_not() {
        let refused = prune_smallest(&[0.0, f32::INFINITY, -f32::NAN], 1);
        assert_eq!(refused, Err(Error::NotANumber { index: 2 }));
        assert_eq!(prune_smallest(&[f32::NEG_INFINITY, 1.0], 1).unwrap().to_bytes(), [0b01]);
        let mut histogram = Selection::<f64>::new(1).histogram();
        assert_eq!(histogram.add_weighted(&[0.0, f64::NAN], |_| 2), Err(Error::NotANumber { index: 1 }));
    }

    #[test]
    fn a_value_that_stands_for_several_weights_goes_as_a_whole() {
        let scores = [0.1_f64, 0.1, 0.1, 0.05];
        let weights_of = |index: usize| [2, 4, 1, 3][index];
        let mut selection = Selection::new(8);
        let cutoff = loop {
            let mut histogram = selection.histogram();
            histogram.add_weighted(&scores, weights_of).unwrap();
            match selection.narrow(&histogram) {
                ControlFlow::Continue(next) => selection = next,
                ControlFlow::Break(cutoff) => break cutoff,
            }
        };
        // 3 of 8 weights lie below the cutoff; of the ties 2 fit into the remaining 5, 2 + 4 do not, and the
        // third tie does not overtake the second.
        assert_eq!((cutoff.magnitude(), cutoff.budget()), (0.1, 5));
        assert_eq!(cutoff.tied(&scores, weights_of), 7);
        assert_eq!(cutoff.boundary(&scores, cutoff.budget(), weights_of), 1);
        assert_eq!(cutoff.boundary(&scores, 7, weights_of), 4);
    }
}
