//! Averages of the weights that a run keeps beside them, on the real binary.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::weights::{Weights, prunable};
use common::{Bench, fail, number, succeed};

/// The averages that plain arithmetic makes of the weights after each step; the first are those of the run itself.
fn by_hand(bench: &Bench, steps: usize, decay: f64) -> Weights {
    let of = |step: usize, name: &str| {
        Weights::read(&bench.path(&format!("run/checkpoints/step-{step:08}/{name}.safetensors")))
    };
    let mut averages = of(1, "ema");
    for step in 2..=steps {
        let updates = (step - 1) as f64;
        let share = (1.0 - decay.min((1.0 + updates) / (10.0 + updates))) as f32;
        for (name, (shape, weights)) in of(step, "weights").tensors {
            let is_pruned = |weight: f32| prunable(&name, &shape) && weight == 0.0;
            let averages = &mut averages.tensors.get_mut(&name).unwrap().1;
            for (average, weight) in averages.iter_mut().zip(weights) {
                *average = if is_pruned(weight) { 0.0 } else { *average + (weight - *average) * share };
            }
        }
    }
    averages
}

fn bits(weights: &Weights) -> Vec<u32> {
    weights.tensors.values().flat_map(|(_, values)| values).map(|value| value.to_bits()).collect()
}

#[test]
fn averages_are_those_of_plain_arithmetic_and_leave_the_weights_alone() {
    let bench = Bench::new();
    bench.train("--model_path without");
    let flags = "--ema 0.6 --set checkpoint.every_steps=1 --set checkpoint.keep=100";
    bench.train(flags).says(&["averaged weights (EMA): top1: "]);
    let (weights, averages) =
        (bench.weights("run"), Weights::read(&bench.path("run/weights_ema.safetensors")));
    assert!(bits(&averages) == bits(&by_hand(&bench, 20, 0.6)));
    assert!(bits(&weights) == bits(&bench.weights("without")) && bits(&weights) != bits(&averages));
    // What is pruned now is zero in both.
    for (name, (shape, values)) in weights.tensors.iter().filter(|(name, (shape, _))| prunable(name, shape)) {
        let zeros = |values: &[f32]| values.iter().map(|&value| value == 0.0).collect::<Vec<_>>();
        assert!(zeros(values) == zeros(&averages.tensors[name].1), "{name} {shape:?}");
    }
    let recipe = &averages.metadata["sparse_train"];
    assert!(recipe.contains("\"train.ema\":0.6") && recipe.contains("\"prunable\":0.5"), "{recipe}");
    assert!(!bench.weights("without").metadata["sparse_train"].contains("train.ema"));
}

#[test]
fn both_accuracies_are_named_and_the_file_is_tested_as_the_run_tested_it() {
    let bench = Bench::new();
    bench.train("--num_epochs 4 --batch_size 16 --lr 0.02 --ema 0.9 --bn_recal 3");
    let summary = bench.json("run/summary.json");
    let last = bench.metrics("run").pop().unwrap();
    for field in ["top1", "top5", "loss"] {
        assert_eq!(last["ema"][field], summary["ema"][field], "{field}");
    }
    assert!(summary["ema"]["loss"] != summary["loss"] && number(&summary, "/ema/top1") > 0.8, "{summary}");
    assert_eq!(summary["ema_weights"], "weights_ema.safetensors");
    let test = |weights: &str| {
        succeed(bench.small(&format!("--phase test --pretrained_model {weights}")));
        bench.json("run/test.json")
    };
    let (of_averages, of_weights) = (test("run/weights_ema.safetensors"), test("run"));
    for field in ["top1", "top5", "loss"] {
        assert_eq!(of_averages[field], summary["ema"][field], "{field}");
        assert_eq!(of_weights[field], summary[field], "{field}");
    }
    for counted in ["prunable", "pointwise"] {
        assert_eq!(of_averages["sparsity"][counted], summary["sparsity"][counted], "{counted}");
    }
    // Batch norm was estimated anew for each, and no weight moved.
    let averages = |file: &str| Weights::read(&bench.path(file)).tensors;
    let before = averages("run/checkpoints/step-00000160/ema.safetensors");
    let (after, weights) = (averages("run/weights_ema.safetensors"), bench.weights("run").tensors);
    for name in before.keys() {
        let is_statistic = name.ends_with("_bn_mean") || name.ends_with("_bn_variance");
        assert_eq!(before[name] != after[name], is_statistic, "{name}");
        assert!(!is_statistic || after[name] != weights[name], "{name}");
    }
    // Other commands take the file as any other.
    succeed(bench.bare("convert run/weights_ema.safetensors converted.safetensors"));
    succeed(bench.bare("inspect run/weights_ema.safetensors --json"));
    bench.train("--model_path next --num_epochs 1 --pretrained_model run/weights_ema.safetensors");
    // A run without them has none of all that.
    bench.train("--num_epochs 1 --model_path without");
    let record = bench.metrics("without").pop().unwrap();
    assert!(record.get("ema").is_none() && bench.json("without/summary.json").get("ema").is_none());
    assert!(!bench.path("without/weights_ema.safetensors").exists());
    assert!(!bench.path("without/checkpoints/step-00000010/ema.safetensors").exists());
}

#[test]
fn averages_may_begin_at_a_checkpoint_without_them_and_may_be_given_up() {
    let bench = Bench::new();
    bench.train("--num_epochs 1");
    bench.train("--resume auto --ema 0.5 --set checkpoint.every_steps=1 --set checkpoint.keep=100").says(&[
        "holds no averages of the weights: they begin at its weights, as of step 10",
        "going on with train.ema",
    ]);
    // They begin as those of a new run do: a tenth of the start is kept.
    let at = |step: usize, name: &str| {
        Weights::read(&bench.path(&format!("run/checkpoints/step-{step:08}/{name}.safetensors")))
    };
    let (first, second) = (at(10, "weights"), at(11, "weights"));
    let name = "conv1_bn_scale";
    let expected = first.tensors[name].1.iter().zip(&second.tensors[name].1);
    let expected: Vec<f32> = expected.map(|(a, w)| a + (w - a) * 0.9).collect();
    assert_eq!(at(11, "ema").tensors[name].1, expected);
    bench.train("--resume auto --num_epochs 3").says(&["going on with train.ema = nothing"]);
    assert!(!bench.path("run/weights_ema.safetensors").exists(), "averages of an earlier step");
    assert!(bench.path("run/earlier/2/weights_ema.safetensors").exists());
}

#[test]
fn a_decay_that_is_none_is_refused() {
    let bench = Bench::new();
    for value in ["1", "-0.1", "nan", "1.5"] {
        fail(bench.small(&format!("--ema={value}")), 2, &["train.ema", "at least 0 and below 1"]);
    }
    succeed(bench.small("--num_epochs 1 --ema 0"));
    let test = bench.small("--phase test --ema 0.9");
    common::succeed(test).says(&["train.ema = 0.9", "no effect with --phase test"]);
}
