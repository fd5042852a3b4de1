//! Every way to prune and to train, for a few steps each: the sparsity asked for is the sparsity in the file.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::weights::{Weights, any, pointwise, prunable, pruned_of};
use common::{Bench, STEPS_PER_EPOCH, number, same_fraction, succeed};
use serde_json::Value;

/// Trains with the flags and checks that summary, test and file agree on the sparsity.
#[track_caller]
fn trained(flags: &str) -> (Bench, Weights) {
    let bench = Bench::new();
    bench.train(flags);
    let weights = bench.weights("run");
    let summary = bench.json("run/summary.json");
    same_fraction(number(&summary, "/sparsity/all_parameters"), weights.sparsity(any));
    same_fraction(number(&summary, "/sparsity/prunable"), weights.sparsity(prunable));
    same_fraction(number(&summary, "/sparsity/pointwise"), weights.sparsity(pointwise));
    (bench, weights)
}

#[track_caller]
fn has_ratio(weights: &Weights, ratio: f64, counted: impl Fn(&str, &[usize]) -> bool) {
    let (zeros, total) = weights.zeros(counted);
    assert_eq!(zeros, pruned_of(ratio, total), "of {total}");
}

/// The log records of a run, in order.
fn logs(bench: &Bench) -> Vec<Value> {
    bench.metrics("run").into_iter().filter(|record| record.get("lr").is_some()).collect()
}

fn of_each(records: &[Value], pointer: &str) -> Vec<f64> {
    records.iter().map(|record| number(record, pointer)).collect()
}

#[test]
fn a_global_ratio_is_exact() {
    for ratio in [0.0, 0.123_456, 0.9] {
        let (_, weights) = trained(&format!("--num_epochs 1 --ratio {ratio}"));
        has_ratio(&weights, ratio, prunable);
    }
}

#[test]
fn a_layer_wise_ratio_is_exact_in_every_layer() {
    let (_, weights) = trained("--num_epochs 1 --ratio 0.3 --local_sparsity True");
    for (name, (shape, _)) in &weights.tensors {
        if prunable(name, shape) {
            has_ratio(&weights, 0.3, |other, _| other == name);
        }
    }
}

#[test]
fn pruning_of_1x1_convolutions_leaves_the_rest() {
    let (bench, weights) = trained("--num_epochs 1 --ratio 0.75 --prune_params_type conv1x1_only");
    has_ratio(&weights, 0.75, pointwise);
    assert_eq!(weights.zeros(|name, shape| prunable(name, shape) && !pointwise(name, shape)).0, 0);
    succeed(bench.small("--phase test"));
    let (test, summary) = (bench.json("run/test.json"), bench.json("run/summary.json"));
    assert_eq!(test["sparsity"], summary["sparsity"]);
    let inspection = succeed(bench.bare("inspect run --json")).stdout;
    assert_eq!(serde_json::from_str::<Value>(&inspection).unwrap()["sparsity"], summary["sparsity"]);
}

#[test]
fn include_and_exclude_choose_by_name() {
    let patterns = "--set prune.include=[\"_sep_weights$\",\"fc7\"] --set prune.exclude=[\"^conv5_\"]";
    let (_, weights) = trained(&format!("--num_epochs 1 --ratio 0.6 {patterns}"));
    let chosen = |name: &str, _: &[usize]| {
        (name.ends_with("_sep_weights") || name == "fc7_weights") && !name.starts_with("conv5_")
    };
    has_ratio(&weights, 0.6, chosen);
    assert_eq!(weights.zeros(|name, shape| prunable(name, shape) && !chosen(name, shape)).0, 0);
}

/// Whether each group of `members` consecutive rows is zero together in a tensor [rows, columns].
fn rows_go_together(weights: &Weights, members: usize) -> bool {
    let pointwise = weights.tensors.iter().filter(|(name, (shape, _))| pointwise(name, shape));
    pointwise.into_iter().all(|(_, (shape, values))| {
        let rows: Vec<&[f32]> = values.chunks(shape[1]).collect();
        rows.chunks(members).all(|group| {
            (0..shape[1]).all(|column| {
                let zeros = group.iter().filter(|row| row[column] == 0.0).count();
                zeros == 0 || zeros == group.len()
            })
        })
    })
}

#[test]
fn blocks_go_together() {
    let (_, weights) =
        trained("--num_epochs 1 --ratio 0.5 --sparse_block 2 1 --prune_params_type conv1x1_only");
    assert!(rows_go_together(&weights, 2));
    assert!(!rows_go_together(&weights, 4));
    let (zeros, total) = weights.zeros(pointwise);
    assert!(zeros.abs_diff(pruned_of(0.5, total)) < 2, "{zeros} of {total}");
}

#[test]
fn a_pattern_holds_in_every_group_of_inputs() {
    let (bench, weights) = trained(
        "--num_epochs 1 --pruning_mode pattern --set prune.include=[\"_sep_weights$\",\"^fc7_weights$\"]",
    );
    let at_most_half = |group: &[f32]| group.iter().filter(|weight| **weight == 0.0).count() >= 2;
    for (name, (shape, values)) in &weights.tensors {
        if pointwise(name, shape) {
            assert!(values.chunks(4).all(at_most_half), "{name}");
        } else if name == "fc7_weights" {
            // [in, classes]
            for class in 0..shape[1] {
                let inputs: Vec<f32> = values.iter().skip(class).step_by(shape[1]).copied().collect();
                assert!(inputs.chunks(4).all(at_most_half), "{class}");
            }
        }
    }
    has_ratio(&weights, 0.5, |name, shape| pointwise(name, shape) || name == "fc7_weights");
    assert!(bench.json("run/summary.json")["threshold"].is_null());
    let stem = bench.small("--pruning_mode pattern");
    common::fail(stem, 2, &["1 inputs of `conv1_weights`", "conv1x1_only", "prune.exclude"]);
    common::fail(
        bench.small("--pruning_mode pattern --pattern 4:4"),
        2,
        &["prune.pattern = \"4:4\"", "n of m kept"],
    );
}

#[test]
fn layers_named_in_a_file_have_ratios_of_their_own() {
    let bench = Bench::new();
    std::fs::write(bench.path("a.toml"), "[prune.layers]\n\"^conv5_.*_sep\" = 0.9\n\"^fc\" = 0.25\n")
        .unwrap();
    bench.train("--config a.toml --num_epochs 1 --local_sparsity True");
    let weights = bench.weights("run");
    for (name, (shape, _)) in &weights.tensors {
        if prunable(name, shape) {
            let ratio = match name.as_str() {
                "fc7_weights" => 0.25,
                name if name.starts_with("conv5_") && name.contains("_sep") => 0.9,
                _ => 0.5,
            };
            has_ratio(&weights, ratio, |other, _| other == name);
        }
    }
    // The run's own config reads back.
    bench.train("--config run/config.toml --num_epochs 1 --model_path again");
    assert!(bench.bytes("again/weights.safetensors") == bench.bytes("run/weights.safetensors"));
    std::fs::write(bench.path("b.toml"), "[prune.layers]\nconv9 = 0.9\n").unwrap();
    common::fail(bench.small("--config b.toml"), 2, &["`conv9`", "matches no variable that is pruned"]);
}

#[test]
fn gmp_ends_at_the_target_after_its_ramp() {
    let phases =
        "--pruning_strategy gmp --stable_epochs 1 --pruning_epochs 2 --tunning_epochs 1 --pruning_steps 5";
    let (bench, weights) = trained(&format!("--num_epochs 4 --ratio 0.75 --initial_ratio 0.2 {phases}"));
    has_ratio(&weights, 0.75, prunable);
    let ramp = of_each(&logs(&bench), "/sparsity/prunable");
    assert_eq!(ramp.len(), 4 * STEPS_PER_EPOCH);
    assert!(ramp[..STEPS_PER_EPOCH - 1].iter().all(|sparsity| *sparsity == 0.0), "{ramp:?}");
    assert!(ramp.is_sorted(), "{ramp:?}");
    assert!(ramp.iter().any(|sparsity| (*sparsity - 0.2).abs() < 1e-4), "{ramp:?}");
    let at_target = ramp[3 * STEPS_PER_EPOCH - 1..].iter().all(|sparsity| (*sparsity - 0.75).abs() < 1e-4);
    assert!(at_target && ramp[2 * STEPS_PER_EPOCH] < 0.75, "{ramp:?}");
}

#[test]
fn without_regrowth_a_pruned_weight_stays_pruned() {
    let bench = Bench::new();
    let zeros = |run: &str, step: usize| {
        let path = bench.path(run).join(format!("checkpoints/step-{step:08}/weights.safetensors"));
        let weights = Weights::read(&path);
        let values = weights.tensors.into_iter().filter(|(name, (shape, _))| prunable(name, shape));
        values
            .flat_map(|(_, (_, values))| values.into_iter().map(|value| value == 0.0))
            .collect::<Vec<bool>>()
    };
    for (regrow, run) in [(false, "held"), (true, "free")] {
        bench.train(&format!("--set prune.regrow={regrow} --model_path {run}"));
        has_ratio(&bench.weights(run), 0.5, prunable);
        let (early, late) = (zeros(run, STEPS_PER_EPOCH), zeros(run, 2 * STEPS_PER_EPOCH));
        let returned = early.iter().zip(&late).filter(|(before, after)| **before && !**after).count();
        assert_eq!(returned == 0, !regrow, "{returned} of {} weights came back", early.len());
    }
}

#[test]
fn dense_gradients_train_another_network_of_the_same_sparsity() {
    let bench = Bench::new();
    bench.train("--model_path masked");
    bench.train("--set prune.gradient=\"dense\"");
    has_ratio(&bench.weights("run"), 0.5, prunable);
    assert!(bench.bytes("run/weights.safetensors") != bench.bytes("masked/weights.safetensors"));
}

#[test]
fn no_pruning_leaves_no_zeros() {
    let (bench, weights) = trained("--num_epochs 1 --pruning_mode none");
    assert_eq!(weights.zeros(prunable).0, 0);
    assert!(bench.json("run/summary.json")["threshold"].is_null());
    assert!(logs(&bench)[0]["threshold"].is_null());
}

#[test]
fn paddles_formula_prunes_one_weight_fewer() {
    let (_, weights) = trained("--num_epochs 1 --ratio 0.5 --set prune.paddle_compat=true");
    let (zeros, total) = weights.zeros(prunable);
    assert_eq!(zeros, total / 2 - 1, "of {total}");
}

#[test]
fn warm_up_and_cosine_decay_set_the_rate() {
    let (bench, _) = trained("--lr 0.1 --lr_strategy cosine_decay --set train.warmup_epochs=0.5");
    let rates = of_each(&logs(&bench), "/lr");
    let cosine = |step: usize| 0.05 * (1.0 + (std::f64::consts::PI * step as f64 / 20.0).cos());
    for (step, rate) in rates.iter().enumerate() {
        let expected = cosine(step) * if step < 5 { (step + 1) as f64 / 5.0 } else { 1.0 };
        assert!((rate - expected).abs() < 1e-12, "step {step}: {rate}, not {expected}");
    }
}

#[test]
fn piecewise_decay_falls_at_its_epochs() {
    let (bench, _) = trained("--num_epochs 3 --lr 0.1 --step_epochs 1 2");
    for (step, rate) in of_each(&logs(&bench), "/lr").iter().enumerate() {
        let expected = 0.1 * 0.1_f64.powi((step / STEPS_PER_EPOCH) as i32);
        assert!((rate - expected).abs() < 1e-12, "step {step}: {rate}, not {expected}");
    }
}

/// Losses of the first two steps.
fn first_losses(bench: &Bench, flags: &str) -> [f64; 2] {
    bench.train(&format!("--num_epochs 1 --pruning_mode none {flags}"));
    let losses = of_each(&logs(bench), "/loss");
    [losses[0], losses[1]]
}

#[test]
fn label_smoothing_decay_and_clipping_take_part() {
    let bench = Bench::new();
    let plain = first_losses(&bench, "");
    let smoothed = first_losses(&bench, "--set train.label_smoothing=0.2");
    assert!(smoothed[0] != plain[0]);
    for flags in ["--set train.clip_norm=0.01", "--l2_decay 0.5", "--lr 0.5"] {
        let changed = first_losses(&bench, flags);
        assert_eq!(changed[0], plain[0], "{flags}");
        assert!(changed[1] != plain[1], "{flags}");
    }
    let steps = |flags: &str| {
        bench.train(&format!("--num_epochs 1 --pruning_mode none --l2_decay 0 --momentum_rate 0 {flags}"));
        let trained = bench.weights("run");
        let weights = trained.tensors.values().filter(|(shape, _)| prunable("", shape)).flat_map(|(_, v)| v);
        weights.map(|value| f64::from(*value)).collect::<Vec<f64>>()
    };
    let (start, end) = (steps("--lr 1e-30"), steps("--lr 1 --set train.clip_norm=0.001"));
    let moved = start.iter().zip(&end).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
    let longest = 0.001 * STEPS_PER_EPOCH as f64;
    assert!(moved > 0.1 * longest && moved <= 1.01 * longest, "{moved}");
}

#[test]
fn the_order_of_the_files_is_kept_on_demand() {
    let bench = Bench::new();
    bench.train("--ce_test True --seed 1");
    let rows = logs(&bench);
    bench.train("--ce_test False --seed 1");
    assert_eq!(of_each(&rows, "/step"), of_each(&logs(&bench), "/step"));
    assert!(of_each(&rows, "/loss") != of_each(&logs(&bench), "/loss"));
}

#[test]
fn normalisation_can_be_set() {
    let bench = Bench::new();
    bench.train("--num_epochs 1 --model_path plain");
    bench.train("--num_epochs 1 --set data.mean=[33.3] --set data.std=78.6");
    assert!(bench.bytes("run/weights.safetensors") != bench.bytes("plain/weights.safetensors"));
    assert!(String::from_utf8(bench.bytes("run/config.toml")).unwrap().contains("mean = [33.3]"));
}

#[test]
fn a_run_in_bf16_learns_prunes_and_is_tested() {
    let flags = "--num_epochs 4 --batch_size 16 --lr 0.02 --ratio 0.75 --prune_params_type conv1x1_only --log_period 20";
    let (bench, weights) = trained(&format!("{flags} --precision bf16"));
    has_ratio(&weights, 0.75, pointwise);
    let losses = of_each(&logs(&bench), "/loss");
    assert!(losses[losses.len() - 1] < 0.5 * losses[0], "{losses:?}");
    let summary = bench.json("run/summary.json");
    assert!(number(&summary, "/top1") > 0.8, "{summary}");
    // The file is tested as the run tested itself, and says how it came to be.
    succeed(bench.small("--phase test"));
    let test = bench.json("run/test.json");
    for field in ["top1", "top5", "loss", "sparsity"] {
        assert_eq!(test[field], summary[field], "{field}");
    }
    assert!(weights.metadata["sparse_train"].contains("\"train.precision\":\"bf16\""));
    bench.train(&format!("{flags} --model_path full"));
    let full = bench.json("full/summary.json");
    assert!((number(&full, "/top1") - number(&summary, "/top1")).abs() < 0.2, "{full} {summary}");
    assert!(bench.bytes("full/weights.safetensors") != bench.bytes("run/weights.safetensors"));
}
