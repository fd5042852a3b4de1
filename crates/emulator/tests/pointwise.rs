//! The sparse pointwise kernels, and changes of layout, against plain loops.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::*;
use sparse_cuda::sparse_pointwise::Pattern;
use sparse_cuda::weight::WeightGradient;
use sparse_cuda::{Element, Matrix, Memory, Queue, layout};
use sparse_emulator::{download, queue, upload};

/// Outputs, inputs, pixels, and of seven weights how many are kept.
const CASES: [([usize; 3], usize); 7] = [
    ([1, 1, 1], 7),
    ([5, 37, 33], 2),
    ([64, 65, 128], 1),
    ([3, 200, 520], 3),
    ([9, 40, 2049], 1),
    ([4, 8, 64], 0),
    // More spans than blocks, so that a block takes two.
    ([1, 3, 34_768], 7),
];

fn products(
    order: u64,
    ([outputs, inputs, pixels], kept): ([usize; 3], usize),
    (element, tolerance): (Element, f64),
) {
    let queue = queue(order);
    let what = format!("{outputs} {inputs} {pixels} {element:?} order {order}");
    let mut words = vec![0u64; (outputs * inputs).div_ceil(64)];
    let mut weight = values(outputs * inputs, 1);
    for (i, weight) in weight.iter_mut().enumerate() {
        if (i * 5 + i / 7) % 7 < kept {
            words[i / 64] |= 1 << (i % 64);
        } else {
            // It is left out, whatever it is.
            *weight = f32::NAN;
        }
    }
    let is_kept = |i: usize| words[i / 64] >> (i % 64) & 1 == 1;
    let (x, dy) = (values(inputs * pixels, 2), values(outputs * pixels, 3));
    let (mut y, mut dx, mut dw) = (vec![0.0; dy.len()], vec![0.0; x.len()], vec![0.0; weight.len()]);
    for at in (0..weight.len()).filter(|&at| is_kept(at)) {
        let (output, input) = (at / inputs, at % inputs);
        let mut dot = 0.0f64;
        for p in 0..pixels {
            y[output * pixels + p] += weight[at] * x[input * pixels + p];
            dx[input * pixels + p] += weight[at] * dy[output * pixels + p];
            dot += f64::from(dy[output * pixels + p]) * f64::from(x[input * pixels + p]);
        }
        dw[at] = dot as f32;
    }

    let [x, dy] = [&x, &dy].map(|values| activations(&queue, values, element));
    let weight = upload(&queue, &weight).unwrap();
    let words = upload(&queue, &words).unwrap();
    let [by_output, by_input] =
        [false, true].map(|transposed| Pattern::new(&queue, [outputs, inputs], transposed).unwrap());
    [&by_output, &by_input].iter().for_each(|pattern| pattern.take(&queue, words.slice()).unwrap());
    let [y_memory, dx_memory] = [y.len(), dx.len()].map(|len| queue.allocate(len * element.size()).unwrap());
    let matrix = |slice| Matrix::new(slice, pixels);
    let into = [matrix(x.slice()), matrix(y_memory.slice())];
    by_output.multiply(&queue, (weight.slice(), 0..outputs), into, pixels, element).unwrap();
    close(&numbers(&queue, y_memory.slice(), element), &y, tolerance, &what);
    let into = [matrix(dy.slice()), matrix(dx_memory.slice())];
    by_input.multiply(&queue, (weight.slice(), 0..inputs), into, pixels, element).unwrap();
    close(&numbers(&queue, dx_memory.slice(), element), &dx, tolerance, &what);
    let partial = queue.allocate(by_output.partial_bytes(pixels)).unwrap();
    let dw_memory = upload(&queue, &vec![7.0f32; dw.len()]).unwrap();
    let kept = Some((&by_output, partial.slice()));
    let gradient = WeightGradient { sizes: [outputs, inputs], dw: dw_memory.slice(), kept };
    gradient.add(&queue, [matrix(dy.slice()), matrix(x.slice())], pixels, element, true).unwrap();
    close(&download::<_, f32>(&queue, dw_memory.slice()).unwrap(), &dw, 2e-5, &what);
}

#[test]
fn products_and_gradient_leave_zeros_out() {
    for case in CASES.into_iter().filter(|_| available()) {
        ELEMENTS.into_iter().for_each(|element| products(2, case, element));
        ORDERS.into_iter().for_each(|order| products(order, case, ELEMENTS[0]));
    }
}

#[test]
fn images_move_innermost_and_weights_are_rounded() {
    for [batch, pixels] in [[1, 1], [5, 33], [32, 32], [40, 100]].into_iter().filter(|_| available()) {
        for (element, _) in ELEMENTS {
            for order in ORDERS {
                let queue = queue(order);
                let images = values(batch * pixels, 1);
                let memory = upload(&queue, &images).unwrap();
                let x = queue.allocate(images.len() * element.size()).unwrap();
                layout::batch_innermost(&queue, [memory.slice(), x.slice()], [batch, pixels], element)
                    .unwrap();
                let expected: Vec<f32> =
                    (0..images.len()).map(|i| images[i % batch * pixels + i / batch]).collect();
                assert_eq!(numbers(&queue, x.slice(), element), expected, "{batch} {pixels} {element:?}");
                layout::narrow(&queue, [memory.slice(), x.slice()], images.len(), element).unwrap();
                assert_eq!(numbers(&queue, x.slice(), element), images);
            }
        }
    }
}
