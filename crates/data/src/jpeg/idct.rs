//! The inverse transform of one block: 8 columns of samples from 64 coefficients.
//!
//! It is the accurate integer method of libjpeg (`jidctint.c`, after Loeffler, Ligtenberg and Moschytz 1989), with
//! the same constants and roundings, so that the samples are the same. Its vectors in libjpeg-turbo have numbers of 16
//! bits, which coefficients of damaged files can exceed; such a block is done again with its overflows.

/// Bits of fraction of the constants.
const FRACTION: u32 = 13;
/// Bits of fraction kept between the passes.
const BETWEEN: u32 = 2;
/// Coefficients below this, and a constant one of at most eight times as much, never overflow.
const SMALL: i32 = 256;

/// Eight numbers side by side.
type Lanes = [i32; 8];

/// One pass along the first dimension; `bits` bits are taken away, rounding to the nearest.
///
/// The turns of the loop become the lanes of vectors.
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
pub(super) fn inverse(coefficients: &[i16; 64], quantisation: &[i16; 64]) -> [[u8; 8]; 8] {
    let (mut rows, mut between) = ([[0; 8]; 8], [[0; 8]; 8]);
    for (row, lanes) in rows.iter_mut().enumerate() {
        for (column, lane) in lanes.iter_mut().enumerate() {
            let at = row * 8 + column;
            *lane = i32::from(coefficients[at]).wrapping_mul(i32::from(quantisation[at]));
        }
    }
    let constant = i32::from(coefficients[0]).wrapping_mul(i32::from(quantisation[0]));
    rows[0][0] = 0;
    let mut large = [0; 8];
    for row in &rows {
        for (large, value) in large.iter_mut().zip(row) {
            *large |= value.wrapping_add(SMALL);
        }
    }
    rows[0][0] = constant;
    let large = large.iter().fold(0, |large, &lane| large | lane) & !(2 * SMALL - 1) != 0;
    if (large || constant.unsigned_abs() > 2048) && overflows(&rows) {
        return wrapping(coefficients, quantisation);
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

/// Whether a number on the way may take more than 16 bits: not if the coefficients of each two columns that are added to
/// each other come to little, as a result of the first pass is at most their sum times 5.55.
#[cold]
#[inline(never)]
fn overflows(rows: &[Lanes; 8]) -> bool {
    let sum = |column: usize| rows.iter().map(|row| i64::from(row[column]).abs()).sum::<i64>();
    (0..4).any(|column| sum(column) + sum(column + 4) > 5900)
}

/// Samples of a block in numbers of 16 bits: products and sums wrap, and results of a pass are cut at the bounds.
#[cold]
#[inline(never)]
fn wrapping(coefficients: &[i16; 64], quantisation: &[i16; 64]) -> [[u8; 8]; 8] {
    let wrap = |value: i32| i32::from(value as i16);
    let scaled = |at: usize| wrap(i32::from(coefficients[at]) * i32::from(quantisation[at]));
    // A single row is shifted without a look at its size.
    let single = coefficients[8..].iter().all(|&value| value == 0);
    let columns: [[i32; 8]; 8] = std::array::from_fn(|x| {
        wrapping_line(std::array::from_fn(|y| scaled(8 * y + x)), FRACTION - BETWEEN)
    });
    let between = |x: usize, y: usize| if single { wrap(scaled(x) << BETWEEN) } else { columns[x][y] };
    let rows: [[i32; 8]; 8] = std::array::from_fn(|y| {
        wrapping_line(std::array::from_fn(|x| between(x, y)), FRACTION + BETWEEN + 3)
    });
    std::array::from_fn(|x| std::array::from_fn(|y| (rows[y][x].clamp(-128, 127) + 128) as u8))
}

/// As [`pass`], of one line in numbers of 16 bits.
fn wrapping_line(x: [i32; 8], bits: u32) -> [i32; 8] {
    let wrap = |value: i32| i32::from(value as i16);
    let two = |a: i32, of_a: i32, b: i32, of_b: i32| add(times(a, of_a), times(b, of_b));
    let (even2, even3) = (two(x[2], 4433, x[6], 4433 - 15137), two(x[2], 4433 + 6270, x[6], 4433));
    let (even0, even1) = (wrap(x[0] + x[4]) << FRACTION, wrap(x[0] - x[4]) << FRACTION);
    let (z3, z4) = (wrap(x[7] + x[3]), wrap(x[5] + x[1]));
    let (z3, z4) = (two(z3, 9633 - 16069, z4, 9633), two(z3, 9633, z4, 9633 - 3196));
    let odd = [
        add(two(x[1], 12299 - 7373, x[7], -7373), z4),
        add(two(x[3], 25172 - 20995, x[5], -20995), z3),
        add(two(x[5], 16819 - 20995, x[3], -20995), z4),
        add(two(x[7], 2446 - 7373, x[1], -7373), z3),
    ];
    let even = [add(even0, even3), add(even1, even2), sub(even1, even2), sub(even0, even3)];
    std::array::from_fn(|at| {
        let sum = if at < 4 { add(even[at], odd[at]) } else { sub(even[7 - at], odd[7 - at]) };
        (add(sum, 1 << (bits - 1)) >> bits).clamp(-32768, 32767)
    })
}

/// Samples of a block that has the constant coefficient alone: all the same.
#[inline(always)]
pub(super) fn constant(coefficient: i16, quantisation: i16) -> u8 {
    let between = i32::from(coefficient.wrapping_mul(quantisation) << BETWEEN);
    (((between + (1 << (BETWEEN + 2))) >> (BETWEEN + 3)).clamp(-128, 127) + 128) as u8
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
    fn numbers_past_16_bits_wrap_as_in_the_vectors_of_libjpeg_turbo() {
        // What no overflow changes is the same both ways.
        let mut rng = sample_rng(4, 0, 0);
        for _ in 0..200 {
            let block: [i16; 64] = std::array::from_fn(|_| rng.uniform(-40.0, 40.0) as i16);
            assert_eq!(inverse(&block, &[3; 64]), wrapping(&block, &[3; 64]));
        }
        let mut block = [0i16; 64];
        (block[0], block[8]) = (1000, 1);
        assert_eq!(inverse(&block, &[40; 64])[0][0], 0, "40000 is -25536");
        (block[0], block[8], block[1]) = (16000, 0, 1);
        assert_eq!(inverse(&block, &[1; 64])[0][0], 80, "a single row is shifted to -1536");
        (block[0], block[8]) = (16000, 1);
        assert_eq!(inverse(&block, &[1; 64])[0][0], 255, "else it is cut at 32767");
    }

    #[test]
    fn a_constant_block_is_the_short_cut() {
        for value in -4000..4000 {
            let mut block = [0i16; 64];
            block[0] = value;
            let expected = constant(value, 3);
            assert!(inverse(&block, &[3; 64]).iter().flatten().all(|&sample| sample == expected));
        }
    }
}
