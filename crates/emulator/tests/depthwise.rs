//! The depthwise kernels against the host's.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::*;
use sparse_cuda::depthwise::{self as device, OutputGradient};
use sparse_cuda::{Element, Memory, Queue, windows};
use sparse_emulator::{queue, upload};
use sparse_kernels::activation::{self, GateSums, NormGradient, Statistics};
use sparse_kernels::depthwise::{self as host, Dims};
use sparse_network::{Padding, Window};

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

/// The sizes as the device takes them.
fn sizes(dims: Dims) -> windows::Dims {
    let Dims { channels, height, width, batch, stride, padding } = dims;
    let window = Window::square(3, stride, padding);
    windows::Dims { outputs: channels, inputs: channels, height, width, batch, window }
}

fn forward(order: u64, dims: Dims, (element, tolerance): (Element, f64), read: Read) {
    let queue = queue(order);
    let norm = BatchNorm::new(&queue, dims.channels);
    let (inputs, outputs) = (
        dims.channels * dims.height * dims.width * dims.batch,
        dims.channels * dims.out_height() * dims.out_width() * dims.batch,
    );
    let (x, weight) = (read.values(inputs, 1), values(dims.channels * 9, 2));
    let shift = vec![0.0; dims.channels];
    let (mut mean, mut variance) = (vec![0.0; dims.channels], vec![0.0; dims.channels]);
    let mut expected = vec![0.0; outputs];
    let statistics = Statistics { shift: &shift, mean: &mut mean, variance: &mut variance };
    host::forward(read.on_the_host(&norm, &x), &weight, &mut expected, Some(statistics), dims);

    let memory = activations(&queue, &x, element);
    let weight = upload(&queue, &weight).unwrap();
    let y = queue.allocate(outputs * element.size()).unwrap();
    let sums = device::moments_partial(sizes(dims), element);
    let partial = queue.allocate(sums.bytes(dims.channels)).unwrap();
    let reading = read.on_the_device(&norm, memory.slice());
    device::forward(&queue, reading, weight.slice(), y.slice(), Some(partial.slice()), sizes(dims), element)
        .unwrap();
    let what = format!("{dims:?} {element:?} order {order} {read:?}");
    close(&numbers(&queue, y.slice(), element), &expected, tolerance, &what);

    let found = moments(&queue, partial.slice(), sums, dims.channels);
    let row = |of: usize| -> Vec<f32> { found.iter().map(|moments| moments[of] as f32).collect() };
    close(&row(0), &mean, tolerance, &what);
    close(&row(1), &variance, 4.0 * tolerance, &what);
}

fn backward(order: u64, dims: Dims, (element, tolerance): (Element, f64), read: Read) {
    let queue = queue(order);
    let norm = BatchNorm::new(&queue, dims.channels);
    let channels = dims.channels;
    let (inputs, outputs) = (
        channels * dims.height * dims.width * dims.batch,
        channels * dims.out_height() * dims.out_width() * dims.batch,
    );
    let (x, weight) = (read.values(inputs, 1), values(channels * 9, 2));
    let normalised = matches!(read, Read::Normalised(_));
    let (g, raw) = (values(outputs, 4), values(outputs, 5));
    let (mut dx, mut dw) = (vec![0.0; inputs], vec![0.0; channels * 9]);
    let (mut sum, mut product) = (vec![0.0; channels], vec![0.0; channels]);
    if normalised {
        let through =
            NormGradient { mean: &norm.mean, gain: &norm.gain, constant: &norm.constant, slope: &norm.slope };
        let dy = activation::OutputGradient::ThroughNorm(&g, &raw, through);
        let sums = GateSums { sum: &mut sum, product: &mut product };
        host::backward(read.on_the_host(&norm, &x), &weight, dy, &mut dx, Some(sums), &mut dw, dims);
    } else {
        let dy = activation::OutputGradient::Plain(&g);
        host::backward(read.on_the_host(&norm, &x), &weight, dy, &mut dx, None, &mut dw, dims);
    }

    let [x, g, raw] = [&x, &g, &raw].map(|values| activations(&queue, values, element));
    let weight = upload(&queue, &weight).unwrap();
    let dx_memory = queue.allocate(inputs * element.size()).unwrap();
    let sums = device::backward_partial(sizes(dims), element);
    let partial = queue.allocate(sums.bytes(channels)).unwrap();
    let reading = read.on_the_device(&norm, x.slice());
    let behind = normalised.then(|| (raw.slice(), norm.coefficients()));
    let dy = OutputGradient { g: g.slice(), behind };
    let into = [dx_memory.slice(), partial.slice()];
    device::backward(&queue, reading, weight.slice(), dy, into, sizes(dims), element).unwrap();
    let what = format!("{dims:?} {element:?} order {order} {read:?}");
    close(&numbers(&queue, dx_memory.slice(), element), &dx, tolerance, &what);
    let totals = folded(&queue, partial.slice(), sums, channels);
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
            READS.into_iter().for_each(|read| forward(2, dims, element, read));
        }
        ORDERS.into_iter().for_each(|order| forward(order, dims, ELEMENTS[0], READS[0]));
    }
}

#[test]
fn backward_and_its_sums_are_the_hosts() {
    for dims in cases().into_iter().filter(|_| available()) {
        for element in ELEMENTS {
            READS.into_iter().for_each(|read| backward(2, dims, element, read));
        }
        ORDERS.into_iter().for_each(|order| backward(order, dims, ELEMENTS[0], READS[0]));
    }
}
