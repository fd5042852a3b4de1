//! A linear layer in integers, from numbers to numbers: what is read is rounded to bytes on the way.

#![allow(unsafe_code)]

use super::QUAD;
use super::set::{Set, Work, dispatch, registers};
use crate::channelwise::Finish;
use crate::crew::Crew;
use crate::function::Quantization;
use crate::head::Vectors;
use crate::tiles::{Tile, tiles};

/// Images that share a pass over the weights.
const IMAGES: usize = 4;
/// Most vectors of a tile: with four images' sums it leaves room for weights.
const MOST_VECTORS: usize = 4;
/// Quads of inputs that are rounded at a time.
const ROUNDED: usize = 256;

/// A linear layer whose weights are packed for this processor.
#[derive(Clone, Debug)]
pub struct Linear {
    inputs: usize,
    outputs: usize,
    quantization: Quantization,
    /// Per tile of outputs: `[quads of inputs, tile]`.
    panels: Vec<[i8; QUAD]>,
    /// Filled up to whole tiles, as the next: what sums begin with, and what they are multiplied by.
    bias: Vec<i32>,
    multipliers: Vec<f32>,
    finish: Finish,
    tiles: Vec<Tile>,
}

impl Linear {
    /// Packs `weight: [outputs, inputs]`, of which each output is multiplied by its scale, `bias` being in steps of that times the scale of the
    /// input; `quantization` is that of what is read. Sums that leave 32 bits wrap around.
    pub fn new(
        weight: &[i8],
        bias: &[i32],
        scales: &[f32],
        quantization: Quantization,
        finish: Finish,
    ) -> Self {
        let outputs = bias.len();
        let inputs = weight.len().checked_div(outputs).unwrap_or(0);
        let (lanes, _) = registers();
        let (tiles, width) = (tiles(outputs, lanes, MOST_VECTORS, 1), outputs.next_multiple_of(lanes));
        let quads = inputs.div_ceil(QUAD);
        let mut panels = vec![[0; QUAD]; width * quads];
        let (mut sums, mut multipliers) = (vec![0; width], vec![0.0; width]);
        for output in 0..outputs {
            let row = &weight[output * inputs..][..inputs];
            let sum: i32 = row.iter().map(|&w| i32::from(w)).sum();
            sums[output] = bias[output].wrapping_sub(sum.wrapping_mul(quantization.zero.into()));
            multipliers[output] = quantization.scale * scales[output];
        }
        for tile in &tiles {
            let width = tile.vectors * lanes;
            let panel = &mut panels[tile.start * quads..][..width * quads];
            for output in tile.start..outputs.min(tile.start + width) {
                for (input, &value) in weight[output * inputs..][..inputs].iter().enumerate() {
                    panel[input / QUAD * width + output - tile.start][input % QUAD] = value;
                }
            }
        }
        Self { inputs, outputs, quantization, panels, bias: sums, multipliers, finish, tiles }
    }

    /// Length of a vector that goes in.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Length of a vector that comes out.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Does the thread's part.
    ///
    /// # Safety
    /// `vectors` must hold as many vectors of numbers that go in, and room for those that come out.
    pub(crate) unsafe fn run(&self, crew: &Crew<'_>, vectors: Vectors) {
        crew.share(self.tiles.len(), |tile| dispatch(Part { linear: self, vectors, tile: self.tiles[tile] }));
    }
}

/// As [`Quantization::byte`], in a form that becomes vectors.
#[inline(always)]
fn round(from: &[f32], to: &mut [u8], Quantization { scale, zero }: Quantization) {
    let zero = f32::from(zero);
    for (to, &x) in to.iter_mut().zip(from) {
        let step = (x / scale).round_ties_even() + zero;
        let step = if step > 0.0 { step } else { 0.0 };
        let step = if step < 255.0 { step } else { 255.0 };
        // SAFETY: it lies between 0 and 255.
        *to = unsafe { step.to_int_unchecked::<i32>() } as u8;
    }
}

/// A tile of outputs for all images.
struct Part<'a> {
    linear: &'a Linear,
    vectors: Vectors,
    tile: Tile,
}

impl Work for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Set>(self, set: I) {
        // SAFETY: `Linear::run` promises the vectors; the panel of a tile has a row for each quad of inputs.
        unsafe {
            match self.tile.vectors {
                1 => self.outputs::<I, 1>(set),
                2 => self.outputs::<I, 2>(set),
                3 => self.outputs::<I, 3>(set),
                _ => self.outputs::<I, MOST_VECTORS>(set),
            }
        }
    }
}

impl Part<'_> {
    /// # Safety
    /// As its caller promises to its own.
    #[inline(always)]
    unsafe fn outputs<I: Set, const V: usize>(&self, set: I) {
        let mut image = 0;
        // SAFETY: as in `run`.
        unsafe {
            while image + IMAGES <= self.vectors.images {
                self.images::<I, IMAGES, V>(set, image);
                image += IMAGES;
            }
            while image < self.vectors.images {
                self.images::<I, 1, V>(set, image);
                image += 1;
            }
        }
    }

    /// Outputs of a tile for `R` images.
    ///
    /// # Safety
    /// As its caller promises to its own.
    #[inline(always)]
    unsafe fn images<I: Set, const R: usize, const V: usize>(&self, set: I, image: usize) {
        let Linear { inputs, outputs, panels, bias, multipliers, .. } = self.linear;
        let (start, quads) = (self.tile.start, inputs.div_ceil(QUAD));
        // SAFETY: as in `run`; bias and multipliers are filled up to whole tiles.
        unsafe {
            let mut sums = [[set.splat(0); V]; R];
            for (v, sum) in sums[0].iter_mut().enumerate() {
                *sum = set.load_sums(bias.as_ptr().add(start + v * I::LANES));
            }
            sums = [sums[0]; R];
            let mut panel = panels.as_ptr().add(start * quads);
            let mut rounded = [[[0; QUAD]; ROUNDED]; R];
            for first in (0..quads).step_by(ROUNDED) {
                let count = ROUNDED.min(quads - first);
                for (row, rounded) in rounded.iter_mut().enumerate() {
                    let from = self.vectors.from.add((image + row) * inputs + first * QUAD);
                    let from = std::slice::from_raw_parts(from, (count * QUAD).min(inputs - first * QUAD));
                    let to = rounded.as_flattened_mut();
                    round(from, to, self.linear.quantization);
                }
                for quad in 0..count {
                    let mut factors = [set.factors([0; QUAD]); V];
                    for (v, factors) in factors.iter_mut().enumerate() {
                        *factors = set.load_factors(panel.add(v * I::LANES));
                    }
                    for (rounded, sums) in rounded.iter().zip(&mut sums) {
                        let read = set.splat_quad(rounded[quad]);
                        for (sum, &factors) in sums.iter_mut().zip(&factors) {
                            *sum = set.dot(*sum, read, factors);
                        }
                    }
                    panel = panel.add(V * I::LANES);
                }
            }
            let len = (outputs - start).min(V * I::LANES);
            for (row, sums) in sums.into_iter().enumerate() {
                let mut finished = [0; MOST_VECTORS * sparse_vectors::vector::MOST_LANES];
                for (v, sum) in sums.into_iter().enumerate() {
                    set.store_sums(finished.as_mut_ptr().add(v * I::LANES), sum);
                }
                let to = self.vectors.to.add((image + row) * outputs + start);
                self.finish(&finished[..len], &multipliers[start..], std::slice::from_raw_parts_mut(to, len));
            }
        }
    }

    /// From sums to numbers.
    #[inline(always)]
    fn finish(&self, sums: &[i32], multipliers: &[f32], to: &mut [f32]) {
        let Finish { bounds, function } = self.linear.finish;
        for ((to, &sum), &multiplier) in to.iter_mut().zip(sums).zip(multipliers) {
            *to = bounds.of(sum as f32 * multiplier);
        }
        if let Some(function) = function {
            function.apply_in_place(to);
        }
    }
}
