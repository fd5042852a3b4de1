//! A learner put together from the state of another goes on as that one does, at every step of a run: nothing that decides bits
//! lies elsewhere than in what a checkpoint holds.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use candle_core::{DType, Device, Tensor, Var};
use sparse_model::{Model, NetworkConfig, Precision};
use sparse_ops::SgdConfig;
use sparse_prune::{
    AcdcConfig, DropGrowConfig, GmpConfig, GradientMode, Growth, Mode, ParamsType, Pattern, PrunerConfig,
    Ranking, Scope, Strategy,
};
use sparse_trainer::{Learner, LearnerConfig, State};
use std::collections::BTreeMap;

const STEPS: usize = 24;
const BATCH: usize = 4;

/// A learner at step 0.
fn learner(precision: Precision, clip_norm: Option<f64>, pruner: Option<PrunerConfig>) -> Learner {
    let model = Model::new(NetworkConfig::mobilenet(0.125, 1, 10), 3, DType::F32, &Device::Cpu).unwrap();
    let sgd = SgdConfig { momentum: 0.9, l2_decay: 1e-4, clip_norm };
    Learner::new(model, LearnerConfig { sgd, label_smoothing: 0.1, precision, pruner }).unwrap()
}

/// One update on images and labels that follow from `step`.
fn update(learner: &mut Learner, step: usize) {
    let pixel = |i: usize| ((i * 7919 + step * 104_729) % 2017) as f32 / 1008.5 - 1.0;
    let images: Vec<f32> = (0..BATCH * 256).map(pixel).collect();
    let images = Tensor::from_vec(images, (BATCH, 1, 16, 16), &Device::Cpu).unwrap();
    let labels: Vec<u32> = (0..BATCH as u32).map(|image| (image * 3 + step as u32) % 10).collect();
    learner.step(&images, &labels, 0.02).unwrap();
}

/// Puts the state of a learner into a fresh one, by copies of what a checkpoint holds.
fn restore(from: &State, fresh: &mut State) {
    from.enforce().unwrap();
    let copy = |from: &BTreeMap<String, Var>, into: &BTreeMap<String, Var>| {
        for (name, variable) in into {
            variable.set(&from[name].as_tensor().copy().unwrap()).unwrap();
        }
    };
    copy(from.model().variables(), fresh.model().variables());
    copy(from.optimizer().velocities(), fresh.optimizer().velocities());
    let state = from.pruner().state();
    fresh.pruner_mut().restore(state, from.pruner().masks().clone()).unwrap();
    fresh.pruner_mut().restore_sums(from.pruner().sums().clone()).unwrap();
}

/// The bits of everything that a checkpoint holds, by name.
fn state(held: &State) -> BTreeMap<String, Vec<u64>> {
    held.enforce().unwrap();
    let bits = |variable: &Var| {
        let values: Vec<f32> = variable.flatten_all().unwrap().to_vec1().unwrap();
        values.into_iter().map(|value| u64::from(value.to_bits())).collect()
    };
    let weights = held.model().variables().iter().map(|(name, variable)| (name.clone(), bits(variable)));
    let velocities = held.optimizer().velocities().iter();
    let velocities = velocities.map(|(name, variable)| (format!("velocity of {name}"), bits(variable)));
    let masks = held.pruner().masks().iter();
    let masks = masks.map(|(name, mask)| (format!("mask of {name}"), mask.words().to_vec()));
    let bits_of = |sums: &Vec<f64>| sums.iter().map(|sum| sum.to_bits()).collect();
    let sums = held.pruner().sums().iter().map(|(name, sums)| (format!("sums of {name}"), bits_of(sums)));
    weights.chain(velocities).chain(masks).chain(sums).collect()
}

/// Settings of a pruner whose masks wander through the densities at which products are computed otherwise.
fn pruners() -> Vec<(&'static str, PrunerConfig)> {
    let ratio = |ratio| PrunerConfig::new(Mode::Ratio(ratio));
    let gmp = |pruning_steps, updates| {
        let (stable_steps, tunning_steps, initial_ratio, resume_step) = (0, 0, 0.2, 0);
        let config =
            GmpConfig { stable_steps, pruning_steps, tunning_steps, updates, initial_ratio, resume_step };
        Strategy::Gmp(config)
    };
    let by_layer = |share| PrunerConfig { scope: Scope::LayerWise, ..ratio(share) };
    let inner = |share| PrunerConfig { params_type: ParamsType::Conv1x1Only, ..by_layer(share) };
    let grow =
        |growth| DropGrowConfig { growth, period: 3, until: 18, fraction: 0.4, seed: 1, resume_step: 0 };
    let acdc = AcdcConfig { warmup_steps: 2, phase_steps: 4, last_from: 18, resume_step: 0 };
    let two_of_four = Pattern { n: 2, m: 4, linear_inputs: 0 };
    vec![
        ("ratio 0.2", ratio(0.2)),
        ("ratio 0.55", ratio(0.55)),
        ("ratio 0.55 layer by layer", by_layer(0.55)),
        ("ratio 0.75", ratio(0.75)),
        ("threshold", PrunerConfig::new(Mode::Threshold(0.12))),
        ("gmp", PrunerConfig { strategy: gmp(STEPS as u64, STEPS as u64), ..ratio(0.95) }),
        ("gmp of paddle", PrunerConfig { strategy: gmp(22, 2), paddle_compat: true, ..ratio(0.75) }),
        ("blocks", PrunerConfig { block: [2, 1], ..ratio(0.55) }),
        ("held", PrunerConfig { regrow: false, ..ratio(0.55) }),
        ("held gmp", PrunerConfig { regrow: false, strategy: gmp(24, 20), ..ratio(0.8) }),
        ("dense gradients", PrunerConfig { gradient: GradientMode::Dense, ..ratio(0.55) }),
        ("dense gradients, ratio 0.75", PrunerConfig { gradient: GradientMode::Dense, ..ratio(0.75) }),
        ("rigl", PrunerConfig { strategy: Strategy::DropGrow(grow(Growth::Gradient)), ..inner(0.6) }),
        ("set", PrunerConfig { strategy: Strategy::DropGrow(grow(Growth::Random)), ..inner(0.5) }),
        ("acdc", PrunerConfig { strategy: Strategy::Acdc(acdc), ..inner(0.6) }),
        ("pattern", PrunerConfig { mode: Mode::Pattern(two_of_four), ..inner(0.5) }),
        ("taylor", PrunerConfig { ranking: Ranking::Taylor, strategy: gmp(24, 8), ..inner(0.6) }),
        ("movement", PrunerConfig { ranking: Ranking::Movement, strategy: gmp(24, 8), ..inner(0.4) }),
    ]
}

#[test]
fn a_learner_from_any_state_does_the_next_step_to_the_same_bits() {
    let pruners = pruners().into_iter().map(|(name, config)| (name, Some(config)));
    for (number, (name, pruner)) in [("dense", None)].into_iter().chain(pruners).enumerate() {
        for precision in [Precision::Full, Precision::Bf16] {
            // Where large weights are pruned, or come back, all would grow out of bounds.
            let harsh = pruner.as_ref().is_some_and(|config| {
                let moves = !matches!(config.strategy, Strategy::Base | Strategy::Gmp(_));
                moves || config.ranking != Ranking::Magnitude
            });
            let clip_norm = (number % 3 == 0 || harsh).then_some(0.5);
            let new = || learner(precision, clip_norm, pruner.clone());
            let mut through = new();
            for step in 0..STEPS {
                let mut resumed = new();
                restore(through.state().unwrap(), resumed.state_mut());
                update(&mut through, step);
                update(&mut resumed, step);
                let (expected, got) = (state(through.state().unwrap()), state(resumed.state().unwrap()));
                for (what, bits) in expected {
                    assert!(got[&what] == bits, "{what} after step {} of {name}, {precision:?}", step + 1);
                }
                assert_eq!(
                    through.state().unwrap().pruner().state(),
                    resumed.state().unwrap().pruner().state(),
                    "step {step} of {name}"
                );
            }
        }
    }
}
