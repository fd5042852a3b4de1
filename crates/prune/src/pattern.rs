//! N:M patterns: so many of each group of neighbouring inputs are kept.

use sparse_sparsity::Mask;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// `n` of every `m` neighbouring inputs are kept: in a weight `[out, in, kh, kw]` along the input channels, for each output and position
/// of the kernel on its own.
///
/// Source: Mishra et al. 2021, arXiv:2104.08378; for training Zhou et al. 2021, arXiv:2102.04010.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pattern {
    /// Kept of each group, 1 or more.
    pub n: usize,
    /// Inputs of a group, above `n`.
    pub m: usize,
    /// Which dimension of weights of two dimensions is the inputs: 1 for `[out, in]`, 0 for `[in, out]`.
    pub linear_inputs: usize,
}

impl Pattern {
    /// The fraction of weights that it prunes.
    pub fn ratio(self) -> f64 {
        1.0 - self.n as f64 / self.m as f64
    }

    /// The pattern of the same groups on the way to this one, where a schedule has reached `ratio`: a group loses one more weight
    /// whenever the ratio reaches a multiple of 1/m.
    pub(crate) fn at(self, ratio: f64) -> Self {
        // A ratio of 1 - n/m is not exact.
        let pruned = (ratio * self.m as f64 + 1e-9).floor() as usize;
        Self { n: self.m.saturating_sub(pruned).max(self.n), ..self }
    }

    /// Checks the numbers by themselves.
    pub(crate) fn validate(self) -> Result<()> {
        let Self { n, m, linear_inputs } = self;
        if n == 0 || n >= m || linear_inputs > 1 { Err(Error::Pattern { n, m }) } else { Ok(()) }
    }

    /// Checks that groups divide the inputs of a weight.
    pub(crate) fn check(self, name: &str, shape: &[usize]) -> Result<()> {
        let Self { n, m, .. } = self;
        let [_, inputs, _] = self.extents(shape);
        if inputs.is_multiple_of(m) {
            return Ok(());
        }
        Err(Error::PatternShape { name: name.to_owned(), n, m, inputs, nearest: nearest(n, m, inputs) })
    }

    /// Numbers before the inputs, inputs, and numbers behind them.
    fn extents(self, shape: &[usize]) -> [usize; 3] {
        let axis = if shape.len() == 2 { self.linear_inputs } else { 1 };
        let product = |sides: &[usize]| sides.iter().product();
        [product(&shape[..axis]), shape[axis], product(&shape[axis + 1..])]
    }

    /// The mask that keeps the greatest scores of each group, of equal ones the first. What `frozen` prunes comes last.
    pub(crate) fn mask(self, shape: &[usize], scores: &[f64], frozen: Option<&Mask>) -> Mask {
        let Self { n, m, .. } = self;
        let [before, inputs, behind] = self.extents(shape);
        let mut mask = Mask::all_pruned(scores.len());
        let score = |at: usize| match frozen {
            Some(mask) if !mask.get(at) => -1.0,
            _ => scores[at],
        };
        for (outer, first) in (0..before).flat_map(|outer| (0..inputs).step_by(m).map(move |i| (outer, i))) {
            for inner in 0..behind {
                let at = |member: usize| (outer * inputs + first + member) * behind + inner;
                for member in 0..m {
                    let own = score(at(member));
                    let goes_before = |other: &usize| {
                        let theirs = score(at(*other));
                        theirs > own || (theirs == own && *other < member)
                    };
                    if (0..m).filter(goes_before).count() < n {
                        mask.keep_range(at(member)..at(member) + 1);
                    }
                }
            }
        }
        mask
    }
}

/// The pattern nearest in density whose groups divide `inputs`, those of nearest length first; `None` if there is none.
fn nearest(n: usize, m: usize, inputs: usize) -> Option<(usize, usize)> {
    let divides = |group: &usize| *group > 1 && inputs.is_multiple_of(*group);
    let group = (2..=inputs.min(64)).filter(divides).min_by_key(|group| group.abs_diff(m))?;
    let kept = (n as f64 / m as f64 * group as f64).round() as usize;
    Some((kept.clamp(1, group - 1), group))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_OF_FOUR: Pattern = Pattern { n: 2, m: 4, linear_inputs: 1 };

    #[test]
    fn a_schedule_takes_one_weight_after_the_other() {
        let kept = |ratio| TWO_OF_FOUR.at(ratio).n;
        assert_eq!([0.0, 0.24, 0.25, 0.3, 0.49, 0.5, 0.9].map(kept), [4, 4, 3, 3, 3, 2, 2]);
        for m in 2..40 {
            for n in 1..m {
                let pattern = Pattern { n, m, linear_inputs: 0 };
                assert_eq!(pattern.at(pattern.ratio()).n, n, "{n}:{m}");
            }
        }
    }

    #[test]
    fn the_nearest_pattern_divides() {
        assert_eq!(nearest(2, 4, 3), Some((2, 3)));
        assert_eq!(nearest(2, 4, 6), Some((2, 3)));
        assert_eq!(nearest(1, 4, 10), Some((1, 5)));
        assert_eq!(nearest(2, 4, 1), None);
    }
}
