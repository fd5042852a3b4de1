//! Where a weight may have values.

use crate::error::{Error, Result};
use sparse_sparsity::Mask;
use std::cmp::Ordering;

/// What a pruned weight may keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// So many weights, anywhere.
    Count(usize),
    /// So many whole blocks of outputs × inputs; those at the edges hold what is there.
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
        /// Inputs from one neighbour to the next: the positions of a kernel, since neighbours are channels.
        apart: usize,
    },
}

impl Support {
    /// Checks that it fits a weight of so many inputs.
    ///
    /// # Errors
    /// [`Error::Blocks`], [`Error::Pattern`].
    pub fn check(&self, inputs: usize) -> Result<()> {
        match *self {
            Self::Count(_) => Ok(()),
            Self::Blocks { size, .. } => match size {
                [0, _] | [_, 0] => Err(Error::Blocks { size }),
                _ => Ok(()),
            },
            Self::Pattern { n, m, apart } => {
                let channels = inputs / apart.max(1);
                let fits = n > 0 && n < m && apart > 0 && channels.is_multiple_of(m);
                if fits { Ok(()) } else { Err(Error::Pattern { n, m, channels }) }
            }
        }
    }

    /// How many weights it keeps of so many outputs and inputs, if blocks are all whole.
    pub fn kept(&self, outputs: usize, inputs: usize) -> usize {
        match *self {
            Self::Count(count) => count.min(outputs * inputs),
            Self::Blocks { size, count } => (count * size[0] * size[1]).min(outputs * inputs),
            Self::Pattern { n, m, .. } => outputs * inputs / m * n,
        }
    }

    /// Blocks of a weight of so many outputs and inputs.
    pub fn blocks([rows, columns]: [usize; 2], outputs: usize, inputs: usize) -> usize {
        outputs.div_ceil(rows.max(1)) * inputs.div_ceil(columns.max(1))
    }

    /// The weights of the greatest scores, row-major `[outputs, inputs]`; of equal ones the first. Blocks count by the sum of theirs.
    pub fn largest(&self, scores: &[f64], inputs: usize) -> Mask {
        match *self {
            Self::Count(count) => {
                let kept = greatest(scores, count);
                Mask::from_fn(scores.len(), |at| kept[at])
            }
            Self::Blocks { size: [rows, columns], count } => {
                let across = inputs.div_ceil(columns);
                let block = |at: usize| at / inputs / rows * across + at % inputs / columns;
                let mut sums = vec![0.0; Self::blocks([rows, columns], scores.len() / inputs.max(1), inputs)];
                scores.iter().enumerate().for_each(|(at, score)| sums[block(at)] += score);
                let kept = greatest(&sums, count);
                Mask::from_fn(scores.len(), |at| kept[block(at)])
            }
            Self::Pattern { n, m, apart } => {
                let mut kept = vec![false; scores.len()];
                let run = m * apart;
                for start in (0..scores.len()).step_by(run).flat_map(|run| run..run + apart) {
                    let group: Vec<f64> = (0..m).map(|at| scores[start + at * apart]).collect();
                    let of_group = greatest(&group, n);
                    (0..m).for_each(|at| kept[start + at * apart] = of_group[at]);
                }
                Mask::from_fn(scores.len(), |at| kept[at])
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
        // The last block of each row of blocks is a single column.
        let ragged = Support::Blocks { size: [1, 2], count: 2 };
        assert_eq!(kept(ragged, &[1.0, 1.0, 3.0, 0.0, 4.0, 0.0], 3), [2, 3, 4]);
        let pattern = |apart| Support::Pattern { n: 1, m: 2, apart };
        assert_eq!(kept(pattern(1), &[1.0, 2.0, 4.0, 3.0], 2), [1, 2]);
        // Two channels of a kernel with two positions: neighbours are one position of both.
        assert_eq!(kept(pattern(2), &[1.0, 4.0, 2.0, 3.0], 4), [1, 2]);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let pattern = |n, m, apart| Support::Pattern { n, m, apart };
        assert!(Support::Blocks { size: [2, 3], count: 1 }.check(8).is_ok());
        assert!(Support::Blocks { size: [0, 1], count: 1 }.check(8).is_err());
        assert!(pattern(2, 4, 1).check(8).is_ok() && pattern(2, 4, 9).check(72).is_ok());
        assert!(pattern(4, 4, 1).check(8).is_err());
        assert!(pattern(2, 4, 1).check(6).is_err() && pattern(2, 4, 9).check(54).is_err());
        assert_eq!(pattern(2, 4, 1).kept(3, 8), 12);
        assert_eq!(Support::blocks([2, 3], 4, 8), 6);
    }
}
