//! What cannot be: more memory than there is, ratios and thresholds that leave no weight. On the real binary.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Bench, fail, succeed};

#[test]
fn what_cannot_fit_into_memory_is_refused_before_it_is_taken() {
    let bench = Bench::new();
    bench.train("--num_epochs 1");
    for (flags, parts) in [
        ("--set model.scale=100000", ["model.scale = 100000", "--set model.scale=1"]),
        ("--set model.scale=1e300", ["model.scale = 1e300", "memory"]),
        ("--num_classes 900000000000", ["model.num_classes = 900000000000", "--num_classes"]),
        ("--phase test --set model.scale=100000 --pretrained_model run", ["model.scale", "run"]),
    ] {
        fail(bench.small(&format!("--model_path x {flags}")), 2, &parts);
    }
    assert!(!bench.path("x").exists());
    // The same weights for images of a million pixels across.
    let png = bench.path("a.png");
    image::RgbImage::new(8, 8).save(&png).unwrap();
    fail(bench.bare("predict a.png --weights run --size 1000000"), 2, &["memory", "lower --size"]);
    fail(bench.bare("bench train --batch 65536 --size 4096"), 2, &["memory", "lower --batch or --size"]);
    fail(bench.bare("bench infer --batch 4096 --size 4096 --runs 1"), 2, &["memory", "--batch"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_limit_on_address_space_counts_and_names_the_setting() {
    let bench = Bench::new();
    let limited =
        |flags: &str| bench.shell(&format!("ulimit -v 3000000; exec $BIN $SMALL --model_path x {flags}"));
    for (flags, parts) in [
        ("--set model.scale=24", ["ulimit -v", "model.scale = 24.0"]),
        ("--set model.scale=16 --batch_size 640", ["ulimit -v", "lower"]),
    ] {
        fail(limited(flags), 2, &parts);
    }
    assert!(!bench.path("x").exists());
    succeed(limited("--num_epochs 1"));
}

#[test]
fn a_ratio_that_rounds_to_all_weights_is_refused_with_the_highest_there_is() {
    let bench = Bench::new();
    let refused = |flags: &str| {
        let ended = fail(bench.small(flags), 2, &["prunes all", "give at most 0."]);
        let highest = ended.stderr.rsplit("at most ").next().unwrap().trim().to_owned();
        assert!(!bench.path("run").exists());
        highest
    };
    let highest = refused("--ratio 0.9999999");
    succeed(bench.small(&format!("--num_epochs 1 --ratio {highest} --model_path highest")));
    let gmp =
        "--pruning_strategy gmp --stable_epochs 0 --pruning_epochs 1 --pruning_steps 5 --tunning_epochs 1";
    refused(&format!("--ratio 0.9999999 {gmp}"));
    refused("--ratio 0.9999999 --sparse_block 2 2");
    // The smallest layer of this network has 32 weights.
    let local = refused("--ratio 0.99 --local_sparsity True");
    assert_eq!(local, "0.984");
    succeed(bench.small(&format!("--num_epochs 1 --ratio {local} --local_sparsity True --model_path local")));
    let sweep =
        "sweep --set data.path=data --set model.scale=0.125 --ladder 0.5,0.9999999 --model_path sweep";
    fail(bench.bare(sweep), 2, &["prunes all", "give at most 0."]);
    assert!(!bench.path("sweep").exists());
}

#[test]
fn a_threshold_above_every_weight_is_refused() {
    let bench = Bench::new();
    let mode = "--pruning_mode threshold --threshold";
    fail(
        bench.small(&format!("{mode} 100")),
        2,
        &["threshold 1e2 prunes all weights", "--threshold", "--ratio"],
    );
    succeed(bench.small(&format!("{mode} 0.05 --num_epochs 1 --model_path below")));
}
