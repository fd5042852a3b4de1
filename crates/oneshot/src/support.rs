//! Where a weight may have values.

use crate::error::{Error, Result};
use sparse_sparsity::Mask;
use std::cmp::Ordering;

/// What a pruned weight may keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// So many weights, anywhere.
    Count(usize),
    /// So many whole blocks of outputs × inputs.
    Blocks {
        /// Outputs and inputs of a block.
        size: [usize; 2],
        /// Blocks.
        count: usize,
    },
    /// `n` of every `m` neighbours along the inputs.
    Pattern {
        /// Kept of each group.
        n: usize,
        /// Weights of a group.
        m: usize,
    },
}

impl Support {
    /// Checks that it fits a weight of so many outputs and inputs.
    ///
    /// # Errors
    /// [`Error::Blocks`], [`Error::Pattern`].
    pub fn check(&self, outputs: usize, inputs: usize) -> Result<()> {
        match *self {
            Self::Count(_) => Ok(()),
            Self::Blocks { size: [rows, columns], .. } => {
                let divides = |part: usize, whole: usize| part > 0 && whole.is_multiple_of(part);
                let fits = divides(rows, outputs) && divides(columns, inputs);
                if fits { Ok(()) } else { Err(Error::Blocks { rows, columns, outputs, inputs }) }
            }
            Self::Pattern { n, m } => {
                let fits = n > 0 && n < m && inputs.is_multiple_of(m);
                if fits { Ok(()) } else { Err(Error::Pattern { n, m, inputs }) }
            }
        }
    }

    /// How many weights it keeps of so many outputs and inputs.
    pub fn kept(&self, outputs: usize, inputs: usize) -> usize {
        match *self {
            Self::Count(count) => count.min(outputs * inputs),
            Self::Blocks { size, count } => (count * size[0] * size[1]).min(outputs * inputs),
            Self::Pattern { n, m } => outputs * inputs / m * n,
        }
    }

    /// The weights of the greatest scores, row-major `[outputs, inputs]`; of equal ones the first. Blocks count by the sum of theirs.
    pub fn largest(&self, scores: &[f64], inputs: usize) -> Mask {
        match *self {
            Self::Count(count) => {
                let kept = greatest(scores, count);
                Mask::from_fn(scores.len(), |at| kept[at])
            }
            Self::Blocks { size: [rows, columns], count } => {
                let across = inputs / columns;
                let block = |at: usize| at / inputs / rows * across + at % inputs / columns;
                let mut sums = vec![0.0; scores.len() / rows / columns];
                scores.iter().enumerate().for_each(|(at, score)| sums[block(at)] += score);
                let kept = greatest(&sums, count);
                Mask::from_fn(scores.len(), |at| kept[block(at)])
            }
            Self::Pattern { n, m } => {
                let groups: Vec<Vec<bool>> = scores.chunks(m).map(|group| greatest(group, n)).collect();
                Mask::from_fn(scores.len(), |at| groups[at / m][at % m])
            }
        }
    }
}

/// Which are among the `count` greatest; of equal ones the first.
fn greatest(scores: &[f64], count: usize) -> Vec<bool> {
    let count = count.min(scores.len());
    let mut kept = vec![count == scores.len(); scores.len()];
    if count == 0 || count == scores.len() {
        return kept;
    }
    let mut order: Vec<u32> = (0..scores.len() as u32).collect();
    let before =
        |a: &u32, b: &u32| -> Ordering { scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b)) };
    let (first, last, _) = order.select_nth_unstable_by(count - 1, before);
    first.iter().chain(std::iter::once(&*last)).for_each(|&at| kept[at as usize] = true);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_are_kept_and_of_equal_ones_the_first() {
        let kept = |support: Support, scores: &[f64], inputs| {
            let mask = support.largest(scores, inputs);
            (0..scores.len()).filter(|&at| mask.get(at)).collect::<Vec<_>>()
        };
        assert_eq!(kept(Support::Count(2), &[1.0, 3.0, 1.0, 1.0], 4), [0, 1]);
        assert_eq!(kept(Support::Count(9), &[1.0, 3.0], 2), [0, 1]);
        assert!(kept(Support::Count(0), &[1.0, 3.0], 2).is_empty());
        let blocks = Support::Blocks { size: [2, 1], count: 1 };
        assert_eq!(kept(blocks, &[1.0, 2.0, 0.0, 3.0, 1.0, 2.5], 3), [0, 3]);
        assert_eq!(kept(Support::Pattern { n: 1, m: 2 }, &[1.0, 2.0, 4.0, 3.0], 2), [1, 2]);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        assert!(Support::Blocks { size: [2, 3], count: 1 }.check(4, 8).is_err());
        assert!(Support::Blocks { size: [0, 1], count: 1 }.check(4, 8).is_err());
        assert!(Support::Pattern { n: 2, m: 4 }.check(3, 8).is_ok());
        assert!(Support::Pattern { n: 4, m: 4 }.check(3, 8).is_err());
        assert!(Support::Pattern { n: 2, m: 4 }.check(3, 6).is_err());
        assert_eq!(Support::Pattern { n: 2, m: 4 }.kept(3, 8), 12);
    }
}
