//! The inverse transform of one block: 8 columns of samples from 64 coefficients.
//!
//! It is the accurate integer method of libjpeg (`jidctint.c`, after Loeffler, Ligtenberg and Moschytz 1989), with
//! the same constants and roundings, so that the samples are the same.

/// Bits of fraction of the constants.
const FRACTION: u32 = 13;
/// Bits of fraction kept between the passes.
const BETWEEN: u32 = 2;

/// Eight numbers side by side.
type Lanes = [i32; 8];

/// One pass along the first dimension; `bits` bits are taken away, rounding to the nearest.
///
/// The turns of the loop become the lanes of vectors. What overflows wraps, which only coefficients that no encoder writes
/// can cause.
#[inline(always)]
fn pass(x: &[Lanes; 8], y: &mut [Lanes; 8], bits: u32) {
    let half = 1 << (bits - 1);
    for lane in 0..8 {
        let [x0, x1, x2, x3] = [x[0][lane], x[1][lane], x[2][lane], x[3][lane]];
        let [x4, x5, x6, x7] = [x[4][lane], x[5][lane], x[6][lane], x[7][lane]];
        let common = times(add(x2, x6), 4433);
        let (even2, even3) = (add(common, times(x6, -15137)), add(common, times(x2, 6270)));
        let (even0, even1) = (add(x0, x4) << FRACTION, sub(x0, x4) << FRACTION);
        let (e0, e1, e2, e3) = (add(even0, even3), add(even1, even2), sub(even1, even2), sub(even0, even3));

        let (z1, z2, z3, z4) = (add(x7, x1), add(x5, x3), add(x7, x3), add(x5, x1));
        let z5 = times(add(z3, z4), 9633);
        let (z1, z2) = (times(z1, -7373), times(z2, -20995));
        let (z3, z4) = (add(times(z3, -16069), z5), add(times(z4, -3196), z5));
        let o0 = add(add(times(x1, 12299), z1), z4);
        let o1 = add(add(times(x3, 25172), z2), z3);
        let o2 = add(add(times(x5, 16819), z2), z4);
        let o3 = add(add(times(x7, 2446), z1), z3);

        y[0][lane] = add(add(e0, o0), half) >> bits;
        y[1][lane] = add(add(e1, o1), half) >> bits;
        y[2][lane] = add(add(e2, o2), half) >> bits;
        y[3][lane] = add(add(e3, o3), half) >> bits;
        y[4][lane] = add(sub(e3, o3), half) >> bits;
        y[5][lane] = add(sub(e2, o2), half) >> bits;
        y[6][lane] = add(sub(e1, o1), half) >> bits;
        y[7][lane] = add(sub(e0, o0), half) >> bits;
    }
}

#[inline(always)]
fn add(a: i32, b: i32) -> i32 {
    a.wrapping_add(b)
}

#[inline(always)]
fn sub(a: i32, b: i32) -> i32 {
    a.wrapping_sub(b)
}

#[inline(always)]
fn times(a: i32, constant: i32) -> i32 {
    a.wrapping_mul(constant)
}

#[inline(always)]
fn transpose(rows: &[Lanes; 8], columns: &mut [Lanes; 8]) {
    for (row, lanes) in rows.iter().enumerate() {
        for (column, &value) in columns.iter_mut().zip(lanes) {
            column[row] = value;
        }
    }
}

/// Samples of a block, as columns from left to right, each from top to bottom.
///
/// `coefficients` and `quantisation` lie in rows, not in zigzag.
#[inline(always)]
pub(super) fn inverse(coefficients: &[i16; 64], quantisation: &[i32; 64]) -> [[u8; 8]; 8] {
    let (mut rows, mut between) = ([[0; 8]; 8], [[0; 8]; 8]);
    for (row, lanes) in rows.iter_mut().enumerate() {
        for (column, lane) in lanes.iter_mut().enumerate() {
            let at = row * 8 + column;
            *lane = i32::from(coefficients[at]).wrapping_mul(quantisation[at]);
        }
    }
    pass(&rows, &mut between, FRACTION - BETWEEN);
    transpose(&between, &mut rows);
    pass(&rows, &mut between, FRACTION + BETWEEN + 3);
    let mut samples = [[0; 8]; 8];
    for (samples, column) in samples.iter_mut().zip(&between) {
        for (value, &lane) in samples.iter_mut().zip(column) {
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
