//! Learning from the outputs of a teacher's blocks, on the real binary.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Bench, fail, number, succeed};

/// The losses of the steps of a run.
fn losses(bench: &Bench, run: &str) -> Vec<f64> {
    let steps = bench.metrics(run).into_iter().filter(|record| record["lr"].is_number());
    steps.map(|record| number(&record, "/loss")).collect()
}

#[test]
fn features_join_the_loss_and_change_the_weights() {
    let bench = Bench::new();
    bench.train("--num_epochs 4 --pruning_mode none --model_path dense");
    let flags = "--pretrained_model dense --distill --ratio 0.75 --num_epochs 1 --lr 0.005";
    bench.train(&format!("{flags} --model_path without"));
    bench
        .train(&format!("{flags} --distill_features 2 --model_path with"))
        .says(&["soft targets of dense (temperature 4, weight 0.9) and its features (weight 2)"]);
    let (with, without) = (losses(&bench, "with"), losses(&bench, "without"));
    // The first step is dense and of the same weights; its features differ by the statistics of batch norm alone.
    assert!(with[0] > without[0] + 1e-4, "{with:?} {without:?}");
    assert!(with[1] > without[1] + 0.1, "{with:?} {without:?}");
    assert!(bench.weights("with").tensors != bench.weights("without").tensors);
    let metadata = |run: &str| bench.weights(run).metadata["sparse_train"].clone();
    assert!(metadata("with").contains("\"train.distill_features\":2.0"), "{}", metadata("with"));
    assert!(!metadata("without").contains("distill_features"));
    // Weight 0 is without, bit for bit.
    bench.train(&format!("{flags} --distill_features 0 --model_path zero"));
    assert!(bench.bytes("zero/weights.safetensors") == bench.bytes("without/weights.safetensors"));
}

#[test]
fn without_labels_and_scores_features_alone_train_what_is_left_of_a_pruned_network() {
    let bench = Bench::new();
    bench.train("--num_epochs 6 --batch_size 32 --lr 0.02 --pruning_mode none --model_path dense");
    let flags = "--pretrained_model dense --distill --distill_features 1 --distill_weight 1 --num_epochs 3 --lr 0.01 \
                 --batch_size 32 --distill_temperature 1e6 --ratio 0.6";
    bench.train(flags);
    let losses = losses(&bench, "run");
    // From the second step on, the first with zeros.
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    assert!(mean(&losses[50..]) < 0.8 * mean(&losses[1..6]), "{losses:?}");
}

#[test]
fn a_teacher_of_another_width_and_weights_that_are_none_are_refused() {
    let bench = Bench::new();
    succeed(bench.bare(
        "--set data.path=data --set model.scale=0.25 --batch_size 64 --num_epochs 1 --pruning_mode none --model_path wide",
    ));
    let flags = "--distill --teacher wide --num_epochs 1";
    bench.train(&format!("{flags} --model_path scores"));
    fail(
        bench.small(&format!("{flags} --distill_features 1")),
        1,
        &["conv2_1_sep of the teacher puts out 16 channels, that of this network 8", "model.scale"],
    );
    for value in ["-1", "nan", "inf"] {
        let flags = format!("{flags} --distill_features={value}");
        fail(bench.small(&flags), 2, &["train.distill_features", "0 or more"]);
    }
    let ended = bench.train("--num_epochs 1 --distill_features 1");
    ended.says(&["train.distill_features = 1", "no effect: it counts only with train.distill = true"]);
}
