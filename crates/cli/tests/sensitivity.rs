//! `sparse-train sensitivity` on the real binary: each layer pruned alone.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Bench, fail, number, succeed};
use serde_json::Value;

fn report(bench: &Bench, flags: &str) -> Value {
    let ended = succeed(bench.bare(&format!("sensitivity run --set data.path=data --json {flags}")));
    serde_json::from_str(&ended.stdout).unwrap()
}

/// Layers of a report without its seconds.
fn timeless(mut report: Value) -> Value {
    report.as_object_mut().unwrap().remove("seconds");
    report
}

#[test]
fn each_layer_alone_costs_more_with_more_zeros_and_less_where_data_choose() {
    let bench = Bench::new();
    bench.train("--pruning_mode none");
    let flags = "--ratios 0.9,0.5 --prune_params_type conv1x1_only --images 60";
    let magnitude = report(&bench, &format!("{flags} --threads 1 --svg layers.svg"));
    assert_eq!(timeless(magnitude.clone()), timeless(report(&bench, &format!("{flags} --threads 2"))));
    let obs = report(&bench, &format!("{flags} --method obs"));
    let layers = |report: &Value| report["layers"].as_array().unwrap().clone();
    assert_eq!(layers(&magnitude).len(), 13);
    let mut sums = [0.0; 2];
    for (magnitude, obs) in layers(&magnitude).iter().zip(layers(&obs)) {
        // In the order of the ratios.
        assert_eq!(number(magnitude, "/points/0/ratio"), 0.5);
        assert!((number(magnitude, "/points/0/sparsity") - 0.5).abs() < 0.002, "{magnitude}");
        let error = |layer: &Value, at: usize| number(layer, &format!("/points/{at}/output_error"));
        assert!(error(magnitude, 0) <= error(magnitude, 1), "{magnitude}");
        sums[0] += error(magnitude, 1);
        sums[1] += error(&obs, 1);
    }
    assert!(sums[1] < sums[0], "{sums:?}");
    // Of few blocks not every share can go.
    let blocks = "--ratios 0.6 --images 60 --sparse_block 64 64 --set prune.include=['^conv6_sep_weights$']";
    let blocks = report(&bench, blocks);
    assert_eq!(number(&blocks, "/layers/0/points/0/sparsity"), 0.5, "{blocks}");
    // The network is the one that a test sees.
    let test = "--phase test --pretrained_model run --model_path test --set data.path=data --threads 1";
    succeed(bench.bare(test));
    let all = report(&bench, "--ratios 0.5 --images 100000 --set prune.include=['^conv6_sep_weights$']");
    let tested = number(&bench.json("test/test.json"), "/top1");
    assert!((number(&all, "/top1") - tested).abs() < 1e-9, "{all} {tested}");
    assert!(String::from_utf8(bench.bytes("layers.svg")).unwrap().contains("conv6_sep_weights"));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let bench = Bench::new();
    bench.train("--pruning_mode none --num_epochs 1");
    let fails = |flags: &str, code: i32, parts: &[&str]| {
        fail(bench.bare(&format!("sensitivity {flags} --set data.path=data")), code, parts);
    };
    fails("run --ratios 0.5,1", 2, &["--ratios", "between 0 and 1"]);
    fails("run --ratios", 2, &["--ratios"]);
    fails("nowhere", 1, &["nowhere"]);
    fails("run --set prune.include=['nothing']", 2, &["no layer that may be pruned"]);
    fails("run --ratio 0.5", 2, &["--ratio ", "--ratios 0.5,0.75,0.9"]);
    fails("run --pattern 2:4", 2, &["--pattern", "--ratios 0.5,0.75,0.9"]);
    fails("run --memory 300MB", 2, &["--memory"]);
}
