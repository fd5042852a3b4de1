//! The depthwise kernels against the host's.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::*;
use sparse_cuda::batch_norm::PartialSums;
use sparse_cuda::depthwise::{self as device, OutputGradient};
use sparse_cuda::{Element, Memory, Queue, partial_sums};
use sparse_emulator::{TestQueue, download, queue, upload};
use sparse_kernels::activation::{self, GateSums, NormGradient, Statistics};
use sparse_kernels::depthwise::{self as host, Dims};
use sparse_network::Padding;

/// Odd sizes, runs that are no whole vectors, one pixel, more rows than a thread walks.
fn cases() -> Vec<Dims> {
    let sizes = [(1, 1, 1), (3, 5, 2), (2, 2, 8), (7, 4, 8), (9, 10, 3), (13, 8, 16)];
    let mut cases = Vec::new();
    for (height, width, batch) in sizes {
        for stride in [1, 2] {
            for padding in [Padding::Symmetric, Padding::Same] {
                cases.push(Dims { channels: 3, height, width, batch, stride, padding });
            }
        }
    }
    cases
}

/// The sums of each channel over its chunks.
fn folded(
    queue: &TestQueue,
    partial: &<TestQueue as Queue>::Memory,
    sums: PartialSums,
    channels: usize,
) -> Vec<f32> {
    let to = queue.allocate(channels * sums.stride * 4).unwrap();
    partial_sums::fold(queue, (partial.slice(), sums), sums.stride, channels, to.slice()).unwrap();
    download(queue, to.slice()).unwrap()
}

fn forward(order: u64, dims: Dims, (element, tolerance): (Element, f64), normalised: bool) {
    let queue = queue(order);
    let norm = BatchNorm::new(&queue, dims.channels);
    let (inputs, outputs) = (
        dims.channels * dims.height * dims.width * dims.batch,
        dims.channels * dims.out_height() * dims.out_width() * dims.batch,
    );
    let (x, weight) = (values(inputs, 1), values(dims.channels * 9, 2));
    let shift = vec![0.0; dims.channels];
    let (mut mean, mut variance) = (vec![0.0; dims.channels], vec![0.0; dims.channels]);
    let mut expected = vec![0.0; outputs];
    let input = if normalised { norm.input(&x) } else { activation::Input::Plain(&x) };
    let statistics = Statistics { shift: &shift, mean: &mut mean, variance: &mut variance };
    host::forward(input, &weight, &mut expected, Some(statistics), dims);

    let memory = activations(&queue, &x, element);
    let weight = upload(&queue, &weight).unwrap();
    let y = queue.allocate(outputs * element.size()).unwrap();
    let sums = device::moments_partial(dims, element);
    let partial = queue.allocate(sums.bytes(dims.channels)).unwrap();
    let reading = if normalised { norm.reading(memory.slice()) } else { plain(memory.slice()) };
    device::forward(&queue, reading, weight.slice(), y.slice(), Some(partial.slice()), dims, element)
        .unwrap();
    let what = format!("{dims:?} {element:?} order {order} normalised {normalised}");
    close(&numbers(&queue, y.slice(), element), &expected, tolerance, &what);

    let found = moments(&queue, partial.slice(), sums, dims.channels);
    let row = |of: usize| -> Vec<f32> { found.iter().map(|moments| moments[of] as f32).collect() };
    close(&row(0), &mean, tolerance, &what);
    close(&row(1), &variance, 4.0 * tolerance, &what);
}

fn backward(order: u64, dims: Dims, (element, tolerance): (Element, f64), normalised: bool) {
    let queue = queue(order);
    let norm = BatchNorm::new(&queue, dims.channels);
    let channels = dims.channels;
    let (inputs, outputs) = (
        channels * dims.height * dims.width * dims.batch,
        channels * dims.out_height() * dims.out_width() * dims.batch,
    );
    let (x, weight) = (values(inputs, 1), values(channels * 9, 2));
    let (g, raw) = (values(outputs, 4), values(outputs, 5));
    let (mut dx, mut dw) = (vec![0.0; inputs], vec![0.0; channels * 9]);
    let (mut sum, mut product) = (vec![0.0; channels], vec![0.0; channels]);
    if normalised {
        let through =
            NormGradient { mean: &norm.mean, gain: &norm.gain, constant: &norm.constant, slope: &norm.slope };
        let dy = activation::OutputGradient::ThroughNorm(&g, &raw, through);
        let sums = GateSums { sum: &mut sum, product: &mut product };
        host::backward(norm.input(&x), &weight, dy, &mut dx, Some(sums), &mut dw, dims);
    } else {
        let dy = activation::OutputGradient::Plain(&g);
        host::backward(activation::Input::Plain(&x), &weight, dy, &mut dx, None, &mut dw, dims);
    }

    let [x, g, raw] = [&x, &g, &raw].map(|values| activations(&queue, values, element));
    let weight = upload(&queue, &weight).unwrap();
    let dx_memory = queue.allocate(inputs * element.size()).unwrap();
    let sums = device::backward_partial(dims, element);
    let partial = queue.allocate(sums.bytes(channels)).unwrap();
    let reading = if normalised { norm.reading(x.slice()) } else { plain(x.slice()) };
    let behind = normalised.then(|| (raw.slice(), norm.coefficients()));
    let dy = OutputGradient { g: g.slice(), behind };
    let into = [dx_memory.slice(), partial.slice()];
    device::backward(&queue, reading, weight.slice(), dy, into, dims, element).unwrap();
    let what = format!("{dims:?} {element:?} order {order} normalised {normalised}");
    close(&numbers(&queue, dx_memory.slice(), element), &dx, tolerance, &what);
    let totals = folded(&queue, &partial, sums, channels);
    let column = |from: usize, width: usize| -> Vec<f32> {
        totals.chunks(11).flat_map(|totals| totals[from..from + width].to_vec()).collect()
    };
    close(&column(0, 9), &dw, tolerance, &what);
    close(&column(9, 1), &sum, tolerance, &what);
    close(&column(10, 1), &product, tolerance, &what);
}

#[test]
fn forward_and_statistics_are_the_hosts() {
    for dims in cases().into_iter().filter(|_| available()) {
        for element in ELEMENTS {
            forward(2, dims, element, true);
            forward(1, dims, element, false);
        }
        ORDERS.into_iter().for_each(|order| forward(order, dims, ELEMENTS[0], true));
    }
}

#[test]
fn backward_and_its_sums_are_the_hosts() {
    for dims in cases().into_iter().filter(|_| available()) {
        for element in ELEMENTS {
            backward(2, dims, element, true);
            backward(1, dims, element, false);
        }
        ORDERS.into_iter().for_each(|order| backward(order, dims, ELEMENTS[0], true));
    }
}
