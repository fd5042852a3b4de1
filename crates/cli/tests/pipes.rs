//! Pipes and folders that have the names of a run's files: named, and not waited for. On the real binary.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Bench, fail, names};
use std::process::Command;

/// Puts a pipe to which nobody writes in the place of a file.
fn pipe(bench: &Bench, name: &str) {
    let _ = std::fs::remove_file(bench.path(name));
    assert!(Command::new("mkfifo").arg(bench.path(name)).status().unwrap().success());
}

#[test]
fn a_pipe_among_the_files_of_a_run_is_named() {
    let bench = Bench::new();
    bench.train("--num_epochs 1");
    bench.train("--num_epochs 1 --model_path other");
    let go_on = "--resume auto --num_epochs 2";
    for (name, flags, says) in [
        ("run/predictions.csv", "compare other run", "run/predictions.csv is a pipe"),
        ("other/predictions.csv", "compare other other", "other/predictions.csv is a pipe"),
        ("run/weights.safetensors", "inspect run", "run/weights.safetensors` is a pipe"),
    ] {
        pipe(&bench, name);
        fail(bench.bare(flags), 1, &[says]);
    }
    bench.train("--num_epochs 1");
    bench.train("--num_epochs 1 --model_path other");
    pipe(&bench, "other/summary.json");
    fail(bench.bare("compare run other"), 1, &["other/summary.json is a pipe", "move it away"]);
    pipe(&bench, "run/metrics.jsonl");
    fail(bench.small(go_on), 1, &["run/metrics.jsonl is a pipe", "move it away"]);
    let folder = format!("run/checkpoints/{}", names(&bench.path("run/checkpoints"))[0]);
    for name in ["weights.safetensors", "state.json"] {
        pipe(&bench, &format!("{folder}/{name}"));
        fail(bench.small(go_on), 1, &[&format!("{name} is a pipe"), "none of the 1 checkpoints"]);
    }
}

#[test]
fn a_pipe_in_the_place_of_a_sweep_is_named() {
    let bench = Bench::new();
    bench.train("--num_epochs 1");
    std::fs::create_dir(bench.path("sweep")).unwrap();
    pipe(&bench, "sweep/sweep.json");
    let flags = "sweep --set data.path=data --set model.scale=0.125 --batch_size 64 --threads 1 --num_epochs 1 --steps 1 \
                 --loss 0.05 --model_path sweep";
    fail(bench.bare(flags), 1, &["sweep/sweep.json is a pipe"]);
}
