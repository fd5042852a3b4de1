//! What a run learns from and is measured by beside its labels: predictions, soft targets, batch norm estimated anew.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::data::TEST_IMAGES;
use common::{Bench, end, fail, number, snapshot, succeed};

/// The lines of a file of predictions below its header, field by field.
fn predictions(bench: &Bench, name: &str) -> Vec<Vec<f64>> {
    let text = String::from_utf8(bench.bytes(name)).unwrap();
    let (header, lines) = text.split_once('\n').unwrap();
    assert_eq!(header, "index,label,predicted,top5,loss");
    lines.lines().map(|line| line.split(',').map(|field| field.parse().unwrap()).collect()).collect()
}

#[test]
fn a_run_tells_what_it_says_of_each_test_image() {
    let bench = Bench::new();
    bench.train("");
    let (lines, summary) = (predictions(&bench, "run/predictions.csv"), bench.json("run/summary.json"));
    assert_eq!(lines.len(), TEST_IMAGES);
    let share = |counts: fn(&[f64]) -> bool| {
        lines.iter().filter(|line| counts(line)).count() as f64 / TEST_IMAGES as f64
    };
    assert_eq!(share(|line| line[1] == line[2]), number(&summary, "/top1"));
    assert_eq!(share(|line| line[3] == 1.0), number(&summary, "/top5"));
    let loss: f64 = lines.iter().map(|line| line[4]).sum::<f64>() / TEST_IMAGES as f64;
    assert!((loss - number(&summary, "/loss")).abs() < 1e-5);
    assert!(
        lines
            .iter()
            .enumerate()
            .all(|(index, line)| line[0] == index as f64 && line[1] == (index % 10) as f64)
    );
}

#[test]
fn a_test_writes_predictions_but_not_over_those_of_another_run() {
    let bench = Bench::new();
    bench.train("");
    let before = bench.bytes("run/predictions.csv");
    std::fs::remove_file(bench.path("run/predictions.csv")).unwrap();
    succeed(bench.small("--phase test"));
    assert_eq!(bench.bytes("run/predictions.csv"), before);
    bench.train("--seed 4 --model_path other");
    succeed(bench.small("--phase test --pretrained_model other"));
    assert_eq!(bench.bytes("run/predictions.csv"), before);
    assert_eq!(bench.bytes("run/test-predictions.csv"), bench.bytes("other/predictions.csv"));
    succeed(bench.small("--phase test --pretrained_model other --model_path tested"));
    assert_eq!(bench.bytes("tested/predictions.csv"), bench.bytes("other/predictions.csv"));
}

#[test]
fn batch_norm_estimated_anew_changes_nothing_but_itself() {
    let bench = Bench::new();
    bench.train("--model_path plain");
    // More batches than an epoch has.
    bench.train("--bn_recal 13").says(&["estimating batch norm over 13 training batches"]);
    let (plain, anew) = (bench.weights("plain").tensors, bench.weights("run").tensors);
    for (name, values) in &plain {
        let estimated = name.ends_with("_bn_mean") || name.ends_with("_bn_variance");
        assert_eq!(values != &anew[name], estimated, "{name}");
    }
    let state = |run: &str| bench.bytes(&format!("{run}/checkpoints/step-00000020/weights.safetensors"));
    assert!(state("run") == state("plain"));
    assert_ne!(bench.bytes("run/predictions.csv"), bench.bytes("plain/predictions.csv"));
    // From the last checkpoint, on two threads, the same again.
    let whole = bench.bytes("run/weights.safetensors");
    for name in ["summary.json", "weights.safetensors"] {
        std::fs::remove_file(bench.path("run").join(name)).unwrap();
    }
    bench.train("--bn_recal 13 --resume auto --threads 2 --num_workers 2");
    assert!(bench.bytes("run/weights.safetensors") == whole);
}

#[test]
fn the_mean_of_one_batch_is_that_batch() {
    let bench = Bench::new();
    // A rate so small that the weights stay: the estimates over a whole epoch then do not depend on the seed of it.
    let still = "--lr 1e-12 --pruning_mode none --batch_size 640";
    bench.train(&format!("{still} --bn_recal 1"));
    bench.train(&format!("{still} --bn_recal 4 --model_path four"));
    let (one, four) = (bench.weights("run").tensors, bench.weights("four").tensors);
    for (name, (_, values)) in one.iter().filter(|(name, _)| name.contains("_bn_")) {
        for (a, b) in values.iter().zip(&four[name].1) {
            assert!((a - b).abs() <= 5e-4 * a.abs().max(1e-2), "{name}: {a} {b}");
        }
    }
}

#[test]
fn soft_targets_change_the_weights_and_resume_to_the_same_bytes() {
    let bench = Bench::new();
    bench.train("--pruning_mode none --model_path dense");
    let flags = "--pretrained_model dense --distill --seed 3";
    bench.train("--pretrained_model dense --seed 3 --model_path plain");
    bench.train(&format!("{flags} --model_path whole")).says(&["soft targets of dense (temperature 4"]);
    assert_ne!(bench.bytes("whole/weights.safetensors"), bench.bytes("plain/weights.safetensors"));
    bench.train(flags);
    for name in ["summary.json", "weights.safetensors", "checkpoints/step-00000020/state.json"] {
        std::fs::remove_file(bench.path("run").join(name)).unwrap();
    }
    bench.train(&format!("{flags} --resume auto --threads 2")).says(&["(10 of 20 steps done)"]);
    assert!(bench.bytes("run/weights.safetensors") == bench.bytes("whole/weights.safetensors"));
    // Weight 0 leaves the labels alone, bit for bit.
    let metadata = bench.weights("run").metadata["sparse_train"].clone();
    assert!(metadata.contains("\"train.teacher\":\"crc32 "), "{metadata}");
    bench.train(&format!("{flags} --distill_weight 0 --model_path none"));
    assert!(bench.weights("none").tensors == bench.weights("plain").tensors);
}

#[test]
fn a_teacher_that_is_missing_or_another_one_is_an_error() {
    let bench = Bench::new();
    fail(bench.small("--distill"), 2, &["train.distill is true", "--pretrained_model", "--teacher"]);
    fail(bench.small("--distill --teacher nowhere"), 1, &["nowhere is missing"]);
    bench.train("--pruning_mode none --model_path dense");
    bench.train("--pruning_mode none --model_path other --seed 9");
    bench.train("--distill --teacher dense");
    let before = snapshot(&bench.path("run"));
    std::fs::remove_file(bench.path("run/summary.json")).unwrap();
    let parts = ["in a run that learned from other weights", "--teacher"];
    let ended = fail(bench.small("--distill --teacher other --resume auto"), 1, &parts);
    assert!(!ended.stderr.contains("crc32"), "{}", ended.stderr);
    fail(bench.small("--resume auto"), 1, &["learned from a teacher", "--distill"]);
    assert!(end(bench.small("--distill --teacher dense --resume auto")).code == Some(0));
    assert!(before.keys().all(|path| bench.path("run").join(path).exists()));
}
