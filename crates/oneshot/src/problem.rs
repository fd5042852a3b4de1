//! Which weights make a layer's output change least.

use crate::admm::{Admm, ITERATIONS, QUICK};
use crate::error::{Error, Result};
use crate::statistics::ROWS;
use crate::support::Support;
use crate::{exact, least_squares};
use faer::linalg::solvers::Solve;
use faer::{Accum, MatMut, MatRef, Par, Side};
use rayon::prelude::*;
use sparse_sparsity::Mask;

/// How the weights to keep are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Method {
    /// Those of the greatest magnitude, as if nothing were known of the inputs.
    Magnitude,
    /// By alternating directions (ADMM): any size, any support.
    #[default]
    Admm,
    /// By eliminating the weight that costs least, one after the other (ExactOBS); rows × inputs³ operations. Supports of
    /// [`Support::Count`] alone; others are found by ADMM.
    Obs,
    /// Both, of which the one that changes the output less is taken.
    Best,
}

/// The least squares problem of a layer: `min tr((B − W₀) H (B − W₀)ᵀ)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
    /// H, damped, row-major `[inputs, inputs]`.
    pub(crate) h: Vec<f64>,
    /// W₀·H, row-major `[outputs, inputs]`.
    pub(crate) g: Vec<f64>,
    /// W₀: the best weights without zeros, row-major `[outputs, inputs]`.
    pub(crate) best: Vec<f64>,
    weight: Vec<f64>,
    /// Means of what the layer reads, in the pruned and in the dense network.
    means: [Vec<f64>; 2],
    is_constant: bool,
}

/// A layer whose weights were chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Pruned {
    /// Row-major `[outputs, inputs]`; zero where the mask prunes.
    pub weight: Vec<f32>,
    /// What is added to the bias, `[outputs]`.
    pub bias: Vec<f64>,
    /// Which weights are kept.
    pub mask: Mask,
    /// By how much the output changes: its squared error as a share of its variance, beyond the best that weights without zeros give.
    pub relative_error: f64,
}

impl Problem {
    pub(crate) fn new(
        weight: &[f32],
        mut h: Vec<f64>,
        cross: Option<Vec<f64>>,
        [own_mean, dense_mean]: [Vec<f64>; 2],
        damp: f64,
    ) -> Result<Self> {
        let inputs = own_mean.len();
        let outputs = weight.len() / inputs;
        let weight: Vec<f64> = weight.iter().map(|&value| f64::from(value)).collect();
        let variance = |h: &[f64], at: usize| h[at * inputs + at];
        let mean_variance = (0..inputs).map(|at| variance(&h, at).max(0.0)).sum::<f64>() / inputs as f64;
        let damp = damp * mean_variance;
        let dead: Vec<bool> = (0..inputs).map(|at| variance(&h, at) <= mean_variance * 1e-12).collect();
        let mut g = multiply(&weight, cross.as_deref().unwrap_or(&h), [outputs, inputs, inputs]);
        drop(cross);
        for at in 0..inputs {
            h[at * inputs + at] += damp;
            // An input that never changes says nothing about its weight; what it adds is in the means.
            if dead[at] {
                (0..inputs).for_each(|other| (h[at * inputs + other], h[other * inputs + at]) = (0.0, 0.0));
                h[at * inputs + at] = 1.0;
            }
        }
        for (g, weight) in g.chunks_exact_mut(inputs).zip(weight.chunks_exact(inputs)) {
            for at in 0..inputs {
                g[at] = if dead[at] { 0.0 } else { g[at] + damp * weight[at] };
            }
        }
        let decomposed = matrix(&h, inputs).llt(Side::Lower).map_err(|_| Error::Singular)?;
        // Row by row of G, which is a column of its transpose.
        let mut best = g.clone();
        best.par_chunks_mut(ROWS * inputs).for_each(|rows| {
            let count = rows.len() / inputs;
            decomposed.solve_in_place(MatMut::from_column_major_slice_mut(rows, inputs, count));
        });
        let is_constant = dead.iter().all(|&dead| dead);
        Ok(Self { outputs, inputs, h, g, best, weight, means: [own_mean, dense_mean], is_constant })
    }

    /// Outputs and inputs of the layer.
    pub fn shape(&self) -> [usize; 2] {
        [self.outputs, self.inputs]
    }

    /// Whether nothing that the layer reads ever changes: all of its weights are pruned then, and the bias does their work.
    pub fn is_constant(&self) -> bool {
        self.is_constant
    }

    /// A quick look at what several supports would do, by few iterations of ADMM each.
    ///
    /// # Errors
    /// As [`Problem::prune`].
    pub fn estimate(&self, supports: &[Support]) -> Result<Vec<Pruned>> {
        let admm = Admm::new(self)?;
        let estimate = |support: &Support| {
            support.check(self.inputs)?;
            self.solve(admm.mask(self, support, QUICK))
        };
        supports.iter().map(estimate).collect()
    }

    /// Chooses what to keep, and solves for it. Where the magnitudes choose better, theirs is taken.
    ///
    /// # Errors
    /// What the support does not fit, [`Error::Singular`].
    pub fn prune(&self, support: &Support, method: Method) -> Result<Pruned> {
        support.check(self.inputs)?;
        let mut best = self.solve(self.largest(support, &self.weight))?;
        let counts = matches!(support, Support::Count(_));
        let mut take = |mask: Mask| {
            let other = self.solve(mask)?;
            if other.relative_error < best.relative_error {
                best = other;
            }
            Ok::<(), Error>(())
        };
        if matches!(method, Method::Admm | Method::Best) || method == Method::Obs && !counts {
            take(Admm::new(self)?.mask(self, support, ITERATIONS))?;
        }
        if matches!(method, Method::Obs | Method::Best) && counts {
            take(exact::mask(self, support.kept(self.outputs, self.inputs))?)?;
        }
        Ok(best)
    }

    /// The best weights under a mask.
    ///
    /// # Errors
    /// [`Error::Length`] of a mask of another length, [`Error::Singular`].
    pub fn solve(&self, mask: Mask) -> Result<Pruned> {
        if mask.len() != self.weight.len() {
            return Err(Error::Length { got: mask.len(), expected: self.weight.len() });
        }
        let solved = least_squares::solve(self, &mask)?;
        let weight: Vec<f32> = solved.iter().map(|&value| value as f32).collect();
        let [own, dense] = &self.means;
        let inputs = self.inputs;
        let rows = self.weight.chunks_exact(inputs).zip(weight.chunks_exact(inputs));
        let shift = |(before, after): (&[f64], &[f32])| {
            let before = before.iter().zip(dense).map(|(weight, mean)| weight * mean).sum::<f64>();
            before - after.iter().zip(own).map(|(&weight, mean)| f64::from(weight) * mean).sum::<f64>()
        };
        let bias = rows.map(shift).collect();
        let relative_error = self.relative_error(&weight);
        Ok(Pruned { weight, bias, mask, relative_error })
    }

    /// By how much weights change the output, as [`Pruned::relative_error`] has it.
    ///
    /// # Panics
    /// If there are not as many as the layer has: a fault of the caller.
    pub fn relative_error(&self, weight: &[f32]) -> f64 {
        assert_eq!(weight.len(), self.weight.len(), "weights of the layer");
        let off: Vec<f64> =
            weight.iter().zip(&self.best).map(|(&weight, best)| f64::from(weight) - best).collect();
        let whole = self.form(&self.best);
        if whole > 0.0 { self.form(&off) / whole } else { 0.0 }
    }

    /// tr(A H Aᵀ).
    fn form(&self, a: &[f64]) -> f64 {
        let product = multiply(a, &self.h, [self.outputs, self.inputs, self.inputs]);
        product.iter().zip(a).map(|(product, a)| product * a).sum()
    }

    pub(crate) fn largest(&self, support: &Support, weight: &[f64]) -> Mask {
        let scores: Vec<f64> = weight.iter().map(|value| value * value).collect();
        support.largest(&scores, self.inputs)
    }
}

/// A symmetric matrix.
pub(crate) fn matrix(values: &[f64], size: usize) -> MatRef<'_, f64> {
    MatRef::from_column_major_slice(values, size, size)
}

/// `a[rows, inner] · b[inner, columns]`, row-major, the same bits for any number of threads.
pub(crate) fn multiply(a: &[f64], b: &[f64], [rows, inner, columns]: [usize; 3]) -> Vec<f64> {
    let mut product = vec![0.0; rows * columns];
    let right = MatRef::from_row_major_slice(b, inner, columns);
    let tiles = a.par_chunks(ROWS * inner.max(1)).zip(product.par_chunks_mut(ROWS * columns.max(1)));
    tiles.for_each(|(a, to)| {
        let rows = a.len() / inner.max(1);
        let left = MatRef::from_row_major_slice(a, rows, inner);
        let to = MatMut::from_row_major_slice_mut(to, rows, columns);
        faer::linalg::matmul::matmul(to, Accum::Replace, left, right, 1.0, Par::Seq);
    });
    product
}
