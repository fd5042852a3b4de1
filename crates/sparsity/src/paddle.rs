//! The counting rule of PaddleSlim: from a ratio to a threshold.
//!
//! Of N values `zeros` are 0. With `r = max(ratio * N - zeros, 0) / (N - zeros)` the threshold is the magnitude
//! at index `max(0, int(r * (N - zeros)) - 1)` of the sorted non-zero magnitudes, all in `f64`; without non-zero
//! values it is 0. What is `>=` the threshold and not zero is kept, so without ties one weight fewer is pruned
//! than asked for.
//!
//! Source: PaddleSlim, unstructured_pruner.

use crate::report::zeros;
use crate::select::cutoff_of;
use crate::{Error, Result, Weight};

/// Index of the threshold among all `total` magnitudes in ascending order, `zeros` of which are 0; none if all
/// of them are.
pub fn threshold_index(ratio: f64, total: u64, zeros: u64) -> Option<u64> {
    let non_zero = (total - zeros) as f64;
    if total == zeros {
        return None;
    }
    let share = (ratio * total as f64 - zeros as f64).max(0.0) / non_zero;
    let index = ((share * non_zero) as u64).saturating_sub(1);
    Some(zeros + index)
}

/// The threshold of PaddleSlim for a ratio over several slices taken together.
///
/// # Errors
/// [`Error::Ratio`] if the ratio lies outside [0, 1], [`Error::NotANumber`] if a value is NaN.
pub fn threshold<T: Weight>(parts: &[&[T]], ratio: f64) -> Result<T> {
    if !(0.0..=1.0).contains(&ratio) {
        return Err(Error::Ratio { name: "ratio", got: ratio });
    }
    let total: usize = parts.iter().map(|part| part.len()).sum();
    let zeros: usize = parts.iter().map(|part| zeros(part)).sum();
    match threshold_index(ratio, total as u64, zeros as u64) {
        Some(index) => Ok(cutoff_of(parts, index)?.magnitude()),
        None => Ok(T::ZERO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threshold::mask_by_threshold;

    #[test]
    fn one_weight_fewer_than_asked_goes() {
        let weights: Vec<f32> = (1..=10).map(|value| value as f32).collect();
        let threshold = threshold(&[&weights], 0.5).unwrap();
        assert_eq!(threshold, 5.0);
        assert_eq!(mask_by_threshold(&weights, f64::from(threshold)).unwrap().pruned(), 4);
    }

    #[test]
    fn zeros_count_towards_the_ratio() {
        assert_eq!(threshold_index(0.5, 10, 2), Some(4));
        assert_eq!(threshold_index(0.1, 10, 2), Some(2));
        assert_eq!(threshold_index(0.9, 10, 10), None);
        assert_eq!(threshold(&[&[0.0_f32, -0.0][..]], 0.5), Ok(0.0));
        assert_eq!(threshold(&[&[0.0_f64, 2.0][..], &[-1.0, 0.0]], 0.75), Ok(1.0));
    }

    #[test]
    fn a_ratio_outside_zero_and_one_is_refused() {
        for ratio in [-0.1, 1.1, f64::NAN] {
            assert!(matches!(threshold(&[&[1.0_f32][..]], ratio), Err(Error::Ratio { .. })));
        }
    }
}
