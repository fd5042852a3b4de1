//! What ranks that are threads of one process do to each other.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use candle_core::{Device, Tensor};
use sparse_trainer::collectives::{Communicator, threads};
use sparse_trainer::config::{DataKind, TrainConfig};
use sparse_trainer::{Error, Learner, LearnerConfig, Ranks, build_model};

/// One step of a rank on two images of this brightness.
fn step(
    communicator: Box<dyn Communicator + Send>,
    brightness: f32,
    sync_bn: bool,
) -> Result<(), Box<Error>> {
    let mut config = TrainConfig::defaults(DataKind::Mnist);
    config.model.scale = 0.125;
    let learning = LearnerConfig {
        sgd: sparse_ops::SgdConfig { momentum: 0.9, l2_decay: 0.0, clip_norm: None },
        label_smoothing: 0.0,
        precision: sparse_model::Precision::Full,
        pruner: None,
    };
    let learner = Learner::new(build_model(&config, 1).unwrap(), learning).unwrap();
    let images = Tensor::full(brightness, (2, 1, 32, 32), &Device::Cpu).unwrap();
    Ok(learner.with_ranks(Ranks::new(communicator), sync_bn).step(&images, &[0, 1], 0.1)?)
}

#[test]
fn a_loss_that_is_not_finite_on_one_rank_stops_all() {
    for sync_bn in [false, true] {
        let brightness = [0.5, f32::NAN, 0.5];
        let ends: Vec<Result<(), Box<Error>>> = std::thread::scope(|scope| {
            let rank =
                |(communicator, brightness)| scope.spawn(move || step(communicator, brightness, sync_bn));
            let ranks: Vec<_> = threads(3).into_iter().zip(brightness).map(rank).collect();
            ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
        });
        assert!(
            ends.iter()
                .all(|end| matches!(end, Err(error) if matches!(**error, Error::LossNotFinite { .. }))),
            "{ends:?}"
        );
    }
}
