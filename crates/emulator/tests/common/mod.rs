//! What the tests of the kernels share: numbers, element types, and comparison.

#![allow(clippy::unwrap_used, clippy::print_stderr, dead_code, unreachable_pub, reason = "shared by tests")]

use half::{bf16, f16};
use sparse_cuda::batch_norm::PartialSums;
use sparse_cuda::{Coefficients, Element, Memory, Queue, Reading, Slice, partial_sums};
use sparse_emulator::{TestQueue, download, upload};
use sparse_kernels::activation::{Input, Norm};
use sparse_network::Bounds;
use sparse_testing::Need;

/// Orders of threads and blocks: forwards, backwards, shuffled.
pub const ORDERS: [u64; 4] = [0, 1, 2, 7919];
/// Storage, and the relative error that its rounding allows.
pub const ELEMENTS: [(Element, f64); 3] =
    [(Element::F32, 2e-5), (Element::Bf16, 1.0 / 100.0), (Element::F16, 1.0 / 800.0)];

/// Says why a test does nothing, if there is nothing to run on.
pub fn available() -> bool {
    if !sparse_emulator::AVAILABLE {
        Need::CppCompiler.left_out("the CUDA kernels on the CPU");
    }
    sparse_emulator::AVAILABLE
}

/// Numbers in (−1, 1) that bf16 and f16 hold exactly, so that gates close for all types alike.
pub fn values(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919 + seed * 104_729) % 127) as f32 / 64.0 - 1.0).collect()
}

/// Numbers as activations of a type.
pub fn activations(queue: &TestQueue, values: &[f32], element: Element) -> <TestQueue as Queue>::Memory {
    let stored = match element {
        Element::F32 => upload(queue, values),
        Element::Bf16 => {
            upload(queue, &values.iter().map(|&value| bf16::from_f32(value)).collect::<Vec<_>>())
        }
        Element::F16 => upload(queue, &values.iter().map(|&value| f16::from_f32(value)).collect::<Vec<_>>()),
    };
    stored.unwrap()
}

/// Activations of a type as numbers.
pub fn numbers(queue: &TestQueue, slice: Slice<'_>, element: Element) -> Vec<f32> {
    match element {
        Element::F32 => download(queue, slice).unwrap(),
        Element::Bf16 => download::<_, bf16>(queue, slice).unwrap().into_iter().map(bf16::to_f32).collect(),
        Element::F16 => download::<_, f16>(queue, slice).unwrap().into_iter().map(f16::to_f32).collect(),
    }
}

/// Panics unless `max|a − b| ≤ tolerance · max(|b|, 1)`.
#[track_caller]
pub fn close(found: &[f32], expected: &[f32], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(1.0f64, |scale, value| scale.max(f64::from(value.abs())));
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let error = f64::from(found) - f64::from(expected);
        assert!(error.abs() <= tolerance * scale, "{what}, at {i}: {found} for {expected}");
    }
}

/// A batch norm as the host and as the device knows it.
pub struct BatchNorm {
    pub mean: Vec<f32>,
    pub gain: Vec<f32>,
    pub offset: Vec<f32>,
    pub constant: Vec<f32>,
    pub slope: Vec<f32>,
    rows: <TestQueue as Queue>::Memory,
}

/// Below many of the values, so that the gate shuts at both ends.
pub const BOUNDS: Bounds = Bounds::RELU6;

impl BatchNorm {
    /// Coefficients of so many channels; gains up to 8 let some values reach the ceiling of 6.
    pub fn new(queue: &TestQueue, channels: usize) -> Self {
        let some = |seed: usize, scale: f32| -> Vec<f32> {
            values(channels, seed).iter().map(|v| v * scale).collect()
        };
        let (mean, gain, offset) = (some(11, 0.5), some(12, 8.0), some(13, 1.0));
        let (constant, slope) = (some(14, 0.5), some(15, 0.5));
        let ones = vec![1.0f32; channels];
        let rows = [&mean, &ones, &ones, &gain, &offset, &constant, &slope].map(Vec::as_slice).concat();
        let rows = upload(queue, &rows).unwrap();
        Self { mean, gain, offset, constant, slope, rows }
    }

    pub fn coefficients(&self) -> Coefficients<'_> {
        Coefficients::new(self.rows.slice(), self.mean.len())
    }

    pub fn reading<'a>(&'a self, y: Slice<'a>) -> Reading<'a> {
        Read::Normalised(BOUNDS).on_the_device(self, y)
    }

    pub fn input<'a>(&'a self, y: &'a [f32]) -> Input<'a, f32> {
        Read::Normalised(BOUNDS).on_the_host(self, y)
    }
}

/// How a value is read.
#[derive(Clone, Copy, Debug)]
pub enum Read {
    /// Through a batch norm, and bounded.
    Normalised(Bounds),
    /// As it is; it was bounded when it was written.
    Bounded(Bounds),
}

/// All ways to read a value: with both bounds, one and none, with and without a batch norm.
pub const READS: [Read; 5] = [
    Read::Normalised(BOUNDS),
    Read::Normalised(Bounds::RELU),
    Read::Normalised(Bounds::NONE),
    Read::Bounded(Bounds::RELU),
    Read::Bounded(Bounds::NONE),
];

impl Read {
    /// Values that can be read like this.
    pub fn values(self, len: usize, seed: usize) -> Vec<f32> {
        let bounds = if let Self::Bounded(bounds) = self { bounds } else { Bounds::NONE };
        values(len, seed).into_iter().map(|value| value.max(bounds.low as f32)).collect()
    }

    pub fn on_the_device<'a>(self, norm: &'a BatchNorm, y: Slice<'a>) -> Reading<'a> {
        match self {
            Self::Normalised(bounds) => Reading { y, coefficients: Some(norm.coefficients()), bounds },
            Self::Bounded(bounds) => Reading { y, coefficients: None, bounds },
        }
    }

    pub fn on_the_host<'a>(self, norm: &'a BatchNorm, y: &'a [f32]) -> Input<'a, f32> {
        let BatchNorm { mean, gain, offset, .. } = norm;
        match self {
            Self::Normalised(bounds) => Input::Normalised(y, Norm { mean, gain, offset, bounds }),
            Self::Bounded(bounds) => Input::Bounded(y, bounds),
        }
    }
}

/// The sums of each channel over its chunks, `[C, stride]`.
pub fn folded(queue: &TestQueue, partial: Slice<'_>, sums: PartialSums, channels: usize) -> Vec<f32> {
    let to = queue.allocate(channels * sums.stride * 4).unwrap();
    partial_sums::fold(queue, (partial, sums), sums.stride, channels, to.slice()).unwrap();
    download(queue, to.slice()).unwrap()
}

/// Mean and variance of each channel from the moments that a kernel leaves.
pub fn moments(queue: &TestQueue, partial: Slice<'_>, sums: PartialSums, channels: usize) -> Vec<[f64; 2]> {
    let partial: Vec<f32> = download(queue, partial.part(0, sums.bytes(channels))).unwrap();
    let of_channel = |chunks: &[f32]| {
        let chunks = || chunks.chunks(3).map(|moments| [0, 1, 2].map(|i| f64::from(moments[i])));
        let count: f64 = chunks().map(|[count, ..]| count).sum();
        let mean = chunks().map(|[count, mean, _]| count * mean).sum::<f64>() / count;
        let squares: f64 = chunks().map(|[n, own, squares]| squares + n * (own - mean).powi(2)).sum();
        [mean, squares / count]
    };
    partial.chunks(3 * sums.chunks).map(of_channel).collect()
}
