//! The kernels of a training step on the layers of MobileNetV1 at 224², batch 32, f32.
//!
//! `cargo bench -p sparse-kernels` runs each kernel twice: once counted in bytes that must cross memory (read inputs, write
//! outputs, once each), once in floating-point operations (2 per multiply-add; of kept weights only).

#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use sparse_kernels::activation::{
    GateSums, Input, InputGradient, Norm, NormGradient, OutputGradient, Statistics,
};
use sparse_kernels::pointwise::{self, Gradients, Kept, Pattern};
use sparse_kernels::{depthwise, spatial};
use sparse_network::{Bounds, Padding, Window};

const BATCH: usize = 32;

/// Numbers in (-1, 1).
fn values(len: usize, seed: u64) -> Vec<f32> {
    (0..len as u64).map(|i| ((i * 7919 + seed * 104_729) % 2017) as f32 / 1008.5 - 1.0).collect()
}

/// What batch norm needs of each channel.
struct Channels([Vec<f32>; 4]);

impl Channels {
    fn new(channels: usize) -> Self {
        Self([1, 2, 3, 4].map(|seed| values(channels, seed)))
    }

    fn norm(&self) -> Norm<'_, f32> {
        Norm { mean: &self.0[0], gain: &self.0[1], offset: &self.0[2], bounds: Bounds::RELU }
    }

    fn gradient(&self) -> NormGradient<'_, f32> {
        NormGradient { mean: &self.0[0], gain: &self.0[1], constant: &self.0[2], slope: &self.0[3] }
    }
}

/// Measures `body` against both of its counts.
fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    [bytes, flops]: [usize; 2],
    mut body: impl FnMut(),
) {
    group.throughput(Throughput::Bytes(bytes as u64));
    group.bench_function(format!("{name} (bytes)"), |bencher| bencher.iter(&mut body));
    group.throughput(Throughput::Elements(flops as u64));
    group.bench_function(format!("{name} (flops)"), |bencher| bencher.iter(&mut body));
}

/// A mask that keeps `kept` of each 20 weights.
fn pattern(weight: &mut [f32], outputs: usize, inputs: usize, kept: usize) -> Pattern {
    let mut words = vec![0u64; weight.len().div_ceil(64)];
    for (i, weight) in weight.iter_mut().enumerate() {
        if (i * 13 + i / 20) % 20 < kept {
            words[i / 64] |= 1 << (i % 64);
        } else {
            *weight = 0.0;
        }
    }
    Pattern::new(&words, outputs, inputs)
}

fn pointwise(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pointwise");
    group.sample_size(10);
    for (inputs, outputs, side) in [(64, 128, 56), (256, 256, 28), (512, 512, 14), (1024, 1024, 7)] {
        let pixels = side * side * BATCH;
        let dims = pointwise::Dims { outputs, inputs, pixels };
        let (x, g, y) =
            (values(inputs * pixels, 5), values(outputs * pixels, 6), values(outputs * pixels, 7));
        let (of_input, of_output) = (Channels::new(inputs), Channels::new(outputs));
        let mut out = vec![0.0; outputs * pixels];
        let (mut mean, mut variance) = (vec![0.0; outputs], vec![0.0; outputs]);
        let mut dx = vec![0.0; inputs * pixels];
        let (mut sum, mut product, mut dw) =
            (vec![0.0; inputs], vec![0.0; inputs], vec![0.0; inputs * outputs]);
        for kept in [20, 5, 2] {
            let mut weight = values(inputs * outputs, 8);
            let pattern = pattern(&mut weight, outputs, inputs, kept);
            let sparse = (kept < 20).then_some(&pattern);
            let flops = 2 * pattern.kept() * pixels;
            let name = format!("{inputs}->{outputs} {side}x{side} density {}", kept as f64 / 20.0);
            let x = Input::Normalised(x.as_slice(), of_input.norm());
            let dy = OutputGradient::ThroughNorm(g.as_slice(), y.as_slice(), of_output.gradient());
            let bytes = 4 * (inputs + outputs) * pixels;
            measure(&mut group, &format!("forward {name}"), [bytes, flops], || {
                let shift = of_output.norm().mean;
                let statistics = Statistics { shift, mean: &mut mean, variance: &mut variance };
                pointwise::forward(&weight, sparse, x, &mut out, Some(statistics), dims);
            });
            measure(&mut group, &format!("backward {name}"), [2 * bytes, 2 * flops], || {
                let sums = Some(GateSums { sum: &mut sum, product: &mut product });
                let into = Gradients { dx: InputGradient::only(&mut dx, sums), dw: &mut dw };
                pointwise::backward(&weight, Kept { input: sparse, weight: sparse }, x, dy, into, dims);
            });
        }
    }
}

fn depthwise(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("depthwise");
    group.sample_size(10);
    for (channels, side, stride) in [(32, 112, 1), (64, 112, 2), (128, 56, 1), (512, 14, 1), (1024, 7, 1)] {
        let padding = Padding::Symmetric;
        let dims = depthwise::Dims { channels, height: side, width: side, batch: BATCH, stride, padding };
        let (plane, out_plane) = (side * side * BATCH, dims.out_height() * dims.out_width() * BATCH);
        let (x, weight) = (values(channels * plane, 1), values(channels * 9, 2));
        let (g, y) = (values(channels * out_plane, 3), values(channels * out_plane, 4));
        let of_channel = Channels::new(channels);
        let (mut out, mut dx) = (vec![0.0; g.len()], vec![0.0; x.len()]);
        let [mut mean, mut variance] = [vec![0.0; channels], vec![0.0; channels]];
        let [mut sum, mut product] = [vec![0.0; channels], vec![0.0; channels]];
        let mut dw = vec![0.0; channels * 9];
        let input = Input::Normalised(x.as_slice(), of_channel.norm());
        let dy = OutputGradient::ThroughNorm(g.as_slice(), y.as_slice(), of_channel.gradient());
        let (bytes, flops) = (4 * (x.len() + y.len()), 18 * y.len());
        let name = format!("{channels} {side}x{side} stride {stride}");
        measure(&mut group, &format!("forward {name}"), [bytes, flops], || {
            let shift = of_channel.norm().mean;
            let statistics = Statistics { shift, mean: &mut mean, variance: &mut variance };
            depthwise::forward(input, &weight, &mut out, Some(statistics), dims);
        });
        measure(&mut group, &format!("backward {name}"), [2 * bytes, 2 * flops], || {
            let sums = Some(GateSums { sum: &mut sum, product: &mut product });
            depthwise::backward(input, &weight, dy, &mut dx, sums, &mut dw, dims);
        });
    }
}

fn stem(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stem");
    group.sample_size(10);
    let (height, width, window) = (224, 224, Window::square(3, 2, Padding::Symmetric));
    let dims = spatial::Dims { outputs: 32, inputs: 3, height, width, batch: BATCH, window };
    let out_plane = dims.out_height() * dims.out_width() * BATCH;
    let (x, weight) = (values(3 * 224 * 224 * BATCH, 1), values(32 * 27, 2));
    let (g, mut y) = (values(32 * out_plane, 3), values(32 * out_plane, 4));
    let of_output = Channels::new(32);
    let [mut mean, mut variance] = [vec![0.0; 32], vec![0.0; 32]];
    let mut dw = vec![0.0; weight.len()];
    let (bytes, flops) = (4 * (x.len() + y.len()), 54 * y.len());
    measure(&mut group, "forward", [bytes, flops], || {
        let shift = of_output.norm().mean;
        let statistics = Statistics { shift, mean: &mut mean, variance: &mut variance };
        spatial::forward(Input::Plain(&x), &weight, None, &mut y, Some(statistics), dims);
    });
    measure(&mut group, "backward", [bytes + 4 * g.len(), flops], || {
        let dy = OutputGradient::ThroughNorm(g.as_slice(), y.as_slice(), of_output.gradient());
        spatial::weight_gradient(Input::Plain(&x), dy, None, &mut dw, dims);
    });
}

criterion_group!(benches, pointwise, depthwise, stem);
criterion_main!(benches);
