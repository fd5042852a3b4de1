//! Guesses at coefficients that a progressive file never tells, from the blocks around (`decompress_smooth_data` of
//! `jdcoefct.c`).

use super::coefficients::{Coefficients, UNKNOWN};
use super::header::Header;
use super::huffman::ZIGZAG;

/// Coefficients in zigzag up to here are guessed.
const GUESSED: usize = 9;

/// Where guesses are needed.
pub(super) struct Smoothing {
    /// By component: units of the image down, and blocks of a unit down.
    units: usize,
    down: Vec<usize>,
    /// By component: no coefficient but the constant one is known.
    alone: Vec<bool>,
}

impl Smoothing {
    /// None if everything that would be guessed is known, or a table forbids it.
    pub(super) fn new(header: &Header, planes: &[Coefficients]) -> Option<Self> {
        let guessed = |plane: &Coefficients| plane.unknown[1..=GUESSED].iter().any(|&unknown| unknown > 0);
        let possible = |plane: &Coefficients| {
            let table = plane.quantisation.as_ref();
            plane.unknown[0] != UNKNOWN
                && table.is_some_and(|table| ZIGZAG[..=GUESSED].iter().all(|&at| table[usize::from(at)] != 0))
        };
        if !header.progressive || !planes.iter().any(guessed) || !planes.iter().all(possible) {
            return None;
        }
        let alone =
            |plane: &Coefficients| plane.unknown[1..=GUESSED].iter().all(|&unknown| unknown == UNKNOWN);
        Some(Self {
            units: header.units().1,
            down: header.components.iter().map(|component| component.down).collect(),
            alone: planes.iter().map(alone).collect(),
        })
    }

    /// Guesses at what is not known of the block at (x, y) of a component.
    pub(super) fn fill_in(
        &self,
        component: usize,
        plane: &Coefficients,
        (x, y): (usize, usize),
        block: &mut [i16; 64],
    ) {
        let Some(table) = &plane.quantisation else { return };
        if x >= plane.used_across || y >= plane.used_down {
            return;
        }
        let scale = |at: usize| i64::from(table[at] as u16);
        let around = self.around(component, plane, (x, y));
        let sum = |weights: &[i64; 25]| -> i64 {
            scale(0) * weights.iter().zip(&around).map(|(weight, value)| weight * value).sum::<i64>()
        };
        let alone = self.alone[component];
        let weights = if alone { &ALONE[..] } else { &BESIDE[..] };
        for (weights, at) in weights.iter().zip(1..) {
            let place = usize::from(ZIGZAG[at]);
            let unknown = plane.unknown[at];
            if unknown > 0 && block[place] == 0 {
                let most = if unknown == UNKNOWN { i64::MAX } else { (1 << unknown) - 1 };
                block[place] = guess(sum(weights), scale(place), most);
            }
        }
        if alone {
            block[0] = guess(sum(&CONSTANT), scale(0), i64::MAX);
        }
    }

    /// The constant coefficients of five by five blocks, those of the edge repeated.
    fn around(&self, component: usize, plane: &Coefficients, (x, y): (usize, usize)) -> [i64; 25] {
        let down = self.down[component];
        let (unit, row) = (y / down, y % down);
        // libjpeg counts the rows of all units as it does those of the last, which may have fewer.
        let rows = if unit + 1 == self.units { plane.used_down - unit * down } else { down };
        let (number, count) = (unit * rows + row, self.units * rows);
        let above = y - usize::from(number > 0);
        let below = y + usize::from(number + 1 < count);
        let lines = [
            if number > 1 { y - 2 } else { above },
            above,
            y,
            below,
            if number + 2 < count { y + 2 } else { below },
        ];
        let last = plane.used_across - 1;
        std::array::from_fn(|at| {
            let column = (x + at % 5).saturating_sub(2).min(last);
            i64::from(plane.blocks[lines[at / 5] * plane.across + column][0])
        })
    }
}

/// A sum of weights over 256 in the unit of a coefficient, rounded, of at most such a size.
fn guess(sum: i64, scale: i64, most: i64) -> i16 {
    let size = (((scale << 7) + sum.abs()) / (scale << 8)).min(most);
    (if sum < 0 { -size } else { size }) as i16
}

/// By coefficient: weights of the constant coefficients around, where no others are known.
#[rustfmt::skip]
const ALONE: [[i64; 25]; 9] = [
    [-1, -1, 0, 1, 1, -3, 13, 0, -13, 3, -3, 38, 0, -38, 3, -3, 13, 0, -13, 3, -1, -1, 0, 1, 1],
    [-1, -3, -3, -3, -1, -1, 13, 38, 13, -1, 0, 0, 0, 0, 0, 1, -13, -38, -13, 1, 1, 3, 3, 3, 1],
    [0, 0, 1, 0, 0, 0, 2, 7, 2, 0, 0, -5, -14, -5, 0, 0, 2, 7, 2, 0, 0, 0, 1, 0, 0],
    [-1, 0, 0, 0, 1, 0, 9, 0, -9, 0, 0, 0, 0, 0, 0, 0, -9, 0, 9, 0, 1, 0, 0, 0, -1],
    [0, 0, 0, 0, 0, 0, 2, -5, 2, 0, 1, 7, -14, 7, 1, 0, 2, -5, 2, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 1, 0, -1, 0, 0, 2, 0, -2, 0, 0, 1, 0, -1, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 1, -3, 1, 0, 0, 0, 0, 0, 0, 0, -1, 3, -1, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 1, 0, -1, 0, 0, -3, 0, 3, 0, 0, 1, 0, -1, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 1, 2, 1, 0, 0, 0, 0, 0, 0, 0, -1, -2, -1, 0, 0, 0, 0, 0, 0],
];

/// The same where others are known.
#[rustfmt::skip]
const BESIDE: [[i64; 25]; 5] = [
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -7, 50, 0, -50, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, -7, 0, 0, 0, 0, 50, 0, 0, 0, 0, 0, 0, 0, 0, 0, -50, 0, 0, 0, 0, 7, 0, 0],
    [0, 0, -1, 0, 0, 0, 0, 13, 0, 0, 0, 0, -24, 0, 0, 0, 0, 13, 0, 0, 0, 0, -1, 0, 0],
    [0, -1, 0, 1, 0, -1, 10, 0, -10, 1, 0, 0, 0, 0, 0, 1, -10, 0, 10, -1, 0, 1, 0, -1, 0],
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -1, 13, -24, 13, -1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
];

/// The same for the constant coefficient itself.
#[rustfmt::skip]
const CONSTANT: [i64; 25] =
    [-2, -6, -8, -6, -2, -6, 6, 42, 6, -6, -8, 42, 152, 42, -8, -6, 6, 42, 6, -6, -2, -6, -8, -6, -2];
