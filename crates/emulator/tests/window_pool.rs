//! Pooling of windows against the host's.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::*;
use sparse_cuda::window_pool::{self as device, Pool};
use sparse_cuda::{Element, Memory, Queue, windows};
use sparse_emulator::queue;
use sparse_kernels::activation::InputGradient;
use sparse_kernels::window_pool as host;
use sparse_network::{Bounds, Padding, Window};

const POOLS: [Pool; 3] =
    [Pool::Max, Pool::Mean { counts_padding: true }, Pool::Mean { counts_padding: false }];

/// Height, width and batch: odd, one pixel, whole vectors.
const SIZES: [[usize; 3]; 5] = [[2, 2, 1], [7, 5, 3], [8, 6, 8], [9, 9, 2], [5, 8, 16]];

fn windows() -> Vec<Window> {
    let odd =
        Window { kernel: [2, 3], stride: [1, 2], dilation: [1, 2], padding: Padding::Lines([1, 2, 0, 2]) };
    let padded = Padding::Lines([1; 4]);
    vec![Window::square(3, 2, padded), Window::square(3, 1, padded), Window::square(2, 2, Padding::Same), odd]
}

fn of_host(dims: windows::Dims, pool: Pool) -> host::Dims {
    let windows::Dims { inputs: channels, height, width, batch, window, .. } = dims;
    let pool = match pool {
        Pool::Max => host::Pool::Max,
        Pool::Mean { counts_padding } => host::Pool::Mean { counts_padding },
    };
    host::Dims { channels, height, width, batch, window, pool }
}

fn both_ways(
    order: u64,
    (dims, pool): (windows::Dims, Pool),
    (element, tolerance): (Element, f64),
    (read, bounds): (Read, Bounds),
) {
    let queue = queue(order);
    let (channels, host_dims) = (dims.inputs, of_host(dims, pool));
    let norm = BatchNorm::new(&queue, channels);
    let (x, dy) = (read.values(channels * dims.plane(), 1), values(channels * dims.out_plane(), 2));
    let (mut y, mut dx) = (vec![0.0; dy.len()], vec![0.0; x.len()]);
    let input = read.on_the_host(&norm, &x);
    host::forward(input, &mut y, bounds, host_dims);
    let into = InputGradient { values: &mut dx, adds: false, gated: false, sums: None };
    host::backward(input, &dy, into, host_dims);

    let [x, dy] = [&x, &dy].map(|values| activations(&queue, values, element));
    let [y_memory, dx_memory] = [y.len(), dx.len()].map(|len| queue.allocate(len * element.size()).unwrap());
    let reading = read.on_the_device(&norm, x.slice());
    let what = format!("{dims:?} {pool:?} {element:?} order {order} {read:?} {bounds:?}");
    device::forward(&queue, reading, (y_memory.slice(), bounds), pool, (dims, element)).unwrap();
    close(&numbers(&queue, y_memory.slice(), element), &y, tolerance, &what);
    device::backward(&queue, reading, [dy.slice(), dx_memory.slice()], pool, (dims, element)).unwrap();
    close(&numbers(&queue, dx_memory.slice(), element), &dx, tolerance, &what);
}

#[test]
fn pools_and_their_gradients_are_the_hosts() {
    for [height, width, batch] in SIZES.into_iter().filter(|_| available()) {
        for window in windows() {
            let dims = windows::Dims { outputs: 3, inputs: 3, height, width, batch, window };
            for pool in POOLS {
                for element in ELEMENTS {
                    for (read, bounds) in READS.into_iter().zip([Bounds::NONE, Bounds::RELU].repeat(3)) {
                        both_ways(2, (dims, pool), element, (read, bounds));
                    }
                }
                for order in ORDERS {
                    both_ways(order, (dims, pool), ELEMENTS[0], (READS[0], Bounds::NONE));
                }
            }
        }
    }
}
