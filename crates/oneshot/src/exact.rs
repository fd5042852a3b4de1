//! The places to keep, by eliminating the weight that costs least, one after the other.
//!
//! Source: Frantar & Alistarh 2022, "Optimal Brain Compression", arXiv:2208.11580, algorithms 1 and 2.

use crate::error::{Error, Result};
use crate::problem::{Problem, matrix};
use faer::Side;
use faer::linalg::solvers::DenseSolveCore;
use rayon::prelude::*;
use sparse_sparsity::Mask;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The weights of a row in the order in which they go, and what each costs.
struct Trace {
    order: Vec<u32>,
    costs: Vec<f64>,
}

/// The places of so many weights: those of all rows go together, the cheapest first.
pub(crate) fn mask(problem: &Problem, kept: usize) -> Result<Mask> {
    let inputs = problem.inputs;
    let decomposed = matrix(&problem.h, inputs).llt(Side::Lower).map_err(|_| Error::Singular)?;
    let inverse = decomposed.inverse();
    let inverse: Vec<f64> = (0..inputs * inputs).map(|at| inverse[(at / inputs, at % inputs)]).collect();
    let rows = problem.best.par_chunks(inputs).zip(&problem.counts).enumerate();
    let trace = |(row, (weights, &count)): (usize, (&[f64], &f64))| {
        let scaled = weights.iter().map(|weight| weight * count).collect();
        trace(scaled, inverse.clone(), &|at, cost| problem.worth(row * inputs + at, cost))
    };
    let traces: Vec<Trace> = rows.map(trace).collect();
    let mut mask = vec![true; problem.best.len()];
    let next =
        |row: usize, at: usize| traces[row].costs.get(at).map(|&cost| Reverse((Ordered(cost), row, at)));
    let mut cheapest: BinaryHeap<_> = (0..traces.len()).filter_map(|row| next(row, 0)).collect();
    for _ in kept..mask.len() {
        let Some(Reverse((_, row, at))) = cheapest.pop() else { break };
        mask[row * inputs + traces[row].order[at] as usize] = false;
        cheapest.extend(next(row, at + 1));
    }
    Ok(Mask::from_fn(mask.len(), |at| mask[at] && problem.may_keep(at)))
}

/// Eliminates all weights of a row in the order of what they are worth; `inverse` is H⁻¹ of the inputs that are left, which come first.
fn trace(mut row: Vec<f64>, mut inverse: Vec<f64>, worth: &dyn Fn(usize, f64) -> f64) -> Trace {
    let inputs = row.len();
    let mut left: Vec<u32> = (0..inputs as u32).collect();
    let mut trace = Trace { order: Vec::with_capacity(inputs), costs: Vec::with_capacity(inputs) };
    for size in (1..=inputs).rev() {
        let cost = |at: usize| worth(left[at] as usize, row[at] * row[at] / inverse[at * inputs + at]);
        let (mut cheapest, mut least) = (0, f64::INFINITY);
        for at in 0..size {
            let cost = cost(at);
            // Of equal ones the last input goes, as the first is kept elsewhere.
            if cost < least || (cost == least && left[at] > left[cheapest]) {
                (cheapest, least) = (at, cost);
            }
        }
        trace.order.push(left[cheapest]);
        trace.costs.push(least);
        let last = size - 1;
        left.swap(cheapest, last);
        row.swap(cheapest, last);
        swap(&mut inverse, inputs, cheapest, last);
        eliminate(&mut row, &mut inverse, inputs, last);
    }
    trace
}

/// Takes the input `last` out of the row and of H⁻¹ of those before it.
fn eliminate(row: &mut [f64], inverse: &mut [f64], inputs: usize, last: usize) {
    let (before, own) = inverse.split_at_mut(last * inputs);
    let pivot = own[last];
    let share = row[last] / pivot;
    row[..last].iter_mut().zip(&own[..last]).for_each(|(weight, inverse)| *weight -= share * inverse);
    for (at, line) in before.chunks_exact_mut(inputs).enumerate() {
        let share = own[at] / pivot;
        line[..last].iter_mut().zip(&own[..last]).for_each(|(to, inverse)| *to -= share * inverse);
    }
}

/// Swaps two rows and two columns.
fn swap(matrix: &mut [f64], inputs: usize, a: usize, b: usize) {
    if a == b {
        return;
    }
    let (first, second) = matrix.split_at_mut(b * inputs);
    first[a * inputs..][..inputs].swap_with_slice(&mut second[..inputs]);
    matrix.chunks_exact_mut(inputs).for_each(|line| line.swap(a, b));
}

/// A cost that can be ordered.
#[derive(Clone, Copy, PartialEq)]
struct Ordered(f64);

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}
