//! The places to keep, by the alternating direction method of multipliers.
//!
//! Source: Meng et al. 2024, "ALPS: Improved Optimization for Highly Sparse One-Shot Pruning", arXiv:2406.07831, section 3: inputs scaled to
//! unit variance (and here outputs to what they count), one eigen-decomposition, a penalty that grows by how much the places change.

use crate::error::{Error, Result};
use crate::problem::{Problem, matrix};
use crate::statistics::ROWS;
use crate::support::Support;
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par, Side};
use rayon::prelude::*;
use sparse_sparsity::Mask;

/// Iterations after which it has nearly always come to rest.
pub(crate) const ITERATIONS: usize = 120;
/// Iterations of an estimate.
pub(crate) const QUICK: usize = 15;
/// Iterations after which the penalty grows.
const EACH: usize = 3;
const FIRST_PENALTY: f64 = 0.1;

/// A layer's problem with inputs of unit variance, and its covariance decomposed.
pub(crate) struct Admm {
    vectors: Mat<f64>,
    values: Vec<f64>,
    /// The best weights without zeros, `[outputs, inputs]`.
    target: Vec<f64>,
    /// Those times the covariance.
    right: Vec<f64>,
}

impl Admm {
    /// # Errors
    /// [`Error::Singular`].
    pub(crate) fn new(problem: &Problem) -> Result<Self> {
        let inputs = problem.inputs;
        let scale: Vec<f64> = (0..inputs).map(|at| problem.h[at * inputs + at].sqrt()).collect();
        let scaled: Vec<f64> =
            (0..inputs * inputs).map(|at| problem.h[at] / scale[at / inputs] / scale[at % inputs]).collect();
        let eigen = matrix(&scaled, inputs).self_adjoint_eigen(Side::Lower).map_err(|_| Error::Singular)?;
        let scaled = |values: &[f64], with: fn(f64, f64) -> f64| -> Vec<f64> {
            let value =
                |(at, &value): (usize, &f64)| with(value, scale[at % inputs]) * problem.counts[at / inputs];
            values.iter().enumerate().map(value).collect()
        };
        Ok(Self {
            vectors: eigen.U().to_owned(),
            values: eigen.S().column_vector().iter().copied().collect(),
            target: scaled(&problem.best, |weight, scale| weight * scale),
            right: scaled(&problem.g, |g, scale| g / scale),
        })
    }

    /// The places of the weights that so many iterations keep.
    pub(crate) fn mask(&self, problem: &Problem, support: &Support, iterations: usize) -> Mask {
        let (inputs, len) = (problem.inputs, self.target.len());
        // The names of the paper: B without, D with zeros, V between them.
        let (mut b, mut v) = (vec![0.0; len], vec![0.0; len]);
        let mut mask = problem.largest(support, &self.target);
        let mut d = masked(&self.target, &mask);
        let (mut before, mut penalty) = (mask.clone(), FIRST_PENALTY);
        let kept = support.kept(problem.outputs, inputs).max(1);
        for iteration in 0..iterations {
            b.par_chunks_mut(ROWS * inputs).enumerate().for_each(|(tile, b)| {
                let start = tile * ROWS * inputs;
                for (at, b) in b.iter_mut().enumerate() {
                    *b = self.right[start + at] - v[start + at] + penalty * d[start + at];
                }
                solve_rows(b, &self.vectors, &self.values, penalty);
            });
            let middle: Vec<f64> = b.iter().zip(&v).map(|(b, v)| b + v / penalty).collect();
            mask = problem.largest(support, &middle);
            d = masked(&middle, &mask);
            v.iter_mut().zip(b.iter().zip(&d)).for_each(|(v, (b, d))| *v += penalty * (b - d));
            if iteration % EACH == EACH - 1 {
                let changed = changes(&mask, &before) as f64 / 2.0 / kept as f64;
                if changed == 0.0 {
                    break;
                }
                before.clone_from(&mask);
                penalty *= match changed {
                    _ if changed > 0.1 => 1.3,
                    _ if changed > 0.005 => 1.2,
                    _ => 1.1,
                };
            }
        }
        mask
    }
}

/// `rows · (H + penalty)⁻¹`, in place, by the eigenvectors of H.
fn solve_rows(rows: &mut [f64], vectors: &Mat<f64>, values: &[f64], penalty: f64) {
    let inputs = values.len();
    let count = rows.len() / inputs;
    let mut turned = vec![0.0; rows.len()];
    let from = MatRef::from_row_major_slice(rows, count, inputs);
    let to = MatMut::from_row_major_slice_mut(&mut turned, count, inputs);
    matmul(to, Accum::Replace, from, vectors.as_ref(), 1.0, Par::Seq);
    for row in turned.chunks_exact_mut(inputs) {
        row.iter_mut().zip(values).for_each(|(number, value)| *number /= value + penalty);
    }
    let from = MatRef::from_row_major_slice(&turned, count, inputs);
    let to = MatMut::from_row_major_slice_mut(rows, count, inputs);
    matmul(to, Accum::Replace, from, vectors.transpose(), 1.0, Par::Seq);
}

fn masked(values: &[f64], mask: &Mask) -> Vec<f64> {
    values.iter().enumerate().map(|(at, &value)| if mask.get(at) { value } else { 0.0 }).collect()
}

fn changes(mask: &Mask, before: &Mask) -> u32 {
    mask.words().iter().zip(before.words()).map(|(a, b)| (a ^ b).count_ones()).sum()
}
