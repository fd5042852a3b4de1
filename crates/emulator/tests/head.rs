//! Pooling, bias and loss against the host's.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::*;
use sparse_cuda::cross_entropy::{self as device, Targets};
use sparse_cuda::pool::{self as device_pool, Dims};
use sparse_cuda::{Element, Memory, Queue};
use sparse_emulator::{download, queue, upload};
use sparse_kernels::activation::GateSums;
use sparse_kernels::{cross_entropy, distillation, linear, pool};

fn pooled(
    order: u64,
    (element, tolerance): (Element, f64),
    [channels, plane, batch]: [usize; 3],
    read: Read,
) {
    let queue = queue(order);
    let norm = BatchNorm::new(&queue, channels);
    let (x, dy) = (read.values(channels * plane * batch, 1), values(channels * batch, 2));
    let what = format!("{channels} {plane} {batch} {element:?} order {order} {read:?}");
    let mut expected = vec![0.0; channels * batch];
    pool::forward(read.on_the_host(&norm, &x), &mut expected, plane, batch);
    let stored = activations(&queue, &x, element);
    let dims = Dims { channels, plane, batch, element };
    let features = queue.allocate(expected.len() * 4).unwrap();
    let reading = read.on_the_device(&norm, stored.slice());
    device_pool::forward(&queue, reading, features.slice(), dims).unwrap();
    close(&download::<_, f32>(&queue, features.slice()).unwrap(), &expected, 1e-5, &what);

    let (mut dx, mut sum, mut product) = (vec![0.0; x.len()], vec![0.0; channels], vec![0.0; channels]);
    let sums = GateSums { sum: &mut sum, product: &mut product };
    pool::backward(read.on_the_host(&norm, &x), &dy, &mut dx, Some(sums), plane, batch);
    let dy = upload(&queue, &dy).unwrap();
    let g = queue.allocate(x.len() * element.size()).unwrap();
    let partial = queue.allocate(dims.partial().bytes(channels)).unwrap();
    let into = [g.slice(), partial.slice()];
    device_pool::backward(&queue, reading, dy.slice(), into, dims).unwrap();
    close(&numbers(&queue, g.slice(), element), &dx, tolerance, &what);
    let partial: Vec<f32> = download(&queue, partial.slice()).unwrap();
    for (c, partial) in partial.chunks(partial.len() / channels).enumerate() {
        let totals = partial.chunks(2).fold([0.0; 2], |[a, b], chunk| [a + chunk[0], b + chunk[1]]);
        close(&totals, &[sum[c], product[c]], 1e-5, &what);
    }
}

#[test]
fn pooling_is_the_hosts() {
    for sizes in [[1, 1, 1], [3, 49, 5], [2, 4, 130], [4, 9, 128]].into_iter().filter(|_| available()) {
        for element in ELEMENTS {
            READS.into_iter().for_each(|read| pooled(2, element, sizes, read));
        }
        ORDERS.into_iter().for_each(|order| pooled(order, ELEMENTS[0], sizes, READS[0]));
    }
}

fn loss(order: u64, [batch, classes]: [usize; 2], smoothing: f64, soft: Option<(f64, f64)>) {
    let queue = queue(order);
    let spread =
        |seed: usize| -> Vec<f32> { values(batch * classes, seed).iter().map(|v| v * 8.0).collect() };
    let (logits, teacher) = (spread(1), spread(2));
    let labels: Vec<u32> = (0..batch).map(|i| (i * 31 % classes) as u32).collect();
    let what = format!("{batch} {classes} {smoothing} {soft:?} order {order}");
    let hard = soft.map_or(1.0, |(_, share)| 1.0 - share);
    let mut expected = hard * f64::from(cross_entropy::forward(&logits, &labels, smoothing));
    let mut gradient = vec![0.0; logits.len()];
    cross_entropy::input_gradient(&logits, &labels, smoothing, hard as f32, &mut gradient);
    if let Some((temperature, share)) = soft {
        expected += share * f64::from(distillation::forward(&logits, &teacher, classes, temperature));
        distillation::add_input_gradient(&logits, &teacher, classes, temperature, share, &mut gradient);
    }

    let [logits_memory, teacher] = [&logits, &teacher].map(|values| upload(&queue, values).unwrap());
    let label_memory = upload(&queue, &labels).unwrap();
    let dlogits = queue.allocate(logits.len() * 4).unwrap();
    let results = queue.allocate(device::results_bytes(batch)).unwrap();
    let scalars = queue.allocate(device::SCALARS_BYTES).unwrap();
    let soft = soft.map(|(temperature, share)| (teacher.slice(), temperature, share));
    let targets = Targets { labels: label_memory.slice(), smoothing, soft };
    let into = [results.slice(), scalars.slice()];
    let slice = logits_memory.slice();
    device::forward(&queue, slice, targets, Some(dlogits.slice()), into, [batch, classes]).unwrap();
    let [found, first, five]: [f64; 3] = download(&queue, scalars.slice()).unwrap().try_into().unwrap();
    assert!((found - expected).abs() < 1e-5 * expected.abs().max(1.0), "{what}: {found} for {expected}");
    close(&download::<_, f32>(&queue, dlogits.slice()).unwrap(), &gradient, 1e-6, &what);
    let rank = |(row, &label): (&[f32], &u32)| {
        let own = row[label as usize];
        row.iter()
            .enumerate()
            .filter(|&(i, &score)| score > own || (score == own && i < label as usize))
            .count()
    };
    let ranks: Vec<usize> = logits.chunks(classes).zip(&labels).map(rank).collect();
    let within = |count: usize| ranks.iter().filter(|&&rank| rank < count).count() as f64;
    assert_eq!([first, five], [within(1), within(5)], "{what}");
    // Without a gradient the scalars are the same.
    device::forward(&queue, slice, targets, None, into, [batch, classes]).unwrap();
    assert_eq!(download::<_, f64>(&queue, scalars.slice()).unwrap(), [found, first, five], "{what}");
}

#[test]
fn loss_gradient_and_counts_are_the_hosts() {
    for sizes in [[1, 2], [5, 10], [3, 129], [40, 1000]].into_iter().filter(|_| available()) {
        for (smoothing, soft) in [(0.0, None), (0.1, None), (0.0, Some((4.0, 0.9))), (0.1, Some((2.0, 0.5)))]
        {
            ORDERS.into_iter().for_each(|order| loss(order, sizes, smoothing, soft));
        }
    }
}

#[test]
fn bias_and_its_gradient_are_the_hosts() {
    for [batch, classes] in [[1, 1], [5, 10], [3, 300]].into_iter().filter(|_| available()) {
        let queue = queue(2);
        let (logits, bias) = (values(batch * classes, 1), values(classes, 2));
        let memory = upload(&queue, &logits).unwrap();
        let bias_memory = upload(&queue, &bias).unwrap();
        device::add_bias(&queue, [memory.slice(), bias_memory.slice()], [batch, classes]).unwrap();
        let expected: Vec<f32> =
            logits.iter().enumerate().map(|(i, value)| value + bias[i % classes]).collect();
        assert_eq!(download::<_, f32>(&queue, memory.slice()).unwrap(), expected);
        let mut gradient = vec![0.0; classes];
        linear::bias_gradient(&expected, &mut gradient);
        device::bias_gradient(&queue, [memory.slice(), bias_memory.slice()], [batch, classes]).unwrap();
        assert_eq!(download::<_, f32>(&queue, bias_memory.slice()).unwrap(), gradient);
    }
}
