//! Masks by a threshold on the magnitude.

use crate::mask::{WORD_BITS, smallest_non_zero};
use crate::weight::first_nan;
use crate::{Error, Mask, Result, Weight};

/// Keeps the weights with `|w| >= threshold` that are not zero.
///
/// `weights` is flattened, `[len]`, and the mask has the same length. `threshold` is in units of the weights; it
/// is rounded to the weights' own precision before it is compared, as PaddleSlim does in `f32`.
///
/// # Errors
/// [`Error::Threshold`] if the threshold is negative or not finite, [`Error::NotANumber`] if a weight is NaN.
///
/// Source: Han et al. 2015, arXiv:1506.02626, section 3; PaddleSlim, unstructured_pruner.
pub fn mask_by_threshold<T: Weight>(weights: &[T], threshold: f64) -> Result<Mask> {
    let minimum = smallest_kept::<T>(threshold)?;
    if let Some(index) = first_nan(weights) {
        return Err(Error::NotANumber { index });
    }
    let mut mask = Mask::all_pruned(weights.len());
    keep_words(weights, minimum, mask.words_mut());
    Ok(mask)
}

/// The smallest magnitude that a threshold keeps: the threshold in the precision of the weights, or, for a
/// threshold that rounds to 0, the smallest magnitude above zero, because zeros are never kept.
///
/// # Errors
/// [`Error::Threshold`] if the threshold is negative or not finite.
pub fn smallest_kept<T: Weight>(threshold: f64) -> Result<T> {
    if !threshold.is_finite() || threshold < 0.0 {
        return Err(Error::Threshold { got: threshold });
    }
    Ok(without_zeros(T::from_f64(threshold)))
}

/// The threshold itself, or for 0 the smallest magnitude above it: what `|w| >=` this keeps is never zero.
pub fn without_zeros<T: Weight>(threshold: T) -> T {
    if threshold == T::ZERO { smallest_non_zero() } else { threshold }
}

/// Writes the mask bits of one chunk: bit = 1 exactly when `|w| >= minimum`.
///
/// `weights` starts at bit 0 of `words`, and `words` has `weights.len().div_ceil(64)` words. A NaN is not kept,
/// neither as a weight nor as the minimum.
pub fn keep_words<T: Weight>(weights: &[T], minimum: T, words: &mut [u64]) {
    for (group, word) in weights.chunks(WORD_BITS).zip(words) {
        *word = keep_word(group, minimum);
    }
}

/// The mask bits of at most 64 weights.
#[inline]
pub(crate) fn keep_word<T: Weight>(weights: &[T], minimum: T) -> u64 {
    let mut lanes = [0_u8; WORD_BITS];
    for (lane, weight) in lanes.iter_mut().zip(weights) {
        *lane = u8::from(weight.magnitude() >= minimum);
    }
    let mut word = 0;
    for (byte, eight) in lanes.as_chunks::<8>().0.iter().enumerate() {
        // Each lane is 0 or 1. The product moves lane i to bit 56 + i, without carries.
        let packed = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        word |= packed << (8 * byte);
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_are_kept_and_zeros_are_not() {
        let mask = mask_by_threshold(&[0.5_f32, -0.5, 0.499, 0.0, f32::INFINITY], 0.5).unwrap();
        assert_eq!(mask.to_bytes(), [0b10011]);
        let mask = mask_by_threshold(&[-0.0_f64, 0.0, 5e-324], 0.0).unwrap();
        assert_eq!(mask.to_bytes(), [0b100]);
    }

    #[test]
    fn f32_compares_with_the_rounded_threshold_and_f64_with_the_exact_one() {
        // As an f64 the f32 nearest to 0.01 is below 0.01.
        let near = 0.01_f32;
        assert!(f64::from(near) < 0.01);
        assert_eq!(mask_by_threshold(&[near], 0.01).unwrap().kept(), 1);
        assert_eq!(mask_by_threshold(&[f64::from(near)], 0.01).unwrap().kept(), 0);
        // A threshold below every f32 still prunes zeros only.
        assert_eq!(mask_by_threshold(&[1e-45_f32, 0.0], 1e-60).unwrap().to_bytes(), [1]);
        // A threshold above every f32 keeps infinity only.
        assert_eq!(mask_by_threshold(&[f32::MAX, f32::INFINITY], 1e300).unwrap().to_bytes(), [2]);
    }

    #[test]
    fn every_bit_of_a_word_lands_where_it_belongs() {
        for index in 0..130 {
            let mut weights = [0.0_f32; 130];
            weights[index] = 1.0;
            assert_eq!(mask_by_threshold(&weights, 1.0).unwrap(), Mask::from_fn(130, |bit| bit == index));
        }
    }

    #[test]
    fn unusable_input_is_refused() {
        for threshold in [-1e-9, f64::NAN, f64::INFINITY] {
            let refused = mask_by_threshold(&[1.0_f32], threshold);
            assert!(matches!(refused, Err(Error::Threshold { .. })), "{threshold}");
        }
        assert_eq!(mask_by_threshold(&[0.0, f32::NAN], 0.1), Err(Error::NotANumber { index: 1 }));
    }
}
