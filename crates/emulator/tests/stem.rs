//! The stem's kernels against the host's.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::*;
use sparse_cuda::depthwise::OutputGradient;
use sparse_cuda::{Element, Memory, Queue, stem as device, windows};
use sparse_emulator::{download, queue, upload};
use sparse_kernels::activation::{self, NormGradient};
use sparse_kernels::spatial::{self as host, Dims};
use sparse_network::{Padding, Window};

/// Channels that are no whole group, odd sizes, runs that are no whole vectors.
fn cases() -> Vec<Dims> {
    let sizes = [(1, 1, 1, 1, 1), (9, 3, 5, 4, 3), (8, 2, 7, 6, 8), (17, 1, 12, 9, 16)];
    let mut cases = Vec::new();
    for (outputs, inputs, height, width, batch) in sizes {
        for stride in [1, 2] {
            for padding in [Padding::Symmetric, Padding::Same] {
                let window = Window::square(3, stride, padding);
                cases.push(Dims { outputs, inputs, height, width, batch, window });
            }
        }
    }
    cases
}

/// The sizes as the device takes them.
fn sizes(dims: Dims) -> windows::Dims {
    let Dims { outputs, inputs, height, width, batch, window } = dims;
    windows::Dims { outputs, inputs, height, width, batch, window }
}

fn both_ways(order: u64, dims: Dims, (element, tolerance): (Element, f64)) {
    let queue = queue(order);
    let outputs = dims.outputs * dims.out_height() * dims.out_width() * dims.batch;
    let x = values(dims.inputs * dims.height * dims.width * dims.batch, 1);
    let weight = values(dims.outputs * dims.inputs * 9, 2);
    let (g, raw) = (values(outputs, 4), values(outputs, 5));
    let norm = BatchNorm::new(&queue, dims.outputs);
    let what = format!("{dims:?} {element:?} order {order}");

    let mut expected = vec![0.0; outputs];
    host::forward(activation::Input::Plain(&x), &weight, None, &mut expected, None, dims);
    let [x_stored, g_stored, raw_stored] = [&x, &g, &raw].map(|values| activations(&queue, values, element));
    let weight_memory = upload(&queue, &weight).unwrap();
    let y = queue.allocate(outputs * element.size()).unwrap();
    let sums = device::moments_partial(sizes(dims), element);
    let partial = queue.allocate(sums.bytes(dims.outputs)).unwrap();
    let operands = [x_stored.slice(), weight_memory.slice(), y.slice()];
    device::forward(&queue, operands, Some(partial.slice()), sizes(dims), element).unwrap();
    close(&numbers(&queue, y.slice(), element), &expected, tolerance, &what);
    let found = moments(&queue, partial.slice(), sums, dims.outputs);
    for (channel, found) in expected.chunks(outputs / dims.outputs).zip(found) {
        let values = || channel.iter().map(|&value| f64::from(value));
        let mean = values().sum::<f64>() / channel.len() as f64;
        let variance = values().map(|value| (value - mean).powi(2)).sum::<f64>() / channel.len() as f64;
        close(&found.map(|value| value as f32), &[mean as f32, variance as f32], 2e-5, &what);
    }

    for through_norm in [false, true] {
        let through =
            NormGradient { mean: &norm.mean, gain: &norm.gain, constant: &norm.constant, slope: &norm.slope };
        let dy = match through_norm {
            true => activation::OutputGradient::ThroughNorm(&g, &raw, through),
            false => activation::OutputGradient::Plain(&g),
        };
        let mut expected = vec![0.0; weight.len()];
        host::weight_gradient(activation::Input::Plain(&x), dy, None, &mut expected, dims);
        let pairs = dims.inputs * dims.outputs;
        let partial = queue.allocate(device::gradient_partial(sizes(dims), element).bytes(pairs)).unwrap();
        let dw = queue.allocate(weight.len() * 4).unwrap();
        let behind = through_norm.then(|| (raw_stored.slice(), norm.coefficients()));
        let dy = OutputGradient { g: g_stored.slice(), behind };
        let into = [partial.slice(), dw.slice()];
        device::weight_gradient(&queue, x_stored.slice(), dy, into, sizes(dims), element).unwrap();
        let dw: Vec<f32> = download(&queue, dw.slice()).unwrap();
        close(&dw, &expected, 2e-5, &format!("{what} through norm {through_norm}"));
    }
}

#[test]
fn forward_statistics_and_weight_gradient_are_the_hosts() {
    for dims in cases().into_iter().filter(|_| available()) {
        ELEMENTS.into_iter().for_each(|element| both_ways(2, dims, element));
        ORDERS.into_iter().for_each(|order| both_ways(order, dims, ELEMENTS[0]));
    }
}
