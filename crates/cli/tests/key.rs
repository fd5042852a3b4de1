//! `--key` on the real binary: which network of a checkpoint with several is read, by every command that reads weights.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::data::write_image_folder;
use common::weights::Weights;
use common::{Bench, fail, succeed};
use std::path::PathBuf;

/// A file with two networks in it, `first` and `second`, of which the second has other weights in its head.
fn write_two(bench: &Bench) {
    let from =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/torch/timm.pth").canonicalize().unwrap();
    succeed(bench.bare(&format!("convert {} one.safetensors", from.display())));
    let one = Weights::read(&bench.path("one.safetensors"));
    let mut both = Weights::read(&bench.path("one.safetensors"));
    both.tensors.clear();
    for (name, (shape, values)) in one.tensors {
        both.tensors.insert(format!("first.{name}"), (shape.clone(), values.clone()));
        let values =
            if name == "fc7_offset" { values.iter().map(|value| value + 1.0).collect() } else { values };
        both.tensors.insert(format!("second.module.{name}"), (shape, values));
    }
    both.write(&bench.path("two.safetensors"));
}

#[test]
fn every_command_asks_which_network_and_takes_the_one_that_is_named() {
    let bench = Bench::new();
    write_two(&bench);
    write_image_folder(&bench.path("images"));
    let asks = ["two.safetensors", "several networks (first, second.module)", "--key"];
    for command in [
        "convert two.safetensors out",
        "export two.safetensors --to packed -o out",
        "export two.safetensors --to onnx -o out",
        "predict images/val/0.png --weights two.safetensors --size 32",
    ] {
        fail(bench.bare(command), 1, &asks);
        fail(
            bench.bare(&format!("{command} --key third")),
            1,
            &["no network under third", "first, second.module"],
        );
        succeed(bench.bare(&format!("{command} --key first")));
    }
    assert!(!bench.path("none").exists());
    let head = |key: &str, file: &str| {
        succeed(bench.bare(&format!("convert two.safetensors {file} --key {key}")));
        Weights::read(&bench.path(file)).tensors["fc7_offset"].1[0]
    };
    let (first, second) = (head("first", "a.safetensors"), head("second", "b.safetensors"));
    assert!((second - first - 1.0).abs() < 1e-5, "{first} {second}");
    // A name of the whole way says the same.
    assert_eq!(head("second.module", "c.safetensors"), second);
    let all = succeed(bench.bare("inspect two.safetensors")).stdout;
    let one = succeed(bench.bare("inspect two.safetensors --key second")).stdout;
    assert!(
        all.contains("second.module.fc7_offset") && !one.contains("module") && one.contains("fc7_offset")
    );
    succeed(bench.bare("export a.safetensors --to onnx -o a.onnx --size 32"));
    fail(
        bench.bare("predict images/val/0.png --weights a.onnx --key first"),
        2,
        &["a.onnx", "leave --key out"],
    );
    fail(bench.bare("inspect a.onnx --key first"), 2, &["a.onnx", "leave --key out"]);
    let onnx = succeed(bench.bare("inspect a.onnx")).stdout;
    assert!(onnx.contains("fc7.weight") && onnx.contains("fc7.bias") && !onnx.contains("int8"), "{onnx}");
}

#[test]
fn a_run_its_test_a_sweep_and_a_benchmark_take_the_network_that_is_named() {
    let bench = Bench::new();
    write_two(&bench);
    write_image_folder(&bench.path("images"));
    for list in ["images/train_list.txt", "images/val_list.txt"] {
        let list = bench.path(list);
        let images = std::fs::read_to_string(&list).unwrap();
        let as_many_as_outputs: Vec<&str> = images.lines().take(10).collect();
        std::fs::write(&list, as_many_as_outputs.join("\n")).unwrap();
    }
    succeed(bench.bare("convert two.safetensors second.safetensors --key second"));
    let data = "--data imagenet --set data.path=images --set data.image_size=32 --set data.resize=36 --batch_size 4 \
                --threads 1 --lr 0.01 --num_epochs 1";
    let run = |rest: &str| bench.bare(&format!("{data} {rest}"));
    for start in ["--pruning_mode none", "--phase test"] {
        fail(
            run(&format!("{start} --pretrained_model two.safetensors")),
            1,
            &["several networks", "--pretrained_key"],
        );
    }
    // The numbers of the network alone in its file, and of the same under its key.
    let report = |rest: &str| {
        succeed(run(&format!("{rest} --json"))).stdout.replace("two.safetensors", "second.safetensors")
    };
    let (named, alone) = (
        "--pretrained_model two.safetensors --pretrained_key second",
        "--pretrained_model second.safetensors",
    );
    assert_eq!(report(&format!("{named} --phase test")), report(&format!("{alone} --phase test")));
    let weights = |folder: &str, rest: &str| {
        let ended = succeed(run(&format!("--ratio 0.5 --model_path {folder} {rest}")));
        (Weights::read(&bench.path(folder).join("weights.safetensors")).tensors, ended.stderr)
    };
    let (trained, said) = weights("a", named);
    assert!(said.contains("two.safetensors (under second)"), "{said}");
    assert!(trained == weights("b", alone).0);
    assert!(trained != weights("c", "--pretrained_model two.safetensors --pretrained_key first").0);
    // A teacher under another key, and one that is the start itself.
    let distilled = weights("d", &format!("{named} --distill --teacher_key first")).0;
    assert!(
        distilled
            == weights("e", &format!("{alone} --distill --teacher two.safetensors --teacher_key first")).0
    );
    assert!(weights("f", &format!("{named} --distill")).0 == weights("g", &format!("{alone} --distill")).0);
    fail(
        run(&format!("{alone} --distill --teacher two.safetensors --pruning_mode none")),
        1,
        &["--teacher_key"],
    );
    let swept = |folder: &str, rest: &str| {
        succeed(bench.bare(&format!("sweep --model_path {folder} {data} {rest} --distill --ladder 0.5")));
        Weights::read(&bench.path(folder).join("ratio-0.5000/weights.safetensors")).tensors
    };
    assert!(swept("s", named) == swept("t", alone));
    let timed = "bench infer --weights two.safetensors --runs 1 --batch 1 --size 32 --threads 1";
    fail(bench.bare(timed), 1, &["several networks"]);
    succeed(bench.bare(&format!("{timed} --key second")));
}

#[test]
#[cfg(unix)]
fn a_pipe_is_refused_and_not_waited_for() {
    let bench = Bench::new();
    let made = std::process::Command::new("mkfifo").arg(bench.path("pipe")).status();
    assert!(made.unwrap().success());
    for command in
        ["inspect pipe", "convert pipe out", "predict a.png --weights pipe", "export pipe --to packed -o out"]
    {
        fail(bench.bare(command), 1, &["pipe", "is a pipe", "give that"]);
    }
    fail(bench.bare("--phase test --pretrained_model pipe --set data.path=data"), 1, &["is a pipe"]);
    fail(bench.bare("inspect /dev/zero"), 1, &["is a device"]);
}
