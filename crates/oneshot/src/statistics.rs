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
    /// Σ y·yᵀ of what the pruned network gives, row-major `[inputs, inputs]`; of tiles above the diagonal only what is in a tile on it.
    own: Vec<f64>,
    /// Σ x·yᵀ, x of the dense network; empty as long as both give the same.
    cross: Vec<f64>,
    own_sum: Vec<f64>,
    dense_sum: Vec<f64>,
    /// What each input is counted from, in the pruned and in the dense network: what was read first. So little is lost where inputs vary by
    /// less than they are large.
    origins: [Vec<f64>; 2],
    /// Whether the dense network has only given the same so far.
    is_constant_dense: bool,
}

impl Statistics {
    /// Of nothing yet.
    pub fn new(inputs: usize) -> Self {
        Self {
            inputs,
            count: 0,
            own: vec![0.0; inputs * inputs],
            cross: Vec::new(),
            own_sum: vec![0.0; inputs],
            dense_sum: vec![0.0; inputs],
            origins: [Vec::new(), Vec::new()],
            is_constant_dense: true,
        }
    }

    /// Bytes that the statistics of a layer of so many inputs take.
    pub fn bytes(inputs: usize) -> usize {
        2 * (inputs + 1) * inputs * size_of::<f64>()
    }

    /// Takes what the layer reads of an image: in the dense network, and in the pruned one, if that is not the same. Either all images have both
    /// or none.
    ///
    /// Shapes: `dense, pruned: [inputs, pixels]`.
    ///
    /// # Errors
    /// [`Error::Length`] if they are no whole pixels, or not as many.
    pub fn add(&mut self, dense: &[f32], pruned: Option<&[f32]>) -> Result<()> {
        let expected = dense.len() / self.inputs.max(1) * self.inputs;
        for got in [dense.len(), pruned.map_or(expected, <[f32]>::len)] {
            if got != expected {
                return Err(Error::Length { got, expected });
            }
        }
        let pixels = dense.len() / self.inputs.max(1);
        if pixels == 0 {
            return Ok(());
        }
        self.count += pixels as u64;
        let [own_origin, dense_origin] = &mut self.origins;
        let from = |origin: &mut Vec<f64>, values: &[f32]| {
            if origin.is_empty() {
                origin.extend(values.iter().step_by(pixels).map(|&value| f64::from(value)));
            }
            let rows = values.chunks_exact(pixels).zip(&*origin);
            rows.flat_map(|(row, origin)| row.iter().map(move |&value| f64::from(value) - origin))
                .collect::<Vec<f64>>()
        };
        let sum = |values: &[f64], to: &mut [f64]| {
            for (to, row) in to.iter_mut().zip(values.chunks_exact(pixels)) {
                *to += row.iter().sum::<f64>();
            }
        };
        let dense = from(dense_origin, dense);
        self.is_constant_dense &= dense.iter().all(|&value| value == 0.0);
        sum(&dense, &mut self.dense_sum);
        let Some(pruned) = pruned.map(|pruned| from(own_origin, pruned)) else {
            sum(&dense, &mut self.own_sum);
            add_products(&dense, &dense, pixels, Part::Lower, &mut self.own);
            return Ok(());
        };
        sum(&pruned, &mut self.own_sum);
        add_products(&pruned, &pruned, pixels, Part::Lower, &mut self.own);
        self.cross.resize(self.inputs * self.inputs, 0.0);
        add_products(&dense, &pruned, pixels, Part::Whole, &mut self.cross);
        Ok(())
    }

    /// The same, of the dense network the means alone: its weights are then best as they are, and the bias repairs what can be repaired. For layers that
    /// read so few places that more would be learnt by heart.
    #[must_use]
    pub fn means_alone(self) -> Self {
        Self { cross: Vec::new(), ..self }
    }

    /// Whether no input ever changes in the dense network.
    pub fn is_constant_dense(&self) -> bool {
        self.is_constant_dense
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
        let covariance = |row: usize, column: usize| {
            let [row, column] = [row.max(column), row.min(column)];
            self.own[row * inputs + column] / count - own_mean[row] * own_mean[column]
        };
        let cross = |row: usize, column: usize| {
            self.cross[row * inputs + column] / count - dense_mean[row] * own_mean[column]
        };
        let matrix = |at: &dyn Fn(usize, usize) -> f64| {
            (0..inputs * inputs).map(|index| at(index / inputs, index % inputs)).collect::<Vec<f64>>()
        };
        let cross = (!self.cross.is_empty()).then(|| matrix(&cross));
        let [own_origin, dense_origin] = &self.origins;
        let own_origin = if own_origin.is_empty() { dense_origin } else { own_origin };
        let from = |mean: &[f64], origin: &[f64]| {
            mean.iter().zip(origin).map(|(mean, origin)| mean + origin).collect()
        };
        let means = [from(&own_mean, own_origin), from(&dense_mean, dense_origin)];
        Problem::new(weight, matrix(&covariance), cross, means, damp)
    }
}

/// Which part of a product is wanted.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Whole,
    /// What is on and below the diagonal.
    Lower,
}

/// `to += left · rightᵀ`, row-major: `left, right: [inputs, pixels]`.
fn add_products(left: &[f64], right: &[f64], pixels: usize, part: Part, to: &mut [f64]) {
    let inputs = right.len() / pixels;
    let right = MatRef::from_row_major_slice(right, inputs, pixels).transpose();
    let tiles = left.par_chunks(ROWS * pixels).zip(to.par_chunks_mut(ROWS * inputs)).enumerate();
    tiles.for_each(|(tile, (left, to))| {
        let rows = left.len() / pixels;
        let columns = if part == Part::Lower { tile * ROWS + rows } else { inputs };
        let left = MatRef::from_row_major_slice(left, rows, pixels);
        let to = MatMut::from_row_major_slice_mut(to, rows, inputs).subcols_mut(0, columns);
        matmul(to, Accum::Add, left, right.subcols(0, columns), 1.0, Par::Seq);
    });
}
