//! `sparse-train bench train` on the real binary.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Bench, fail, number, succeed};
use serde_json::Value;

/// Settings that take no time to speak of.
const TINY: &str = "bench train --batch 2 --size 32 --steps 1 --scale 0.25 --classes 10";

const OPERATIONS: [&str; 9] =
    ["spatial", "depthwise", "pointwise", "head", "layout", "masks", "enforce", "optimizer", "pruner"];

fn reports(flags: &str) -> Vec<Value> {
    let ended = succeed(Bench::new().bare(&format!("{TINY} --json {flags}")));
    ended.says(&["measuring"]);
    serde_json::from_str(&ended.stdout).unwrap()
}

#[track_caller]
fn positive(value: &Value, pointers: &[&str]) {
    for pointer in pointers {
        assert!(number(value, pointer) > 0.0, "{pointer} in {value}");
    }
}

#[test]
fn json_has_every_number_of_every_sparsity_in_the_order_given() {
    let reports = reports("--sparsity 0.9,0,0.5 --threads 2");
    let sparsities: Vec<f64> = reports.iter().map(|report| number(report, "/sparsity")).collect();
    assert_eq!(sparsities, [0.9, 0.0, 0.5]);
    for report in &reports {
        let fields = ["batch", "size", "threads", "precision"].map(|field| &report[field]);
        assert_eq!(fields, [&2.into(), &32.into(), &2.into(), &Value::from("f32")]);
        positive(report, &["/images_per_second", "/step_ms", "/step_ms_min", "/step_ms_max", "/pruner_ms"]);
        positive(report, &["/gflops_per_second", "/peak/gflops_per_second", "/peak/gbytes_per_second"]);
        // One step is its own median.
        assert_eq!(number(report, "/step_ms_min"), number(report, "/step_ms_max"));
        let expected = 2e3 / number(report, "/step_ms");
        assert!((number(report, "/images_per_second") / expected - 1.0).abs() < 1e-9, "{report}");
        let memory = &report["peak_rss_bytes"];
        assert!(memory.is_u64() || (memory.is_null() && !cfg!(target_os = "linux")), "{memory}");
    }
    let skipped = |index: usize| number(&reports[index], "/gflops_skipped_per_step");
    assert!(skipped(1) == 0.0 && skipped(0) > 1.7 * skipped(2) && skipped(2) > 0.0);
}

#[test]
fn parts_make_up_the_step() {
    for report in reports("--sparsity 0,0.9") {
        let parts = report["parts"].as_array().unwrap();
        let names: Vec<&str> = parts.iter().map(|part| part["operation"].as_str().unwrap()).collect();
        assert_eq!(names, OPERATIONS);
        let step = number(&report, "/step_ms");
        let mut shares = 0.0;
        for part in parts {
            let both = number(part, "/forward_ms") + number(part, "/backward_ms");
            assert!((number(part, "/share") - both / step).abs() < 1e-9, "{part} of {step}");
            shares += number(part, "/share");
        }
        assert!(shares > 0.0 && shares < 1.0, "{shares}");
        for part in &parts[..4] {
            positive(part, &["/forward_ms", "/backward_ms", "/gflops_per_second"]);
        }
        assert!(parts[4..].iter().all(|part| part["gflops_per_second"].is_null()));
        assert!(number(&parts[7], "/backward_ms") > 0.0);
    }
}

/// Weights of the pointwise layers at a quarter of the width, in order.
const POINTWISE: [usize; 13] = [
    8 * 16,
    16 * 32,
    32 * 32,
    32 * 64,
    64 * 64,
    64 * 128,
    128 * 128,
    128 * 128,
    128 * 128,
    128 * 128,
    128 * 128,
    128 * 256,
    256 * 256,
];

#[test]
fn pointwise_layers_have_the_exact_sparsity_and_the_others_none() {
    for report in reports("--sparsity 0,0.9 --precision bf16") {
        assert_eq!(report["precision"], "bf16");
        let layers = report["layers"].as_array().unwrap();
        let of_kind = |kind: &'static str| layers.iter().filter(move |layer| layer["kind"] == kind);
        assert_eq!((layers.len(), of_kind("spatial").count(), of_kind("depthwise").count()), (27, 1, 13));
        for (layer, weights) in of_kind("pointwise").zip(POINTWISE) {
            let pruned = (number(&report, "/sparsity") * weights as f64).round();
            assert_eq!(number(layer, "/sparsity"), pruned / weights as f64, "{layer}");
            for path in ["forward", "input_gradient", "weight_gradient"] {
                let sparse = layer["sparse_paths"][path].as_bool().unwrap();
                assert!(!sparse || pruned > 0.0, "{layer}");
            }
        }
        for layer in layers {
            let name = layer["name"].as_str().unwrap();
            positive(layer, &["/forward_ms", "/backward_ms", "/gflops_per_second", "/gbytes_per_second"]);
            assert_eq!(layer["sparse_paths"].is_object(), name.ends_with("_sep"), "{layer}");
            assert!(layer["kind"] == "pointwise" || number(layer, "/sparsity") == 0.0, "{layer}");
        }
    }
}

#[test]
fn tables_compare_with_the_dense_row() {
    let bench = Bench::new();
    let table = succeed(bench.bare(&format!("{TINY} --sparsity 0,0.9 --threads 1"))).stdout;
    assert!(table.starts_with("MobileNet, 2 images of 32×32, threads: 1, f32; at most "), "{table}");
    let row = |start: &str| {
        let row = table.lines().find(|line| line.starts_with(start));
        let row = row.unwrap_or_else(|| panic!("{start} is not in\n{table}"));
        row.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(row("| sparsity ")[2..4], ["images/s", "to dense"]);
    assert_eq!(row("| 0.00 %")[3], "1.00");
    let speeds = ["| 0.00 %", "| 90.00 %"].map(|start| row(start)[2].clone());
    let [dense, sparse] = speeds.each_ref().map(|speed| speed.parse::<f64>().unwrap());
    // On a slow machine few digits are shown of a speed.
    let digits = |speed: &String| speed.split_once('.').map_or(0, |(_, digits)| digits.len());
    let [least, most] = [-0.51, 0.51].map(|half| {
        let [above, below] = [(&speeds[1], sparse, half), (&speeds[0], dense, -half)]
            .map(|(text, speed, half)| speed + half * 0.1_f64.powi(digits(text) as i32));
        above / below.max(0.0)
    });
    let ratio = row("| 90.00 %")[3].parse::<f64>().unwrap();
    assert!((least - 0.006..most + 0.006).contains(&ratio), "{ratio} of {least}..{most}\n{table}");
    assert!(table.contains("sparsity 90.00 %, by operation") && !table.contains("conv5_1_sep"), "{table}");
    for operation in OPERATIONS {
        row(&format!("| {operation} "));
    }
    let without = succeed(bench.bare(&format!("{TINY} --sparsity 0.9 --layers"))).stdout;
    assert!(without.lines().any(|line| line.starts_with("| conv5_1_sep ")), "{without}");
    assert!(without.lines().any(|line| line.starts_with("| 90.00 %") && line.contains(" - |")), "{without}");
}

#[test]
fn wrong_requests_say_what_is_allowed() {
    let bench = Bench::new();
    for (flags, parts) in [
        ("--sparsity 1.5", ["--sparsity", "at least 0 and below 1"]),
        ("--sparsity 1", ["--sparsity", "at least 0 and below 1"]),
        ("--sparsity -0.5", ["--sparsity", "at least 0 and below 1"]),
        ("--sparsity 0,x", ["'x'", "as in 0,0.75,0.9"]),
        ("--sparsity nan", ["--sparsity", "at least 0 and below 1"]),
        ("--batch 0", ["--batch", "whole number, 1 or more"]),
        ("--batch -3", ["--batch", "whole number, 1 or more"]),
        ("--batch 65537", ["--batch", "from 1 to 65536"]),
        ("--size 8", ["size = 8 (--size)", "from 16 to 4096"]),
        ("--threads 0", ["--threads", "whole number, 1 or more"]),
        ("--steps 0", ["--steps", "whole number, 1 or more"]),
        ("--scale 0", ["--scale", "from 0.03125 to 8"]),
        ("--precision f16", ["--precision", "f32, bf16"]),
        ("--spasity 0", ["--spasity", "--sparsity"]),
        ("--lr 0.1", ["--lr", "Usage"]),
        ("--every_steps 1", ["--every_steps", "Usage"]),
    ] {
        let ended = fail(bench.bare(&format!("bench train {flags}")), 2, &parts);
        assert!(!ended.stderr.contains("--set"), "{}", ended.stderr);
    }
    // Without a word for what to measure clap shows the help.
    let ended = common::end(bench.bare("bench"));
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    assert!(ended.stderr.contains("train"), "{}", ended.stderr);
}
