//! What is computed channel by channel: pools, sums, scales.

#![allow(unsafe_code)]

use super::super::simd;
use super::crew::Crew;
use super::memory::Memory;
use super::multiply::Bounds;
use super::planes::{Place, Planes, Window};
use super::tiles::pieces;
use super::windows::{fold, span};

/// Channels that a thread takes at a time.
const CHANNELS: usize = 32;

/// An operation on one channel of each of its inputs.
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
    /// The sum with a second input of the same shape, between bounds.
    Add {
        /// The second input.
        other: Place,
        /// What results are kept between.
        bounds: Bounds,
    },
    /// `x · scale + offset` between bounds.
    Affine {
        /// `[C]`.
        scale: Vec<f32>,
        /// `[C]`.
        offset: Vec<f32>,
        /// What results are kept between.
        bounds: Bounds,
    },
}

impl Channelwise {
    /// Does the thread's part.
    ///
    /// # Safety
    /// `memory` must hold all places, and every thread of the crew must come here.
    pub(super) unsafe fn run(&self, crew: &Crew<'_>, memory: Memory) {
        let channels = self.to.planes.channels;
        crew.share(channels.div_ceil(CHANNELS), |chunk| {
            let first = chunk * CHANNELS;
            for channel in first..channels.min(first + CHANNELS) {
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
            let from = channel_of(memory, self.from, channel);
            let to = channel_mut(memory, self.to, channel);
            let other = match self.operation {
                Operation::Add { other, .. } => channel_of(memory, other, channel),
                _ => &[],
            };
            let (from, to) = ((from, &self.from.planes), (to, &self.to.planes));
            simd::dispatch(|| self.operation.apply(channel, from, other, to));
        }
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
                windows(
                    window,
                    (from, planes),
                    (to, out),
                    |greatest, x| if x > greatest { x } else { greatest },
                );
            }
            Self::AveragePool { window, counted } => {
                to.fill(0.0);
                windows(window, (from, planes), (to, out), |sum, x| sum + x);
                divide(window, *counted, planes, (to, out));
            }
            Self::Mean => {
                let sum = simd::sum_terms([from], |[x]| x);
                to.fill((sum / from.len() as f64) as f32);
            }
            Self::Add { bounds, .. } => {
                for ((to, &a), &b) in to.iter_mut().zip(from).zip(other) {
                    *to = bounded(a + b, *bounds);
                }
            }
            Self::Affine { scale, offset, bounds } => {
                let (scale, offset) = (scale[channel], offset[channel]);
                for (to, &x) in to.iter_mut().zip(from) {
                    *to = bounded(x * scale + offset, *bounds);
                }
            }
        }
    }
}

/// A value brought between bounds; a NaN stays.
#[inline(always)]
pub(super) fn bounded(value: f32, bounds: Bounds) -> f32 {
    let value = if value < bounds.low { bounds.low } else { value };
    if value > bounds.high { bounds.high } else { value }
}

/// `to = f(to, x)` for every `x` of every window.
#[inline(always)]
fn windows(
    window: &Window,
    (from, planes): (&[f32], &Planes),
    (to, out): (&mut [f32], &Planes),
    f: impl Fn(f32, f32) -> f32 + Copy,
) {
    for piece in pieces(0, out.pixels(), out.width) {
        for tap in 0..window.taps() {
            if let Some(span) = span(window, planes, piece, tap) {
                let to = &mut to[piece.at + span.skip..][..span.len];
                let from = &from[span.from..][..(span.len - 1) * window.stride[1] + 1];
                // SAFETY: both slices have what is read and written.
                unsafe { fold(to.as_mut_ptr(), from.as_ptr(), window.stride[1], span.len, f) };
            }
        }
    }
}

/// Sums of windows become means.
#[inline(always)]
fn divide(window: &Window, counted: [usize; 4], planes: &Planes, (to, out): (&mut [f32], &Planes)) {
    for (row, to) in to.chunks_exact_mut(out.width).enumerate() {
        let lines = seen(window, counted, planes.height, 0, row);
        for (column, to) in to.iter_mut().enumerate() {
            let count = lines * seen(window, counted, planes.width, 1, column);
            *to /= count.max(1) as f32;
        }
    }
}

/// Lines along an axis that window `index` sees of an image with `counted` lines around it.
#[inline(always)]
fn seen(window: &Window, counted: [usize; 4], size: usize, axis: usize, index: usize) -> usize {
    let (stride, dilation, before) = (window.stride[axis], window.dilation[axis], window.padding[axis]);
    // Lines are counted from the first of the padding on.
    let (first, end) = (before - counted[axis], before + size + counted[axis + 2]);
    let lines = (0..window.kernel[axis]).map(|tap| index * stride + tap * dilation);
    lines.filter(|line| (first..end).contains(line)).count()
}

/// The pixels of a channel.
///
/// # Safety
/// `memory` must hold the place, and nobody may write to it.
unsafe fn channel_of<'a>(memory: Memory, place: Place, channel: usize) -> &'a [f32] {
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
unsafe fn channel_mut<'a>(memory: Memory, place: Place, channel: usize) -> &'a mut [f32] {
    let planes = place.planes;
    // SAFETY: the caller promises it.
    unsafe {
        let start = memory.at(place.slot).add(planes.front() + channel * planes.pitch());
        std::slice::from_raw_parts_mut(start, planes.pixels())
    }
}
