//! Weights and configs of runs given to another: zeros that would be lost, and a run's own config. On the real binary.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::weights::prunable;
use common::{Bench, fail, number, snapshot, succeed};
use std::path::Path;

const LOST: &str = "% of the prunable weights in sparse/weights.safetensors are zero";

#[test]
fn zeros_that_may_be_lost_are_named_with_the_flag_that_keeps_them() {
    let bench = Bench::new();
    bench.train("--ratio 0.75 --model_path sparse");
    let from = "--pretrained_model sparse --num_epochs 1";
    let gmp = "--ratio 0.8 --pruning_strategy gmp --stable_epochs 0 --pruning_epochs 1 --pruning_steps 5 --tunning_epochs 0";
    for (flags, keeps) in [
        ("--pruning_mode none", "--ratio 0 --set prune.regrow=false"),
        ("--ratio 0.5", "--set prune.regrow=false"),
        ("--pruning_mode threshold --threshold 1e-5", "--set prune.regrow=false"),
        (gmp, "begins at 15.00 % (GMP, target 80.00 %)"),
    ] {
        bench.train(&format!("{from} {flags}")).says(&["WARN 75.00 ", LOST, keeps]);
    }
    for flags in ["--ratio 0.75", "--ratio 0.8"] {
        let ended = bench.train(&format!("{from} {flags}"));
        assert!(!ended.stderr.contains(LOST), "{}", ended.stderr);
    }
    // A run that goes on has said so before.
    let ended = bench.train(&format!("{from} --ratio 0.5 --num_epochs 2 --resume auto"));
    assert!(!ended.stderr.contains(LOST), "{}", ended.stderr);
}

#[test]
fn without_regrowth_the_zeros_that_were_given_stay() {
    let bench = Bench::new();
    bench.train("--ratio 0.75 --model_path sparse");
    let given = bench.weights("sparse");
    for flags in [
        "--ratio 0",
        "--ratio 0.5",
        "--ratio 0.8",
        "--ratio 0.5 --local_sparsity True",
        "--pruning_mode threshold --threshold 1e-5",
        "--ratio 0.8 --pruning_strategy gmp --stable_epochs 1 --pruning_epochs 1 --pruning_steps 5 --tunning_epochs 0",
        "--ratio 0.5 --set prune.gradient=\"dense\"",
    ] {
        let run = format!("--pretrained_model sparse --set prune.regrow=false {flags}");
        bench.train(&run).says(&[LOST, "they stay zero"]);
        let ended = bench.weights("run");
        for (name, (shape, values)) in given.tensors.iter().filter(|(name, (shape, _))| prunable(name, shape))
        {
            let after = &ended.tensors[name].1;
            let back =
                values.iter().zip(after).filter(|(before, after)| **before == 0.0 && **after != 0.0).count();
            assert_eq!(back, 0, "{flags}: {back} of {name} {shape:?} came back");
        }
        let kept = if flags.contains("0.8") { 0.8 } else { 0.75 };
        let sparsity = ended.sparsity(prunable);
        assert!(sparsity > kept - 1e-3, "{flags}: {sparsity}");
    }
    // The masks are part of a checkpoint.
    let weights = bench.bytes("run/weights.safetensors");
    let last =
        "--pretrained_model sparse --set prune.regrow=false --ratio 0.5 --set prune.gradient=\"dense\"";
    bench.train(&format!("{last} --resume_epoch 1"));
    assert!(bench.bytes("run/weights.safetensors") == weights);
}

#[test]
fn a_config_with_a_run_beside_it_tests_the_weights_of_that_run() {
    let bench = Bench::new();
    bench.train("--pruning_mode none --model_path dense");
    bench.train("--pretrained_model dense --model_path pruned");
    let (dense, pruned) = (bench.json("dense/summary.json"), bench.json("pruned/summary.json"));
    let test = |flags: &str| {
        let ended = succeed(bench.bare(&format!("--phase test {flags}")));
        assert!(ended.stdout.contains("weights"), "{}", ended.stdout);
        ended
    };
    let config = "--config pruned/config.toml";
    let before = snapshot(&bench.path("dense"));
    assert!(test(config).stdout.contains("pruned/weights.safetensors"));
    let report = bench.json("pruned/test.json");
    assert_eq!(report["weights"], "pruned/weights.safetensors");
    assert_eq!(report["top1"], pruned["top1"]);
    assert_eq!(number(&report, "/sparsity/prunable"), 0.5);
    assert!(snapshot(&bench.path("dense")) == before);
    // Weights named beside it are tested, and named.
    for flags in
        ["--pretrained_model dense", "--set model.pretrained_model=\"dense\"", "--pruned_model dense"]
    {
        assert!(test(&format!("{config} {flags}")).stdout.contains("dense/weights.safetensors"), "{flags}");
        let report = bench.json("pruned/test.json");
        assert_eq!(report["weights"], "dense/weights.safetensors", "{flags}");
        assert_eq!(report["top1"], dense["top1"], "{flags}");
    }
    // The run moved: what lies beside the config counts, not the path that it was written with.
    std::fs::rename(bench.path("pruned"), bench.path("moved")).unwrap();
    test("--config moved/config.toml");
    assert_eq!(bench.json("moved/test.json")["weights"], "moved/weights.safetensors");
    assert!(!bench.path("pruned").exists());
    test("--config moved/config.toml --model_path apart");
    assert_eq!(bench.json("apart/test.json")["weights"], "moved/weights.safetensors");
    // A config with nothing beside it is a config.
    std::fs::copy(bench.path("moved/config.toml"), bench.path("alone.toml")).unwrap();
    test("--config alone.toml");
    assert_eq!(bench.json("pruned/test.json")["weights"], "dense/weights.safetensors");
}

#[test]
fn the_config_of_a_run_stands_for_its_folder() {
    let bench = Bench::new();
    bench.train("--num_epochs 1");
    let weights = bench.bytes("run/weights.safetensors");
    std::fs::rename(bench.path("run"), bench.path("moved")).unwrap();
    let table = succeed(bench.bare("inspect moved/config.toml --json")).stdout;
    assert!(table.contains("moved/weights.safetensors"), "{table}");
    succeed(bench.bare("convert moved/config.toml out.safetensors"));
    succeed(bench.bare("compare moved/config.toml moved"));
    image::GrayImage::new(28, 28).save(bench.path("a.png")).unwrap();
    succeed(bench.bare("predict a.png --weights moved/config.toml"));
    bench
        .train("--model_path from --pretrained_model moved/config.toml")
        .says(&["moved/weights.safetensors"]);
    bench
        .train("--model_path on --checkpoint moved/config.toml --resume_epoch 1")
        .says(&["moved/checkpoints"]);
    // Resumed where it lies now, not where it was.
    let resumed = succeed(bench.bare("--config moved/config.toml --resume auto --num_epochs 2"));
    resumed.says(&["resumed from moved/checkpoints"]);
    assert!(!bench.path("run").exists() && bench.bytes("moved/weights.safetensors") != weights);
}

#[test]
fn a_config_and_an_unfinished_run_are_no_weights_and_say_what_is() {
    let bench = Bench::new();
    bench.train("");
    std::fs::copy(bench.path("run/config.toml"), bench.path("alone.toml")).unwrap();
    for command in ["inspect alone.toml", "predict x.png --weights alone.toml", "convert alone.toml out"] {
        fail(bench.bare(command), 2, &["alone.toml is a config", "run folder"]);
    }
    for written_last in ["weights.safetensors", "summary.json"] {
        std::fs::remove_file(bench.path("run").join(written_last)).unwrap();
    }
    let parts = ["run holds no weights yet", "--resume auto", "run/checkpoints/step-00000020"];
    fail(bench.bare("inspect run"), 1, &parts);
    fail(bench.bare("--phase test --config run/config.toml"), 1, &parts);
    fail(bench.small("--model_path x --pretrained_model run"), 1, &parts);
    succeed(bench.bare("inspect run/checkpoints/step-00000020"));
    assert!(Path::new(&bench.path("run")).exists());
}
