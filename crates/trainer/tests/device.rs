//! Learners on the emulated device: masks and thresholds are the host pruner's of the same weights, bit for bit, in every mode; a run that
//! stops and goes on ends with the same bytes; nothing but what is asked for crosses to the host.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test may panic, and says why it does nothing"
)]

use candle_core::{DType, Device, Tensor};
use sparse_emulator::queue;
use sparse_mobilenet::{MobileNet, MobileNetConfig, Precision};
use sparse_ops::SgdConfig;
use sparse_prune::{GmpConfig, GradientMode, Mode, Pruner, PrunerConfig, Scope, Strategy};
use sparse_testing::Need;
use sparse_trainer::{Learner, LearnerConfig};
use std::collections::BTreeMap;

const BATCH: usize = 6;
const SIZE: usize = 17;
const RATE: f64 = 0.002;

fn learner(pruner: Option<PrunerConfig>) -> Learner {
    let model = MobileNet::new(MobileNetConfig::new(0.0625, 3, 5), 3, DType::F32, &Device::Cpu).unwrap();
    let sgd = SgdConfig { momentum: 0.9, l2_decay: 3e-5, clip_norm: None };
    let config = LearnerConfig { sgd, label_smoothing: 0.0, precision: Precision::Full, pruner };
    Learner::new(model, config).unwrap()
}

fn on_the_device(pruner: Option<PrunerConfig>, sparse_from: f64) -> Learner {
    let mut learner = learner(pruner);
    learner.move_to(queue(1), sparse_from).unwrap();
    learner
}

fn images(step: usize) -> Tensor {
    let noise = |i: usize| ((i * 7919 + step * 104_729) % 2017) as f32 / 1008.5 - 1.0;
    let values = (0..BATCH * 3 * SIZE * SIZE).map(noise).collect();
    Tensor::from_vec(values, (BATCH, 3, SIZE, SIZE), &Device::Cpu).unwrap()
}

fn labels(step: usize) -> Vec<u32> {
    (0..BATCH).map(|i| ((i * 3 + step) % 5) as u32).collect()
}

fn step(learner: &mut Learner, step: usize) {
    learner.step(&images(step), &labels(step), RATE).unwrap();
}

fn weights(learner: &Learner) -> BTreeMap<String, Vec<f32>> {
    let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1().unwrap();
    let of = |(name, variable): (&String, &candle_core::Var)| (name.clone(), values(variable.as_tensor()));
    let velocities = learner.optimizer().velocities();
    let momentum = velocities.iter().map(|(name, v)| (format!("momentum of {name}"), values(v.as_tensor())));
    learner.model().variables().iter().map(of).chain(momentum).collect()
}

fn available() -> bool {
    if !sparse_emulator::AVAILABLE {
        Need::CppCompiler.left_out("the CUDA kernels on the CPU");
    }
    sparse_emulator::AVAILABLE
}

fn gmp() -> Strategy {
    let (stable_steps, pruning_steps, tunning_steps) = (1, 4, 2);
    Strategy::Gmp(GmpConfig {
        stable_steps,
        pruning_steps,
        tunning_steps,
        updates: 2,
        initial_ratio: 0.2,
        resume_step: 0,
    })
}

#[test]
fn masks_are_the_hosts_of_the_same_weights_in_every_mode() {
    if !available() {
        return;
    }
    let ratio = || PrunerConfig::new(Mode::Ratio(0.6));
    let configs = [
        ratio(),
        PrunerConfig::new(Mode::Threshold(0.05)),
        PrunerConfig { scope: Scope::LayerWise, ..ratio() },
        PrunerConfig { strategy: gmp(), ..ratio() },
        PrunerConfig { strategy: gmp(), regrow: false, ..ratio() },
        PrunerConfig { regrow: false, ..PrunerConfig::new(Mode::Threshold(0.05)) },
        PrunerConfig { gradient: GradientMode::Dense, exclude: vec!["fc".to_owned()], ..ratio() },
        // Ranked on the host.
        PrunerConfig { block: [2, 1], ..ratio() },
        PrunerConfig { paddle_compat: true, ..ratio() },
    ];
    for config in configs {
        let mut learner = on_the_device(Some(config.clone()), 0.5);
        let mut host = Pruner::new(&learner.model().var_map(), config.clone()).unwrap();
        for number in 0..if config.strategy == Strategy::Base { 3 } else { 5 } {
            step(&mut learner, number);
            learner.settle().unwrap();
            host.step().unwrap();
            assert_eq!(learner.pruner().masks(), host.masks(), "{config:?}, step {number}");
            assert_eq!(learner.pruner().thresholds(), host.thresholds(), "{config:?}, step {number}");
            assert_eq!(learner.pruner().threshold(), host.threshold(), "{config:?}, step {number}");
            assert_eq!(learner.pruner().state(), host.state(), "{config:?}, step {number}");
        }
        assert!(host.masks().values().any(|mask| mask.pruned() > 0), "{config:?}");
    }
}

#[test]
fn losses_counts_and_scores_are_the_hosts() {
    if !available() {
        return;
    }
    let config = PrunerConfig::new(Mode::Ratio(0.5));
    let (mut device, mut host) = (on_the_device(Some(config.clone()), 1.0), learner(Some(config)));
    for number in 0..3 {
        step(&mut device, number);
        step(&mut host, number);
        let (found, expected) = (device.results().unwrap(), host.results().unwrap());
        let off = (found.loss - expected.loss).abs() / expected.loss;
        // Rounding grows from step to step.
        assert!(off < if number == 0 { 1e-5 } else { 0.02 }, "step {number}: {found:?} for {expected:?}");
        assert_eq!(found.top5, expected.top5);
    }
    // From here on with the same weights on both sides.
    device.settle().unwrap();
    for (name, variable) in host.model().variables() {
        variable.set(device.model().variables()[name].as_tensor()).unwrap();
    }
    let state = device.pruner().state();
    host.pruner_mut().restore(state, device.pruner().masks().clone()).unwrap();
    for number in 0..2 {
        for learner in [&mut device, &mut host] {
            learner.average_statistics(&images(number), &labels(number), number).unwrap();
        }
    }
    let scores = |learner: &mut Learner| learner.scores(&images(9)).unwrap().flatten_all().unwrap();
    let (found, expected) = (scores(&mut device), scores(&mut host));
    let largest = |tensor: &Tensor| tensor.abs().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
    let off = largest(&(&found - &expected).unwrap()) / largest(&expected);
    assert!(off < 1e-3, "scores are off by {off}");
}

#[test]
fn a_run_that_stops_and_goes_on_ends_with_the_same_bytes() {
    if !available() {
        return;
    }
    let config = || Some(PrunerConfig { strategy: gmp(), ..PrunerConfig::new(Mode::Ratio(0.7)) });
    // Zeros are left out from a step on that lies within the run, or never.
    for (sparse_from, stops) in [(1.0, [3].as_slice()), (0.5, &[1, 2, 4])] {
        let mut whole = on_the_device(config(), sparse_from);
        let mut stopped = on_the_device(config(), sparse_from);
        (0..5).for_each(|number| step(&mut whole, number));
        whole.settle().unwrap();
        for number in 0..5 {
            if stops.contains(&number) {
                stopped.settle().unwrap();
                stopped = anew(&stopped, learner(config()));
                stopped.move_to(queue(0), sparse_from).unwrap();
            }
            step(&mut stopped, number);
        }
        stopped.settle().unwrap();
        assert_eq!(weights(&whole), weights(&stopped), "{sparse_from}");
        assert_eq!(whole.pruner().masks(), stopped.pruner().masks());
        assert_eq!(whole.pruner().state(), stopped.pruner().state());
    }
}

/// A fresh learner with the state of another.
fn anew(from: &Learner, mut fresh: Learner) -> Learner {
    for (name, variable) in fresh.model().variables() {
        variable.set(from.model().variables()[name].as_tensor()).unwrap();
    }
    for (name, velocity) in fresh.optimizer().velocities() {
        velocity.set(from.optimizer().velocities()[name].as_tensor()).unwrap();
    }
    fresh.pruner_mut().restore(from.pruner().state(), from.pruner().masks().clone()).unwrap();
    fresh
}

#[test]
fn a_loss_that_is_not_finite_is_an_error_when_it_is_asked_for() {
    if !available() {
        return;
    }
    let mut learner = on_the_device(None, 1.0);
    let images = (images(0) * 1e30).unwrap();
    learner.step(&images, &labels(0), 1e30).unwrap();
    learner.step(&images, &labels(0), 1e30).unwrap();
    assert!(learner.results().unwrap_err().to_string().contains("loss"));
    learner.settle().unwrap();
    assert!(learner.check_finite().is_err());
}

/// Euclidean length of a difference, as a share of the second.
fn relative_distance(a: &[f32], b: &[f32]) -> f32 {
    let length =
        |values: &mut dyn Iterator<Item = f32>| values.map(|value| value * value).sum::<f32>().sqrt();
    length(&mut a.iter().zip(b).map(|(a, b)| a - b)) / length(&mut b.iter().copied())
}

#[test]
fn pruned_weights_get_their_gradient_where_it_is_dense() {
    if !available() {
        return;
    }
    let config =
        || Some(PrunerConfig { gradient: GradientMode::Dense, ..PrunerConfig::new(Mode::Ratio(0.6)) });
    let (mut sparse, mut dense) = (on_the_device(config(), 0.0), on_the_device(config(), 1.0));
    for learner in [&mut sparse, &mut dense] {
        // The first step has no masks yet.
        (0..2).for_each(|number| step(learner, number));
        learner.settle().unwrap();
    }
    let (found, expected) = (weights(&sparse), weights(&dense));
    for (name, expected) in
        expected.iter().filter(|(name, _)| name.starts_with("momentum of conv6_sep_weights"))
    {
        let off = relative_distance(&found[name], expected);
        assert!(off < 0.01, "{name} is off by {off}");
    }
}

#[test]
fn scores_are_those_of_the_masks_that_hold() {
    if !available() {
        return;
    }
    // Steps so long that weights come back in each.
    let config = PrunerConfig { gradient: GradientMode::Dense, ..PrunerConfig::new(Mode::Ratio(0.6)) };
    let mut learner = on_the_device(Some(config), 0.0);
    (0..3).for_each(|number| learner.step(&images(number), &labels(number), 0.3).unwrap());
    let found = learner.scores(&images(9)).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    learner.settle().unwrap();
    learner.enforce().unwrap();
    let expected = learner.model().forward(&images(9), sparse_mobilenet::Mode::Eval).unwrap();
    let off = relative_distance(&found, &expected.flatten_all().unwrap().to_vec1().unwrap());
    assert!(off < 1e-4, "off by {off}");
}

#[test]
fn a_weight_that_is_nan_is_an_error_when_the_masks_are_fetched() {
    if !available() {
        return;
    }
    for mode in [Mode::Threshold(0.05), Mode::Ratio(0.5)] {
        let mut learner = on_the_device(Some(PrunerConfig::new(mode)), 1.0);
        let images = (images(0) * f64::from(f32::NAN)).unwrap();
        learner.step(&images, &labels(0), RATE).unwrap();
        assert!(learner.settle().unwrap_err().to_string().contains("NaN"), "{mode:?}");
    }
}
