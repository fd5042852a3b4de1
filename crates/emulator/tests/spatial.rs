//! Convolutions of any window over all channels against the host's, dense and with zeros left out, by pieces of any size.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::*;
use sparse_cuda::sparse_pointwise::Pattern;
use sparse_cuda::spatial as device;
use sparse_cuda::weight::{Values, Weight, WeightGradient};
use sparse_cuda::{Element, Memory, Queue, windows};
use sparse_emulator::{download, queue, upload};
use sparse_kernels::activation::{InputGradient, OutputGradient};
use sparse_kernels::spatial as host;
use sparse_network::{Padding, Window};

/// Outputs, inputs, height, width, batch: odd, one pixel, whole vectors.
const SIZES: [[usize; 5]; 4] = [[1, 1, 1, 1, 1], [5, 3, 7, 6, 3], [4, 5, 6, 8, 8], [3, 2, 9, 5, 16]];

fn windows() -> Vec<Window> {
    let odd =
        Window { kernel: [2, 3], stride: [2, 1], dilation: [1, 2], padding: Padding::Lines([1, 2, 0, 2]) };
    let point = Window { stride: [2; 2], ..Window::POINT };
    let same = Padding::Same;
    let square = |kernel, stride| Window::square(kernel, stride, Padding::Symmetric);
    vec![square(7, 2), square(3, 1), square(3, 2), Window::square(3, 2, same), point, odd]
}

/// One of how many weights is kept.
const KEPT: usize = 3;

/// A case: sizes, whether zeros are left out, whether patches are made in the smallest pieces.
#[derive(Clone, Copy, Debug)]
struct Case {
    dims: windows::Dims,
    sparse: bool,
    in_pieces: bool,
}

fn of_host(dims: windows::Dims) -> host::Dims {
    let windows::Dims { outputs, inputs, height, width, batch, window } = dims;
    host::Dims { outputs, inputs, height, width, batch, window }
}

/// What the host makes of a case: output, gradients to weight and input.
fn on_the_host(case: Case, [x, weight, dy]: [&[f32]; 3], (norm, read): (&BatchNorm, Read)) -> [Vec<f32>; 3] {
    let dims = of_host(case.dims);
    let (mut y, mut dw, mut dx) = (vec![0.0; dy.len()], vec![0.0; weight.len()], vec![0.0; x.len()]);
    let (input, gradient) = (read.on_the_host(norm, x), OutputGradient::Plain(dy));
    host::forward(input, weight, None, &mut y, None, dims);
    host::weight_gradient(input, gradient, None, &mut dw, dims);
    if case.sparse {
        dw.iter_mut().enumerate().filter(|(i, _)| i % KEPT != 0).for_each(|(_, dw)| *dw = 0.0);
    }
    let into = InputGradient { values: &mut dx, adds: false, gated: false, sums: None };
    host::input_gradient(weight, None, input, gradient, into, dims);
    [y, dw, dx]
}

fn all_ways(order: u64, case: Case, (element, tolerance): (Element, f64), read: Read) {
    let queue = queue(order);
    let Case { dims, sparse, in_pieces } = case;
    let norm = BatchNorm::new(&queue, dims.inputs);
    let (inner, size) = (dims.inputs * dims.taps(), element.size());
    let x = read.values(dims.inputs * dims.plane(), 1);
    let mut weight = values(dims.outputs * inner, 2);
    if sparse {
        weight.iter_mut().enumerate().filter(|(i, _)| i % KEPT != 0).for_each(|(_, weight)| *weight = 0.0);
    }
    let dy = values(dims.outputs * dims.out_plane(), 3);
    let expected = on_the_host(case, [&x, &weight, &dy], (&norm, read));

    let sizes = [dims.outputs, inner];
    let patterns = [false, true].map(|transposed| Pattern::new(&queue, sizes, transposed).unwrap());
    let words: Vec<u64> = (0..weight.len().div_ceil(64) as u64)
        .map(|word| (0..64).filter(|bit| (word * 64 + bit) % KEPT as u64 == 0).map(|bit| 1 << bit).sum())
        .collect();
    let words = upload(&queue, &words).unwrap();
    patterns.iter().for_each(|pattern| pattern.take(&queue, words.slice()).unwrap());
    let memory =
        if sparse { upload(&queue, &weight).unwrap() } else { activations(&queue, &weight, element) };
    let values = match sparse {
        true => Values::Sparse(memory.slice(), &patterns),
        false => Values::Dense(memory.slice()),
    };
    let weight = Weight { sizes, values };
    let [x, dy] = [&x, &dy].map(|values| activations(&queue, values, element));
    let reading = read.on_the_device(&norm, x.slice());
    let patches = match in_pieces {
        true => [inner * dims.batch * size, dims.taps() * dims.out_plane() * size],
        false => [device::patches_bytes(dims, element), device::input_gradient_bytes(dims, element)],
    };
    let [patches, of_input] = patches.map(|bytes| queue.allocate(bytes).unwrap());
    let what = format!("{case:?} {element:?} order {order} {read:?}");

    let y = queue.allocate(expected[0].len() * size).unwrap();
    device::forward(&queue, reading, &weight, [y.slice(), patches.slice()], dims, element).unwrap();
    close(&numbers(&queue, y.slice(), element), &expected[0], tolerance, &what);

    let dw = upload(&queue, &vec![7.0f32; expected[1].len()]).unwrap();
    let partial = queue.allocate(patterns[0].partial_bytes(dims.out_plane())).unwrap();
    let kept = sparse.then(|| (&patterns[0], partial.slice()));
    let into = WeightGradient { sizes, dw: dw.slice(), kept };
    device::weight_gradient(&queue, reading, &into, [dy.slice(), patches.slice()], dims, element).unwrap();
    close(&download::<_, f32>(&queue, dw.slice()).unwrap(), &expected[1], tolerance, &what);

    let dx = queue.allocate(expected[2].len() * size).unwrap();
    let slices = [dy.slice(), dx.slice(), of_input.slice()];
    device::input_gradient(&queue, &weight, slices, dims, element).unwrap();
    close(&numbers(&queue, dx.slice(), element), &expected[2], tolerance, &what);
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for [outputs, inputs, height, width, batch] in SIZES {
        for window in windows() {
            let dims = windows::Dims { outputs, inputs, height, width, batch, window };
            for (sparse, in_pieces) in [(false, false), (false, true), (true, false), (true, true)] {
                // A window of 3 with a tap between does not fit into every image.
                if dims.out_plane() > 0 {
                    cases.push(Case { dims, sparse, in_pieces });
                }
            }
        }
    }
    cases
}

#[test]
fn products_with_patches_are_the_hosts_convolutions() {
    for (index, case) in cases().into_iter().enumerate().filter(|_| available()) {
        ELEMENTS.into_iter().for_each(|element| all_ways(2, case, element, READS[index % READS.len()]));
        ORDERS.into_iter().for_each(|order| all_ways(order, case, ELEMENTS[0], READS[0]));
    }
}
