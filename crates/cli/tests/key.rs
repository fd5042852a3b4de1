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
    fail(bench.bare("inspect a.onnx"), 1, &["a.onnx", "an ONNX network"]);
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
