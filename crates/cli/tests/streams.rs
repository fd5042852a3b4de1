//! Streams that are closed, full or read by nobody: a run goes on without its log, and a result that cannot be written is
//! an error. On the real binary.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Bench, end, fail, succeed};
use sparse_testing::Need;

#[test]
fn a_run_goes_on_without_its_log() {
    let bench = Bench::new();
    bench.train("--model_path whole");
    let weights = bench.bytes("whole/weights.safetensors");
    let mut redirections = vec!["2>&1 | head -n 3 >/dev/null", "2>&-", "2>&- >&-", ">&-"];
    if Need::FullDevice.is_met_for("a run whose stderr is full") {
        redirections.push("2>/dev/full");
    }
    for (number, redirection) in redirections.into_iter().enumerate() {
        let run = format!("run-{number}");
        let status = format!("{run}.status");
        let script = format!(
            "{{ RUST_BACKTRACE=1 $BIN $SMALL --model_path {run}; echo $? >{status}; }} {redirection}"
        );
        succeed(bench.shell(&script));
        let status = String::from_utf8(bench.bytes(&status)).unwrap();
        assert_eq!(status, "0\n", "{redirection}");
        assert!(bench.bytes(&format!("{run}/weights.safetensors")) == weights, "{redirection}");
        assert_eq!(bench.metrics(&run).len(), 22, "{redirection}");
    }
}

#[test]
fn a_result_that_cannot_be_written_is_an_error_and_a_reader_that_left_is_none() {
    if !Need::FullDevice.is_met_for("a result on a full disk") {
        return;
    }
    let bench = Bench::new();
    bench.train("");
    for command in [
        "inspect run",
        "inspect run --json",
        "--phase test --set data.path=data --model_path run",
        "convert run w.safetensors",
        "compare run run",
        "--help",
        "inspect --help",
        "--version",
    ] {
        let full = bench.shell(&format!("$BIN {command} >/dev/full"));
        fail(full, 1, &["standard output", "No space left on device"]);
        let head = end(bench.shell(&format!("{{ $BIN {command}; echo $? >status; }} | true")));
        assert_eq!(head.code, Some(0));
        assert_eq!(String::from_utf8(bench.bytes("status")).unwrap(), "0\n", "{command}: {}", head.stderr);
        assert!(!head.stderr.contains("panicked") && !head.stderr.contains("Broken pipe"), "{}", head.stderr);
        // Nobody can be told, but the exit code says it.
        let mute = end(bench.shell(&format!("$BIN {command} >/dev/full 2>/dev/full")));
        assert_eq!(mute.code, Some(1), "{command}");
    }
}

#[test]
fn errors_and_usage_errors_keep_their_exit_code_without_stderr() {
    let bench = Bench::new();
    for redirection in ["2>&-", "2>/dev/full", "2>&1 | true"] {
        if redirection.contains("full") && !Need::FullDevice.is_met_for("an error on a full disk") {
            continue;
        }
        for (flags, code) in
            [("--no_such_flag", 2), ("--ratio 2", 2), ("inspect nothing", 1), ("predict x --weights y", 1)]
        {
            succeed(bench.shell(&format!("{{ $BIN {flags}; echo $? >status; }} {redirection}")));
            let status = String::from_utf8(bench.bytes("status")).unwrap();
            assert_eq!(status, format!("{code}\n"), "{flags} {redirection}");
        }
    }
}

#[test]
fn bad_input_shows_no_backtrace() {
    let bench = Bench::new();
    bench.train("");
    std::fs::write(bench.path("junk.safetensors"), b"no tensors here").unwrap();
    std::fs::write(bench.path("junk.pdparams"), b"\x80\x02no pickle").unwrap();
    std::fs::write(bench.path("junk.onnx"), [8, 1, 255, 255]).unwrap();
    std::fs::write(bench.path("junk.png"), b"\x89PNG\r\n\x1a\n....").unwrap();
    std::fs::write(bench.path("junk.jpg"), b"\xff\xd8\xff\xc0\x00\x0b\x08").unwrap();
    std::fs::write(bench.path("junk.toml"), "[train\n").unwrap();
    let before = bench.bytes("run/weights.safetensors");
    for flags in [
        "--config junk.toml",
        "--set train.lr=nan --data mnist",
        "--set prune.include=['('] --pruning_mode ratio --set data.path=data --model_path x",
        "--set data.path=data --model_path x --set prune.exclude=['.'] --ratio 0.5",
        "--set data.path=data --model_path x --pretrained_model junk.safetensors",
        "--set data.path=data --model_path x --pretrained_model run --set model.scale=0.5",
        "--set data.path=data --model_path x --pretrained_model run --num_classes 3",
        "--set data.path=nothing --model_path x",
        "--data cifar10 --set data.path=data --model_path x",
        "--data imagenet --set data.path=data --model_path x",
        "inspect junk.safetensors",
        "convert junk.pdparams out.safetensors",
        "convert run run/weights.safetensors",
        "export run --to onnx -o nowhere/x.onnx",
        "predict junk.png junk.jpg --weights run",
        "predict junk.png --weights junk.onnx",
        "compare run nothing",
        "bench train --batch 0",
        "bench infer --weights junk.onnx",
        "bench data --images nothing",
        "sweep --set data.path=data --ladder 0.5,0.9999999 --set model.scale=0.125 --model_path sweep",
    ] {
        for backtrace in ["1", "full"] {
            let mut command = bench.bare(flags);
            command.env("RUST_BACKTRACE", backtrace).env("RUST_LIB_BACKTRACE", "1");
            let ended = end(command);
            assert!(matches!(ended.code, Some(1 | 2)), "{flags}: {ended:?}");
            assert!(ended.stderr.contains("error: "), "{flags}: {ended:?}");
            for word in ["panicked", "backtrace", "BACKTRACE", "   0: ", "src/", "rustc"] {
                assert!(!ended.stderr.contains(word), "{flags}: {}", ended.stderr);
            }
        }
    }
    assert!(bench.bytes("run/weights.safetensors") == before);
}
