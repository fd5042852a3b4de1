//! `sparse-train bench infer` on the real binary.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Bench, fail, number, succeed};
use serde_json::Value;
use sparse_testing::Need;

/// Settings that take no time to speak of.
const TINY: &str = "bench infer --size 32 --scale 0.25 --classes 10 --runs 1 --threads 2";

#[test]
fn json_has_an_object_for_every_sparsity_and_batch() {
    let ended = succeed(Bench::new().bare(&format!("{TINY} --sparsity 0,0.9 --batch 1,3 --json")));
    let reports: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap();
    let rows: Vec<[f64; 2]> =
        reports.iter().map(|report| [number(report, "/sparsity"), number(report, "/batch")]).collect();
    assert_eq!(rows, [[0.0, 1.0], [0.0, 3.0], [0.9, 1.0], [0.9, 3.0]]);
    for report in &reports {
        assert_eq!(number(report, "/threads"), 2.0);
        assert!(number(report, "/max_rel_error") < 1e-4);
        for pointer in ["/median_ms", "/p99_ms", "/dense_median_ms", "/gflop_done", "/layers/1/ms"] {
            assert!(number(report, pointer) > 0.0, "{pointer} in {report}");
        }
        let ratio = number(report, "/dense_median_ms") / number(report, "/median_ms");
        assert!((ratio - number(report, "/to_dense")).abs() < 1e-9);
        let layers = report["layers"].as_array().unwrap();
        // The stem, thirteen blocks, the mean and the head; zeros pay somewhere between never and always.
        assert_eq!(layers.len(), 16);
        let products = layers.iter().filter(|layer| layer["break_even"].is_number());
        assert_eq!(products.count(), 14);
        let left_out = layers.iter().any(|layer| layer["zeros_left_out"] == true);
        assert_eq!(left_out, number(report, "/gflop_skipped") > 0.0);
        // What no zero is left out of is no faster, whatever the clock says.
        assert!(left_out || report["faster"] == false, "{report}");
    }
    assert_eq!(number(&reports[0], "/gflop_skipped"), 0.0);
}

#[test]
fn tables_name_layers_and_call_nothing_a_speed_up_that_is_none() {
    let ended = succeed(Bench::new().bare(&format!("{TINY} --sparsity 0 --batch 1 --layers")));
    for word in ["speed-up to dense", "none", "conv5_1_sep", "depthwise + product", "zeros pay from"] {
        assert!(ended.stdout.contains(word), "{word} in {}", ended.stdout);
    }
}

#[test]
fn settings_that_make_no_sense_are_named() {
    fail(Bench::new().bare("bench infer --sparsity 1"), 2, &["at least 0 and below 1"]);
    fail(Bench::new().bare("bench infer --batch 5000"), 2, &["batch = 5000", "4096"]);
    fail(Bench::new().bare("bench infer --threads 2000"), 2, &["--threads", "at most"]);
    fail(Bench::new().bare("bench infer --weights x --sparsity 0.5"), 2, &["--sparsity"]);
    fail(Bench::new().bare("bench infer --weights no/such/file"), 1, &["no/such/file"]);
}

/// Integers are timed like numbers, with zeros in blocks; their own weights decide for those of a file.
#[test]
fn int8_is_timed_with_zeros_in_blocks() {
    let bench = Bench::new();
    let flags = "--precision int8 --sparsity 0,0.75 --batch 1,3 --json";
    let ended = succeed(bench.bare(&format!("{TINY} {flags}")));
    let reports: Value = serde_json::from_str(&ended.stdout).unwrap();
    let reports = reports.as_array().unwrap();
    assert_eq!(reports.len(), 4);
    for report in reports {
        assert!(report["max_rel_error"].is_null());
        let kinds: Vec<&str> = report["layers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|layer| layer["kind"].as_str().unwrap())
            .collect();
        assert_eq!(kinds[..3], ["quantize", "int8 product", "int8 depthwise + product"]);
        assert_eq!(kinds[14..], ["int8 depthwise + product", "int8 mean", "int8 linear"]);
    }
    fail(
        bench.bare("bench infer --weights w.safetensors --precision int8"),
        2,
        &["--precision", "--weights", "sparse-train quantize"],
    );
}

/// Scores differ from those of the training model by rounding, which one table or another must show.
#[test]
fn bf16_is_timed_with_zeros_in_pairs_and_says_what_it_costs() {
    let bench = Bench::new();
    let ended = succeed(bench.bare(&format!("{TINY} --precision bf16 --sparsity 0,0.75 --batch 1 --json")));
    let reports: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap();
    for report in &reports {
        let error = number(report, "/max_rel_error");
        assert!((1e-4..0.05).contains(&error), "{error}");
        let kinds: Vec<_> = report["layers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|layer| layer["kind"].as_str().unwrap())
            .collect();
        assert_eq!(kinds[..2], ["bf16 product", "depthwise + bf16 product"]);
        assert_eq!(kinds[14..], ["mean", "bf16 linear"]);
    }
    // A layer of a quarter of MobileNet's width has 8 weights a row at least: pairs of zeros make up the share exactly.
    let sparsity = number(&reports[1], "/layers/2/sparsity");
    assert!((sparsity - 0.75).abs() < 0.01, "{sparsity}");
}

/// A team has as many threads as processors that the process may use.
#[test]
fn threads_follow_the_affinity_of_the_process() {
    if !Need::Taskset.is_met_for("threads by affinity") {
        return;
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    let first = allowed.trim().split([',', '-']).next().unwrap();
    let bench = Bench::new();
    let mut command = std::process::Command::new("taskset");
    command.args(["-c", first, env!("CARGO_BIN_EXE_sparse-train")]);
    command.args(
        "bench infer --size 32 --scale 0.25 --classes 10 --runs 1 --sparsity 0 --batch 1 --json".split(' '),
    );
    let output = command.current_dir(bench.path("")).output().unwrap();
    let reports: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(reports[0]["threads"], 1, "{reports}");
}
