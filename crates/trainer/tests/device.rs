//! Learners on the emulated device: masks and thresholds are the host pruner's of the same weights, bit for bit, in every mode; a run that
//! stops and goes on ends with the same bytes; nothing but what is asked for crosses to the host.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test may panic, and says why it does nothing"
)]

use candle_core::{DType, Device, Tensor};
use sparse_collectives::{Communicator, Slice, threads};
use sparse_emulator::{Between, queue};
use sparse_model::{Kind, Model, NetworkConfig, Precision};
use sparse_ops::SgdConfig;
use sparse_prune::{
    AcdcConfig, Allocation, DropGrowConfig, GmpConfig, GradientMode, Growth, Mode, Pattern, Pruner,
    PrunerConfig, Ranking, Scope, Strategy,
};
use sparse_sparsity::Mask;
use sparse_testing::Need;
use sparse_trainer::{Learner, LearnerConfig, Ranks, StepResults};
use std::collections::BTreeMap;

const BATCH: usize = 6;
const SIZE: usize = 17;
const RATE: f64 = 0.002;

/// What ranks end with: the results of each step, weights, momentum and running statistics, masks.
type Trained = (Vec<StepResults>, BTreeMap<String, Vec<f32>>, BTreeMap<String, Mask>);

const MOBILENET: NetworkConfig = NetworkConfig::mobilenet(0.0625, 3, 5);
const RESNET: NetworkConfig = NetworkConfig::new(Kind::ResNet18, 0.125, 3, 5);
const MOBILENET_V2: NetworkConfig = NetworkConfig::new(Kind::MobileNetV2, 0.125, 3, 5);

fn learner(pruner: Option<PrunerConfig>) -> Learner {
    learner_of(MOBILENET, pruner)
}

fn learner_of(network: NetworkConfig, pruner: Option<PrunerConfig>) -> Learner {
    let model = Model::new(network, 3, DType::F32, &Device::Cpu).unwrap();
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

fn weights(learner: &mut Learner) -> BTreeMap<String, Vec<f32>> {
    let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1().unwrap();
    let of = |(name, variable): (&String, &candle_core::Var)| (name.clone(), values(variable.as_tensor()));
    let held = learner.state().unwrap();
    let velocities = held.optimizer().velocities();
    let momentum = velocities.iter().map(|(name, v)| (format!("momentum of {name}"), values(v.as_tensor())));
    held.model().variables().iter().map(of).chain(momentum).collect()
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

fn acdc() -> Strategy {
    Strategy::Acdc(AcdcConfig { warmup_steps: 1, phase_steps: 1, last_from: 4, resume_step: 0 })
}

#[test]
fn moving_masks_are_refused_by_name() {
    if !available() {
        return;
    }
    for (growth, name) in [(Growth::Gradient, "rigl"), (Growth::Random, "set")] {
        let config = DropGrowConfig { growth, period: 2, until: 9, fraction: 0.3, seed: 0, resume_step: 0 };
        let strategy = Strategy::DropGrow(config);
        let mut learner = learner(Some(PrunerConfig { strategy, ..PrunerConfig::new(Mode::Ratio(0.6)) }));
        let refused = learner.move_to(queue(1), 1.0).unwrap_err().to_string();
        assert!(refused.contains(name) && refused.contains("--device cpu"), "{refused}");
    }
}

#[test]
fn a_criterion_that_looks_at_gradients_is_refused_by_name() {
    if !available() {
        return;
    }
    for ranking in [Ranking::Taylor, Ranking::Movement] {
        let mut learner = learner(Some(PrunerConfig { ranking, ..PrunerConfig::new(Mode::Ratio(0.6)) }));
        let refused = learner.move_to(queue(1), 1.0).unwrap_err().to_string();
        assert!(refused.contains("prune.criterion") && refused.contains("--device cpu"), "{refused}");
    }
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
        PrunerConfig { scope: Scope::LayerWise, allocation: Allocation::Erk, ..ratio() },
        PrunerConfig { layers: [("_sep_".to_owned(), 0.7)].into(), strategy: gmp(), ..ratio() },
        PrunerConfig { strategy: gmp(), ..ratio() },
        PrunerConfig { strategy: gmp(), regrow: false, ..ratio() },
        PrunerConfig { regrow: false, ..PrunerConfig::new(Mode::Threshold(0.05)) },
        PrunerConfig { gradient: GradientMode::Dense, exclude: vec!["fc".to_owned()], ..ratio() },
        PrunerConfig { strategy: acdc(), ..ratio() },
        // Ranked on the host.
        PrunerConfig {
            exclude: vec!["^conv1_".to_owned(), "_dw_".to_owned()],
            ..PrunerConfig::new(Mode::Pattern(Pattern { n: 1, m: 2, linear_inputs: 0 }))
        },
        PrunerConfig { block: [2, 1], ..ratio() },
        PrunerConfig { paddle_compat: true, ..ratio() },
    ];
    for config in configs {
        let mut learner = on_the_device(Some(config.clone()), 0.5);
        let mut host = Pruner::new(&learner.state().unwrap().model().var_map(), config.clone()).unwrap();
        for number in 0..if config.strategy == Strategy::Base { 3 } else { 5 } {
            step(&mut learner, number);
            learner.state().unwrap();
            host.step().unwrap();
            assert_eq!(learner.state().unwrap().pruner().masks(), host.masks(), "{config:?}, step {number}");
            assert_eq!(
                learner.state().unwrap().pruner().thresholds(),
                host.thresholds(),
                "{config:?}, step {number}"
            );
            assert_eq!(
                learner.state().unwrap().pruner().threshold(),
                host.threshold(),
                "{config:?}, step {number}"
            );
            assert_eq!(learner.state().unwrap().pruner().state(), host.state(), "{config:?}, step {number}");
        }
        assert!(host.masks().values().any(|mask| mask.pruned() > 0), "{config:?}");
    }
}

#[test]
fn averages_of_the_weights_are_refused_by_name() {
    if !available() {
        return;
    }
    let message = learner(None).with_ema(0.75).unwrap().move_to(queue(1), 1.0).unwrap_err().to_string();
    assert!(message.starts_with("train.ema = 0.75") && message.contains("--device cpu"), "{message}");
}

#[test]
fn losses_counts_and_scores_are_the_hosts() {
    if !available() {
        return;
    }
    for network in [MOBILENET, RESNET, MOBILENET_V2] {
        same_losses_counts_and_scores(network);
    }
}

fn same_losses_counts_and_scores(network: NetworkConfig) {
    let config = PrunerConfig::new(Mode::Ratio(0.5));
    let [mut device, mut host] = [(); 2].map(|()| learner_of(network, Some(config.clone())));
    device.move_to(queue(1), 1.0).unwrap();
    for number in 0..3 {
        step(&mut device, number);
        step(&mut host, number);
        let (found, expected) = (device.results().unwrap(), host.results().unwrap());
        let off = (found.loss - expected.loss).abs() / expected.loss;
        // Rounding grows from step to step.
        let most = if number == 0 { 1e-4 } else { 0.02 };
        assert!(off < most, "{network:?}, step {number}: {found:?} for {expected:?}");
        assert_eq!(found.top5, expected.top5);
    }
    // From here on with the same weights on both sides.
    device.state().unwrap();
    for (name, variable) in host.state().unwrap().model().variables() {
        variable.set(device.state().unwrap().model().variables()[name].as_tensor()).unwrap();
    }
    let state = device.state().unwrap().pruner().state();
    host.state_mut().pruner_mut().restore(state, device.state().unwrap().pruner().masks().clone()).unwrap();
    for number in 0..2 {
        for learner in [&mut device, &mut host] {
            learner.average_statistics(&images(number), &labels(number), number).unwrap();
        }
    }
    let scores = |learner: &mut Learner| learner.scores(&images(9)).unwrap().flatten_all().unwrap();
    let (found, expected) = (scores(&mut device), scores(&mut host));
    let largest = |tensor: &Tensor| tensor.abs().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
    let off = largest(&(&found - &expected).unwrap()) / largest(&expected);
    assert!(off < 1e-3, "{network:?}: scores are off by {off}");
}

#[test]
fn a_run_that_stops_and_goes_on_ends_with_the_same_bytes() {
    if !available() {
        return;
    }
    let config = || Some(PrunerConfig { strategy: gmp(), ..PrunerConfig::new(Mode::Ratio(0.7)) });
    // Zeros are left out from a step on that lies within the run, or never.
    let cases: [(NetworkConfig, f64, &[usize]); 3] =
        [(MOBILENET, 1.0, &[3]), (MOBILENET, 0.5, &[1, 2, 4]), (RESNET, 0.5, &[3])];
    for (network, sparse_from, stops) in cases {
        let fresh = || {
            let mut learner = learner_of(network, config());
            learner.move_to(queue(1), sparse_from).unwrap();
            learner
        };
        let (mut whole, mut stopped) = (fresh(), fresh());
        (0..5).for_each(|number| step(&mut whole, number));
        whole.state().unwrap();
        for number in 0..5 {
            if stops.contains(&number) {
                stopped.state().unwrap();
                stopped = anew(&mut stopped, learner_of(network, config()));
                stopped.move_to(queue(0), sparse_from).unwrap();
            }
            step(&mut stopped, number);
        }
        stopped.state().unwrap();
        assert!(weights(&mut whole) == weights(&mut stopped), "{network:?} {sparse_from}");
        assert_eq!(whole.state().unwrap().pruner().masks(), stopped.state().unwrap().pruner().masks());
        assert_eq!(whole.state().unwrap().pruner().state(), stopped.state().unwrap().pruner().state());
    }
}

/// A fresh learner with the state of another.
fn anew(from: &mut Learner, mut fresh: Learner) -> Learner {
    for (name, variable) in fresh.state_mut().model().variables() {
        variable.set(from.state().unwrap().model().variables()[name].as_tensor()).unwrap();
    }
    for (name, velocity) in fresh.state_mut().optimizer().velocities() {
        velocity.set(from.state().unwrap().optimizer().velocities()[name].as_tensor()).unwrap();
    }
    fresh
        .state_mut()
        .pruner_mut()
        .restore(from.state().unwrap().pruner().state(), from.state().unwrap().pruner().masks().clone())
        .unwrap();
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
    learner.state().unwrap();
    assert!(learner.state().unwrap().check_finite().is_err());
}

/// Euclidean length of a difference, as a share of the second. What a branch that lets nothing through has is nothing on both sides.
fn relative_distance(a: &[f32], b: &[f32]) -> f32 {
    if a == b {
        return 0.0;
    }
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
        learner.state().unwrap();
    }
    let (found, expected) = (weights(&mut sparse), weights(&mut dense));
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
    learner.state().unwrap();
    learner.state().unwrap().enforce().unwrap();
    let expected = learner.state().unwrap().model().forward(&images(9), sparse_model::Mode::Eval).unwrap();
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
        assert!(learner.state().err().unwrap().to_string().contains("NaN"), "{mode:?}");
    }
}

/// The batch of a step, of which a rank takes its part.
fn part(step: usize, rank: usize, ranks: usize) -> (Tensor, Vec<u32>) {
    let len = BATCH / ranks;
    let images = images(step).narrow(0, rank * len, len).unwrap();
    (images, labels(step)[rank * len..][..len].to_vec())
}

/// What each of several ranks ends with after some steps, and if they are several the averaging of statistics over two batches; `device` is
/// whether they compute on one each.
fn by_ranks(
    network: NetworkConfig,
    (ranks, sync_bn): (usize, bool),
    device: bool,
    steps: usize,
) -> Vec<Trained> {
    let train = |rank: usize,
                 hosts: Box<dyn Communicator + Send>,
                 mut devices: Box<dyn Communicator + Send>| {
        let config = PrunerConfig::new(Mode::Ratio(0.6));
        let mut learner = learner_of(network, Some(config)).with_ranks(Ranks::new(hosts), sync_bn);
        if device {
            let between = Between::new(rank, ranks, move |values| devices.sum(Slice::F32(values)).unwrap());
            learner.move_to_share(queue(rank as u64), 0.5, Box::new(between)).unwrap();
        }
        let mut results = Vec::new();
        for number in 0..steps {
            let (images, labels) = part(number, rank, ranks);
            learner.step(&images, &labels, RATE).unwrap();
            results.push(learner.results().unwrap());
        }
        for number in 0..if steps > 1 { 2 } else { 0 } {
            let (images, labels) = part(number, rank, ranks);
            learner.average_statistics(&images, &labels, number).unwrap();
        }
        learner.state().unwrap();
        let masks = learner.state().unwrap().pruner().masks().clone();
        (results, weights(&mut learner), masks)
    };
    std::thread::scope(|scope| {
        let groups = threads(ranks).into_iter().zip(threads(ranks)).enumerate();
        let started: Vec<_> =
            groups.map(|(rank, (hosts, devices))| scope.spawn(move || train(rank, hosts, devices))).collect();
        started.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn ranks_with_a_device_each_have_the_same_bytes_and_learn_as_ranks_on_hosts() {
    if !available() {
        return;
    }
    for (ranks, sync_bn) in [(2, false), (3, true)] {
        let what = format!("{ranks} ranks, sync_bn {sync_bn}");
        let device = by_ranks(MOBILENET, (ranks, sync_bn), true, 2);
        assert!(device[0].2.values().any(|mask| mask.pruned() > 0), "{what}");
        for rank in &device[1..] {
            assert_eq!(rank, &device[0], "{what}");
        }
        // Before an update, after which rounding has grown.
        let [device, host] =
            [true, false].map(|device| by_ranks(MOBILENET, (ranks, sync_bn), device, 1).swap_remove(0));
        let off = (device.0[0].loss - host.0[0].loss).abs() / host.0[0].loss;
        assert!(off < 1e-4 && device.0[0].top5 == host.0[0].top5, "{what}: {:?} for {:?}", device.0, host.0);
        for (name, expected) in host.1.iter().filter(|(name, _)| name.ends_with("_bn_variance")) {
            let off = relative_distance(&device.1[name], expected);
            assert!(off < 1e-3, "{what}: {name} is off by {off}");
        }
    }
}

#[test]
fn with_synchronised_batch_norm_any_number_of_devices_is_one() {
    if !available() {
        return;
    }
    for (network, ranks) in [(MOBILENET, 2), (MOBILENET, 3), (RESNET, 2)] {
        let (one, state, _) = &by_ranks(network, (1, false), true, 1)[0];
        let all = by_ranks(network, (ranks, true), true, 1);
        assert!(all.iter().all(|rank| *rank == all[0]), "{network:?} {ranks}");
        let (found, shared, _) = &all[0];
        let off = (found[0].loss - one[0].loss).abs() / one[0].loss;
        assert!(
            off < 1e-4 && found[0].top5 == one[0].top5,
            "{network:?}, {ranks} ranks: {found:?} for {one:?}"
        );
        for (name, expected) in state {
            let off = relative_distance(&shared[name], expected);
            // The batch norm that follows takes most of a scale's gradient away.
            let most = if name.ends_with("_bn_scale") { 0.1 } else { 1e-3 };
            assert!(off < most, "{network:?}, {ranks} ranks: {name} is off by {off}");
        }
    }
}
