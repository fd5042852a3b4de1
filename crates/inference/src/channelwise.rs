//! What is computed channel by channel: pools, sums, products, functions, and copies.

#![allow(unsafe_code)]

use super::crew::Crew;
use super::function::Function;
use super::memory::Memory;
use super::multiply::Bounds;
use super::planes::{Place, Planes, Window};
use super::pool::{divide, mean, pool};
use pulp::{Simd, WithSimd};
use sparse_vectors::vector;

/// Most channels that a thread takes at a time, unless they are small.
const CHANNELS: usize = 32;
/// Numbers that are worth a thread's turn.
const NUMBERS: usize = 1024;
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
}

/// What is done with a channel.
#[derive(Clone, Debug)]
pub enum Operation {
    /// The greatest value of each window; what lies outside of the image does not count.
    MaxPool(Window),
    /// The mean of each window.
    AveragePool {
        /// Where.
        window: Window,
        /// Lines of the padding whose positions count as zeros: top, left, bottom, right.
        counted: [usize; 4],
    },
    /// The mean of all pixels.
    Mean,
    /// The greatest of all pixels.
    Greatest,
    /// Each number with the one at its place in a second input.
    Combine {
        /// How.
        how: Combination,
        /// The second input: planes of the same shape, or with one channel for all, one pixel for all, or both.
        other: Place,
        /// What results are then done to.
        finish: Finish,
    },
    /// `x · scale + offset`.
    Affine {
        /// `[C]`.
        scale: Vec<f32>,
        /// `[C]`.
        offset: Vec<f32>,
        /// What results are then done to.
        finish: Finish,
    },
    /// `x` where it is positive, else `x · slope`.
    Slope {
        /// `[C]`.
        slope: Vec<f32>,
    },
    /// Numbers as they are.
    Finish(Finish),
    /// The image with lines of one value around it.
    Pad {
        /// Top, left, bottom, right.
        lines: [usize; 4],
        /// The value.
        value: f32,
    },
    /// For each channel of the result one of these inputs, and a channel of it.
    Channels {
        /// What is read; `from` is one of them.
        inputs: Vec<Place>,
        /// `[C]`: index of the input, and channel.
        order: Vec<(usize, usize)>,
    },
    /// The same numbers in C order in another shape.
    Reshape,
}

/// How two numbers become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combination {
    /// `a + b`.
    Add,
    /// `a − b`.
    Sub,
    /// `b − a`.
    SubFrom,
    /// `a · b`.
    Mul,
    /// `a / b`.
    Div,
    /// `b / a`.
    DivInto,
}

/// What is done to a result at last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finish {
    /// What it is kept between first.
    pub bounds: Bounds,
    /// A function that comes after them.
    pub function: Option<Function>,
}

impl Finish {
    /// Nothing.
    pub const NONE: Self = Self { bounds: Bounds::NONE, function: None };
    /// `max(0, x)`.
    pub const RELU: Self = Self { bounds: Bounds::RELU, function: None };
    /// `min(max(0, x), 6)`.
    pub const RELU6: Self = Self { bounds: Bounds::RELU6, function: None };
}

impl Channelwise {
    /// Does the thread's part.
    ///
    /// # Safety
    /// `memory` must hold all places, and every thread of the crew must come here.
    pub(super) unsafe fn run(&self, crew: &Crew<'_>, memory: Memory) {
        let channels = self.to.planes.channels;
        let large = self.to.planes.pixels().max(self.from.planes.pixels());
        let least = NUMBERS.div_ceil(large);
        let chunk = channels.div_ceil(TURNS * crew.threads()).min(CHANNELS).max(least);
        crew.share(channels.div_ceil(chunk), |item| {
            let first = item * chunk;
            for channel in first..channels.min(first + chunk) {
                // SAFETY: threads write different channels; the program checks places and shapes.
                unsafe { self.channel(channel, memory) };
            }
        });
    }

    /// # Safety
    /// As its caller promises to its own.
    unsafe fn channel(&self, channel: usize, memory: Memory) {
        // SAFETY: as the caller of `run` promises.
        unsafe {
            let to = channel_mut(memory, self.to, channel);
            match &self.operation {
                Operation::Channels { inputs, order } => {
                    let (input, channel) = order[channel];
                    to.copy_from_slice(channel_of(memory, inputs[input], channel));
                }
                Operation::Reshape => {
                    reshape(channel * to.len(), to, self.from.planes.pixels(), |channel| {
                        channel_of(memory, self.from, channel)
                    });
                }
                operation => {
                    let from = channel_of(memory, self.from, channel);
                    let other = match operation {
                        Operation::Combine { other, .. } => {
                            channel_of(memory, *other, channel.min(other.planes.channels - 1))
                        }
                        _ => &[],
                    };
                    let (from, to) = ((from, &self.from.planes), (to, &self.to.planes));
                    vector::dispatch(Part { operation, channel, from, other, to });
                }
            }
        }
    }
}

/// One channel of an operation.
struct Part<'a> {
    operation: &'a Operation,
    channel: usize,
    from: (&'a [f32], &'a Planes),
    other: &'a [f32],
    to: (&'a mut [f32], &'a Planes),
}

impl WithSimd for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.operation.apply(self.channel, self.from, self.other, self.to);
    }
}

impl Operation {
    #[inline(always)]
    fn apply(
        &self,
        channel: usize,
        (from, planes): (&[f32], &Planes),
        other: &[f32],
        (to, out): (&mut [f32], &Planes),
    ) {
        match self {
            Self::MaxPool(window) => {
                to.fill(f32::NEG_INFINITY);
                pool(window, (from, planes), (to, out), greater);
            }
            Self::AveragePool { window, counted } => {
                to.fill(0.0);
                pool(window, (from, planes), (to, out), |sum, x| sum + x);
                divide(window, *counted, planes, (to, out));
            }
            Self::Mean => to.fill(mean(from)),
            Self::Greatest => to.fill(from.iter().copied().fold(f32::NEG_INFINITY, greater)),
            Self::Combine { how, finish, .. } => combine(*how, from, other, to, *finish),
            Self::Affine { scale, offset, finish } => {
                let (scale, offset) = (scale[channel], offset[channel]);
                for (to, &x) in to.iter_mut().zip(from) {
                    *to = finish.bounds.of(x * scale + offset);
                }
                finish.then(to);
            }
            Self::Slope { slope } => {
                let slope = slope[channel];
                for (to, &x) in to.iter_mut().zip(from) {
                    *to = if x > 0.0 { x } else { x * slope };
                }
            }
            Self::Finish(finish) => match finish.function {
                Some(function) if finish.bounds == Bounds::NONE => function.apply((from, to)),
                _ => {
                    for (to, &x) in to.iter_mut().zip(from) {
                        *to = finish.bounds.of(x);
                    }
                    finish.then(to);
                }
            },
            Self::Pad { lines: [top, left, ..], value } => {
                to.fill(*value);
                for (to, from) in
                    to.chunks_exact_mut(out.width).skip(*top).zip(from.chunks_exact(planes.width))
                {
                    to[*left..left + planes.width].copy_from_slice(from);
                }
            }
            // Whole channels are copied without vectors of ours.
            Self::Channels { .. } | Self::Reshape => {}
        }
    }
}

impl Finish {
    /// The function, after the bounds.
    #[inline(always)]
    fn then(self, numbers: &mut [f32]) {
        if let Some(function) = self.function {
            function.apply(numbers);
        }
    }
}

/// The greater of two, the first if one is NaN.
#[inline(always)]
fn greater(greatest: f32, x: f32) -> f32 {
    if x > greatest { x } else { greatest }
}

/// `to = how(from, other)`; `other` may be one number for all.
#[inline(always)]
fn combine(how: Combination, from: &[f32], other: &[f32], to: &mut [f32], finish: Finish) {
    match how {
        Combination::Add => each(from, other, to, finish, |a, b| a + b),
        Combination::Sub => each(from, other, to, finish, |a, b| a - b),
        Combination::SubFrom => each(from, other, to, finish, |a, b| b - a),
        Combination::Mul => each(from, other, to, finish, |a, b| a * b),
        Combination::Div => each(from, other, to, finish, |a, b| a / b),
        Combination::DivInto => each(from, other, to, finish, |a, b| b / a),
    }
}

#[inline(always)]
fn each(from: &[f32], other: &[f32], to: &mut [f32], finish: Finish, f: impl Fn(f32, f32) -> f32) {
    match *other {
        [b] => {
            for (to, &a) in to.iter_mut().zip(from) {
                *to = finish.bounds.of(f(a, b));
            }
        }
        _ => {
            for ((to, &a), &b) in to.iter_mut().zip(from).zip(other) {
                *to = finish.bounds.of(f(a, b));
            }
        }
    }
    finish.then(to);
}

/// Numbers from `start` on of channels of `pixels` numbers each, one after the other.
fn reshape<'a>(start: usize, to: &mut [f32], pixels: usize, channel: impl Fn(usize) -> &'a [f32]) {
    let mut done = 0;
    while done < to.len() {
        let at = start + done;
        let from = &channel(at / pixels)[at % pixels..];
        let len = from.len().min(to.len() - done);
        to[done..done + len].copy_from_slice(&from[..len]);
        done += len;
    }
}

/// The pixels of a channel.
///
/// # Safety
/// `memory` must hold the place, and nobody may write to it.
pub(super) unsafe fn channel_of<'a>(memory: Memory, place: Place, channel: usize) -> &'a [f32] {
    let planes = place.planes;
    // SAFETY: the caller promises it.
    unsafe {
        let start = memory.at(place.slot).add(planes.front() + channel * planes.pitch());
        std::slice::from_raw_parts(start, planes.pixels())
    }
}

/// The pixels of a channel, to be written.
///
/// # Safety
/// `memory` must hold the place, and nobody else may use the channel.
pub(super) unsafe fn channel_mut<'a>(memory: Memory, place: Place, channel: usize) -> &'a mut [f32] {
    let planes = place.planes;
    // SAFETY: the caller promises it.
    unsafe {
        let start = memory.at(place.slot).add(planes.front() + channel * planes.pitch());
        std::slice::from_raw_parts_mut(start, planes.pixels())
    }
}
