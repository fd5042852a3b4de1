//! The sum of two results, and the way of a gradient to its parts, against the host's.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::*;
use sparse_cuda::batch_norm::{self, Dims, Parts};
use sparse_cuda::{Element, Memory, Queue, sum as device};
use sparse_emulator::queue;
use sparse_kernels::activation::{GateSums, InputGradient};
use sparse_kernels::sum as host;
use sparse_network::Bounds;

/// Odd sizes, whole vectors, more than one chunk.
const SIZES: [[usize; 2]; 4] = [[1, 1], [3, 7], [5, 64], [2, 9001]];

fn dims([channels, pixels]: [usize; 2], element: Element) -> Dims {
    Dims { channels, pixels, element }
}

fn forward(order: u64, dims: Dims, tolerance: f64, (reads, bounds): ([Read; 2], Bounds)) {
    let queue = queue(order);
    let Dims { channels, pixels, element } = dims;
    let norm = BatchNorm::new(&queue, channels);
    let len = channels * pixels;
    let (a, b) = (reads[0].values(len, 1), reads[1].values(len, 2));
    let mut expected = vec![0.0; len];
    let parts = [reads[0].on_the_host(&norm, &a), reads[1].on_the_host(&norm, &b)];
    host::forward(parts[0], parts[1], &mut expected, bounds, channels);

    let [a, b] = [&a, &b].map(|values| activations(&queue, values, element));
    let z = queue.allocate(len * element.size()).unwrap();
    let parts = [reads[0].on_the_device(&norm, a.slice()), reads[1].on_the_device(&norm, b.slice())];
    device::forward(&queue, parts, z.slice(), bounds, dims).unwrap();
    let what = format!("{dims:?} order {order} {reads:?} {bounds:?}");
    close(&numbers(&queue, z.slice(), element), &expected, tolerance, &what);
}

#[test]
fn the_sum_is_the_hosts() {
    for sizes in SIZES.into_iter().filter(|_| available()) {
        for (element, tolerance) in ELEMENTS {
            for reads in READS.into_iter().flat_map(|a| READS.map(|b| [a, b])) {
                for bounds in [Bounds::NONE, Bounds::RELU, Bounds::RELU6] {
                    forward(2, dims(sizes, element), tolerance, (reads, bounds));
                }
            }
        }
        for order in ORDERS {
            forward(order, dims(sizes, Element::F32), 2e-5, ([READS[0], READS[2]], Bounds::RELU));
        }
    }
}

/// Of one or two parts, in place or not, shut or not.
fn backward(order: u64, dims: Dims, tolerance: f64, (read, adds, gated): (Read, bool, bool)) {
    let queue = queue(order);
    let Dims { channels, pixels, element } = dims;
    let norm = BatchNorm::new(&queue, channels);
    let len = channels * pixels;
    let (x, g, before) = (read.values(len, 1), values(len, 2), values(len, 3));
    let (mut sum, mut product) = (vec![0.0; channels], vec![0.0; channels]);
    let mut expected = before.clone();
    let normalised = matches!(read, Read::Normalised(_));
    let sums = (gated && normalised).then_some(GateSums { sum: &mut sum, product: &mut product });
    let dx = InputGradient { values: &mut expected, adds, gated, sums };
    host::backward(Some(&g), read.on_the_host(&norm, &x), dx, channels);

    let [x, g, before] = [&x, &g, &before].map(|values| activations(&queue, values, element));
    let apart = queue.allocate(len * element.size()).unwrap();
    let partial = queue.allocate(dims.partial().bytes(channels)).unwrap();
    let reading = gated.then(|| read.on_the_device(&norm, x.slice()));
    let takes_sums = gated && normalised;
    // Last the two that write where a part lies.
    for to in [apart.slice(), if adds { before.slice() } else { g.slice() }] {
        let parts = Parts { first: g.slice(), second: adds.then_some(before.slice()), sum: to };
        let partial_sums = takes_sums.then_some(partial.slice());
        batch_norm::gate(&queue, parts, reading, partial_sums, dims).unwrap();
        let what = format!("{dims:?} order {order} {read:?} adds {adds} gated {gated}");
        close(&numbers(&queue, to, element), &expected, tolerance, &what);
        if takes_sums {
            let found = folded(&queue, partial.slice(), dims.partial(), channels);
            let column = |of: usize| -> Vec<f32> { found.chunks(2).map(|sums| sums[of]).collect() };
            close(&column(0), &sum, 2e-5, &what);
            close(&column(1), &product, 2e-5, &what);
        }
    }
}

#[test]
fn parts_of_a_gradient_are_added_and_shut_as_on_the_host() {
    for sizes in SIZES.into_iter().filter(|_| available()) {
        for case in READS.into_iter().flat_map(|read| {
            [(read, false, false), (read, false, true), (read, true, false), (read, true, true)]
        }) {
            for (element, tolerance) in ELEMENTS {
                backward(2, dims(sizes, element), tolerance, case);
            }
        }
        for order in ORDERS {
            backward(order, dims(sizes, Element::F32), 2e-5, (READS[0], true, true));
        }
    }
}
