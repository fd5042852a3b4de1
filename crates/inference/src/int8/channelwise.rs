//! What mixes no channels, to, from and between quads of bytes.

#![allow(unsafe_code)]

use super::QUAD;
use super::set::{Factored, Set, Work, dispatch};
use crate::channelwise::{channel_mut as numbers_mut, channel_of as numbers};
use crate::crew::Crew;
use crate::function::Quantization;
use crate::memory::Memory;
use crate::planes::{Place, Planes, Window};
use crate::tiles::pieces;
use crate::windows::span;
use pulp::{Simd, WithSimd};
use sparse_vectors::vector::{self, MOST_LANES};

/// Quads that are worth a thread's turn.
const QUADS: usize = 1024;
/// Turns of a thread, so that who has finished can help the others.
const TURNS: usize = 4;

/// An operation that makes each channel of its result of channels of its inputs.
#[derive(Clone, Debug)]
pub struct Channelwise {
    /// What it does.
    pub operation: Operation,
    /// What is read.
    pub from: Place,
    /// Where results go.
    pub to: Place,
    /// Channels of the result.
    pub channels: usize,
}

/// What is done with a channel.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Numbers become the nearest bytes.
    Quantize(Quantization),
    /// Bytes become numbers.
    Dequantize(Quantization),
    /// The mean of all pixels, a number.
    Mean(Quantization),
    /// The sum of two numbers, each in bytes of its own: the nearest byte.
    Add {
        /// What the bytes of the first input stand for.
        first: Quantization,
        /// The second input.
        other: Place,
        /// What its bytes stand for.
        second: Quantization,
        /// What those of the result stand for.
        to: Quantization,
        /// Least and greatest byte.
        bounds: [u8; 2],
    },
    /// The greatest byte of each window; what lies outside of the image does not count.
    MaxPool(Window),
    /// For each channel of the result one of these inputs, and a channel of it.
    Channels {
        /// What is read, and what its bytes stand for; `from` is one of them.
        inputs: Vec<(Place, Quantization)>,
        /// `[C]`: index of the input, and channel.
        order: Vec<(usize, usize)>,
        /// What the bytes of the result stand for.
        to: Quantization,
    },
}

impl Channelwise {
    /// Does the thread's part.
    ///
    /// # Safety
    /// `memory` must hold all places, and every thread of the crew must come here.
    pub(crate) unsafe fn run(&self, crew: &Crew<'_>, memory: Memory) {
        let quads = self.channels.div_ceil(QUAD);
        // A large image of few quads is shared by its pixels where each is by itself.
        let pixels = self.to.planes.pixels();
        let apart = match self.operation {
            Operation::Quantize(_) | Operation::Dequantize(_) | Operation::Add { .. } => {
                pixels.div_ceil(QUADS)
            }
            _ => 1,
        };
        let parts = apart.clamp(1, (TURNS * crew.threads()).div_ceil(quads));
        let least = (QUADS * parts).div_ceil(pixels.max(self.from.planes.pixels()));
        let chunk = quads.div_ceil(TURNS * crew.threads()).max(least);
        crew.share(quads.div_ceil(chunk) * parts, |item| {
            let (first, part) = (item / parts * chunk, item % parts);
            let pixels = pixels * part / parts..pixels * (part + 1) / parts;
            for quad in first..quads.min(first + chunk) {
                // SAFETY: threads write different quads or pixels; the program checks places and shapes.
                let part = Part { step: self, memory, quad, pixels: pixels.clone() };
                match self.operation {
                    Operation::Quantize(by) => dispatch(Quantize { part, by }),
                    _ => vector::dispatch(part),
                }
            }
        });
    }
}

/// Some pixels of a quad.
struct Part<'a> {
    step: &'a Channelwise,
    memory: Memory,
    quad: usize,
    pixels: std::ops::Range<usize>,
}

/// The same, of numbers that become bytes.
struct Quantize<'a> {
    part: Part<'a>,
    by: Quantization,
}

impl Work for Quantize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Set>(self, set: I) {
        let Self { part: Part { step, memory, quad, pixels }, by: Quantization { scale, zero } } = self;
        let by = Factored { multipliers: [0.0; QUAD], zero, bounds: [0, 255] };
        let last = step.channels - 1;
        // SAFETY: as in `Channelwise::run`. Channels that are not there are read as the last one, and meet weights of zero.
        unsafe {
            let mut from = [std::ptr::null(); QUAD];
            for (at, from) in from.iter_mut().enumerate() {
                *from = numbers(memory, step.from, (quad * QUAD + at).min(last))[pixels.clone()].as_ptr();
            }
            let to = bytes_mut(memory, step.to, quad)[pixels.clone()].as_mut_ptr().cast::<u32>();
            let len = pixels.len();
            let mut at = 0;
            while at + I::LANES <= len {
                let part = [from[0].add(at), from[1].add(at), from[2].add(at), from[3].add(at)];
                set.store(to.add(at), set.quantize(part, scale, &by), I::LANES);
                at += I::LANES;
            }
            let mut rest = [[0.0; MOST_LANES]; QUAD];
            for (rest, from) in rest.iter_mut().zip(from) {
                rest[..len - at].copy_from_slice(std::slice::from_raw_parts(from.add(at), len - at));
            }
            let part = [rest[0].as_ptr(), rest[1].as_ptr(), rest[2].as_ptr(), rest[3].as_ptr()];
            set.store(to.add(at), set.quantize(part, scale, &by), len - at);
        }
    }
}

impl WithSimd for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { step, memory, quad, pixels } = self;
        let first = quad * QUAD;
        let count = QUAD.min(step.channels - first);
        // SAFETY: as in `Channelwise::run`.
        unsafe {
            match &step.operation {
                Operation::Quantize(_) => {}
                &Operation::Dequantize(by) => {
                    let from = &bytes(memory, step.from, quad)[pixels.clone()];
                    for at in 0..count {
                        let to = &mut numbers_mut(memory, step.to, first + at)[pixels.clone()];
                        for (to, quad) in to.iter_mut().zip(from) {
                            *to = by.number(quad[at]);
                        }
                    }
                }
                &Operation::Mean(by) => {
                    let means = mean(bytes(memory, step.from, quad), by);
                    for (at, &mean) in means[..count].iter().enumerate() {
                        numbers_mut(memory, step.to, first + at)[0] = mean;
                    }
                }
                &Operation::Add { first, other, second, to, bounds } => {
                    let inputs = [bytes(memory, step.from, quad), bytes(memory, other, quad)];
                    let inputs = inputs.map(|input| input[pixels.clone()].as_flattened());
                    let sum = bytes_mut(memory, step.to, quad)[pixels.clone()].as_flattened_mut();
                    add(inputs, [first, second], sum, to, bounds);
                }
                Operation::MaxPool(window) => {
                    let from = (bytes(memory, step.from, quad), &step.from.planes);
                    max_pool(window, from, (bytes_mut(memory, step.to, quad), &step.to.planes));
                }
                Operation::Channels { inputs, order, to } => {
                    let result = bytes_mut(memory, step.to, quad);
                    for (at, &(input, channel)) in order[first..first + count].iter().enumerate() {
                        let (place, by) = inputs[input];
                        let from = bytes(memory, place, channel / QUAD);
                        rescale(from, channel % QUAD, by, result, at, *to);
                    }
                }
            }
        }
    }
}

/// The means of four channels.
#[inline(always)]
fn mean(from: &[[u8; QUAD]], by: Quantization) -> [f32; QUAD] {
    let mut sums = [0_u32; QUAD];
    for quad in from {
        for (sum, &byte) in sums.iter_mut().zip(quad) {
            *sum += u32::from(byte);
        }
    }
    let (count, factor) = (from.len() as i64, by.scale / from.len() as f32);
    sums.map(|sum| (i64::from(sum) - count * i64::from(by.zero)) as f32 * factor)
}

/// `to = from[0] + from[1]`, each in its own bytes.
#[inline(always)]
fn add(from: [&[u8]; 2], by: [Quantization; 2], sum: &mut [u8], to: Quantization, bounds: [u8; 2]) {
    let factors = by.map(|by| by.scale / to.scale);
    let zeros = by.map(|by| f32::from(by.zero));
    let (zero, [least, greatest]) = (f32::from(to.zero), bounds.map(f32::from));
    for ((sum, &a), &b) in sum.iter_mut().zip(from[0]).zip(from[1]) {
        let terms = [(f32::from(a) - zeros[0]) * factors[0], (f32::from(b) - zeros[1]) * factors[1]];
        let step = (terms[0] + terms[1]).round_ties_even() + zero;
        let step = if step > least { step } else { least };
        *sum = (if step > greatest { greatest } else { step }) as u8;
    }
}

/// A channel of `from` as one of `to`, in the bytes of that.
#[inline(always)]
fn rescale(
    from: &[[u8; QUAD]],
    channel: usize,
    by: Quantization,
    result: &mut [[u8; QUAD]],
    at: usize,
    to: Quantization,
) {
    if by == to {
        result.iter_mut().zip(from).for_each(|(result, from)| result[at] = from[channel]);
        return;
    }
    let table: [u8; 256] = std::array::from_fn(|byte| to.byte(by.number(byte as u8)));
    result.iter_mut().zip(from).for_each(|(result, from)| result[at] = table[usize::from(from[channel])]);
}

#[inline(always)]
fn max_pool(
    window: &Window,
    (from, planes): (&[[u8; QUAD]], &Planes),
    (to, out): (&mut [[u8; QUAD]], &Planes),
) {
    to.fill([0; QUAD]);
    for piece in pieces(0, out.pixels(), out.width) {
        for tap in 0..window.taps() {
            if let Some(span) = span(window, planes, piece, tap) {
                let to = &mut to[piece.at + span.skip..][..span.len];
                let from = from[span.from..].iter().step_by(window.stride[1]);
                for (to, from) in to.iter_mut().zip(from) {
                    *to = std::array::from_fn(|at| to[at].max(from[at]));
                }
            }
        }
    }
}

/// The quads of four channels.
///
/// # Safety
/// As of [`numbers`].
unsafe fn bytes<'a>(memory: Memory, place: Place, quad: usize) -> &'a [[u8; QUAD]] {
    // SAFETY: as the caller promises.
    bytemuck::cast_slice(unsafe { numbers(memory, place, quad) })
}

/// The quads of four channels, to be written.
///
/// # Safety
/// As of [`numbers_mut`].
unsafe fn bytes_mut<'a>(memory: Memory, place: Place, quad: usize) -> &'a mut [[u8; QUAD]] {
    // SAFETY: as the caller promises.
    bytemuck::cast_slice_mut(unsafe { numbers_mut(memory, place, quad) })
}
