//! Counting zeros and tabulating magnitudes.

use crate::select::cutoff_of;
use crate::weight::first_nan;
use crate::{Error, Result, Weight};

/// Number of zeros of either sign.
pub fn zeros<T: Weight>(values: &[T]) -> usize {
    // Counters of 32 bits run several values at a time.
    let count = |part: &[T]| part.iter().fold(0_u32, |zeros, &value| zeros + u32::from(value == T::ZERO));
    values.chunks(1 << 30).map(|part| count(part) as usize).sum()
}

/// Zeros out of a total.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Count {
    /// Number of zeros.
    pub zeros: u64,
    /// Number of values.
    pub total: u64,
}

impl Count {
    /// Counts the zeros of a slice.
    pub fn of<T: Weight>(values: &[T]) -> Self {
        Self { zeros: zeros(values) as u64, total: values.len() as u64 }
    }

    /// The fraction of zeros, in [0, 1]; 0 if there are no values.
    ///
    /// It is computed as 1 - density, as PaddleSlim does: the last bit differs from `zeros / total`.
    pub fn sparsity(self) -> f64 {
        if self.total == 0 {
            return 0.0;
        }
        1.0 - (self.total - self.zeros) as f64 / self.total as f64
    }
}

impl std::ops::Add for Count {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { zeros: self.zeros + other.zeros, total: self.total + other.total }
    }
}

impl std::iter::Sum for Count {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |sum, count| sum + count)
    }
}

/// Fractions of zeros, in [0, 1], by what they are fractions of.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct Sparsity {
    /// Over every value of every variable, running statistics included: PaddleSlim's `total_sparse`.
    pub all_parameters: f64,
    /// Over the weights that may be pruned, whatever a run chooses of them.
    pub prunable: f64,
    /// Over the kernels of all 1×1 convolutions.
    pub pointwise: f64,
}

/// One row of a table of magnitudes: a threshold and the share of weights that it prunes.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ThresholdRow {
    /// The share asked for, a fraction.
    pub share: f64,
    /// The smallest magnitude that is kept when that share is pruned; infinite if everything is.
    pub threshold: f64,
    /// The share of weights that this threshold prunes: zeros, and magnitudes below it. Ties make it smaller than
    /// `share`, more zeros than asked for make it larger.
    pub pruned: f64,
}

/// The magnitudes of a set of weights; in units of the weights.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Magnitudes {
    /// Zeros among all weights.
    pub count: Count,
    /// Smallest magnitude.
    pub minimum: f64,
    /// Magnitude at index `(total - 1) / 2` in ascending order: the lower of the two middle ones.
    pub median: f64,
    /// Largest magnitude.
    pub maximum: f64,
    /// One row for each share asked for, in that order.
    pub rows: Vec<ThresholdRow>,
}

/// Tabulates the magnitudes of several slices taken together, exactly, for shares in [0, 1].
///
/// Of no weights at all everything is 0, and the thresholds are infinite.
///
/// # Errors
/// [`Error::Ratio`] if a share lies outside [0, 1], [`Error::NotANumber`], with the index into its slice, if a
/// weight is NaN.
pub fn magnitudes<T: Weight>(parts: &[&[T]], shares: &[f64]) -> Result<Magnitudes> {
    for part in parts {
        if let Some(index) = first_nan(part) {
            return Err(Error::NotANumber { index });
        }
    }
    let count: Count = parts.iter().map(|part| Count::of(part)).sum();
    let largest = parts.iter().flat_map(|part| part.iter()).map(|value| value.magnitude_key()).max();
    let at = |index: u64| Ok::<_, Error>(cutoff_of(parts, index)?.magnitude().to_f64());
    let is_empty = count.total == 0;
    Ok(Magnitudes {
        count,
        minimum: if is_empty { 0.0 } else { at(0)? },
        median: if is_empty { 0.0 } else { at((count.total - 1) / 2)? },
        maximum: largest.map_or(0.0, |key| T::from_magnitude_key(key).to_f64()),
        rows: shares.iter().map(|&share| row(parts, count.total, share)).collect::<Result<_>>()?,
    })
}

/// How many of `total` weights a share of them is, rounded to the nearest.
pub fn count_of_share(share: f64, total: u64) -> u64 {
    ((share * total as f64).round() as u64).min(total)
}

/// Number of weights that a threshold prunes: zeros, and magnitudes below it.
pub fn pruned_by_threshold<T: Weight>(values: &[T], threshold: T) -> usize {
    let kept = |value: &T| value.magnitude() >= threshold && *value != T::ZERO;
    values.iter().filter(|value| !kept(value)).count()
}

fn row<T: Weight>(parts: &[&[T]], total: u64, share: f64) -> Result<ThresholdRow> {
    if !(0.0..=1.0).contains(&share) {
        return Err(Error::Ratio { name: "share", got: share });
    }
    let cutoff = cutoff_of(parts, count_of_share(share, total))?;
    let zeros: usize = parts.iter().map(|part| pruned_by_threshold(part, cutoff.magnitude())).sum();
    let pruned = Count { zeros: zeros as u64, total }.sparsity();
    Ok(ThresholdRow { share, threshold: cutoff.magnitude().to_f64(), pruned })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sparsity_is_one_minus_density() {
        assert_eq!(zeros(&[0.0_f32, -0.0, 1e-45]), 2);
        // The two ways to compute it differ in the last bit here.
        let count = Count { zeros: 3, total: 693 };
        assert_eq!(count.sparsity(), 0.004_329_004_329_004_293_4);
        assert_ne!(count.sparsity(), 3.0 / 693.0);
        assert_eq!(Count::default().sparsity(), 0.0);
        let sum: Count = [Count::of(&[0.0_f32, 1.0]), Count::of(&[0.0_f64])].into_iter().sum();
        assert_eq!(sum, Count { zeros: 2, total: 3 });
    }

    #[test]
    fn the_table_is_exact() {
        let parts = [&[0.5_f32, -0.1, 0.0][..], &[0.3, 0.3, -2.0]];
        assert_eq!(magnitudes(&[&[4.0_f32, 2.0, 1.0, 3.0][..]], &[]).unwrap().median, 2.0);
        let table = magnitudes(&parts, &[0.0, 0.5, 1.0]).unwrap();
        assert_eq!(table.count, Count { zeros: 1, total: 6 });
        let three_tenths = f64::from(0.3_f32);
        assert_eq!((table.minimum, table.median, table.maximum), (0.0, three_tenths, 2.0));
        // The threshold 0 prunes the one zero; 0.3 keeps both of the magnitudes that tie.
        let pruned = |zeros| Count { zeros, total: 6 }.sparsity();
        assert_eq!(table.rows[0], ThresholdRow { share: 0.0, threshold: 0.0, pruned: pruned(1) });
        assert_eq!(table.rows[1], ThresholdRow { share: 0.5, threshold: three_tenths, pruned: pruned(2) });
        assert_eq!(table.rows[2], ThresholdRow { share: 1.0, threshold: f64::INFINITY, pruned: 1.0 });
    }

    #[test]
    fn no_weights_make_an_empty_table() {
        let table = magnitudes::<f64>(&[], &[0.5]).unwrap();
        assert_eq!((table.minimum, table.median, table.maximum), (0.0, 0.0, 0.0));
        assert_eq!(table.rows[0].threshold, f64::INFINITY);
    }

    #[test]
    fn unusable_input_is_refused() {
        let nan = magnitudes(&[&[1.0_f32, f32::NAN][..]], &[]);
        assert_eq!(nan, Err(Error::NotANumber { index: 1 }));
        let share = magnitudes(&[&[1.0_f32][..]], &[1.5]);
        assert_eq!(share, Err(Error::Ratio { name: "share", got: 1.5 }));
    }
}
