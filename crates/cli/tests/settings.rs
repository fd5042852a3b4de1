//! Settings without effect, far too many threads, wrong values and config files that are none, on the real binary. Hardly
//! a test here trains: `--print_config` resolves and ends.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::data::write_image_folder;
use common::{Bench, Ended, fail, succeed};

/// The warnings of a command that resolves its config.
fn warnings(bench: &Bench, flags: &str) -> Vec<String> {
    let ended = succeed(bench.bare(&format!("--print_config {flags}")));
    ended.stderr.lines().filter(|line| line.contains("WARN")).map(str::to_owned).collect()
}

#[test]
fn each_setting_without_effect_is_named_once() {
    let bench = Bench::new();
    for (flags, named) in [
        ("--teacher W", "train.teacher = \"W\" (flag --teacher)"),
        ("--teacher_key ema", "train.teacher_key = \"ema\" (flag --teacher_key)"),
        ("--pretrained_key ema", "model.pretrained_key (flag --pretrained_key) has no effect without"),
        ("--distill_weight 0.5", "train.distill_weight = 0.5 (flag --distill_weight)"),
        ("--distill_temperature 2", "train.distill_temperature"),
        ("--pruning_mode none --ratio 0.5", "prune.ratio = 0.5 (flag --ratio)"),
        ("--pruning_mode ratio --threshold 0.1", "prune.threshold = 0.1 (flag --threshold)"),
        ("--ratio 0.5 --stable_epochs 3", "prune.stable_epochs = 3 (flag --stable_epochs)"),
        ("--lr_strategy cosine_decay --step_epochs 1 2", "train.step_epochs = [1, 2]"),
        ("--pruning_mode none --set prune.include=[\"a\"]", "prune.include"),
        ("--ratio 0.5 --gpu_sparse_from 0.5 --device cpu", "train.gpu_sparse_from"),
        ("--set data.bad_images=skip", "data.bad_images = \"skip\" (--set data.bad_images=skip)"),
    ] {
        let said = warnings(&bench, flags);
        assert_eq!(said.len(), 1, "{flags}: {said:?}");
        assert!(said[0].contains(named), "{flags}: {said:?}");
    }
}

#[test]
fn settings_with_effect_are_taken_without_a_word() {
    let bench = Bench::new();
    for flags in [
        "",
        "--ratio 0.5 --local_sparsity true",
        "--threshold 0.1 --prune_params_type conv1x1_only",
        "--ratio 0.5 --pruning_strategy gmp --stable_epochs 1 --pruning_epochs 2 --tunning_epochs 3 --initial_ratio 0",
        "--pruning_mode none --lr_strategy cosine_decay",
        "--distill --teacher W --distill_weight 0.5",
        "--data imagenet --set data.rotate=true --set data.bad_images_limit=0.5",
    ] {
        assert_eq!(warnings(&bench, flags), [""; 0], "{flags}");
    }
}

#[test]
fn a_test_counts_what_only_trains_as_without_effect() {
    let bench = Bench::new();
    bench.train("--pruning_mode none --model_path models");
    for (flags, named) in [
        ("--lr 0.1", "train.lr = 0.1 (flag --lr) has no effect with --phase test"),
        ("--resume auto", "a test goes on from no checkpoint"),
    ] {
        let said = warnings(&bench, &format!("--phase test {flags}"));
        assert!(said.len() == 1 && said[0].contains(named), "{flags}: {said:?}");
    }
    let flags = "--phase test --batch_size_for_validation 7 --precision bf16 --threads 1";
    assert_eq!(warnings(&bench, flags), [""; 0]);
}

#[test]
fn a_printed_config_reads_back_and_names_its_sources() {
    let bench = Bench::new();
    std::fs::write(bench.path("a.toml"), "\u{feff}[train]\r\nlr = 0.25\r\n").unwrap();
    let first = succeed(bench.bare("--print_config --config a.toml --ratio 0.5 --set train.seed=7"));
    for line in
        ["lr = 0.25  # a.toml", "ratio = 0.5  # --ratio", "seed = 7  # --set", "# threads is left out: cores"]
    {
        assert!(first.stdout.lines().any(|shown| shown == line), "{line}\n{}", first.stdout);
    }
    std::fs::write(bench.path("b.toml"), &first.stdout).unwrap();
    let second = succeed(bench.bare("--print-config --config b.toml"));
    let values = |ended: &Ended| -> Vec<String> {
        ended.stdout.lines().map(|line| line.split("  #").next().unwrap().to_owned()).collect()
    };
    assert_eq!(values(&first), values(&second));
    assert!(!bench.path("models").exists());
    let schema = succeed(bench.bare("--print_schema")).stdout;
    assert!(schema.contains("\"exclusiveMinimum\": 0.0"), "{schema}");
    assert!(succeed(bench.bare("--print_keys")).stdout.contains("| `--ratio` |"));
}

#[test]
fn far_too_many_threads_are_refused_at_once() {
    let bench = Bench::new();
    for flags in ["--threads 1025", "--num_workers 5000", "--set train.threads=100000"] {
        fail(bench.bare(flags), 2, &["a whole number from", "to 1024"]);
    }
    for command in
        ["bench infer --threads 5000000", "bench train --threads 5000000", "bench data . --threads 5000000"]
    {
        fail(bench.bare(command), 2, &["--threads", "at most", "this process may use"]);
    }
    fail(bench.bare("predict a.png --weights w --threads 5000000"), 2, &["at most", "this process may use"]);
    for flags in ["--threads 0", "--threads -1", "--num_workers -1"] {
        fail(bench.bare(flags), 2, &["must be a whole number from"]);
    }
    fail(bench.bare("predict a.png --weights w --threads 0"), 2, &["1 or more"]);
}

#[test]
fn more_threads_than_processors_are_pointed_out() {
    let bench = Bench::new();
    let cores = std::thread::available_parallelism().unwrap().get();
    if cores >= 64 {
        return;
    }
    let said = warnings(&bench, "--threads 64 --num_workers 1");
    assert!(
        said.len() == 1 && said[0].contains("train.threads = 64 (flag --threads): this process may use"),
        "{said:?}"
    );
}

#[test]
fn files_that_are_no_config_are_named_for_what_they_are() {
    let bench = Bench::new();
    fail(bench.bare("--config data"), 2, &["data is no config file: it is a folder"]);
    std::fs::write(bench.path("w.toml"), b"seed = 1\n\xff\xff").unwrap();
    fail(bench.bare("--config w.toml"), 2, &["w.toml is no config file: line 2 is not UTF-8"]);
    std::fs::write(bench.path("long.toml"), vec![b'\n'; 2 << 20]).unwrap();
    fail(bench.bare("--config long.toml"), 2, &["more than 1048576 bytes"]);
    std::fs::write(bench.path("twice.toml"), "[train]\nlr = 1\nlr = 2\n").unwrap();
    fail(bench.bare("--config twice.toml"), 2, &["twice.toml is not valid TOML", "line 3", "duplicate"]);
}

#[cfg(unix)]
#[test]
fn a_config_comes_through_a_pipe_of_a_command_but_not_from_one_that_may_have_no_writer() {
    use std::{io::Write, process::Stdio};
    let bench = Bench::new();
    let made = std::process::Command::new("mkfifo").arg(bench.path("pipe")).status();
    if made.is_ok_and(|status| status.success()) {
        fail(bench.bare("--config pipe"), 2, &["pipe is no config file: it is a pipe"]);
    }
    let mut command = bench.bare("--print_config --config /dev/stdin");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"train.seed = 8").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("seed = 8  # /dev/stdin"), "{output:?}");
}

#[test]
fn a_checkpoint_that_is_not_there_ends_a_run_that_asks_for_it() {
    let bench = Bench::new();
    for path in ["TYPO", "data"] {
        let parts = [path, "holds no checkpoint", "--checkpoint"];
        fail(bench.small(&format!("--resume auto --checkpoint {path}")), 1, &parts);
    }
    assert!(!bench.path("run/weights.safetensors").exists());
}

#[test]
fn outputs_without_a_class_are_told_of_once() {
    let bench = Bench::new();
    write_image_folder(&bench.path("files"));
    for split in ["train", "val"] {
        for class in 0..16 {
            let folder = bench.path(&format!("images/{split}/{class:02}"));
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::copy(bench.path(&format!("files/{split}/{class}.png")), folder.join("a.png")).unwrap();
        }
    }
    let ended = succeed(bench.bare(
        "--data imagenet --set data.path=images --set data.image_size=32 --set model.scale=0.125 --num_classes 20 \
         --batch_size 8 --num_epochs 1 --threads 1 --num_workers 1 --model_path run",
    ));
    assert_eq!(
        ended.stderr.matches("has 16 classes and the network 20 outputs").count(),
        1,
        "{}",
        ended.stderr
    );
}

#[test]
#[cfg(not(feature = "mpi"))]
fn several_processes_are_refused_by_a_build_that_cannot_share_a_run() {
    let bench = Bench::new();
    for variable in ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"] {
        for flags in ["", "--phase test --pretrained_model w"] {
            let mut command = bench.small(flags);
            command.env(variable, "4");
            fail(command, 2, &["4 processes were started", variable, "--features mpi"]);
        }
        let mut sweep = bench.bare("sweep");
        sweep.env(variable, "4");
        fail(sweep, 2, &["a sweep is the work of one"]);
        // One process is no reason, nor what a batch script is told.
        let mut alone = bench.bare("--print_config");
        alone.env(variable, "1").env("SLURM_NTASKS", "4");
        succeed(alone);
    }
    assert!(!bench.path("run").exists());
}
