//! Steps in integers, in every instruction set and on several threads, against plain loops: the same bytes.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::{Finish, Layer, Place, Planes, Program, Quantization, Runner, Slot, Step, Window};
use sparse_vectors::level::Level;
use std::sync::Arc;

/// Numbers that look random (Knuth's multiplicative hash).
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }

    /// Weights of which so many in a thousand are zero, in blocks of four over the first axis but one; the least and the greatest among them.
    fn weights(&mut self, len: usize, zeros: usize) -> Vec<i8> {
        (0..len)
            .map(|_| match self.next(1000) {
                dice if dice < zeros => 0,
                dice if dice % 11 == 0 => -128,
                dice if dice % 11 == 1 => 127,
                _ => self.next(256) as u8 as i8,
            })
            .collect()
    }

    fn requantise(
        &mut self,
        outputs: usize,
        terms: usize,
        zero: u8,
    ) -> (Requantise, Vec<i32>, Vec<f32>, [u8; 2]) {
        let bias: Vec<i32> = (0..outputs).map(|_| self.next(4001) as i32 - 2000).collect();
        // Some saturate, most do not; powers of two, so that halves come up.
        let spread = (terms as f32).sqrt() * 60.0;
        let multipliers: Vec<f32> = (0..outputs)
            .map(|_| match self.next(3) {
                0 => 0.5_f32.powi(8 + self.next(6) as i32),
                _ => (self.next(100) + 1) as f32 / 100.0 / spread,
            })
            .collect();
        let bounds = [[0, 255], [3, 200], [zero, 255]][self.next(3)];
        (Requantise::new(&bias, &multipliers, zero, bounds), bias, multipliers, bounds)
    }
}

/// Bytes `[C, H, W]`, one behind the other.
#[derive(Clone, Debug, PartialEq)]
struct Bytes {
    shape: [usize; 3],
    bytes: Vec<u8>,
    zero: u8,
}

impl Bytes {
    fn at(&self, channel: usize, y: Option<usize>, x: Option<usize>) -> i64 {
        let [_, height, width] = self.shape;
        match (y, x) {
            (Some(y), Some(x)) if y < height && x < width => {
                i64::from(self.bytes[(channel * height + y) * width + x])
            }
            _ => i64::from(self.zero),
        }
    }
}

/// A convolution by plain loops.
fn convolve(
    from: &Bytes,
    weight: &[i8],
    window: Window,
    groups: usize,
    (bias, multipliers, zero, bounds): (&[i32], &[f32], u8, [u8; 2]),
) -> Bytes {
    let [channels, height, width] = from.shape;
    let [rows, columns] = window.output([height, width]).unwrap();
    let (outputs, inputs, taps) = (bias.len(), channels / groups, window.taps());
    let mut bytes = Vec::new();
    for output in 0..outputs {
        for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
            let mut sum = i64::from(bias[output]);
            for input in 0..inputs {
                let channel = output / (outputs / groups) * inputs + input;
                for tap in 0..taps {
                    let [line, at] = [tap / window.kernel[1], tap % window.kernel[1]];
                    let y = row * window.stride[0] + line * window.dilation[0];
                    let x = column * window.stride[1] + at * window.dilation[1];
                    let (y, x) = (y.checked_sub(window.padding[0]), x.checked_sub(window.padding[1]));
                    let weight = i64::from(weight[(output * inputs + input) * taps + tap]);
                    sum += weight * (from.at(channel, y, x) - i64::from(from.zero));
                }
            }
            let scaled = (sum as f32 * multipliers[output]).round_ties_even() as i64 + i64::from(zero);
            bytes.push(scaled.clamp(bounds[0].into(), bounds[1].into()) as u8);
        }
    }
    Bytes { shape: [outputs, rows, columns], bytes, zero }
}

/// A program that grows, beside what it should compute.
struct Growing {
    steps: Vec<Step>,
    arena: usize,
    place: Place,
    images: Vec<Bytes>,
}

const STEP: Quantization = Quantization { scale: 0.125, zero: 0 };

impl Growing {
    /// Images of random bytes.
    fn new(shape: [usize; 3], zero: u8, random: &mut Random) -> (Self, Vec<f32>) {
        let [channels, height, width] = shape;
        let image = Place { slot: Slot::Image, planes: Planes::tight(channels, height, width) };
        let mut growing = Self { steps: Vec::new(), arena: 0, place: image, images: Vec::new() };
        let bytes = || (0..shape.iter().product()).map(|_| random.next(256) as u8).collect();
        growing.images =
            std::iter::repeat_with(bytes).take(3).map(|bytes| Bytes { shape, bytes, zero }).collect();
        let by = Quantization { zero, ..STEP };
        let numbers = growing.images.iter().flat_map(|image| image.bytes.iter().map(|&byte| by.number(byte)));
        let numbers = numbers.collect();
        let to = growing.room(channels.div_ceil(QUAD), height, width);
        growing.channelwise(Operation::Quantize(by), to, channels);
        (growing, numbers)
    }

    fn room(&mut self, channels: usize, height: usize, width: usize) -> Place {
        let planes = Planes::padded(channels, height, width);
        let place = Place { slot: Slot::Arena(self.arena), planes };
        self.arena += planes.len().next_multiple_of(16);
        place
    }

    fn channelwise(&mut self, operation: Operation, to: Place, channels: usize) {
        let step = Channelwise { operation, from: self.place, to, channels };
        self.steps.push(Step::Int8Channelwise(Box::new(step)));
        self.place = to;
    }

    fn zero(&self) -> u8 {
        self.images[0].zero
    }

    fn channels(&self) -> usize {
        self.images[0].shape[0]
    }

    /// A convolution, with a depthwise one before it or alone.
    fn add(&mut self, random: &mut Random, window: Window, outputs: usize, kind: Kind) {
        let (read, channels) = (self.zero(), self.channels());
        let taps = window.taps();
        let zero = random.zero();
        match kind {
            Kind::Product { groups, sparse } => {
                let weight = random.weights(outputs * channels / groups * taps, 600);
                let (requantise, bias, multipliers, bounds) =
                    random.requantise(outputs, channels / groups * taps, zero);
                let all = (&bias[..], &multipliers[..], zero, bounds);
                let convolved = self.images.iter().map(|image| convolve(image, &weight, window, groups, all));
                let images = convolved.collect();
                let pack = if sparse { Weights::sparse } else { Weights::dense };
                let source =
                    if window == Window::square(1, 1, 0) { Source::Pixels } else { Source::Windows(window) };
                self.placed(images, source, Some((pack(&weight, outputs, groups, taps), requantise)), read);
            }
            Kind::Depthwise { product } => {
                let weight = random.weights(channels * taps, 100);
                let (requantise, bias, multipliers, bounds) = random.requantise(channels, taps, zero);
                let all = (&bias[..], &multipliers[..], zero, bounds);
                let convolved =
                    self.images.iter().map(|image| convolve(image, &weight, window, channels, all));
                let images: Vec<Bytes> = convolved.collect();
                let depthwise = Depthwise::new(window, weight, requantise, read, self.place.planes);
                let source = Source::Depthwise(depthwise);
                let Some(sparse) = product else { return self.placed(images, source, None, read) };
                let (weight, last) = (random.weights(outputs * channels, 700), random.zero());
                let (requantise, bias, multipliers, bounds) = random.requantise(outputs, channels, last);
                let all = (&bias[..], &multipliers[..], requantise.zero(), bounds);
                let one = Window::square(1, 1, 0);
                let images = images.iter().map(|image| convolve(image, &weight, one, 1, all)).collect();
                let pack = if sparse { Weights::sparse } else { Weights::dense };
                self.placed(images, source, Some((pack(&weight, outputs, 1, 1), requantise)), zero);
            }
        }
    }

    fn placed(
        &mut self,
        images: Vec<Bytes>,
        source: Source,
        product: Option<(Weights, Requantise)>,
        inner: u8,
    ) {
        let read = self.zero();
        self.images = images;
        let [channels, height, width] = self.images[0].shape;
        let to = self.room(channels.div_ceil(QUAD), height, width);
        let convolution = Convolution { from: self.place, zero: read, source, product, to };
        self.steps.push(Step::Int8(Box::new(convolution.shifted(inner))));
        self.place = to;
    }

    /// The program, with bytes as whole numbers at its end.
    fn finish(mut self, threads: usize) -> (Program, Vec<f32>) {
        let [channels, height, width] = self.images[0].shape;
        let to = self.room(channels, height, width);
        self.channelwise(Operation::Dequantize(Quantization { scale: 1.0, zero: 0 }), to, channels);
        let image = match self.steps[0] {
            Step::Int8Channelwise(ref step) => step.from.planes,
            _ => unreachable!(),
        };
        let expected = self.images.iter().flat_map(|image| image.bytes.iter().map(|&byte| f32::from(byte)));
        let expected = expected.collect();
        (Program::new(image, self.arena, self.steps, self.place, vec![], threads).unwrap(), expected)
    }
}

impl Random {
    fn zero(&mut self) -> u8 {
        [0, 0, 255, 128, 7][self.next(5)]
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Product { groups: usize, sparse: bool },
    Depthwise { product: Option<bool> },
}

/// Runs what `grow` adds, in every instruction set, with one to three threads, and asks for the same bytes.
fn holds(what: &str, shape: [usize; 3], zero: u8, grow: impl Fn(&mut Growing, &mut Random) + Sync) {
    for &level in Level::INTEGERS {
        for threads in 1..=3 {
            let [outputs, expected] = level.run(1, || {
                let mut random = Random(7 + shape.iter().product::<usize>() as u64);
                let (mut growing, images) = Growing::new(shape, zero, &mut random);
                grow(&mut growing, &mut random);
                let (program, expected) = growing.finish(threads);
                let mut outputs = vec![0.0; expected.len()];
                Runner::new(Arc::new(program)).unwrap().run(&images, &mut outputs).unwrap();
                [outputs, expected]
            });
            let wrong = outputs.iter().zip(&expected).position(|(a, b)| a != b);
            assert_eq!(
                wrong.map(|at| (at, outputs[at], expected[at])),
                None,
                "{what}, {shape:?}, zero {zero}, {level:?}, {threads} threads"
            );
        }
    }
}

const SHAPES: [[usize; 3]; 6] = [[1, 2, 3], [3, 9, 31], [8, 7, 7], [13, 14, 14], [6, 33, 64], [16, 5, 113]];

#[test]
fn products_are_those_of_the_loops() {
    for shape in SHAPES {
        for (zero, sparse) in [(0, false), (255, true), (128, false), (0, true)] {
            let kind = Kind::Product { groups: 1, sparse };
            holds("pixels", shape, zero, |growing, random| {
                growing.add(random, Window::square(1, 1, 0), 11, kind);
            });
            let window = Window { stride: [2, 1], padding: [1, 0, 2, 1], ..Window::square(2, 1, 0) };
            for window in [Window::square(3, 2, 1), window] {
                holds("windows", shape, zero, |growing, random| growing.add(random, window, 5, kind));
            }
        }
    }
}

#[test]
fn groups_do_not_mix() {
    for (channels, groups) in [(6, 2), (6, 3), (16, 4), (13, 13)] {
        for sparse in [false, true] {
            let kind = Kind::Product { groups, sparse };
            holds("groups", [channels, 9, 10], 3, |growing, random| {
                growing.add(random, Window::square(3, 1, 1), 2 * groups, kind);
            });
        }
    }
}

#[test]
fn depthwise_convolutions_are_those_of_the_loops() {
    let dilated = Window { dilation: [2, 2], padding: [2; 4], ..Window::square(3, 1, 0) };
    let lopsided = Window { padding: [0, 0, 1, 1], ..Window::square(3, 2, 0) };
    let windows =
        [Window::square(3, 1, 1), Window::square(3, 2, 1), lopsided, Window::square(5, 1, 2), dilated];
    for shape in SHAPES {
        for window in windows.into_iter().filter(|window| window.output([shape[1], shape[2]]).is_some()) {
            for zero in [0, 255, 9] {
                for product in [None, Some(false), Some(true)] {
                    holds(&format!("{window:?}, {product:?}"), shape, zero, |growing, random| {
                        growing.add(random, window, 9, Kind::Depthwise { product });
                    });
                }
            }
        }
    }
}

#[test]
fn layers_follow_each_other() {
    for shape in [[3, 33, 40], [3, 64, 64], [4, 112, 112]] {
        holds("a network", shape, 117, |growing, random| {
            growing.add(random, Window::square(3, 2, 1), 8, Kind::Product { groups: 1, sparse: false });
            for (stride, outputs) in [(1, 16), (2, 12), (1, 33), (2, 40)] {
                let kind = Kind::Depthwise { product: Some(stride == 1) };
                growing.add(random, Window::square(3, stride, 1), outputs, kind);
            }
        });
    }
}

/// Sums, maxima, channels and means beside plain loops over bytes.
#[test]
fn what_mixes_no_channels_is_what_the_loops_say() {
    let shape = [6, 9, 11];
    let (first, second) = (Quantization { scale: 0.1, zero: 3 }, Quantization { scale: 0.07, zero: 200 });
    let to = Quantization { scale: 0.11, zero: 90 };
    holds("a sum", shape, 0, |growing, random| {
        growing.add(random, Window::square(1, 1, 0), 6, Kind::Product { groups: 1, sparse: false });
        let (before, from) = (growing.images.clone(), growing.place);
        growing.add(random, Window::square(1, 1, 0), 6, Kind::Product { groups: 1, sparse: true });
        let room = growing.room(2, 9, 11);
        let operation = Operation::Add { first, other: from, second, to, bounds: [5, 250] };
        growing.channelwise(operation, room, 6);
        for (image, other) in growing.images.iter_mut().zip(&before) {
            for (byte, &other) in image.bytes.iter_mut().zip(&other.bytes) {
                let terms = [(first, *byte), (second, other)]
                    .map(|(by, byte)| (f32::from(byte) - f32::from(by.zero)) * (by.scale / to.scale));
                let sum = (terms[0] + terms[1]).round_ties_even() as i32 + 90;
                *byte = sum.clamp(5, 250) as u8;
            }
        }
    });
    holds("channels", shape, 0, |growing, random| {
        growing.add(random, Window::square(1, 1, 0), 6, Kind::Product { groups: 1, sparse: false });
        let (before, from) = (growing.images.clone(), growing.place);
        growing.add(random, Window::square(1, 1, 0), 5, Kind::Product { groups: 1, sparse: false });
        let order = vec![(0, 4), (1, 5), (1, 0), (0, 0), (0, 4), (1, 3), (0, 2)];
        let (inputs, room) = (vec![(growing.place, to), (from, second)], growing.room(2, 9, 11));
        growing.channelwise(Operation::Channels { inputs, order: order.clone(), to }, room, 7);
        for (image, other) in growing.images.iter_mut().zip(&before) {
            let pixels = 99;
            let channel = |&(input, channel): &(usize, usize)| {
                let (bytes, by) = [(&image.bytes, to), (&other.bytes, second)][input];
                bytes[channel * pixels..][..pixels].iter().map(move |&byte| to.byte(by.number(byte)))
            };
            let bytes = order.iter().flat_map(channel).collect();
            *image = Bytes { shape: [7, 9, 11], bytes, zero: 90 };
        }
    });
    holds("maxima", shape, 0, |growing, random| {
        growing.add(random, Window::square(1, 1, 0), 6, Kind::Product { groups: 1, sparse: false });
        let window = Window::square(3, 2, 1);
        let room = growing.room(2, 5, 6);
        growing.channelwise(Operation::MaxPool(window), room, 6);
        for image in &mut growing.images {
            image.zero = 0;
            let places = (0..6).flat_map(|channel| (0..30).map(move |at| (channel, at / 6, at % 6)));
            let greatest = places.map(|(channel, row, column)| {
                let seen = (0..9).map(|tap| {
                    let (y, x): (usize, usize) = (2 * row + tap / 3, 2 * column + tap % 3);
                    image.at(channel, y.checked_sub(1), x.checked_sub(1))
                });
                seen.max().unwrap_or(0) as u8
            });
            let bytes = greatest.collect();
            *image = Bytes { shape: [6, 5, 6], bytes, zero: 0 };
        }
    });
}

#[test]
fn a_linear_layer_reads_bytes_and_gives_numbers() {
    for (inputs, outputs) in [(1, 1), (7, 3), (64, 10), (1030, 37), (1024, 1000)] {
        for zero in [0, 255, 31] {
            let mut random = Random(inputs as u64);
            let weight = random.weights(inputs * outputs, 300);
            let by = Quantization { scale: 0.25, zero };
            let bytes: Vec<u8> = (0..6 * inputs).map(|_| random.next(256) as u8).collect();
            let images: Vec<f32> = bytes.iter().map(|&byte| by.number(byte)).collect();
            let bias: Vec<i32> = (0..outputs).map(|_| random.next(2000) as i32 - 1000).collect();
            let scales: Vec<f32> = (0..outputs).map(|at| 0.01 + at as f32 / 1000.0).collect();
            let expected = bytes.chunks(inputs).flat_map(|bytes| {
                let rows = weight.chunks(inputs).zip(&bias).zip(&scales);
                rows.map(move |((row, &bias), &scale)| {
                    let terms = row
                        .iter()
                        .zip(bytes)
                        .map(|(&w, &byte)| i64::from(w) * (i64::from(byte) - i64::from(zero)));
                    (i64::from(bias) + terms.sum::<i64>()) as f32 * (by.scale * scale)
                })
            });
            let expected: Vec<f32> = expected.collect();
            for &level in Level::INTEGERS {
                for threads in [1, 2] {
                    let outputs = level.run(1, || {
                        let linear = Linear::new(&weight, &bias, &scales, by, Finish::NONE);
                        let image = Planes::tight(inputs, 1, 1);
                        let features = Place { slot: Slot::Image, planes: image };
                        let layers = vec![Layer::Int8(linear)];
                        let program = Program::new(image, 0, vec![], features, layers, threads).unwrap();
                        let mut found = vec![0.0; 6 * outputs];
                        Runner::new(Arc::new(program)).unwrap().run(&images, &mut found).unwrap();
                        found
                    });
                    assert_eq!(outputs, expected, "{inputs} {zero} {level:?} {threads}");
                }
            }
        }
    }
}

#[test]
fn sums_that_may_leave_the_range_are_refused() {
    let planes = Planes::padded(1, 3, 3);
    let place = |start: usize| Place { slot: Slot::Arena(start), planes };
    let program = |bias: i32, multiplier: f32| {
        let product =
            (Weights::dense(&[127; 4], 1, 1, 1), Requantise::new(&[bias], &[multiplier], 0, [0, 255]));
        let (from, to) = (place(0), place(planes.len().next_multiple_of(16)));
        let convolution = Convolution { from, zero: 0, source: Source::Pixels, product: Some(product), to };
        let steps = vec![Step::Int8(Box::new(convolution))];
        let arena = 2 * planes.len().next_multiple_of(16);
        Program::new(Planes::tight(1, 3, 3), arena, steps, to, vec![], 1)
    };
    assert!(program(i32::MAX - 255 * 127 * 4, 0.5).is_ok());
    let message = |program: crate::Result<Program>| program.unwrap_err().to_string();
    assert!(message(program(i32::MAX - 255 * 127 * 4 + 1, 0.5)).contains("range of 32 bits"));
    assert!(message(program(0, 1e9)).contains("range of 32 bits"));
    assert!(message(program(0, f32::NAN)).contains("range of 32 bits"));
}
