//! Ranking by what the loss would change by, to first order.

use crate::{Criterion, Facts, Memory};

/// `|w · g|`, averaged over the steps since masks were computed last.
///
/// To first order the loss changes by `w · g` when a weight becomes 0. A pruned weight is 0 when the gradient is taken, so that its
/// score is 0 whatever gradient it has: among the weights of equal ratio it stays pruned, and comes back only where kept ones score 0
/// as well.
///
/// Source: Molchanov et al. 2019, arXiv:1906.10771, equation 8 (the magnitude in place of the square, which ranks single weights
/// alike within a batch); averages over the batches between two updates as in its section 3.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taylor;

impl Criterion for Taylor {
    fn memory(&self) -> Memory {
        Memory::SinceUpdate
    }

    fn observe(&self, facts: &Facts<'_>, sums: &mut [f64]) {
        add_products(facts, sums, f64::abs);
    }

    fn score(&self, facts: &Facts<'_>, scores: &mut [f64]) {
        for (score, sum) in scores.iter_mut().zip(facts.sums) {
            *score = sum / facts.steps as f64;
        }
    }
}

/// Adds a function of `w · g` to each sum. The product of a weight that is 0 is 0, whatever its gradient.
pub(crate) fn add_products(facts: &Facts<'_>, sums: &mut [f64], of: impl Fn(f64) -> f64) {
    let Some(gradient) = facts.gradient else { return };
    for ((sum, weight), gradient) in sums.iter_mut().zip(facts.weights.iter()).zip(gradient.iter()) {
        if weight != 0.0 {
            *sum += of(weight * gradient);
        }
    }
}
