//! Which weights make a layer's output change least.

use crate::admm::{Admm, ITERATIONS, QUICK};
use crate::error::{Error, Result};
use crate::places::Places;
use crate::statistics::ROWS;
use crate::support::Support;
use crate::{exact, least_squares};
use faer::linalg::solvers::{DenseSolveCore, Solve};
use faer::traits::ComplexField;
use faer::{Accum, MatMut, MatRef, Par, Side};
use rayon::prelude::*;
use sparse_sparsity::Mask;

/// Most rounds of a refinement, which ends where one betters the error by less than this share of it.
const ROUNDS: usize = 4;
const WORTHWHILE: f64 = 0.005;
/// Places for each input that a refinement needs.
const PLACES_FOR_AN_INPUT: usize = 8;
/// How far a round goes, where 1 is to what it solves for; below 2 the error cannot grow.
const STRIDE: f64 = 1.8;
/// Least spread of an output, as a share of the typical one of its layer, by which its errors are counted.
const LEAST_SPREAD: f64 = 0.01;
/// From so many inputs on one round is taken, which brings most.
const MANY_INPUTS: usize = 2048;

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
    pub(crate) weight: Vec<f64>,
    /// What an error of an output counts, `[outputs]`.
    pub(crate) counts: Vec<f64>,
    /// Means of what the layer reads, in the pruned and in the dense network.
    pub(crate) means: [Vec<f64>; 2],
    /// Which inputs never change.
    pub(crate) dead: Vec<bool>,
    /// What was added to the variances.
    damp: f64,
    /// Which weights may be kept; all without.
    allowed: Option<Mask>,
    /// Whether weights of inputs that never change stay as they are where they are kept.
    holds_dead: bool,
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

impl Pruned {
    /// Goes so many times as far from another one, of the same mask.
    fn beyond(&mut self, from: &Self, stride: f64) {
        let weights = self.weight.iter_mut().zip(&from.weight);
        weights.for_each(|(to, &from)| *to = (f64::from(from) + stride * f64::from(*to - from)) as f32);
        let biases = self.bias.iter_mut().zip(&from.bias);
        biases.for_each(|(to, &from)| *to = from + stride * (*to - from));
    }
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
        let mut g =
            multiply(Product::Plain, &weight, cross.as_deref().unwrap_or(&h), [outputs, inputs, inputs]);
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
        let counts = counts(&weight, &h, [outputs, inputs]);
        let means = [own_mean, dense_mean];
        let (allowed, holds_dead) = (None, false);
        Ok(Self { outputs, inputs, h, g, best, weight, counts, means, dead, damp, allowed, holds_dead })
    }

    /// What it costs to leave out each weight alone, while the others of its row make up for it: row-major `[outputs, inputs]`.
    ///
    /// Source: Hassibi & Stork 1993, "Second order derivatives for network pruning", equation 5.
    ///
    /// # Errors
    /// [`Error::Singular`].
    pub fn costs(&self) -> Result<Vec<f64>> {
        let inputs = self.inputs;
        let decomposed = matrix(&self.h, inputs).llt(Side::Lower).map_err(|_| Error::Singular)?;
        let inverse = decomposed.inverse();
        let mut costs = self.best.clone();
        for (row, &count) in costs.chunks_exact_mut(inputs).zip(&self.counts) {
            for (at, cost) in row.iter_mut().enumerate() {
                *cost = *cost * *cost * count * count / inverse[(at, at)];
            }
        }
        Ok(costs)
    }

    /// The same problem, in which only these weights may be kept; row-major `[outputs, inputs]`. A support that has room for more is not filled.
    ///
    /// # Errors
    /// [`Error::Length`] of a mask of another length.
    pub fn within(self, allowed: Mask) -> Result<Self> {
        if allowed.len() != self.weight.len() {
            return Err(Error::Length { got: allowed.len(), expected: self.weight.len() });
        }
        Ok(Self { allowed: Some(allowed), ..self })
    }

    /// The same problem, in which a weight of an input that never changes stays as it is where it is kept, and its work does not go to the bias: the
    /// input may change one day. Such weights are kept last.
    #[must_use]
    pub fn holding_dead(self) -> Self {
        Self { holds_dead: true, ..self }
    }

    /// Whether the weight at a place may be kept.
    pub(crate) fn may_keep(&self, at: usize) -> bool {
        self.allowed.as_ref().is_none_or(|allowed| allowed.get(at))
    }

    /// What the weight at a place is worth, of which the error says `worth`: less than nothing where it may not be kept, and nearly nothing where it is
    /// held for later.
    pub(crate) fn worth(&self, at: usize, worth: f64) -> f64 {
        if !self.may_keep(at) {
            return -1.0;
        }
        if self.holds_dead && self.dead[at % self.inputs] {
            let square = self.weight[at].powi(2);
            return 1e-300 * square / (1.0 + square);
        }
        worth
    }

    /// Outputs and inputs of the layer.
    pub fn shape(&self) -> [usize; 2] {
        [self.outputs, self.inputs]
    }

    /// Whether nothing that the layer reads ever changes: all of its weights are pruned then, and the bias does their work.
    pub fn is_constant(&self) -> bool {
        self.dead.iter().all(|&dead| dead)
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
        self.solve_for(&self.g, mask)
    }

    /// The best weights under a mask for another W₀·H.
    fn solve_for(&self, g: &[f64], mask: Mask) -> Result<Pruned> {
        let solved = least_squares::solve(self, g, &mask)?;
        let mut weight: Vec<f32> = solved.iter().map(|&value| value as f32).collect();
        let relative_error = self.relative_error(&weight);
        let inputs = self.inputs;
        for (at, value) in weight.iter_mut().enumerate() {
            if self.holds_dead && self.dead[at % inputs] && mask.get(at) {
                *value = self.weight[at] as f32;
            }
        }
        let bias = self.shifts(&weight);
        Ok(Pruned { weight, bias, mask, relative_error })
    }

    /// Moves the weights that are kept so that what comes out of the activation after the layer changes least; the mask stays, and so do weights that
    /// cannot be bettered. [`Pruned::relative_error`] then is that of the activation's output, at the places.
    ///
    /// Majorization: the wanted outputs move to the nearest ones to what the weights give that are the same after the activation, and least squares
    /// are solved for these; no step can make the error larger, but for what the places do not show.
    ///
    /// # Errors
    /// [`Error::Singular`].
    pub fn refine(&self, pruned: Pruned, places: &Places) -> Result<Pruned> {
        let mut look = places.look(&pruned.weight, &pruned.bias);
        let mut best = Pruned { relative_error: look.relative_error, ..pruned };
        let rounds = match self.inputs {
            // So few places would be learnt by heart.
            inputs if places.count() < PLACES_FOR_AN_INPUT * inputs => 0,
            inputs if inputs > MANY_INPUTS => 1,
            _ => ROUNDS,
        };
        for _ in 0..rounds {
            let alive = |at: usize| !self.dead[at % self.inputs];
            let moved = |(at, (g, moved))| if alive(at) { g + moved } else { 0.0 };
            let g: Vec<f64> = self.g.iter().zip(&look.cross).enumerate().map(moved).collect();
            let mut next = self.solve_for(&g, best.mask.clone())?;
            next.bias.iter_mut().zip(&look.shift).for_each(|(bias, shift)| *bias += shift);
            next.beyond(&best, STRIDE);
            look = places.look(&next.weight, &next.bias);
            let (before, after) = (best.relative_error, look.relative_error);
            if after < before {
                best = Pruned { relative_error: after, ..next };
            }
            if after >= before * (1.0 - WORTHWHILE) {
                break;
            }
        }
        Ok(best)
    }

    /// Mean and variance of each output that weights of the layer give, without its bias, by what it reads in the pruned network.
    ///
    /// # Panics
    /// If there are not as many as the layer has: a fault of the caller.
    pub fn outputs(&self, weight: &[f32]) -> Vec<[f64; 2]> {
        assert_eq!(weight.len(), self.weight.len(), "weights of the layer");
        let weight: Vec<f64> = weight.iter().map(|&weight| f64::from(weight)).collect();
        let variances = quadratic(&weight, &self.h, self.shape());
        let output = |(row, variance): (&[f64], f64)| {
            // H has more on its diagonal than was seen.
            let added = row.iter().zip(&self.dead);
            let added: f64 =
                added.map(|(weight, &dead)| weight * weight * if dead { 1.0 } else { self.damp }).sum();
            let mean = row.iter().zip(&self.means[0]).map(|(weight, mean)| weight * mean).sum();
            [mean, (variance - added).max(0.0)]
        };
        weight.chunks_exact(self.inputs).zip(variances).map(output).collect()
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

    /// tr(A H Aᵀ), each output as much as it counts.
    fn form(&self, a: &[f64]) -> f64 {
        let products = quadratic(a, &self.h, [self.outputs, self.inputs]);
        products.iter().zip(&self.counts).map(|(product, count)| product * count * count).sum()
    }

    pub(crate) fn largest(&self, support: &Support, weight: &[f64]) -> Mask {
        let score = |(at, value): (usize, &f64)| self.worth(at, value * value);
        let scores: Vec<f64> = weight.iter().enumerate().map(score).collect();
        let mask = support.largest(&scores, self.inputs);
        match &self.allowed {
            Some(_) => Mask::from_fn(mask.len(), |at| mask.get(at) && self.may_keep(at)),
            None => mask,
        }
    }
}

/// What an error of each output counts: one over the root of its standard deviation, halfway between errors as they are, by which what a layer gives
/// in small numbers is given up for what it gives in large ones, and errors as shares. An output that hardly varies beside the others counts no
/// more than [`LEAST_SPREAD`] lets it.
fn counts(weight: &[f64], h: &[f64], shape: [usize; 2]) -> Vec<f64> {
    let variances = quadratic(weight, h, shape);
    let typical = variances.iter().sum::<f64>() / shape[0].max(1) as f64;
    let share = |variance: &f64| (variance / typical).max(LEAST_SPREAD * LEAST_SPREAD);
    let count = |variance: &f64| if typical > 0.0 { share(variance).powf(-0.25) } else { 1.0 };
    variances.iter().map(count).collect()
}

/// a H aᵀ for each row a of `[outputs, inputs]`.
fn quadratic(a: &[f64], h: &[f64], [outputs, inputs]: [usize; 2]) -> Vec<f64> {
    let product = multiply(Product::Plain, a, h, [outputs, inputs, inputs]);
    let rows = product.chunks_exact(inputs).zip(a.chunks_exact(inputs));
    rows.map(|(product, a)| product.iter().zip(a).map(|(product, a)| product * a).sum()).collect()
}

/// A symmetric matrix.
pub(crate) fn matrix(values: &[f64], size: usize) -> MatRef<'_, f64> {
    MatRef::from_column_major_slice(values, size, size)
}

/// How the left factor of a product is stored.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Product {
    /// `[rows, inner]`.
    Plain,
    /// `[inner, rows]`.
    LeftTransposed,
}

/// `a[rows, inner] · b[inner, columns]`, row-major, the same bits for any number of threads.
pub(crate) fn multiply<T: ComplexField + Copy + Default>(
    how: Product,
    a: &[T],
    b: &[T],
    [rows, inner, columns]: [usize; 3],
) -> Vec<T> {
    let mut product = vec![T::default(); rows * columns];
    let left = match how {
        Product::Plain => MatRef::from_row_major_slice(a, rows, inner),
        Product::LeftTransposed => MatRef::from_column_major_slice(a, rows, inner),
    };
    let right = MatRef::from_row_major_slice(b, inner, columns);
    product.par_chunks_mut(ROWS * columns.max(1)).enumerate().for_each(|(tile, to)| {
        let count = to.len() / columns.max(1);
        let left = left.subrows(tile * ROWS, count);
        let to = MatMut::from_row_major_slice_mut(to, count, columns);
        faer::linalg::matmul::matmul(to, Accum::Replace, left, right, T::one_impl(), Par::Seq);
    });
    product
}
