//! `--criterion obs`: when masks are updated in training, weights are chosen by what layers read, and solved for.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::data::TRAIN_IMAGES;
use common::weights::{Weights, pointwise, prunable, pruned_of};
use common::{Bench, fail, number, succeed};
use serde_json::Value;

const INNER: &str = "--prune_params_type conv1x1_only";
const GMP: &str =
    "--pruning_strategy gmp --stable_epochs 0 --pruning_epochs 2 --tunning_epochs 0 --pruning_steps 5";

/// The prunable weights of a checkpoint, by name.
fn saved(bench: &Bench, run: &str, step: usize) -> Vec<(String, Vec<f32>)> {
    let path = bench.path(run).join(format!("checkpoints/step-{step:08}/weights.safetensors"));
    let tensors = Weights::read(&path).tensors.into_iter();
    tensors
        .filter(|(name, (shape, _))| prunable(name, shape))
        .map(|(name, (_, values))| (name, values))
        .collect()
}

#[test]
fn a_pruned_network_still_does_what_the_dense_one_does() {
    let bench = Bench::new();
    bench.train("--pruning_mode none --num_epochs 6 --bn_recal 10 --model_path dense");
    let dense = number(&bench.json("dense/summary.json"), "/top1");
    // One step that moves nothing: what is tested is the network right after the update.
    let once = format!(
        "--pretrained_model dense --batch_size {TRAIN_IMAGES} --num_epochs 1 --lr 1e-30 --ratio 0.85 {INNER}"
    );
    let after = |criterion: &str| {
        bench.train(&format!("{once} --criterion {criterion} --model_path {criterion}"));
        let (zeros, total) = bench.weights(criterion).zeros(pointwise);
        assert_eq!(zeros, pruned_of(0.85, total), "{criterion}");
        let summary = bench.json(&format!("{criterion}/summary.json"));
        (number(&summary, "/top1"), number(&summary, "/loss"))
    };
    let (magnitude, obs) = (after("magnitude"), after("obs"));
    assert!(obs.0 > magnitude.0 + 0.2 && obs.1 < magnitude.1, "{obs:?} {magnitude:?}");
    assert!(obs.0 > dense - 0.2, "{obs:?} of {dense}");
}

/// By the statistics of a batch, as training computes it.
#[test]
fn training_goes_on_from_the_network_that_was_solved() {
    let bench = Bench::new();
    bench.train("--pruning_mode none --num_epochs 6 --bn_recal 10 --model_path dense");
    bench.train(&format!(
        "--pretrained_model dense --batch_size {TRAIN_IMAGES} --num_epochs 4 --lr 1e-30 --criterion obs --ratio 0.85 --local_sparsity True {INNER} \
         --pruning_strategy gmp --stable_epochs 1 --pruning_epochs 1 --tunning_epochs 2 --pruning_steps 1"
    ));
    let metrics = String::from_utf8(bench.bytes("run/metrics.jsonl")).unwrap();
    let lines = metrics.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let losses: Vec<f64> =
        lines.filter(|line| line.get("lr").is_some()).map(|line| number(&line, "/loss")).collect();
    // The masks are updated at the second step.
    assert!(losses[3] < losses[0] + 0.05, "{losses:?}");
}

#[test]
fn each_layer_keeps_what_is_asked_of_it() {
    let bench = Bench::new();
    let by_name = "--set prune.layers={\"^conv5_.*_sep\"=0.8,\"^fc\"=0.3}";
    bench.train(&format!("--criterion obs --ratio 0.6 --local_sparsity True {by_name} {GMP}"));
    let weights = bench.weights("run");
    for (name, (shape, values)) in &weights.tensors {
        if prunable(name, shape) {
            let ratio = match name.as_str() {
                "fc7_weights" => 0.3,
                name if name.starts_with("conv5_") && name.contains("_sep") => 0.8,
                _ => 0.6,
            };
            let zeros = values.iter().filter(|value| **value == 0.0).count();
            // What reads a channel that never changes is solved to zero.
            let wanted = pruned_of(ratio, values.len());
            assert!(zeros >= wanted && zeros <= wanted + values.len() / 10, "{name}: {zeros}, not {wanted}");
        }
    }
    bench.train(&format!(
        "--criterion obs --pruning_mode pattern --pattern 1:4 {INNER} {GMP} --model_path groups"
    ));
    for (name, (shape, values)) in &bench.weights("groups").tensors {
        let sparse = |group: &[f32]| group.iter().filter(|weight| **weight == 0.0).count() >= 3;
        assert!(!pointwise(name, shape) || values.chunks(4).all(sparse), "{name}");
    }
    bench.train(&format!("--criterion obs --ratio 0.5 --sparse_block 2 1 {INNER} --model_path blocks"));
    for (name, (shape, values)) in &bench.weights("blocks").tensors {
        if pointwise(name, shape) {
            let rows: Vec<&[f32]> = values.chunks(shape[1]).collect();
            let together =
                |pair: &[&[f32]]| (0..shape[1]).all(|at| (pair[0][at] == 0.0) == (pair[1][at] == 0.0));
            assert!(rows.chunks(2).all(together), "{name}");
        }
    }
}

#[test]
fn masks_are_chosen_once_and_what_is_pruned_comes_back_only_if_it_may() {
    let bench = Bench::new();
    let saves = "--set checkpoint.every_steps=1 --set checkpoint.keep=1000";
    bench.train(&format!("--criterion obs --ratio 0.7 {INNER} {saves} --model_path once"));
    let zeros = |run: &str, step: usize| {
        let values = saved(&bench, run, step).into_iter().flat_map(|(_, values)| values);
        values.map(|value| value == 0.0).collect::<Vec<bool>>()
    };
    let first = zeros("once", 1);
    assert!(first.contains(&true) && (2..=20).all(|step| zeros("once", step) == first));
    for (regrow, run) in [(false, "held"), (true, "free")] {
        bench.train(&format!(
            "--criterion obs --ratio 0.7 --initial_ratio 0.3 --set prune.regrow={regrow} {INNER} {GMP} {saves} --model_path {run}"
        ));
        let steps: Vec<Vec<bool>> = (1..=20).map(|step| zeros(run, step)).collect();
        let back =
            |pair: &[Vec<bool>]| pair[0].iter().zip(&pair[1]).any(|(before, after)| *before && !*after);
        assert_eq!(steps.windows(2).any(back), regrow, "{run}");
        let (zeros, total) = bench.weights(run).zeros(pointwise);
        assert_eq!(zeros, pruned_of(0.7, total), "{run}");
    }
}

#[test]
fn images_that_are_few_are_told_once() {
    let bench = Bench::new();
    let flags = format!("--criterion obs --ratio 0.7 --obs_images 2000 {INNER} {GMP}");
    let ended = bench.train(&flags);
    ended.says(&["there are 640 images to look at, and not 2000 (prune.obs_images)"]);
    let ended = bench.train(&format!("{flags} --obs_images 8"));
    let few = "damping (0.01) decides where they say nothing; more images (--obs_images) say more";
    assert_eq!(ended.stderr.matches(few).count(), 1, "{}", ended.stderr);
}

#[test]
fn what_does_not_go_with_it_is_refused_by_name() {
    let bench = Bench::new();
    let refused = |flags: &str, parts: &[&str]| {
        fail(bench.small(&format!("--criterion obs {flags}")), 2, parts);
        assert!(!bench.path("run").exists(), "{flags}");
    };
    let criterion = "prune.criterion = \"obs\"";
    refused("--pruning_mode threshold", &[criterion, "threshold", "--ratio 0.9"]);
    refused("--pruning_strategy acdc", &[criterion, "AC/DC", "--pruning_strategy gmp"]);
    refused("--set prune.paddle_compat=true", &[criterion, "prune.paddle_compat"]);
    for strategy in ["rigl", "set"] {
        let parts = ["prune.pruning_strategy", strategy, "another criterion than the magnitude"];
        refused(&format!("--pruning_strategy {strategy}"), &parts);
    }
    refused("--obs_images 0", &["prune.obs_images"]);
    // Without the criterion the number of images has no effect.
    succeed(bench.small("--num_epochs 1 --obs_images 9")).says(&["prune.obs_images = 9", "no effect"]);
}
