//! What comes after the last image-shaped result: layers on the feature vectors of a whole batch.
//!
//! A linear layer is a product like any other, with the weights in the role of the panel and images in that of rows:
//! one pass over the weights serves four images.

#![allow(unsafe_code)]

use super::arena::Buffer;
use super::channelwise::Finish;
use super::crew::Crew;
use super::int8;
use super::multiply::{store, vectors};
use super::precision::{Form, Precision, Work, dispatch};
use super::tiles::{MOST_DENSE_VECTORS, Registers, Tile, tiles};
use pulp::Simd;
use sparse_vectors::arithmetic::Arithmetic;
use sparse_vectors::vector;

/// Images that share a pass over the weights.
const IMAGES: usize = 4;
/// Inputs that are rounded at a time, an even number.
const ROUNDED: usize = 512;

/// A layer on vectors.
#[derive(Clone, Debug)]
pub enum Layer {
    /// `weight · x + bias`, and what results are then done to.
    Linear(Linear),
    /// The same in integers.
    Int8(int8::Linear),
    /// `exp(x) / Σ exp(x)`.
    Softmax,
    /// `x − log(Σ exp(x))`.
    LogSoftmax,
}

/// A linear layer whose weights are packed for this processor.
#[derive(Clone, Debug)]
pub struct Linear {
    form: Form,
    inputs: usize,
    outputs: usize,
    /// Per tile of outputs: `[inputs or pairs of them, tile]`.
    panels: Buffer,
    /// Filled up to whole tiles.
    bias: Buffer,
    finish: Finish,
    tiles: Vec<Tile>,
}

impl Linear {
    /// Packs `weight: [outputs, inputs]`.
    pub fn new(weight: &[f32], bias: &[f32], finish: Finish, precision: Precision) -> Self {
        let outputs = bias.len();
        let inputs = weight.len().checked_div(outputs).unwrap_or(0);
        let Registers { lanes, dense_vectors } = Registers::here();
        let tiles = tiles(outputs, lanes, dense_vectors, 1);
        let form = precision.form();
        let (width, rows) = (outputs.next_multiple_of(lanes), inputs.div_ceil(form.depth()));
        let mut panels = Buffer::zeros(width * rows);
        for tile in &tiles {
            let width = tile.vectors * lanes;
            let panel = &mut panels[tile.start * rows..][..width * rows];
            for output in tile.start..outputs.min(tile.start + width) {
                for (row, number) in form.of_row(&weight[output * inputs..][..inputs]).enumerate() {
                    panel[row * width + output - tile.start] = number;
                }
            }
        }
        Self { form, inputs, outputs, panels, bias: Buffer::copy_of(bias), finish, tiles }
    }

    /// Length of a vector that goes in.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Length of a vector that comes out.
    pub fn outputs(&self) -> usize {
        self.outputs
    }
}

/// Vectors of a batch, one after the other.
#[derive(Clone, Copy)]
pub(super) struct Vectors {
    pub(super) from: *const f32,
    pub(super) to: *mut f32,
    pub(super) images: usize,
}

// SAFETY: threads of a crew write different outputs, and nobody writes what is read.
unsafe impl Send for Vectors {}
// SAFETY: as above.
unsafe impl Sync for Vectors {}

impl Layer {
    /// Length of the result for vectors of `inputs` numbers; `None` if they do not fit.
    pub(super) fn outputs(&self, inputs: usize) -> Option<usize> {
        match self {
            Self::Linear(linear) => (linear.inputs == inputs).then_some(linear.outputs),
            Self::Int8(linear) => (linear.inputs() == inputs).then_some(linear.outputs()),
            Self::Softmax | Self::LogSoftmax => Some(inputs),
        }
    }

    /// Does the thread's part.
    ///
    /// # Safety
    /// `vectors` must hold as many vectors of `inputs` numbers, and room for the results.
    pub(super) unsafe fn run(&self, crew: &Crew<'_>, vectors: Vectors, inputs: usize) {
        match self {
            Self::Linear(linear) => crew.share(linear.tiles.len(), |tile| {
                dispatch(linear.form, Part { linear, vectors, tile: linear.tiles[tile] });
            }),
            // SAFETY: as the caller promises.
            Self::Int8(linear) => unsafe { linear.run(crew, vectors) },
            Self::Softmax | Self::LogSoftmax => crew.share(vectors.images, |image| {
                // SAFETY: the caller promises `images` vectors on both sides.
                let (from, to) = unsafe {
                    let from = std::slice::from_raw_parts(vectors.from.add(image * inputs), inputs);
                    (from, std::slice::from_raw_parts_mut(vectors.to.add(image * inputs), inputs))
                };
                match self {
                    Self::LogSoftmax => log_softmax(from, to),
                    _ => softmax(from, to),
                }
            }),
        }
    }
}

/// Softmax; the greatest is subtracted first, so that nothing overflows.
fn softmax(from: &[f32], to: &mut [f32]) {
    let greatest = from.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for (to, &x) in to.iter_mut().zip(from) {
        *to = (x - greatest).exp();
    }
    let sum: f64 = to.iter().map(|&x| f64::from(x)).sum();
    to.iter_mut().for_each(|x| *x = (f64::from(*x) / sum) as f32);
}

/// The logarithm of the softmax, without loss where that is small.
fn log_softmax(from: &[f32], to: &mut [f32]) {
    let greatest = from.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = from.iter().map(|&x| f64::from(x - greatest).exp()).sum();
    for (to, &x) in to.iter_mut().zip(from) {
        *to = (f64::from(x) - f64::from(greatest) - sum.ln()) as f32;
    }
}

/// A tile of outputs for all images.
struct Part<'a> {
    linear: &'a Linear,
    vectors: Vectors,
    tile: Tile,
}

impl Work for Part<'_> {
    #[inline(always)]
    fn run<A: Arithmetic<f32>, S: Simd>(self, simd: S) {
        // SAFETY: `Layer::run` promises the vectors; the panel of a tile has a row for each input or pair.
        unsafe {
            match self.tile.vectors {
                1 => self.outputs::<A, S, 1>(simd),
                2 => self.outputs::<A, S, 2>(simd),
                3 => self.outputs::<A, S, 3>(simd),
                4 => self.outputs::<A, S, 4>(simd),
                _ => self.outputs::<A, S, MOST_DENSE_VECTORS>(simd),
            }
        }
    }
}

impl Part<'_> {
    /// # Safety
    /// As its caller promises to its own.
    #[inline(always)]
    unsafe fn outputs<A: Arithmetic<f32>, S: Simd, const V: usize>(&self, simd: S) {
        let mut image = 0;
        // SAFETY: as in `run`.
        unsafe {
            while image + IMAGES <= self.vectors.images {
                self.images::<A, S, IMAGES, V>(simd, image);
                image += IMAGES;
            }
            while image < self.vectors.images {
                self.images::<A, S, 1, V>(simd, image);
                image += 1;
            }
        }
    }

    /// Outputs of a tile for `R` images.
    ///
    /// # Safety
    /// As its caller promises to its own.
    #[inline(always)]
    unsafe fn images<A: Arithmetic<f32>, S: Simd, const R: usize, const V: usize>(
        &self,
        simd: S,
        image: usize,
    ) {
        let Linear { inputs, outputs, panels, bias, finish, .. } = self.linear;
        let lanes = vector::lanes::<f32, S>();
        // SAFETY: as in `run`; bias is filled up to whole tiles.
        unsafe {
            let from = self.vectors.from.add(image * inputs);
            let mut sums = [vectors::<S, V>(simd, bias.as_ptr().add(self.tile.start)); R];
            let mut panel = panels.as_ptr().add(self.tile.start * inputs.div_ceil(A::DEPTH));
            if self.linear.form == Form::Plain {
                multiply::<A, S, R, V>(simd, (from, *inputs), *inputs, panel, &mut sums);
            } else {
                let mut rounded = [[0.0; ROUNDED]; R];
                for first in (0..*inputs).step_by(ROUNDED) {
                    let some = (inputs - first).min(ROUNDED);
                    for (row, rounded) in rounded.iter_mut().enumerate() {
                        let from = std::slice::from_raw_parts(from.add(row * inputs + first), some);
                        let numbers = self.linear.form.of_row(from);
                        rounded.iter_mut().zip(numbers).for_each(|(to, number)| *to = number);
                    }
                    let (rows, from) = (some.div_ceil(A::DEPTH), rounded.as_flattened().as_ptr());
                    multiply::<A, S, R, V>(simd, (from, ROUNDED), rows, panel, &mut sums);
                    panel = panel.add(rows * V * lanes);
                }
            }
            let mut finished = [0.0; MOST_DENSE_VECTORS * super::arena::LINE];
            let len = (outputs - self.tile.start).min(V * lanes);
            for (row, sums) in sums.into_iter().enumerate() {
                for (v, sum) in sums.into_iter().enumerate() {
                    store::<S>(finished.as_mut_ptr().add(v * lanes), finish.bounds.apply(simd, sum));
                }
                if let Some(function) = finish.function {
                    function.apply_in_place(&mut finished[..len]);
                }
                let to = self.vectors.to.add((image + row) * outputs + self.tile.start);
                to.copy_from_nonoverlapping(finished.as_ptr(), len);
            }
        }
    }
}

/// Adds to the sums of `R` images the products of `rows` numbers of each, images being `pitch` numbers apart, with as many rows of the panel.
///
/// # Safety
/// All of that must be in memory.
#[inline(always)]
unsafe fn multiply<A: Arithmetic<f32>, S: Simd, const R: usize, const V: usize>(
    simd: S,
    (from, pitch): (*const f32, usize),
    rows: usize,
    mut panel: *const f32,
    sums: &mut [[S::f32s; V]; R],
) {
    // SAFETY: as the caller promises.
    unsafe {
        for k in 0..rows {
            let columns = vectors::<S, V>(simd, panel);
            for (image, sums) in sums.iter_mut().enumerate() {
                let factor = simd.splat_f32s(*from.add(image * pitch + k));
                for (sum, &column) in sums.iter_mut().zip(&columns) {
                    *sum = A::fused(simd, factor, column, *sum);
                }
            }
            panel = panel.add(V * vector::lanes::<f32, S>());
        }
    }
}
