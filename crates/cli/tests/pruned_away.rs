//! Layers of which pruning leaves nothing, and thresholds that prune blocks. On the real binary.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Bench, number, succeed};

const EMPTIED: &str = "all weights are pruned in ";

#[test]
fn layers_without_a_weight_are_named_once() {
    let bench = Bench::new();
    let ended = bench.train("--ratio 0.995");
    ended.says(&[
        "WARN all weights are pruned in conv",
        "nothing of an image passes there",
        "--local_sparsity",
    ]);
    assert!(ended.stderr.matches(EMPTIED).count() <= 2, "{}", ended.stderr);
    let first = ended.stderr.find(EMPTIED).unwrap();
    assert!(ended.stderr.find("step 2/").is_none_or(|second| first < second), "{}", ended.stderr);
    let ended = bench.train("--ratio 0.5");
    assert!(!ended.stderr.contains(EMPTIED), "{}", ended.stderr);
}

#[test]
fn blocks_as_large_as_a_layer_are_named() {
    let bench = Bench::new();
    let ended = bench.train("--num_epochs 1 --sparse_block 99999999999 99999999999");
    ended.says(&[
        "prune.sparse_block = [99999999999, 99999999999] is as large as the whole of ",
        "more",
        EMPTIED,
    ]);
    let ended = bench.train("--num_epochs 1 --sparse_block 2 1");
    assert!(!ended.stderr.contains("as large as the whole"), "{}", ended.stderr);
}

#[test]
fn the_threshold_that_is_advised_prunes_as_much_as_it_says_of_blocks_too() {
    let bench = Bench::new();
    for block in ["1 1", "3 7"] {
        let threshold =
            format!("--num_epochs 1 --lr 1e-9 --ratio 0.8 --pruning_mode threshold --sparse_block {block}");
        let ended = bench.train(&format!("{threshold} --threshold 1e-7"));
        let said = ended.stderr.split("--threshold ").nth(1).unwrap_or_else(|| panic!("{}", ended.stderr));
        let advised = said.split_whitespace().next().unwrap();
        bench.train(&format!("{threshold} --threshold {advised}"));
        let sparsity = number(&bench.json("run/summary.json"), "/sparsity/prunable");
        assert!((sparsity - 0.8).abs() < 0.02, "{block}: {sparsity} below {advised}");
    }
}

#[test]
fn inspect_shows_the_threshold_of_the_zeros_once_and_exports_name_the_key() {
    let bench = Bench::new();
    bench.train("--num_epochs 1");
    let table = succeed(bench.bare("inspect run")).stdout;
    assert_eq!(table.matches("0.0000e0").count(), 1, "{table}");
    for (to, file) in [("packed", "p.safetensors"), ("onnx", "p.onnx")] {
        let said = succeed(bench.bare(&format!("export run --to {to} -o {file} --json"))).stdout;
        assert!(said.contains("\"key\": \"\""), "{said}");
    }
}
