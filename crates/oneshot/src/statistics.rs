//! What is known of the inputs of a layer.

use crate::error::{Error, Result};
use crate::problem::Problem;
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

/// Rows of a product that one thread makes: fixed, so that no number of threads changes a bit.
pub(crate) const ROWS: usize = 64;

/// Sums over what a layer of so many inputs reads, in the dense network and in the one that is pruned so far; f64.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    inputs: usize,
    /// Places that were read: images × pixels.
    count: u64,
    /// Σ y·yᵀ of what the pruned network gives, row-major `[inputs, inputs]`.
    own: Vec<f64>,
    /// Σ x·yᵀ, x of the dense network.
    cross: Vec<f64>,
    own_sum: Vec<f64>,
    dense_sum: Vec<f64>,
}

impl Statistics {
    /// Of nothing yet.
    pub fn new(inputs: usize) -> Self {
        Self {
            inputs,
            count: 0,
            own: vec![0.0; inputs * inputs],
            cross: vec![0.0; inputs * inputs],
            own_sum: vec![0.0; inputs],
            dense_sum: vec![0.0; inputs],
        }
    }

    /// Bytes that the statistics of a layer of so many inputs take.
    pub fn bytes(inputs: usize) -> usize {
        2 * (inputs + 1) * inputs * size_of::<f64>()
    }

    /// Takes what the layer reads of an image: in the dense network, and in the pruned one.
    ///
    /// Shapes: `dense, pruned: [inputs, pixels]`.
    ///
    /// # Errors
    /// [`Error::Length`] if they are no whole pixels, or not as many.
    pub fn add(&mut self, dense: &[f32], pruned: &[f32]) -> Result<()> {
        let (inputs, expected) = (self.inputs, dense.len() / self.inputs.max(1) * self.inputs);
        for got in [dense.len(), pruned.len()] {
            if got != expected {
                return Err(Error::Length { got, expected });
            }
        }
        let pixels = dense.len() / inputs.max(1);
        if pixels == 0 {
            return Ok(());
        }
        self.count += pixels as u64;
        let [dense, pruned] =
            [dense, pruned].map(|values| values.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>());
        let sum = |values: &[f64], to: &mut [f64]| {
            for (to, row) in to.iter_mut().zip(values.chunks_exact(pixels)) {
                *to += row.iter().sum::<f64>();
            }
        };
        sum(&dense, &mut self.dense_sum);
        sum(&pruned, &mut self.own_sum);
        let right = MatRef::from_row_major_slice(&pruned, inputs, pixels);
        for (from, to) in [(&pruned, &mut self.own), (&dense, &mut self.cross)] {
            let tiles = from.par_chunks(ROWS * pixels).zip(to.par_chunks_mut(ROWS * inputs));
            tiles.for_each(|(from, to)| {
                let rows = from.len() / pixels;
                let left = MatRef::from_row_major_slice(from, rows, pixels);
                let to = MatMut::from_row_major_slice_mut(to, rows, inputs);
                matmul(to, Accum::Add, left, right.transpose(), 1.0, Par::Seq);
            });
        }
        Ok(())
    }

    /// Places that were read.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// What to minimise for a layer of this weight, row-major `[outputs, inputs]`. `damp` times the mean variance is added to all variances: as
    /// if inputs were known to be off by so much; 0.01 is usual.
    ///
    /// # Errors
    /// [`Error::NoImages`], [`Error::NotFinite`], [`Error::WeightNotFinite`], [`Error::Length`], [`Error::Singular`].
    pub fn problem(&self, weight: &[f32], damp: f64) -> Result<Problem> {
        let inputs = self.inputs;
        if self.count == 0 {
            return Err(Error::NoImages);
        }
        if inputs == 0 || !weight.len().is_multiple_of(inputs) {
            return Err(Error::Length { got: weight.len(), expected: inputs });
        }
        if let Some(index) = weight.iter().position(|value| !value.is_finite()) {
            return Err(Error::WeightNotFinite { index });
        }
        let sums = self.own.iter().chain(&self.cross).chain(&self.own_sum).chain(&self.dense_sum);
        if !sums.into_iter().all(|sum| sum.is_finite()) {
            return Err(Error::NotFinite);
        }
        let count = self.count as f64;
        let mean = |sums: &[f64]| sums.iter().map(|sum| sum / count).collect::<Vec<f64>>();
        let (own_mean, dense_mean) = (mean(&self.own_sum), mean(&self.dense_sum));
        let centred = |sums: &[f64], left: &[f64]| {
            let at = |at: usize| sums[at] / count - left[at / inputs] * own_mean[at % inputs];
            (0..sums.len()).map(at).collect::<Vec<f64>>()
        };
        let covariance = centred(&self.own, &own_mean);
        let cross = centred(&self.cross, &dense_mean);
        Problem::new(weight, [covariance, cross], [own_mean, dense_mean], damp)
    }
}
