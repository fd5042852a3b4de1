//! From sums of 32 bits to bytes.

use super::QUAD;
use super::set::Factored;

/// How sums become bytes: `min(max(round((sum + bias) · multiplier) + zero, low), high)` for each output, halves to even.
#[derive(Clone, Debug, PartialEq)]
pub struct Requantise {
    /// `[outputs up to a multiple of 4]`.
    bias: Vec<i32>,
    multipliers: Vec<f32>,
    zero: u8,
    bounds: [u8; 2],
    outputs: usize,
}

impl Requantise {
    /// For so many outputs; `bias, multipliers: [outputs]`. `bounds`: least and greatest byte.
    pub fn new(bias: &[i32], multipliers: &[f32], zero: u8, bounds: [u8; 2]) -> Self {
        let len = bias.len().next_multiple_of(QUAD);
        let (mut filled, mut factors) = (bias.to_vec(), multipliers.to_vec());
        filled.resize(len, 0);
        factors.resize(len, 0.0);
        Self { bias: filled, multipliers: factors, zero, bounds, outputs: bias.len() }
    }

    /// Outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// The byte that stands for 0.
    pub fn zero(&self) -> u8 {
        self.zero
    }

    /// What each sum begins with, filled up to whole quads.
    pub(super) fn bias(&self) -> &[i32] {
        &self.bias
    }

    /// Adds to each bias what an input of zero byte `zero` adds to the sums: `−zero · Σ w`.
    pub(super) fn shift(&mut self, zero: u8, sums_of_weights: impl Iterator<Item = i32>) {
        for (bias, sum) in self.bias.iter_mut().zip(sums_of_weights) {
            *bias = bias.wrapping_sub(i32::from(zero).wrapping_mul(sum));
        }
    }

    /// Of the quad of outputs that begins with `output`.
    #[inline(always)]
    pub(super) fn of(&self, output: usize) -> Factored {
        let mut multipliers = [0.0; QUAD];
        multipliers.copy_from_slice(&self.multipliers[output..output + QUAD]);
        Factored { multipliers, zero: self.zero, bounds: self.bounds }
    }

    /// Whether no sum can leave the range of 32 bits, nor what it becomes before it is bounded: `greatest(output)` is the greatest size of the
    /// sum of an output without its bias.
    pub(crate) fn fits(&self, greatest: impl Fn(usize) -> i64) -> bool {
        (0..self.outputs).all(|output| {
            let sum = greatest(output) + i64::from(self.bias[output]).abs();
            let multiplier = f64::from(self.multipliers[output]);
            sum < 1 << 31 && multiplier >= 0.0 && sum as f64 * multiplier < 2e9
        })
    }
}

impl Factored {
    /// One sum, as every instruction set does it.
    #[inline(always)]
    pub(super) fn byte(&self, channel: usize, sum: i32) -> u8 {
        let scaled = (sum as f32 * self.multipliers[channel]).round_ties_even() as i32;
        let shifted = scaled.saturating_add(i32::from(self.zero));
        shifted.clamp(self.bounds[0].into(), self.bounds[1].into()) as u8
    }
}
