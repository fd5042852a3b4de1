//! `sparse-train bench infer` on the real binary.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Bench, fail, number, succeed};
use serde_json::Value;

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
