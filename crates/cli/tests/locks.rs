//! Two processes and one run folder, on the real binary.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Bench, fail, names, snapshot, succeed};
use std::process::{Child, Stdio};
use std::time::Duration;

/// A long run that has its folder and its first checkpoint.
fn holder(bench: &Bench) -> Child {
    let mut long = bench.small("--num_epochs 5000 --set checkpoint.every_steps=1 --ratio 0.3");
    let child = long.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !bench.path("run/metrics.jsonl").exists()
        || names(&bench.path("run")).iter().all(|name| name != "checkpoints")
    {
        std::thread::sleep(Duration::from_millis(2));
    }
    child
}

#[test]
fn the_second_process_is_told_who_has_the_folder_and_changes_nothing() {
    let bench = Bench::new();
    bench.train("--model_path other");
    let mut first = holder(&bench);
    let id = format!("process {}", first.id());
    let config = bench.bytes("run/config.toml");
    let parts = ["run is in use by", id.as_str(), "since 20", "UTC", "--model_path"];
    for flags in [
        "",
        "--resume auto",
        "--resume_epoch 1",
        "--phase test --pretrained_model other",
        "--pruned_model other",
    ] {
        fail(bench.small(flags), 1, &parts);
    }
    fail(bench.bare("convert other run/weights.safetensors"), 1, &parts);
    fail(bench.bare("export other --to packed -o run/weights.safetensors"), 1, &parts);
    assert!(bench.bytes("run/config.toml") == config);
    assert!(!bench.path("run/earlier").exists() && !bench.path("run/test.json").exists());
    // It may be read, and other folders used.
    succeed(bench.bare("convert other run/elsewhere.safetensors"));
    bench.train("--model_path other --resume auto");
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(bench.path("run/run.lock").exists());
    // A killed process holds nothing.
    bench.train("--phase test --pretrained_model other");
    bench.train("");
    assert!(!bench.path("run/run.lock").exists());
}

#[test]
fn one_sweep_at_a_time_in_a_folder() {
    let bench = Bench::new();
    let sweep = "--set data.path=data --set model.scale=0.125 --batch_size 64 --num_epochs 5000 --threads 1 \
                 --model_path sweep --ladder 0.5";
    let mut command = bench.bare(&format!("sweep {sweep}"));
    let mut first = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !bench.path("sweep/dense/config.toml").exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
    let before = snapshot(&bench.path("sweep")).remove(std::path::Path::new("sweep.json"));
    let id = format!("process {}", first.id());
    fail(bench.bare(&format!("sweep {sweep}")), 1, &["sweep is in use by", &id]);
    fail(bench.small("--model_path sweep/dense"), 1, &["sweep/dense is in use by", &id]);
    assert!(snapshot(&bench.path("sweep")).remove(std::path::Path::new("sweep.json")) == before);
    first.kill().unwrap();
    first.wait().unwrap();
}

/// Of many that begin at once one wins, and what it leaves is its own.
#[test]
fn of_many_that_begin_at_once_one_wins() {
    let bench = Bench::new();
    let start = |ratio: usize| {
        let mut command =
            bench.small(&format!("--ratio 0.{ratio} --num_epochs 20 --test_period 20 --model_period 20"));
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<(usize, Child)> = (3..8).map(|ratio| (ratio, start(ratio))).collect();
    let mut winners = Vec::new();
    for (ratio, child) in children {
        let output = child.wait_with_output().unwrap();
        match output.status.code() {
            Some(0) => winners.push(ratio),
            code => {
                assert_eq!(code, Some(1));
                assert!(String::from_utf8_lossy(&output.stderr).contains("run is in use by"));
            }
        }
    }
    // One that began late may have found the folder free again: then the run before it lies in earlier/.
    let earlier =
        if bench.path("run/earlier").exists() { names(&bench.path("run/earlier")).len() } else { 0 };
    assert_eq!(winners.len(), earlier + 1);
    let config = String::from_utf8(bench.bytes("run/config.toml")).unwrap();
    let ratio = winners.iter().find(|ratio| config.contains(&format!("ratio = 0.{ratio}"))).unwrap();
    let sparsity = bench.json("run/summary.json")["sparsity"]["prunable"].as_f64().unwrap();
    assert!((sparsity - *ratio as f64 / 10.0).abs() < 1e-3, "{sparsity} {ratio}");
}
