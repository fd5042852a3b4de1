//! What a layer reads at some places, and what an activation after it lets through.
//!
//! An activation such as ReLU or ReLU6 sees `min(max(z, low), high)` of an output z. Where the dense network is below `low`, the pruned one may be
//! anywhere below it, and likewise above `high`: the squared distance to an interval is to be small, not to a number. Source of the
//! objective: Aghasi et al. 2017, "Net-Trim: Convex Pruning of Deep Neural Networks", arXiv:1611.05162, equation 3, here as a sum of squares.

use crate::error::{Error, Result};
use crate::problem::{Product, multiply};
use rayon::prelude::*;

/// Places whose outputs one thread computes: fixed, so that no number of threads changes a bit.
const TILE: usize = 1024;

/// What a layer reads at some places of the images, and what it gave there in the dense network.
#[derive(Clone, Debug, PartialEq)]
pub struct Places {
    bounds: [f32; 2],
    /// `[inputs, outputs]`.
    weight: Vec<f32>,
    bias: Vec<f32>,
    /// What the pruned network gives the layer, `[places, inputs]`.
    reads: Vec<f32>,
    /// What comes out of the layer in the dense network, before the activation, `[places, outputs]`.
    wanted: Vec<f32>,
}

/// What weights do at the places.
pub(crate) struct Look {
    /// Squared error after the activation, as a share of the variance there.
    pub(crate) relative_error: f64,
    /// By how much the wanted outputs may move towards what the weights give: their means, `[outputs]`.
    pub(crate) shift: Vec<f64>,
    /// And how that goes with what the layer reads, centred, `[outputs, inputs]`.
    pub(crate) cross: Vec<f64>,
}

impl Places {
    /// Of no place yet: a layer of these weights and bias, `[outputs, inputs]` and `[outputs]`, in front of an activation with these bounds.
    pub fn new(weight: &[f32], bias: &[f32], bounds: [f32; 2]) -> Self {
        let (outputs, inputs) = (bias.len(), weight.len() / bias.len().max(1));
        let weight = transposed(weight, [outputs, inputs]);
        Self { bounds, weight, bias: bias.to_vec(), reads: Vec::new(), wanted: Vec::new() }
    }

    /// Bytes that so many places of a layer take while it is refined.
    pub fn bytes(places: usize, [outputs, inputs]: [usize; 2]) -> usize {
        places * (inputs + 3 * outputs) * size_of::<f32>()
    }

    /// Places that were picked.
    pub fn count(&self) -> usize {
        self.wanted.len() / self.bias.len().max(1)
    }

    /// Takes the `picked` pixels of an image: what the layer reads there in the dense network, and in the pruned one if that is not the same.
    ///
    /// Shapes: `dense, pruned: [inputs, pixels]`.
    ///
    /// # Errors
    /// [`Error::Length`] if they are no whole pixels, or not as many.
    pub fn add(&mut self, dense: &[f32], pruned: Option<&[f32]>, picked: &[usize]) -> Result<()> {
        let (outputs, inputs) = (self.bias.len(), self.weight.len() / self.bias.len().max(1));
        let pixels = dense.len() / inputs.max(1);
        for got in [dense.len(), pruned.map_or(dense.len(), <[f32]>::len)] {
            if got != pixels * inputs {
                return Err(Error::Length { got, expected: pixels * inputs });
            }
        }
        let gather = |from: &[f32]| -> Vec<f32> {
            let place = |&pixel: &usize| from.iter().skip(pixel).step_by(pixels).copied();
            picked.iter().filter(|&&pixel| pixel < pixels).flat_map(place).collect()
        };
        let seen = gather(dense);
        let count = seen.len() / inputs.max(1);
        self.wanted.extend(self.multiply(&seen, &self.weight, &self.bias, [count, inputs, outputs]));
        self.reads.extend(pruned.map_or(seen, gather));
        Ok(())
    }

    /// Mean and variance of each output in the dense network, without its bias, at these places.
    pub fn dense_outputs(&self) -> Vec<[f64; 2]> {
        let biases = self.bias.iter().map(|&bias| f64::from(bias));
        let spread = spread(&self.wanted, self.bias.len());
        spread.into_iter().zip(biases).map(|([mean, variance], bias)| [mean - bias, variance]).collect()
    }

    /// Mean and variance of each output that weights of the layer, `[outputs, inputs]`, give in the pruned network, without its bias, at these places.
    pub fn outputs(&self, weight: &[f32]) -> Vec<[f64; 2]> {
        let (outputs, inputs) = (self.bias.len(), self.weight.len() / self.bias.len().max(1));
        let weight = transposed(weight, [outputs, inputs]);
        let no_bias = vec![0.0; outputs];
        spread(&self.multiply(&self.reads, &weight, &no_bias, [self.count(), inputs, outputs]), outputs)
    }

    /// What weights, transposed, make of what is read.
    fn multiply(&self, reads: &[f32], weight: &[f32], bias: &[f32], shape: [usize; 3]) -> Vec<f32> {
        let mut outputs = multiply(Product::Plain, reads, weight, shape);
        outputs
            .chunks_exact_mut(bias.len().max(1))
            .for_each(|place| place.iter_mut().zip(bias).for_each(|(output, bias)| *output += bias));
        outputs
    }

    /// By how much weights, with a bias that is shifted by so much, change what comes out of the activation: the squared error as a share of
    /// the variance.
    ///
    /// Shapes: `weight: [outputs, inputs]`, `shift: [outputs]`.
    pub fn relative_error(&self, weight: &[f32], shift: &[f64]) -> f64 {
        self.look(weight, shift).relative_error
    }

    /// What weights of the layer, `[outputs, inputs]`, do with a bias that is shifted by so much.
    pub(crate) fn look(&self, weight: &[f32], shift: &[f64]) -> Look {
        let (outputs, inputs) = (self.bias.len(), self.weight.len() / self.bias.len().max(1));
        let count = self.count();
        let weight = transposed(weight, [outputs, inputs]);
        let bias: Vec<f32> =
            self.bias.iter().zip(shift).map(|(&bias, shift)| (f64::from(bias) + shift) as f32).collect();
        let mut moved = self.multiply(&self.reads, &weight, &bias, [count, inputs, outputs]);
        let tiles = moved.par_chunks_mut(TILE * outputs).zip(self.wanted.par_chunks(TILE * outputs));
        let sums: Vec<Sums> = tiles.map(|(given, wanted)| self.move_towards(given, wanted)).collect();
        let sums = sums.into_iter().fold(Sums::new(outputs), Sums::and);
        let cross = multiply(Product::LeftTransposed, &moved, &self.reads, [outputs, count, inputs]);
        let mut read = vec![0.0; inputs];
        for place in self.reads.chunks_exact(inputs.max(1)) {
            read.iter_mut().zip(place).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        let places = count.max(1) as f64;
        let shift: Vec<f64> = sums.moved.iter().map(|sum| sum / places).collect();
        let centred = |(at, &cross): (usize, &f32)| {
            f64::from(cross) / places - shift[at / inputs] * read[at % inputs] / places
        };
        let cross = cross.iter().enumerate().map(centred).collect();
        Look { relative_error: sums.relative_error(places), shift, cross }
    }

    /// Replaces what the weights give by how far the wanted outputs may move to it: whole where both are beyond the same bound, to the bound
    /// where only the wanted one is.
    fn move_towards(&self, given: &mut [f32], wanted: &[f32]) -> Sums {
        let outputs = self.bias.len();
        let [low, high] = self.bounds;
        let mut sums = Sums::new(outputs);
        for (given, wanted) in given.chunks_exact_mut(outputs).zip(wanted.chunks_exact(outputs)) {
            for (at, (given, &wanted)) in given.iter_mut().zip(wanted).enumerate() {
                let after = f64::from(wanted.clamp(low, high));
                let off = f64::from(given.clamp(low, high)) - after;
                sums.errors += off * off;
                sums.wanted[at] += after;
                sums.squares += after * after;
                *given = match wanted {
                    _ if wanted <= low => given.min(low) - wanted,
                    _ if wanted >= high => given.max(high) - wanted,
                    _ => 0.0,
                };
                sums.moved[at] += f64::from(*given);
            }
        }
        sums
    }
}

/// Sums over places.
struct Sums {
    errors: f64,
    squares: f64,
    /// Of each output.
    wanted: Vec<f64>,
    moved: Vec<f64>,
}

impl Sums {
    fn new(outputs: usize) -> Self {
        Self { errors: 0.0, squares: 0.0, wanted: vec![0.0; outputs], moved: vec![0.0; outputs] }
    }

    fn and(mut self, other: Self) -> Self {
        let add = |to: &mut [f64], from: &[f64]| to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        self.errors += other.errors;
        self.squares += other.squares;
        add(&mut self.wanted, &other.wanted);
        add(&mut self.moved, &other.moved);
        self
    }

    fn relative_error(&self, places: f64) -> f64 {
        let means = self.wanted.iter().map(|sum| sum * sum).sum::<f64>() / places;
        let variance = self.squares - means;
        if variance > 0.0 { self.errors / variance } else { 0.0 }
    }
}

/// Mean and variance of each column of `[places, outputs]`.
fn spread(values: &[f32], outputs: usize) -> Vec<[f64; 2]> {
    let Some(first) = values.get(..outputs) else { return vec![[0.0; 2]; outputs] };
    let count = (values.len() / outputs.max(1)) as f64;
    let mut sums = vec![[0.0; 2]; outputs];
    for place in values.chunks_exact(outputs.max(1)) {
        for ((sums, value), first) in sums.iter_mut().zip(place).zip(first) {
            // Counted from the first, so little is lost where outputs vary by less than they are large.
            let off = f64::from(*value) - f64::from(*first);
            sums[0] += off;
            sums[1] += off * off;
        }
    }
    let of = |(&[sum, squares], &first): (&[f64; 2], &f32)| {
        let mean = sum / count;
        [f64::from(first) + mean, (squares / count - mean * mean).max(0.0)]
    };
    sums.iter().zip(first).map(of).collect()
}

/// `[rows, columns]` to `[columns, rows]`.
fn transposed(values: &[f32], [rows, columns]: [usize; 2]) -> Vec<f32> {
    (0..rows * columns).map(|at| values[at % rows.max(1) * columns + at / rows.max(1)]).collect()
}
