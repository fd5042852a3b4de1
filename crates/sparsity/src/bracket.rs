//! A guess at where the cutoff lies, that spares the exact selection most of its work.
//!
//! A small sample gives two magnitudes between which the cutoff almost surely lies. One pass then counts the
//! values up to the lower one and collects the few between the two; the exact selection runs on those few. The
//! counts tell whether the guess was right, so the result is exact whatever the sample: if it was wrong there is
//! none, and the selection has to run on everything.

use crate::mask::WORD_BITS;
use crate::select::{Cutoff, cutoff_of};
use crate::threshold::keep_word;
use crate::weight::first_nan;
use crate::{Error, Result, Weight};

/// Two magnitudes between which a cutoff is thought to lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bracket<T> {
    low: T,
    high: T,
}

/// One chunk of values, split by a [`Bracket`].
#[derive(Debug, Clone, PartialEq)]
pub struct Split<T> {
    /// Number of values up to the lower end, it included.
    up_to_low: u64,
    /// The values above the lower end up to the upper one, it included.
    inside: Vec<T>,
}

impl<T: Weight> Bracket<T> {
    /// Guesses where the cutoff that prunes `count` of `total` values lies, from a sample of them.
    ///
    /// The ends lie four standard deviations of the sample's rank to either side.
    ///
    /// # Errors
    /// [`Error::NotANumber`], with the index into the sample, if a value is NaN.
    pub fn guess(sample: &[T], count: u64, total: u64) -> Result<Self> {
        let size = sample.len() as f64;
        let share = count as f64 / (total as f64).max(1.0);
        let rank = share * size;
        let margin = 4.0 * (size * share * (1.0 - share)).max(0.0).sqrt() + 2.0;
        let at = |rank: f64| Ok::<T, Error>(cutoff_of(&[sample], rank.max(0.0) as u64)?.magnitude());
        let low = if rank < margin { T::ZERO } else { at(rank - margin)? };
        Ok(Self { low, high: at(rank + margin)? })
    }

    /// Splits one chunk. `members` has the mask bits of the chunk if only some of its values count.
    ///
    /// # Errors
    /// [`Error::NotANumber`], with the index into `values`, if a value is NaN.
    pub fn split(&self, values: &[T], members: Option<&[u64]>) -> Result<Split<T>> {
        if let Some(index) = first_nan(values) {
            return Err(Error::NotANumber { index });
        }
        let next = |end: T| T::from_magnitude_key(end.magnitude_key() + 1);
        let (above_low, above_high) = (next(self.low), next(self.high));
        let mut split = Split { up_to_low: 0, inside: Vec::new() };
        for (index, group) in values.chunks(WORD_BITS).enumerate() {
            let all = u64::MAX >> (WORD_BITS - group.len());
            let counted = members.map_or(all, |words| words.get(index).map_or(0, |word| word & all));
            let larger = keep_word(group, above_low);
            split.up_to_low += u64::from((counted & !larger).count_ones());
            let mut inside = counted & larger & !keep_word(group, above_high);
            while inside != 0 {
                split.inside.push(group[inside.trailing_zeros() as usize]);
                inside &= inside - 1;
            }
        }
        Ok(split)
    }

    /// The cutoff that prunes `count` values of all chunks together; none if it lies outside the bracket.
    ///
    /// # Errors
    /// None but those of the selection, which has no NaN to find here.
    pub fn cutoff(&self, splits: &[Split<T>], count: u64) -> Result<Option<Cutoff<T>>> {
        let up_to_low: u64 = splits.iter().map(|split| split.up_to_low).sum();
        let inside: Vec<&[T]> = splits.iter().map(|split| split.inside.as_slice()).collect();
        match count.checked_sub(up_to_low) {
            Some(rest) if rest < inside.iter().map(|values| values.len() as u64).sum() => {
                cutoff_of(&inside, rest).map(Some)
            }
            // Below zero there is nothing: all that was counted is equal to it.
            None if self.low == T::ZERO => Ok(Some(Cutoff::within_zeros(count))),
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mask;

    fn weights(len: usize) -> Vec<f32> {
        (0..len).map(|index| (index * 7919 % 10_007) as f32 / 5000.0 - 1.0).collect()
    }

    fn by_chunks(bracket: &Bracket<f32>, weights: &[f32], count: u64) -> Option<Cutoff<f32>> {
        let splits: Vec<_> = weights.chunks(128).map(|chunk| bracket.split(chunk, None).unwrap()).collect();
        bracket.cutoff(&splits, count).unwrap()
    }

    #[test]
    fn a_good_guess_gives_the_exact_cutoff() {
        let weights = weights(10_000);
        let sample: Vec<f32> = weights.iter().copied().step_by(7).collect();
        for count in [0, 1, 100, 5000, 9000] {
            let bracket = Bracket::guess(&sample, count, 10_000).unwrap();
            let exact = cutoff_of(&[&weights], count).unwrap();
            assert_eq!(by_chunks(&bracket, &weights, count), Some(exact), "{count}");
        }
    }

    #[test]
    fn a_guess_collects_little() {
        let weights = weights(10_000);
        let sample: Vec<f32> = weights.iter().copied().step_by(3).collect();
        let split = Bracket::guess(&sample, 5000, 10_000).unwrap().split(&weights, None).unwrap();
        assert!(split.inside.len() < 1000, "{}", split.inside.len());
    }

    #[test]
    fn a_wrong_guess_gives_none() {
        let weights = weights(1000);
        let bracket = Bracket { low: 0.4, high: 0.5 };
        assert_eq!(by_chunks(&bracket, &weights, 10), None);
        assert_eq!(by_chunks(&bracket, &weights, 990), None);
    }

    #[test]
    fn a_cutoff_among_zeros_needs_no_collection() {
        let mut weights = weights(1000);
        weights[..900].fill(-0.0);
        let bracket = Bracket::guess(&weights, 500, 1000).unwrap();
        assert_eq!(by_chunks(&bracket, &weights, 500), Some(cutoff_of(&[&weights], 500).unwrap()));
        assert_eq!(bracket.split(&weights, None).unwrap().inside.len(), 0);
    }

    #[test]
    fn only_members_count() {
        let weights = weights(1000);
        let members = Mask::from_fn(1000, |index| index % 3 == 0);
        let counted: Vec<f32> = weights.iter().copied().step_by(3).collect();
        let bracket = Bracket::guess(&counted, 100, 334).unwrap();
        let split = bracket.split(&weights, Some(members.words())).unwrap();
        assert_eq!(bracket.cutoff(&[split], 100).unwrap(), Some(cutoff_of(&[&counted], 100).unwrap()));
    }

    #[test]
    fn nan_is_refused_and_infinity_is_not() {
        let bracket = Bracket { low: 0.0_f32, high: f32::INFINITY };
        assert_eq!(bracket.split(&[1.0, f32::NAN], None), Err(Error::NotANumber { index: 1 }));
        let split = bracket.split(&[1.0, f32::INFINITY], None).unwrap();
        assert_eq!(split.inside, [1.0, f32::INFINITY]);
    }
}
