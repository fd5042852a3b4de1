//! Comparing runs and sweeping over sparsity, on the real binary.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Bench, fail, names, number, succeed};
use serde_json::Value;
use std::process::{Command, Stdio};
use std::time::Duration;

/// A sweep of short runs into `sweep/`; later flags win.
fn sweep(bench: &Bench, flags: &str) -> Command {
    let steps = if flags.contains("--ladder") { "" } else { "--steps 3" };
    bench.bare(&format!(
        "sweep --set data.path=data --set model.scale=0.125 --batch_size 64 --num_epochs 2 --lr 0.05 --threads 1 \
         --num_workers 1 --test_period 1 --model_period 1 --set checkpoint.every_steps=2 --loss 0.05 {steps} \
         --model_path sweep {flags}"
    ))
}

/// The points of a report without what a clock measured and where it lies.
fn points(report: &Value) -> Vec<Value> {
    let mut points = report["points"].as_array().unwrap().clone();
    for point in &mut points {
        for key in ["images_per_second", "run", "start"] {
            point.as_object_mut().unwrap().remove(key).unwrap();
        }
    }
    points
}

#[test]
fn a_sweep_trains_a_dense_net_and_bisects() {
    let bench = Bench::new();
    let ended = succeed(sweep(&bench, "--json"));
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report, bench.json("sweep/sweep.json"));
    let ratios: Vec<f64> = points(&report).iter().map(|point| number(point, "/ratio")).collect();
    assert_eq!(ratios.len(), 3);
    assert!(ratios.is_sorted() && ratios.contains(&0.5), "{ratios:?}");
    let dense = number(&report, "/dense/top1");
    assert_eq!(dense, number(&bench.json("sweep/dense/summary.json"), "/top1"));
    let good = points(&report).into_iter().filter(|point| number(point, "/top1") >= dense - 0.05 - 1e-9);
    let best = good.map(|point| number(&point, "/ratio")).reduce(f64::max);
    assert_eq!(report["best"].as_f64(), best);
    for ratio in ratios {
        let summary = bench.json(&format!("sweep/ratio-{ratio:.4}/summary.json"));
        assert!((number(&summary, "/sparsity/prunable") - ratio).abs() < 1e-3);
    }
    let svg = String::from_utf8(bench.bytes("sweep/sweep.svg")).unwrap();
    assert_eq!(svg.matches("<circle").count(), 3);
    // Again: nothing is trained, the same is printed; a looser limit takes what is known and adds to it.
    let again = succeed(sweep(&bench, "--json"));
    assert_eq!(again.stdout, ended.stdout);
    assert!(!again.stderr.contains("step["), "{}", again.stderr);
    let ladder = succeed(sweep(&bench, "--ladder 0.5,0.6 --loss 0.9"));
    ladder.says(&["ratio 0.6, point 1 of at most 2"]);
    assert!(ladder.stdout.contains("| 0.6000 |"), "{}", ladder.stdout);
    fail(sweep(&bench, "--lr 0.01"), 1, &["a sweep with another train.lr", "--model_path"]);
}

/// Steps that the newest checkpoints of all runs of a sweep have behind them together.
fn checkpoints(bench: &Bench) -> usize {
    let Ok(runs) = std::fs::read_dir(bench.path("sweep")) else { return 0 };
    let step = |name: &String| name.strip_prefix("step-")?.parse::<usize>().ok();
    let newest = |run: std::io::Result<std::fs::DirEntry>| {
        let folder = run.ok()?.path().join("checkpoints");
        folder.is_dir().then(|| names(&folder).iter().filter_map(step).max())?
    };
    runs.filter_map(newest).sum()
}

#[test]
fn kills_do_not_change_what_a_sweep_finds() {
    let bench = Bench::new();
    let flags = "--json --from last-good --distill";
    let whole = succeed(sweep(&bench, &format!("{flags} --model_path whole")));
    let whole: Value = serde_json::from_str(&whole.stdout).unwrap();
    let mut kills = 0;
    let mut seen = 0;
    let report: Value = loop {
        let mut command = sweep(&bench, flags);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        // Each attempt gets further by a checkpoint at least, so that it comes to an end.
        while checkpoints(&bench) < seen + 6 && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(7 * (kills % 8)));
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        if let Some(code) = output.status.code() {
            assert_eq!(code, 0);
            break serde_json::from_slice(&output.stdout).unwrap();
        }
        seen = checkpoints(&bench);
        kills += 1;
    };
    assert!(kills > 1, "{kills} kills");
    assert_eq!(points(&report), points(&whole));
    for run in names(&bench.path("whole")).iter().filter(|name| name.starts_with("ratio-")) {
        let weights = |sweep: &str| bench.bytes(&format!("{sweep}/{run}/weights.safetensors"));
        assert!(weights("sweep") == weights("whole"), "{run}");
    }
}

#[test]
fn a_sweep_starts_from_given_weights() {
    let bench = Bench::new();
    bench.train("--pruning_mode none --model_path given");
    let flags = "--pretrained_model given --ladder 0.3 --num_epochs 1";
    let ended = succeed(sweep(&bench, flags));
    assert!(!ended.stderr.contains("training one"), "{}", ended.stderr);
    let report = bench.json("sweep/sweep.json");
    assert_eq!(number(&report, "/dense/top1"), number(&bench.json("given/summary.json"), "/top1"));
    assert_eq!(report["points"][0]["start"], "given/weights.safetensors");
    bench.train("--pruning_mode none --model_path given --seed 2");
    fail(sweep(&bench, flags), 1, &["a sweep with another model.pretrained_model"]);
    fail(sweep(&bench, "--low 0.6 --high 0.5"), 2, &["--low 0.6 and --high 0.5"]);
}

#[test]
fn runs_are_compared_over_the_same_images() {
    let bench = Bench::new();
    for seed in [1, 2] {
        bench.train(&format!("--seed {seed} --pruning_mode none --model_path runs/dense/seed-{seed}"));
        bench.train(&format!(
            "--seed {seed} --ratio 0.9 --pretrained_model runs/dense/seed-{seed} --num_epochs 1 \
             --model_path runs/pruned-90/seed-{seed}"
        ));
    }
    let ended = succeed(bench.bare("compare runs/dense runs/pruned-90 --json --svg plot.svg"));
    let found: Value = serde_json::from_str(&ended.stdout).unwrap();
    let top1 = |run: &str| {
        (1..=2)
            .map(|seed| number(&bench.json(&format!("runs/{run}/seed-{seed}/summary.json")), "/top1"))
            .sum::<f64>()
            / 2.0
    };
    let difference = top1("pruned-90") - top1("dense");
    assert!((number(&found, "/rows/1/difference/mean") - difference).abs() < 1e-9);
    assert!((number(&found, "/rows/1/sparsity/prunable") - 0.9).abs() < 1e-3);
    assert_eq!((&found["images"], &found["rows"][1]["seeds"]), (&200.into(), &serde_json::json!([1, 2])));
    assert!(String::from_utf8(bench.bytes("plot.svg")).unwrap().contains("pruned"));
    let listed = succeed(bench.bare("compare runs/dense/seed-1,runs/dense/seed-2 runs/pruned-90"));
    assert!(
        listed.stdout.contains("points to dense") && listed.stdout.contains("| pruned-90 "),
        "{}",
        listed.stdout
    );
    // The same runs: no difference, with an interval of no width.
    let same = succeed(bench.bare("compare runs/dense runs/dense --json"));
    let same: Value = serde_json::from_str(&same.stdout).unwrap();
    assert_eq!(same["rows"][1]["verdict"], "no_loss");
    fail(
        bench.bare("compare runs/dense nowhere"),
        1,
        &["nowhere/predictions.csv is missing", "--phase test"],
    );
}
