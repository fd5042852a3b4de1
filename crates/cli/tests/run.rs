//! A run from the command line to its outputs, on the real binary.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::data::{TEST_IMAGES, write_image_folder};
use common::weights::{any, pointwise, prunable, pruned_of};
use common::{Bench, Ended, STEPS_PER_EPOCH, fail, names, number, same_fraction, snapshot, succeed};
use serde_json::Value;
use std::path::Path;

/// The files and folders of a finished run.
const OUTPUTS: [&str; 6] =
    ["checkpoints", "config.toml", "metrics.jsonl", "predictions.csv", "summary.json", "weights.safetensors"];

/// The objects of `metrics.jsonl` that are log periods, and those that are evaluations.
fn logs_and_evaluations(metrics: &[Value]) -> (Vec<&Value>, Vec<&Value>) {
    metrics.iter().partition(|record| record.get("lr").is_some())
}

#[track_caller]
fn has_sparsity(value: &Value) {
    for name in ["all_parameters", "prunable", "pointwise"] {
        assert!((0.0..1.0).contains(&number(value, &format!("/sparsity/{name}"))), "{value}");
    }
}

#[test]
fn a_run_leaves_its_outputs() {
    let bench = Bench::new();
    bench.train("");
    assert_eq!(names(&bench.path("run")), OUTPUTS);
    assert_eq!(names(&bench.path("run/checkpoints")), ["step-00000010", "step-00000020"]);
    let summary = bench.json("run/summary.json");
    has_sparsity(&summary);
    for fraction in ["/top1", "/top5"] {
        assert!((0.0..=1.0).contains(&number(&summary, fraction)), "{summary}");
    }
    assert!(number(&summary, "/top1") <= number(&summary, "/top5"), "{summary}");
    for positive in ["/threshold", "/images_per_second", "/wall_seconds"] {
        assert!(number(&summary, positive) > 0.0, "{positive} in {summary}");
    }
    assert_eq!((&summary["epochs"], &summary["steps"]), (&2.into(), &(2 * STEPS_PER_EPOCH).into()));
    assert_eq!(summary["weights"], "weights.safetensors");
}

#[test]
fn metrics_hold_an_object_per_log_period_and_per_evaluation() {
    let bench = Bench::new();
    bench.train("--log_period 4");
    let metrics = bench.metrics("run");
    let (logs, evaluations) = logs_and_evaluations(&metrics);
    let steps = |records: &[&Value]| records.iter().map(|record| record["step"].as_u64().unwrap()).collect();
    let logged: Vec<u64> = steps(&logs);
    assert_eq!(logged, [1, 4, 8, 12, 16, 20]);
    for log in &logs {
        has_sparsity(log);
        for field in ["epoch", "loss", "lr", "top1", "top5", "threshold", "images_per_second"] {
            number(log, &format!("/{field}"));
        }
    }
    assert_eq!((&logs[2]["epoch"], &logs[3]["epoch"]), (&0.into(), &1.into()));
    let evaluated: Vec<u64> = steps(&evaluations);
    assert_eq!(evaluated, [10, 20]);
    let summary = bench.json("run/summary.json");
    for field in ["top1", "top5", "loss", "sparsity", "images"] {
        assert_eq!(evaluations[1][field], summary[field], "{field}");
    }
}

#[test]
fn stdout_has_the_result_alone_and_stderr_plain_lines() {
    let bench = Bench::new();
    let ended = bench.train("");
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert!(lines.iter().all(|line| line.starts_with('|') && line.ends_with('|')), "{}", ended.stdout);
    for row in ["| top-1 ", "| sparsity, all parameters ", "| threshold ", "| images/s"] {
        assert!(lines.iter().any(|line| line.starts_with(row)), "{row} is not in\n{}", ended.stdout);
    }
    assert!(!ended.stderr.contains(['\r', '\u{1b}', '\u{2588}']), "{:?}", ended.stderr);
    let starts = ended.stderr.lines().filter(|line| line.contains("epoch[")).count();
    assert_eq!(starts, 2 * STEPS_PER_EPOCH, "{}", ended.stderr);
    ended.says(&["epoch[0]-step[1] lr: 0.05", "sparsity: 0.0000 -> 0.4554", "test after epoch 2 (step 20)"]);
}

#[test]
fn the_summary_as_json_is_alone_on_stdout() {
    let bench = Bench::new();
    let ended = bench.train("--json");
    let printed: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(printed, bench.json("run/summary.json"));
}

#[test]
fn the_sparsity_of_the_summary_is_counted_in_the_weights_file() {
    let bench = Bench::new();
    bench.train("");
    let (summary, weights) = (bench.json("run/summary.json"), bench.weights("run"));
    same_fraction(number(&summary, "/sparsity/all_parameters"), weights.sparsity(any));
    same_fraction(number(&summary, "/sparsity/prunable"), weights.sparsity(prunable));
    same_fraction(number(&summary, "/sparsity/pointwise"), weights.sparsity(pointwise));
    let (zeros, total) = weights.zeros(prunable);
    assert_eq!(zeros, pruned_of(0.5, total));
    let threshold = number(&summary, "/threshold");
    let kept =
        weights.tensors.values().filter(|(shape, _)| prunable("", shape)).flat_map(|(_, values)| values);
    let smallest = kept.filter(|value| **value != 0.0).map(|value| value.abs()).fold(f32::MAX, f32::min);
    assert_eq!(threshold, f64::from(smallest));
}

#[test]
fn the_metadata_is_one_key_and_tells_nothing_of_the_machine() {
    let bench = Bench::new();
    bench.train("");
    let metadata = bench.weights("run").metadata;
    assert_eq!(metadata.keys().collect::<Vec<_>>(), ["sparse_train"]);
    let text = &metadata["sparse_train"];
    let value: Value = serde_json::from_str(text).unwrap();
    has_sparsity(&value);
    assert_eq!(value["architecture"]["scale"], 0.125);
    assert_eq!(value["recipe"]["prune.ratio"], 0.5);
    let sorted = |value: &Value| value.as_object().unwrap().keys().is_sorted();
    assert!(sorted(&value) && value.as_object().unwrap().values().all(sorted), "{text}");
    assert_eq!(&serde_json::to_string(&value).unwrap(), text);
    for word in ["path", "time", "host", "threads", "workers", "resume", "seconds", "/"] {
        assert!(!text.contains(word), "{word} is in {text}");
    }
}

#[test]
fn the_small_network_learns() {
    let bench = Bench::new();
    bench.train(
        "--batch_size 32 --num_epochs 10 --log_period 50 --test_period 10 --model_period 10 --threads 2",
    );
    let summary = bench.json("run/summary.json");
    assert!(number(&summary, "/top1") >= 0.9, "{summary}");
    assert!(number(&summary, "/top5") >= number(&summary, "/top1"), "{summary}");
    same_fraction(number(&summary, "/sparsity/prunable"), bench.weights("run").sparsity(prunable));
}

#[test]
fn testing_agrees_with_the_summary_and_leaves_it_alone() {
    let bench = Bench::new();
    bench.train("");
    let before = snapshot(&bench.path("run"));
    let summary = bench.json("run/summary.json");
    let ended = succeed(bench.scaled("--phase test --model_path run --pretrained_model run"));
    assert!(ended.stdout.starts_with("| test "), "{}", ended.stdout);
    let report = bench.json("run/test.json");
    for field in ["top1", "top5", "sparsity", "images", "loss"] {
        assert_eq!(report[field], summary[field], "{field}");
    }
    assert_eq!(report["images"], TEST_IMAGES);
    let mut after = snapshot(&bench.path("run"));
    assert!(after.remove(Path::new("test.json")).is_some());
    assert!(before == after, "testing changed another file than test.json");
}

#[test]
fn testing_takes_a_file_or_a_folder_and_prints_json() {
    let bench = Bench::new();
    bench.train("");
    for weights in [
        "--pretrained_model run/weights.safetensors",
        "--pruned_model run",
        "--pretrained_model run --model_path x",
    ] {
        let ended = succeed(bench.scaled(&format!("--phase test --model_path out --json {weights}")));
        let printed: Value = serde_json::from_str(&ended.stdout).unwrap();
        let written = if weights.ends_with('x') { "x/test.json" } else { "out/test.json" };
        assert_eq!(printed, bench.json(written), "{weights}");
        assert_eq!(printed["top1"], bench.json("run/summary.json")["top1"], "{weights}");
    }
    let own = succeed(bench.scaled("--phase test --model_path run --json"));
    let printed: Value = serde_json::from_str(&own.stdout).unwrap();
    assert_eq!(printed["sparsity"], bench.json("run/summary.json")["sparsity"]);
}

#[test]
fn testing_needs_the_test_files_only_and_any_batch_size() {
    let bench = Bench::new();
    bench.train("");
    std::fs::remove_file(bench.path("data/train-images-idx3-ubyte")).unwrap();
    let ended = succeed(bench.scaled("--phase test --model_path run --batch_size_for_validation 7 --json"));
    let printed: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(printed["top1"], bench.json("run/summary.json")["top1"]);
}

#[test]
fn inspect_shows_every_tensor_and_the_thresholds() {
    let bench = Bench::new();
    bench.train("");
    let table = succeed(bench.bare("inspect run")).stdout;
    let weights = bench.weights("run");
    for name in weights.tensors.keys() {
        assert!(
            table.lines().any(|line| line.starts_with(&format!("| {name} "))),
            "{name} is not in\n{table}"
        );
    }
    for column in ["shape", "zeros", "sparsity", "min abs", "median abs", "max abs", "--threshold"] {
        assert!(table.contains(column), "{column} is not in\n{table}");
    }
    let json = succeed(bench.bare("inspect run/weights.safetensors --json")).stdout;
    let inspection: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(inspection["sparsity"], bench.json("run/summary.json")["sparsity"]);
    let layers = inspection["layers"].as_array().unwrap();
    assert_eq!(layers.len(), weights.tensors.len());
    for layer in layers {
        let name = layer["name"].as_str().unwrap();
        let (shape, values) = &weights.tensors[name];
        let mut magnitudes: Vec<f32> = values.iter().map(|value| value.abs()).collect();
        magnitudes.sort_by(f32::total_cmp);
        let zeros = magnitudes.iter().filter(|value| **value == 0.0).count();
        assert_eq!((&layer["shape"], &layer["zeros"]), (&shape.clone().into(), &zeros.into()), "{name}");
        let median = magnitudes[(magnitudes.len() - 1) / 2];
        let expected = [magnitudes[0], median, magnitudes[magnitudes.len() - 1]].map(f64::from);
        assert_eq!(["/min", "/median", "/max"].map(|field| number(layer, field)), expected, "{name}");
    }
    let rows = inspection["threshold_for_sparsity"].as_array().unwrap();
    for row in rows.iter().filter(|row| number(row, "/share") > 0.5) {
        let below = weights.sparsity_below(number(row, "/threshold"), prunable);
        assert!((below - number(row, "/share")).abs() < 1e-4, "{below} of {row}");
    }
}

/// A pasted command runs as it is but for the data, the width and the length of the run.
fn pasted(bench: &Bench, line: &str) -> Ended {
    succeed(bench.scaled(&format!("{line} --set train.num_epochs=2")))
}

#[test]
fn the_pasted_command_of_the_readme_works() {
    let bench = Bench::new();
    pasted(&bench, "--batch_size 64 --data mnist --lr 0.05 --pruning_mode threshold --threshold 0.01");
    let summary = bench.json("models/summary.json");
    assert_eq!(number(&summary, "/threshold"), 0.01);
    let weights = bench.weights("models");
    let kept =
        weights.tensors.values().filter(|(shape, _)| prunable("", shape)).flat_map(|(_, values)| values);
    assert!(kept.clone().all(|value| *value == 0.0 || value.abs() >= 0.01));
    assert!(kept.clone().any(|value| *value == 0.0));
}

#[test]
fn the_train_and_test_commands_of_the_seed_work_one_after_the_other() {
    const PRETRAINED: &str = "pretrained_model/MobileNetV1_pretrained";
    let bench = Bench::new();
    bench.train(&format!("--model_path {PRETRAINED} --num_epochs 1"));
    pasted(&bench, &format!("--pretrained_model {PRETRAINED} --data mnist --lr 0.05"))
        .says(&[&format!("starting from the weights of {PRETRAINED}/weights.safetensors")]);
    let ended = succeed(bench.scaled("--pretrained_model models/ --phase test --data mnist"));
    assert!(ended.stdout.contains("top-1"), "{}", ended.stdout);
    let (test, summary) = (bench.json("models/test.json"), bench.json("models/summary.json"));
    assert_eq!((&test["top1"], &test["sparsity"]), (&summary["top1"], &summary["sparsity"]));
}

#[test]
fn the_commands_of_the_seed_work_on_an_image_folder() {
    let bench = Bench::new();
    write_image_folder(&bench.path("data"));
    // Settings for the small stand-in; the flags after them are the seed's.
    let small = "--set train.num_epochs=1 --set train.batch_size=8 --set data.image_size=32";
    succeed(bench.scaled(&format!("{small} --data imagenet --model_path pretrained")));
    pasted(&bench, &format!("{small} --pretrained_model pretrained --data imagenet --lr 0.05"));
    succeed(bench.scaled(&format!("{small} --pretrained_model models/ --phase test --data imagenet")));
    let (test, summary) = (bench.json("models/test.json"), bench.json("models/summary.json"));
    assert_eq!((&test["top1"], &test["sparsity"]), (&summary["top1"], &summary["sparsity"]));
    assert_eq!((&test["images"], &summary["steps"]), (&16.into(), &4.into()));
}

#[test]
fn a_threshold_that_prunes_almost_nothing_is_warned_of() {
    let bench = Bench::new();
    let ended = bench.train("--pruning_mode threshold --threshold 1e-5 --num_epochs 1");
    ended.says(&["WARN threshold 1e-5 prunes only 0.0", "--pruning_mode ratio --ratio"]);
    let advice = ended.stderr.split("--threshold ").nth(1).unwrap().split(' ').next().unwrap();
    let better =
        bench.train(&format!("--pruning_mode threshold --threshold {advice} --num_epochs 1 --lr 1e-9"));
    assert!(!better.stderr.contains("prunes only"), "{}", better.stderr);
    let sparsity = number(&bench.json("run/summary.json"), "/sparsity/prunable");
    assert!((sparsity - 0.5).abs() < 0.01, "--threshold {advice} prunes {sparsity}, ratio 0.5 was asked for");
}

#[test]
fn a_run_in_the_folder_of_another_keeps_the_earlier_one() {
    let bench = Bench::new();
    bench.train("");
    let first = snapshot(&bench.path("run"));
    bench.train("--seed 1").says(&["run holds an earlier run", "run/earlier/1", "--resume auto"]);
    let second = std::fs::read(bench.path("run/weights.safetensors")).unwrap();
    bench.train("--seed 2");
    assert!(snapshot(&bench.path("run/earlier/1")) == first);
    assert!(bench.bytes("run/earlier/2/weights.safetensors") == second);
    assert_eq!(names(&bench.path("run")).len(), OUTPUTS.len() + 1);
}

#[test]
fn the_config_in_the_run_folder_repeats_the_run() {
    let bench = Bench::new();
    bench.train("--seed 3 --lr_strategy cosine_decay --set train.label_smoothing=0.1");
    let weights = bench.bytes("run/weights.safetensors");
    let config = bench.bytes("run/config.toml");
    succeed(bench.bare("--config run/config.toml"));
    assert!(bench.bytes("run/weights.safetensors") == weights);
    assert_eq!(bench.bytes("run/config.toml"), config);
    succeed(bench.bare("--config run/config.toml --model_path again"));
    assert!(bench.bytes("again/weights.safetensors") == weights);
}

#[test]
fn the_weights_are_a_function_of_the_training_alone() {
    let bench = Bench::new();
    bench.train("");
    bench.train(
        "--model_path here/there --threads 2 --num_workers 3 --log_period 7 --test_period 5 --model_period 9",
    );
    assert!(bench.bytes("run/weights.safetensors") == bench.bytes("here/there/weights.safetensors"));
    bench.train("--model_path other --seed 1");
    assert!(bench.bytes("run/weights.safetensors") != bench.bytes("other/weights.safetensors"));
}

#[test]
fn a_gpu_that_is_not_there_is_a_usage_error() {
    let bench = Bench::new();
    if !cfg!(feature = "cuda") {
        fail(bench.small("--use_gpu True"), 2, &["built without CUDA", "--features cuda", "--device cpu"]);
    }
    fail(bench.small("--device gpu"), 2, &["train.device", "cuda:N"]);
    assert!(!bench.path("run").exists());
    bench.train("--use_gpu False --num_epochs 1");
}
