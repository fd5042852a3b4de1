//! Dense or sparse, measured on this machine.

use super::super::activation::Input;
use super::super::product::{InputRows, Left, Matrix, Pattern, Plain, product_with_statistics};
use super::super::vector::Stored;
use crate::Real;
use std::time::{Duration, Instant};

/// Which products of a pointwise layer leave the zeros out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// The forward product.
    pub forward: bool,
    /// The gradient to the input.
    pub input_gradient: bool,
    /// The gradient to the weight.
    pub weight_gradient: bool,
}

/// Pixels that products are tried on.
const SAMPLE: usize = 512;
/// Times that each product is tried; the fastest counts.
const TRIALS: usize = 3;
/// Kept fraction above which sparse products are not even tried.
const DENSE_ABOVE: f64 = 0.8;
/// Kept fraction up to which the gradient to the weight is sparse. The two ways of computing it round differently, so the
/// choice must not hang on a clock: it would make two runs from one seed differ.
const SPARSE_WEIGHT_GRADIENT: f64 = 0.45;
/// Kept fraction up to which all products are sparse where activations are bf16: dense products of bf16 round differently.
const SPARSE_BF16: f64 = 0.25;

impl Choice {
    /// Whether any product leaves the zeros out.
    pub fn any(&self) -> bool {
        self.forward || self.input_gradient || self.weight_gradient
    }
}

/// Chooses for a weight `[outputs, inputs]`, by trying the products whose bits do not depend on the choice.
pub fn choose<E: Stored>(pattern: &Pattern, [outputs, inputs]: [usize; 2]) -> Choice {
    let density = pattern.kept() as f64 / (outputs * inputs).max(1) as f64;
    if density > DENSE_ABOVE {
        return Choice::default();
    }
    if E::BF16 {
        let sparse = density <= SPARSE_BF16;
        return Choice { forward: sparse, input_gradient: sparse, weight_gradient: sparse };
    }
    let weight: Vec<E::Real> = (0..outputs * inputs).map(|i| E::Real::from_f64((i % 7) as f64)).collect();
    let matrix = Matrix::row_major(&weight, outputs, inputs, inputs);
    let forward = [Left::dense::<Plain>(matrix), Left::sparse(&weight, pattern.by_output())];
    let backward = [Left::dense::<Plain>(matrix.transposed()), Left::sparse(&weight, pattern.by_input())];
    Choice {
        forward: sparse_is_faster::<E>(&forward, [outputs, inputs]),
        input_gradient: sparse_is_faster::<E>(&backward, [inputs, outputs]),
        weight_gradient: density <= SPARSE_WEIGHT_GRADIENT,
    }
}

/// Whether the second left operand `[rows, inner]` makes the faster product.
fn sparse_is_faster<E: Stored>(operands: &[Left<'_, E::Real>; 2], [rows, inner]: [usize; 2]) -> bool {
    let x: Vec<E> = (0..inner * SAMPLE).map(|i| E::store(E::Real::from_f64((i % 5) as f64))).collect();
    let x = InputRows { x: Input::Plain(&x), channels: inner, pixels: SAMPLE };
    let mut y = vec![E::default(); rows * SAMPLE];
    let mut best = [Duration::MAX; 2];
    for _ in 0..TRIALS {
        for (best, left) in best.iter_mut().zip(operands) {
            let start = Instant::now();
            product_with_statistics::<E, Plain>(left, &x, &mut y, None, rows);
            *best = start.elapsed().min(*best);
        }
    }
    best[1] < best[0]
}
