//! A batch in equal parts: what ranks add up is the loss and the gradient of the whole batch.

#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor};
use sparse_collectives::{Communicator, Slice, threads};
use sparse_model::{Across, BN_MOMENTUM, Model, NetworkConfig, Precision, SoftTargets, Targets, TrainPass};
use std::collections::BTreeMap;

const CONFIG: NetworkConfig = NetworkConfig::mobilenet(0.125, 3, 5);
const BATCH: usize = 8;

/// Loss, gradients and running averages of the mean loss over a batch.
type Found = (f64, BTreeMap<String, Vec<f64>>, BTreeMap<String, Vec<f64>>);

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// Images, labels and a teacher's scores, of which a rank takes its part.
fn batch() -> (Tensor, Vec<u32>, Tensor) {
    let numbers = |count: usize, step: usize| -> Vec<f64> {
        (0..count).map(|at| (at * step % 2017) as f64 / 1008.5 - 1.0).collect()
    };
    let images =
        Tensor::from_vec(numbers(BATCH * 3 * 40 * 33, 7919), (BATCH, 3, 40, 33), &Device::Cpu).unwrap();
    let teacher = Tensor::from_vec(numbers(BATCH * 5, 104_729), (BATCH, 5), &Device::Cpu).unwrap();
    (images, (0..BATCH as u32).map(|image| image * 3 % 5).collect(), teacher)
}

fn step(ranks: &mut dyn Communicator) -> Found {
    let (rank, size) = (ranks.rank(), ranks.size());
    let (images, labels, teacher) = batch();
    let (start, len) = (rank * BATCH / size, BATCH / size);
    let images = images.narrow(0, start, len).unwrap();
    let logits = teacher.narrow(0, start, len).unwrap();
    let soft = SoftTargets { logits, temperature: 2.0, weight: 0.4 };
    let targets =
        Targets { labels: &labels[start..][..len], label_smoothing: 0.1, soft: Some(&soft), features: None };
    let model = Model::new(CONFIG, 1, DType::F64, &Device::Cpu).unwrap();
    let mut pass = TrainPass::new(&model, Precision::Full).unwrap();
    let loss;
    let mut found = Vec::new();
    {
        let mut add_up = |values: &mut [f64]| {
            ranks.sum(Slice::F64(values)).map_err(|error| sparse_model::Error::Across(error.into()))
        };
        let mut across = Across { ranks: size, statistics: Some(&mut add_up) };
        loss = pass.forward_to(&model, &images, targets, BN_MOMENTUM, &mut across).unwrap().loss;
        pass.backward_to(&model, None, &mut across, &mut |name, gradient| {
            found.push((name, values(&gradient)));
            Ok(())
        })
        .unwrap();
    }
    let mut losses = [loss / size as f64];
    ranks.sum(Slice::F64(&mut losses)).unwrap();
    let mut gradients = BTreeMap::new();
    for (name, mut gradient) in found {
        ranks.sum(Slice::F64(&mut gradient)).unwrap();
        gradients.insert(name, gradient);
    }
    let running =
        model.variables().iter().map(|(name, variable)| (name.clone(), values(variable.as_tensor())));
    (losses[0], gradients, running.collect())
}

fn steps(size: usize) -> Vec<Found> {
    std::thread::scope(|scope| {
        let running: Vec<_> =
            threads(size).into_iter().map(|mut rank| scope.spawn(move || step(&mut *rank))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn off(found: &[f64], expected: &[f64]) -> f64 {
    let largest = expected.iter().fold(f64::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / largest
}

#[test]
fn with_statistics_of_the_whole_batch_any_number_of_ranks_finds_the_same() {
    let (loss, gradients, running) = steps(1).remove(0);
    for size in [2, 4, 8] {
        for (rank, found) in steps(size).into_iter().enumerate() {
            assert!((found.0 - loss).abs() < 1e-12 * loss, "{size} ranks: loss {} for {loss}", found.0);
            assert!(found.1.keys().eq(gradients.keys()));
            for (name, expected) in &gradients {
                let error = off(&found.1[name], expected);
                assert!(error < 1e-7, "rank {rank} of {size}, {name}: {error:e}");
            }
            for (name, expected) in &running {
                let error = off(&found.2[name], expected);
                assert!(error < 1e-11, "rank {rank} of {size}, {name}: {error:e}");
            }
        }
    }
}
