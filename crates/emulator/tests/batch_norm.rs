//! Batch norm's kernels against the host's and against plain sums.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::*;
use sparse_cuda::batch_norm::{self as device, Dims, Form, Parameters, Parts};
use sparse_cuda::{Coefficients, Element, Memory, Queue};
use sparse_emulator::{download, queue, upload};

/// Odd sizes, whole vectors, more than one chunk.
const SIZES: [[usize; 2]; 6] = [[1, 1], [3, 7], [2, 64], [3, 2056], [2, 9001], [1, 40_000]];

fn shapes(element: Element) -> impl Iterator<Item = Dims> {
    SIZES.into_iter().filter(|_| available()).map(move |[channels, pixels]| Dims {
        channels,
        pixels,
        element,
    })
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

fn training(order: u64, dims: Dims, tolerance: f64) {
    let queue = queue(order);
    let Dims { channels, pixels, element } = dims;
    let y = values(channels * pixels, 1);
    let stored = activations(&queue, &y, element);
    let [running_mean, scale, offset] =
        [2, 3, 4].map(|seed| upload(&queue, &values(channels, seed)).unwrap());
    let running_variance = upload(&queue, &vec![0.5f32; channels]).unwrap();
    let partial = queue.allocate(dims.moments().bytes(channels)).unwrap();
    device::statistics(&queue, stored.slice(), partial.slice(), dims).unwrap();
    let rows = queue.allocate(Coefficients::bytes(channels)).unwrap();
    let parameters = Parameters {
        running_mean: running_mean.slice(),
        running_variance: running_variance.slice(),
        scale: scale.slice(),
        offset: offset.slice(),
    };
    let form = Form { momentum: 0.9, epsilon: 1e-5 };
    let into = Coefficients::new(rows.slice(), channels);
    let moments = Some((partial.slice(), dims.moments()));
    device::close_statistics(&queue, moments, parameters, form, into).unwrap();

    let found: Vec<f32> = download(&queue, rows.slice()).unwrap();
    let blended: Vec<f32> = download(&queue, running_variance.slice()).unwrap();
    for c in 0..channels {
        let of_channel = || y[c * pixels..(c + 1) * pixels].iter().map(|&value| f64::from(value));
        let centre = mean(of_channel());
        let variance = mean(of_channel().map(|value| (value - centre).powi(2)));
        let gain = f64::from(values(channels, 3)[c]) / (variance + 1e-5).sqrt();
        let expected = [centre, variance, gain].map(|value| value as f32);
        let own = [found[c], found[channels + c], found[3 * channels + c]];
        close(&own, &expected, tolerance, &format!("{dims:?} order {order} channel {c}"));
        close(&[blended[c]], &[(0.5 * 0.9 + variance * 0.1) as f32], 1e-5, "running variance");
    }
    // The running statistics, which the batch has moved, are what counts without moments.
    device::close_statistics(&queue, None, parameters, form, into).unwrap();
    let given: Vec<f32> = download(&queue, rows.slice()).unwrap();
    assert_eq!(given[..channels], download::<_, f32>(&queue, running_mean.slice()).unwrap());
    assert_eq!(given[channels..2 * channels], blended);
}

fn on_the_way(order: u64, dims: Dims, tolerance: f64) {
    let queue = queue(order);
    let Dims { channels, pixels, element } = dims;
    let norm = BatchNorm::new(&queue, channels);
    let (y, g) = (values(channels * pixels, 1), values(channels * pixels, 2));
    let [y_stored, g_stored] = [&y, &g].map(|values| activations(&queue, values, element));
    let out = queue.allocate(y.len() * element.size()).unwrap();
    let what = format!("{dims:?} order {order}");
    let linear = |i: usize| (y[i] - norm.mean[i / pixels]) * norm.gain[i / pixels] + norm.offset[i / pixels];

    device::normalise(&queue, norm.reading(y_stored.slice()), out.slice(), dims).unwrap();
    let z: Vec<f32> = (0..y.len()).map(|i| linear(i).clamp(0.0, 6.0)).collect();
    close(&numbers(&queue, out.slice(), element), &z, tolerance, &what);

    let slices = [g_stored.slice(), y_stored.slice()];
    device::output_gradient(&queue, slices, norm.coefficients(), out.slice(), dims).unwrap();
    let dy: Vec<f32> = (0..y.len())
        .map(|i| {
            let c = i / pixels;
            norm.gain[c] * (g[i] - norm.constant[c] - (y[i] - norm.mean[c]) * norm.slope[c])
        })
        .collect();
    close(&numbers(&queue, out.slice(), element), &dy, tolerance, &what);

    let partial = queue.allocate(dims.partial().bytes(channels)).unwrap();
    let (parts, x) = (Parts::whole(g_stored.slice()), norm.reading(y_stored.slice()));
    device::gate(&queue, parts, Some(x), Some(partial.slice()), dims).unwrap();
    let open = |i: usize| 0.0 < linear(i) && linear(i) < 6.0;
    let gated: Vec<f32> = (0..y.len()).map(|i| if open(i) { g[i] } else { 0.0 }).collect();
    close(&numbers(&queue, g_stored.slice(), element), &gated, 0.0, &what);

    let [dscale, doffset] = [0, 1].map(|_| queue.allocate(channels * 4).unwrap());
    let sums = (partial.slice(), dims.partial());
    device::close_gradient(&queue, sums, pixels, norm.coefficients(), [dscale.slice(), doffset.slice()])
        .unwrap();
    let [dscale, doffset]: [Vec<f32>; 2] =
        [dscale, doffset].map(|memory| download(&queue, memory.slice()).unwrap());
    let rows: Vec<f32> = download(&queue, norm.coefficients().slice()).unwrap();
    for c in 0..channels {
        let range = || c * pixels..(c + 1) * pixels;
        let sum: f64 = range().map(|i| f64::from(gated[i])).sum();
        let product: f64 = range().map(|i| f64::from(gated[i]) * f64::from(y[i] - norm.mean[c])).sum();
        let count = pixels as f64;
        let expected = [sum, product, sum / count, product / count].map(|value| value as f32);
        let own = [doffset[c], dscale[c], rows[5 * channels + c], rows[6 * channels + c]];
        close(&own, &expected, 2e-5, &format!("{what} channel {c}"));
    }
}

/// A mean a thousand times the deviation: sums of squares would keep no digit of the variance.
#[test]
fn values_far_from_zero_keep_their_variance() {
    if !available() {
        return;
    }
    let queue = queue(2);
    let dims = Dims { channels: 2, pixels: 9001, element: Element::F32 };
    let y: Vec<f32> = values(2 * 9001, 1).iter().map(|value| 1000.0 + value).collect();
    let stored = activations(&queue, &y, dims.element);
    let partial = queue.allocate(dims.moments().bytes(2)).unwrap();
    device::statistics(&queue, stored.slice(), partial.slice(), dims).unwrap();
    for (y, [found_mean, found]) in y.chunks(9001).zip(moments(&queue, partial.slice(), dims.moments(), 2)) {
        let centre = mean(y.iter().map(|&value| f64::from(value)));
        let variance = mean(y.iter().map(|&value| (f64::from(value) - centre).powi(2)));
        assert!(
            (found_mean / centre - 1.0).abs() < 1e-6 && (found / variance - 1.0).abs() < 1e-4,
            "{found} {variance}"
        );
    }
}

#[test]
fn a_bias_is_added_and_nothing_else() {
    for channels in [1, 5, 33, 100].into_iter().filter(|_| available()) {
        let queue = queue(2);
        let bias = values(channels, 3);
        let (stored, rows) = (upload(&queue, &bias).unwrap(), vec![f32::NAN; 7 * channels]);
        let rows = upload(&queue, &rows).unwrap();
        device::take_bias(&queue, stored.slice(), Coefficients::new(rows.slice(), channels)).unwrap();
        let (zeros, ones) = (vec![0.0f32; channels], vec![1.0f32; channels]);
        let expected = [&zeros, &zeros, &ones, &ones, &bias, &zeros, &zeros].map(Vec::as_slice).concat();
        assert_eq!(download::<_, f32>(&queue, rows.slice()).unwrap(), expected);
    }
}

#[test]
fn statistics_and_their_coefficients() {
    for (element, tolerance) in ELEMENTS {
        shapes(element).for_each(|dims| training(2, dims, tolerance.max(1e-4)));
    }
    for order in ORDERS {
        shapes(Element::F32).for_each(|dims| training(order, dims, 1e-4));
    }
}

#[test]
fn normalising_and_the_way_back() {
    for (element, tolerance) in ELEMENTS {
        shapes(element).for_each(|dims| on_the_way(2, dims, tolerance));
    }
    for order in ORDERS {
        shapes(Element::F32).for_each(|dims| on_the_way(order, dims, 2e-5));
    }
}
