//! Ranking by whether weights move away from zero.

use crate::taylor::add_products;
use crate::{Criterion, Facts, Memory};

/// The sum of `-w · g` over all steps of the run: positive where gradient descent makes a weight larger, negative where it shrinks it.
///
/// The score of a pruned weight stands still, since its weight is 0 when the gradient is taken; it comes back when scores of kept
/// weights fall below its own. (In the paper pruned weights keep their values beside the mask, and their scores move on.)
///
/// Source: Sanh et al. 2020, arXiv:2005.07683, equation 5, without the learning rate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Movement;

impl Criterion for Movement {
    fn memory(&self) -> Memory {
        Memory::WholeRun
    }

    fn observe(&self, facts: &Facts<'_>, sums: &mut [f64]) {
        add_products(facts, sums, |product| -product);
    }

    fn is_signed(&self) -> bool {
        true
    }

    fn score(&self, facts: &Facts<'_>, scores: &mut [f64]) {
        scores.copy_from_slice(facts.sums);
    }
}
