//! The inverse transform of one block: 8 columns of samples from 64 coefficients.
//!
//! It is the accurate integer method of libjpeg (`jidctint.c`, after Loeffler, Ligtenberg and Moschytz 1989), with
//! the same constants and roundings, so that the samples are the same. A vector holds one number for each of 8 lanes.

use std::ops::{Add, Mul, Sub};

/// Bits of fraction of the constants.
const FRACTION: u32 = 13;
/// Bits of fraction kept between the passes.
const BETWEEN: u32 = 2;

/// Eight lanes, in plain loops, which are inlined wherever vectors are wide; what overflows wraps, which only coefficients that no encoder writes can cause.
#[derive(Clone, Copy)]
struct Lanes([i32; 8]);

impl Lanes {
    #[inline(always)]
    fn map(self, change: impl Fn(i32) -> i32) -> Self {
        let mut lanes = self.0;
        for lane in &mut lanes {
            *lane = change(*lane);
        }
        Self(lanes)
    }

    /// Divides by a power of two, rounding to the nearest.
    #[inline(always)]
    fn descale(self, bits: u32) -> Self {
        self.map(|value| value.wrapping_add(1 << (bits - 1)) >> bits)
    }
}

impl Add for Lanes {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        let mut lanes = self.0;
        for (lane, other) in lanes.iter_mut().zip(other.0) {
            *lane = lane.wrapping_add(other);
        }
        Self(lanes)
    }
}

impl Sub for Lanes {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        let mut lanes = self.0;
        for (lane, other) in lanes.iter_mut().zip(other.0) {
            *lane = lane.wrapping_sub(other);
        }
        Self(lanes)
    }
}

impl Mul<i32> for Lanes {
    type Output = Self;
    #[inline(always)]
    fn mul(self, factor: i32) -> Self {
        self.map(|value| value.wrapping_mul(factor))
    }
}

/// One pass over eight vectors; the results carry `FRACTION` more bits.
#[inline(always)]
fn pass(x: [Lanes; 8], descale: u32) -> [Lanes; 8] {
    let common = (x[2] + x[6]) * 4433;
    let (even2, even3) = (common - x[6] * 15137, common + x[2] * 6270);
    let even0 = (x[0] + x[4]).map(|value| value << FRACTION);
    let even1 = (x[0] - x[4]).map(|value| value << FRACTION);
    let even = [even0 + even3, even1 + even2, even1 - even2, even0 - even3];

    let (z1, z2, z3, z4) = (x[7] + x[1], x[5] + x[3], x[7] + x[3], x[5] + x[1]);
    let z5 = (z3 + z4) * 9633;
    let (z1, z2) = (z1 * -7373, z2 * -20995);
    let (z3, z4) = (z5 - z3 * 16069, z5 - z4 * 3196);
    let odd = [x[1] * 12299 + z1 + z4, x[3] * 25172 + z2 + z3, x[5] * 16819 + z2 + z4, x[7] * 2446 + z1 + z3];
    let sum = |at: usize| (even[at] + odd[at]).descale(descale);
    let difference = |at: usize| (even[at] - odd[at]).descale(descale);
    [sum(0), sum(1), sum(2), sum(3), difference(3), difference(2), difference(1), difference(0)]
}

#[inline(always)]
fn transpose(rows: [Lanes; 8]) -> [Lanes; 8] {
    let mut columns = [Lanes([0; 8]); 8];
    for (row, lanes) in rows.iter().enumerate() {
        for (column, &value) in columns.iter_mut().zip(&lanes.0) {
            column.0[row] = value;
        }
    }
    columns
}

/// Samples of a block, as columns from left to right, each from top to bottom.
///
/// `coefficients` and `quantisation` lie in rows, not in zigzag.
#[inline(always)]
pub(super) fn inverse(coefficients: &[i16; 64], quantisation: &[i32; 64]) -> [[u8; 8]; 8] {
    let mut rows = [Lanes([0; 8]); 8];
    for (row, lanes) in rows.iter_mut().enumerate() {
        for (column, lane) in lanes.0.iter_mut().enumerate() {
            let at = row * 8 + column;
            *lane = i32::from(coefficients[at]).wrapping_mul(quantisation[at]);
        }
    }
    let columns = pass(transpose(pass(rows, FRACTION - BETWEEN)), FRACTION + BETWEEN + 3);
    let mut samples = [[0; 8]; 8];
    for (samples, column) in samples.iter_mut().zip(&columns) {
        for (value, &lane) in samples.iter_mut().zip(&column.0) {
            *value = sample(lane);
        }
    }
    samples
}

/// Samples of a block that has the constant coefficient alone: all the same.
#[inline(always)]
pub(super) fn constant(coefficient: i16, quantisation: i32) -> u8 {
    let between = i32::from(coefficient).wrapping_mul(quantisation) << BETWEEN;
    sample(between.wrapping_add(1 << (BETWEEN + 2)) >> (BETWEEN + 3))
}

#[inline(always)]
fn sample(value: i32) -> u8 {
    value.wrapping_add(128).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample_rng;
    use std::f64::consts::PI;

    /// The transform by its definition.
    fn exact(coefficients: &[i16; 64], x: usize, y: usize) -> f64 {
        let norm = |u: usize| if u == 0 { 0.5f64.sqrt() } else { 1.0 };
        let wave = |at: usize, u: usize| ((2 * at + 1) as f64 * u as f64 * PI / 16.0).cos();
        let term = |at: usize| {
            let (v, u) = (at / 8, at % 8);
            norm(u) * norm(v) * f64::from(coefficients[at]) * wave(x, u) * wave(y, v)
        };
        (0..64).map(term).sum::<f64>() / 4.0 + 128.0
    }

    #[test]
    fn samples_are_those_of_the_definition() {
        let mut rng = sample_rng(3, 0, 0);
        for _ in 0..200 {
            let mut block = [0i16; 64];
            for value in &mut block {
                *value = if rng.below(3) == 0 { rng.uniform(-60.0, 60.0) as i16 } else { 0 };
            }
            let columns = inverse(&block, &[1; 64]);
            for (x, column) in columns.iter().enumerate() {
                for (y, &sample) in column.iter().enumerate() {
                    let expected = exact(&block, x, y).clamp(0.0, 255.0);
                    assert!((f64::from(sample) - expected).abs() < 0.6, "{sample} {expected}");
                }
            }
        }
    }

    #[test]
    fn a_constant_block_is_the_short_cut() {
        for value in -1100..1100 {
            let mut block = [0i16; 64];
            block[0] = value;
            let expected = constant(value, 3);
            assert!(inverse(&block, &[3; 64]).iter().flatten().all(|&sample| sample == expected));
        }
    }
}
