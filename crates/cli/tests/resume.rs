//! Stopping and going on: signals, epochs, damaged and foreign checkpoints, on the real binary. Kills, and every mode of a run,
//! are in `resume_modes.rs`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::weights::prunable;
use common::{Bench, Ended, STEPS_PER_EPOCH, end, fail, names, number, same_fraction, snapshot, succeed};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Steps and kinds of the records of a run, in order: what a resumed run must write as an uninterrupted one does.
fn records(bench: &Bench, run: &str) -> Vec<(u64, bool)> {
    let kind = |record: &Value| (record["step"].as_u64().unwrap(), record.get("lr").is_some());
    bench.metrics(run).iter().map(kind).collect()
}

/// The step of the newest checkpoint of a run.
fn newest_step(run: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(run.join("checkpoints")) else { return 0 };
    let step = |name: std::ffi::OsString| name.to_str()?.strip_prefix("step-")?.parse().ok();
    entries.filter_map(|entry| step(entry.ok()?.file_name())).max().unwrap_or(0)
}

/// Waits until the run has a checkpoint of `step` or later, or its process has ended.
fn wait_for_step(child: &mut Child, run: &Path, step: usize) {
    while newest_step(run) < step && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn start(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The exit of a child that was told to stop, with what it printed.
fn ended(child: Child) -> Ended {
    child.wait_with_output().unwrap().into()
}

/// Sends a signal to a child that has not ended yet.
fn signal(child: &mut Child, name: &str) {
    if child.try_wait().unwrap().is_none() {
        let status = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }
}

/// Stops a run with a signal, checks the exit, and lets it finish.
fn stop_and_go_on(name: &str, code: i32) {
    let bench = Bench::new();
    let flags = "--num_epochs 8 --test_period 8 --model_period 8";
    bench.train(&format!("{flags} --model_path whole"));
    let run = bench.path("run");
    let stopped = loop {
        let mut child = start(bench.small(&format!("{flags} --set checkpoint.every_steps=1")));
        wait_for_step(&mut child, &run, 7);
        signal(&mut child, name);
        let stopped = ended(child);
        if stopped.code != Some(0) {
            break stopped;
        }
        // It was over before the signal came.
        std::fs::remove_dir_all(&run).unwrap();
    };
    assert_eq!((stopped.code, stopped.stdout.as_str()), (Some(code), ""), "{}", stopped.stderr);
    stopped.says(&["state saved", "--resume auto"]);
    let step = newest_step(&run);
    assert!((7..8 * STEPS_PER_EPOCH).contains(&step), "{step}");
    stopped.says(&[&format!("stopped after step {step},")]);
    assert!(!run.join("weights.safetensors").exists() && !run.join("summary.json").exists());
    bench
        .train(&format!("{flags} --resume auto --threads 2"))
        .says(&[&format!("step-{step:08} ({step} of 80 steps done)")]);
    assert!(bench.bytes("run/weights.safetensors") == bench.bytes("whole/weights.safetensors"));
    assert_eq!(records(&bench, "run"), records(&bench, "whole"));
}

#[test]
fn ctrl_c_saves_and_exits_with_130() {
    stop_and_go_on("-INT", 130);
}

#[test]
fn sigterm_saves_and_exits_with_143() {
    stop_and_go_on("-TERM", 143);
}

#[test]
fn resuming_a_finished_run_changes_nothing() {
    let bench = Bench::new();
    let first = bench.train("--json");
    let before = snapshot(&bench.path("run"));
    let again = bench.train("--resume auto --json");
    let parse = |ended: &Ended| serde_json::from_str::<Value>(&ended.stdout).unwrap();
    for field in ["top1", "top5", "sparsity", "steps", "epochs", "threshold"] {
        assert_eq!(parse(&again)[field], parse(&first)[field], "{field}");
    }
    let after = snapshot(&bench.path("run"));
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    let changed: Vec<_> = before.keys().filter(|name| before[*name] != after[*name]).collect();
    assert!(changed.is_empty(), "{changed:?} changed: {:?}", bench.json("run/summary.json"));
}

#[test]
fn resume_auto_starts_where_there_is_nothing() {
    let bench = Bench::new();
    bench.train("--resume auto");
    bench.train("--model_path other");
    assert!(bench.bytes("run/weights.safetensors") == bench.bytes("other/weights.safetensors"));
}

/// Takes a finished run back to the moment right after the checkpoint of `step` came to be.
fn rewind(bench: &Bench, step: u64) {
    for found in names(&bench.path("run/checkpoints")) {
        if found > format!("step-{step:08}") {
            std::fs::remove_dir_all(bench.path("run/checkpoints").join(found)).unwrap();
        }
    }
    let before = |record: &Value| {
        let at = record["step"].as_u64().unwrap();
        at < step || at == step && record.get("lr").is_some()
    };
    let kept: Vec<String> = bench
        .metrics("run")
        .iter()
        .filter(|record| before(record))
        .map(|record| format!("{record}\n"))
        .collect();
    std::fs::write(bench.path("run/metrics.jsonl"), kept.concat()).unwrap();
    for written_later in ["run/weights.safetensors", "run/summary.json"] {
        std::fs::remove_file(bench.path(written_later)).unwrap();
    }
}

#[test]
fn a_kill_between_the_checkpoint_and_the_test_of_an_epoch_loses_no_record() {
    let bench = Bench::new();
    bench.train("--set checkpoint.every_steps=5");
    let (weights, whole) = (bench.bytes("run/weights.safetensors"), records(&bench, "run"));
    rewind(&bench, STEPS_PER_EPOCH as u64);
    bench.train("--set checkpoint.every_steps=5 --resume auto").says(&["(10 of 20 steps done)"]);
    assert!(bench.bytes("run/weights.safetensors") == weights);
    assert_eq!(records(&bench, "run"), whole);
}

#[test]
fn resume_epoch_goes_on_from_that_epoch() {
    let bench = Bench::new();
    bench.train("--num_epochs 3");
    let weights = bench.bytes("run/weights.safetensors");
    for flags in ["--resume_epoch 1", "--last_epoch 1"] {
        let resumed = bench.train(&format!("--num_epochs 3 {flags}"));
        resumed.says(&[if flags.contains("resume") {
            "(10 of 30 steps done)"
        } else {
            "(20 of 30 steps done)"
        }]);
        assert!(bench.bytes("run/weights.safetensors") == weights, "{flags}");
        assert_eq!(records(&bench, "run").len(), 33, "{flags}");
    }
    bench.train("--num_epochs 3 --model_path other --checkpoint run --resume_epoch 2");
    assert!(bench.bytes("other/weights.safetensors") == weights);
}

#[test]
fn an_epoch_without_a_checkpoint_lists_those_there_are() {
    let bench = Bench::new();
    bench.train("--set checkpoint.every_steps=5");
    let before = snapshot(&bench.path("run"));
    let there = "there are epoch 1 (step 10), step 15, within an epoch, epoch 2 (step 20)";
    fail(bench.small("--resume_epoch 7"), 1, &["no checkpoint of epoch 7", "run/checkpoints", there]);
    assert!(snapshot(&bench.path("run")) == before);
    fail(
        bench.small("--resume_epoch 7 --model_path empty"),
        1,
        &["no checkpoint of epoch 7", "there are none"],
    );
}

#[test]
fn resume_epoch_with_weights_alone_starts_at_that_epoch() {
    let bench = Bench::new();
    bench.train("--model_path from");
    let flags = "--num_epochs 3 --resume_epoch 1 --pretrained_model from";
    bench.train(flags).says(&["no checkpoint of epoch 1", "zero momentum", "from/weights.safetensors"]);
    let steps: Vec<u64> =
        records(&bench, "run").iter().filter(|(_, log)| *log).map(|(step, _)| *step).collect();
    assert_eq!(steps, (11..=30).collect::<Vec<_>>());
    assert_eq!(bench.json("run/summary.json")["epochs"], 3);
}

#[test]
fn going_back_to_an_epoch_leaves_no_state_of_the_run_given_up() {
    let bench = Bench::new();
    bench.train("--num_epochs 3");
    let other = "--num_epochs 3 --lr 0.01";
    bench
        .train(&format!("{other} --resume_epoch 1"))
        .says(&["going on with train.lr = 0.01, saved with 0.05"]);
    let weights = bench.bytes("run/weights.safetensors");
    for epoch in [2, 3] {
        bench.train(&format!("{other} --resume_epoch {epoch}"));
        assert!(
            bench.bytes("run/weights.safetensors") == weights,
            "the checkpoint of epoch {epoch} is not of the run that went on with lr 0.01"
        );
    }
}

#[test]
fn the_newest_few_checkpoints_are_kept() {
    let bench = Bench::new();
    bench.train("--set checkpoint.every_steps=3 --set checkpoint.keep=2");
    assert_eq!(names(&bench.path("run/checkpoints")), ["step-00000018", "step-00000020"]);
    bench.train("--set checkpoint.every_steps=3");
    assert_eq!(names(&bench.path("run/checkpoints")), ["step-00000015", "step-00000018", "step-00000020"]);
}

fn flip_a_byte(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_checkpoint_is_passed_over_with_a_warning() {
    let bench = Bench::new();
    bench.train("");
    let weights = bench.bytes("run/weights.safetensors");
    let newest = bench.path("run/checkpoints/step-00000020");
    let files = names(&newest);
    assert_eq!(files, ["masks.safetensors", "state.json", "velocity.safetensors", "weights.safetensors"]);
    for file in files {
        flip_a_byte(&newest.join(&file));
        let before = snapshot(&bench.path("run"));
        fail(bench.small("--resume_epoch 2"), 1, &["step-00000020 is damaged", &file, "--resume auto"]);
        assert!(snapshot(&bench.path("run")) == before, "{file}");
        let resumed = bench.train("--resume auto");
        resumed.says(&["WARN", "step-00000020 is damaged", &file, "step-00000010 (10 of 20 steps done)"]);
        assert!(bench.bytes("run/weights.safetensors") == weights, "{file}");
        bench.train("--resume_epoch 2");
    }
}

#[test]
fn a_cut_or_missing_file_of_a_checkpoint_is_damage() {
    let bench = Bench::new();
    bench.train("");
    let newest = bench.path("run/checkpoints/step-00000020");
    let masks = newest.join("masks.safetensors");
    let bytes = std::fs::read(&masks).unwrap();
    std::fs::write(&masks, &bytes[..bytes.len() - 1]).unwrap();
    bench.train("--resume auto").says(&["step-00000020 is damaged", "masks.safetensors", "(10 of 20"]);
    std::fs::remove_file(newest.join("state.json")).unwrap();
    bench.train("--resume auto").says(&["step-00000020 is damaged", "state.json", "(10 of 20"]);
}

#[test]
fn a_checkpoint_of_another_run_is_refused() {
    let bench = Bench::new();
    bench.train("");
    let before = snapshot(&bench.path("run"));
    for resume in ["--resume auto", "--resume_epoch 1"] {
        let scale = format!("{resume} --set model.scale=0.25");
        fail(
            bench.small(&scale),
            1,
            &["model.scale = 0.125, this run has 0.25", "checkpoints/step-", "--model_path"],
        );
    }
    fail(bench.small("--resume auto --seed 5"), 1, &["train.seed = 0, this run has 5"]);
    fail(
        bench.small("--resume auto --set model.num_classes=12"),
        1,
        &["model.num_classes = 10, this run has 12"],
    );
    assert!(snapshot(&bench.path("run")) == before);
}

#[test]
fn masks_cost_about_a_bit_per_weight() {
    let bench = Bench::new();
    bench.train("--num_epochs 1 --set model.scale=0.5");
    let folder: PathBuf = bench.path("run/checkpoints/step-00000010");
    let size = std::fs::metadata(folder.join("masks.safetensors")).unwrap().len();
    let (_, weights) = bench.weights("run").zeros(prunable);
    let (bits, header) = (weights as u64 / 8, 4096);
    assert!((bits..bits + header).contains(&size), "{size} bytes for {weights} weights");
}

#[test]
fn gradual_pruning_resumes_in_the_middle_of_its_ramp() {
    let bench = Bench::new();
    let flags =
        "--num_epochs 3 --pruning_strategy gmp --stable_epochs 0 --pruning_epochs 2 --pruning_steps 4";
    bench.train(&format!("{flags} --model_path whole"));
    bench.train(flags);
    rewind(&bench, STEPS_PER_EPOCH as u64);
    let ended = end(bench.small(&format!("{flags} --resume auto --threads 2")));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.says(&["(10 of 30 steps done)"]);
    assert!(bench.bytes("run/weights.safetensors") == bench.bytes("whole/weights.safetensors"));
    let sparsity = number(&bench.json("run/summary.json"), "/sparsity/prunable");
    same_fraction(sparsity, bench.weights("run").sparsity(prunable));
}

#[test]
fn a_second_ctrl_c_ends_at_once() {
    let bench = Bench::new();
    succeed(bench.small("--num_epochs 1 --model_path warm"));
    let mut child = start(bench.small("--num_epochs 2000 --set checkpoint.every_steps=1"));
    wait_for_step(&mut child, &bench.path("run"), 2);
    signal(&mut child, "-INT");
    // The first one may have ended the run already, so that there is nobody left to hear the second.
    let _ = Command::new("kill").args(["-INT", &child.id().to_string()]).stderr(Stdio::null()).status();
    assert_eq!(ended(child).code, Some(130));
}
