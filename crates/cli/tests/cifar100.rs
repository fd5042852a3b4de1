//! PaddleSlim's CIFAR-100 demo from `configs/cifar100.toml`, on the real binary and small files of the same format: planned,
//! pruned along its schedule, killed and resumed to the same bytes; and what people give in place of these files.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Bench, fail, number, succeed};
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const TRAIN_IMAGES: usize = 320;
/// Batches of one epoch at the batch size of [`SHORT`].
const STEPS_PER_EPOCH: usize = 10;
/// The config on a network of an eighth of the width: 2 epochs in which the ratio climbs twice each, 1 of fine-tuning.
const SHORT: &str = "--set model.scale=0.125 --set data.path=hundred --batch_size 32 --num_epochs 3 --pruning_epochs 2 \
                     --tunning_epochs 1 --log_period 1 --threads 1 --num_workers 1 --model_path run";

fn config() -> String {
    format!(
        "--config {}",
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/cifar100.toml").display()
    )
}

/// Records with a bright square whose place is that of the class.
fn records(count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in 0..count {
        let class = number % 100;
        bytes.extend([(class / 5) as u8, class as u8]);
        let (left, top) = (class % 10 * 3, class / 10 * 3);
        let inside =
            |at: usize| (left..left + 4).contains(&(at % 32)) && (top..top + 4).contains(&(at / 32 % 32));
        bytes.extend((0..3072).map(|at| if inside(at) { 230 } else { ((at * 7 + number * 13) % 60) as u8 }));
    }
    bytes
}

fn bench() -> Bench {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("hundred")).unwrap();
    std::fs::write(bench.path("hundred/train.bin"), records(TRAIN_IMAGES)).unwrap();
    std::fs::write(bench.path("hundred/test.bin"), records(64)).unwrap();
    bench
}

fn short(bench: &Bench, flags: &str) -> Command {
    bench.bare(&format!("{} {SHORT} {flags}", config()))
}

/// Kills the process once the run has a checkpoint of this step.
fn kill_after(mut child: Child, run: &Path, step: usize) {
    let there = run.join(format!("checkpoints/step-{step:08}"));
    while !there.exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_config_is_planned_as_the_demo_runs() {
    let bench = bench();
    let flags = format!("{} --set data.path=hundred --set model.scale=0.125 --print_config", config());
    let printed = succeed(bench.bare(&flags)).stdout;
    for line in ["linear_decay", "MobileNetCifar", "cifar100", "rotation = 15", "contrast = 0.1"] {
        assert!(printed.contains(line), "{line} is not in\n{printed}");
    }
}

#[test]
fn the_ratio_climbs_twice_an_epoch_and_the_rate_falls_in_the_fine_tuning() {
    let bench = bench();
    let ended = succeed(short(&bench, ""));
    ended.says(&[
        "MobileNetCifar x0.125",
        "0.01, linear decay to 0.0001",
        "0 dense steps, 20 pruning steps with 4 updates",
    ]);
    let steps: Vec<Value> =
        bench.metrics("run").into_iter().filter(|record| record.get("lr").is_some()).collect();
    assert_eq!(steps.len(), 3 * STEPS_PER_EPOCH);
    let weights = 3_139_584.0 / 64.0;
    for (step, record) in steps.iter().enumerate() {
        let climbed = (step / 5).min(4) as f64 / 4.0;
        let ratio = match step {
            19.. => 0.9,
            _ => 0.9 - 0.8 * (1.0 - climbed).powi(3),
        };
        let sparsity = number(record, "/sparsity/pointwise");
        assert!((sparsity - ratio).abs() < 2.0 / weights, "{step}: {sparsity} and not {ratio}");
        let tuned = step.saturating_sub(20) as f64 / 10.0;
        assert!((number(record, "/lr") - (0.01 - 0.0099 * tuned)).abs() < 1e-12, "{record}");
    }
}

#[test]
fn a_run_that_was_killed_goes_on_to_the_same_bytes() {
    let bench = bench();
    succeed(short(&bench, "--model_path whole"));
    for (at, threads) in [(7, 2), (24, 1)] {
        let mut command = short(&bench, "--set checkpoint.every_steps=1");
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        kill_after(child, &bench.path("run"), at);
        let flags = format!("--set checkpoint.every_steps=1 --resume auto --threads {threads}");
        succeed(short(&bench, &flags));
        assert!(
            bench.bytes("run/weights.safetensors") == bench.bytes("whole/weights.safetensors"),
            "killed at {at}"
        );
        std::fs::remove_dir_all(bench.path("run")).unwrap();
    }
}

#[test]
fn what_it_makes_is_tested_packed_exported_and_run() {
    let bench = bench();
    succeed(short(&bench, ""));
    let top1 = number(&bench.json("run/summary.json"), "/top1");
    let data = "--data cifar100 --set data.path=hundred --phase test --json";
    let again = |weights: &str| {
        let ended = succeed(bench.bare(&format!("{data} --pruned_model {weights}")));
        number(&serde_json::from_str(&ended.stdout).unwrap(), "/top1")
    };
    succeed(bench.bare("export run/weights.safetensors --to packed -o packed.safetensors"));
    succeed(bench.bare("export run/weights.safetensors --to onnx -o net.onnx"));
    for weights in ["run", "packed.safetensors"] {
        assert!((again(weights) - top1).abs() < 1e-9, "{weights}");
    }
    for file in ["run/weights.safetensors", "packed.safetensors", "net.onnx"] {
        let timed = succeed(bench.bare(&format!("bench infer --weights {file} --threads 1 --runs 1 --json")));
        assert!(timed.stdout.contains("images_per_second"), "{file}: {}", timed.stdout);
    }
    let as_mobilenet = format!("{data} --model MobileNet --pruned_model run");
    fail(bench.bare(&as_mobilenet), 2, &["MobileNetCifar", "model.model is MobileNet"]);
}

#[test]
fn groups_of_classes_have_twenty_outputs() {
    let bench = bench();
    let groups = "--set data.coarse_labels=true --num_epochs 1 --pruning_mode none";
    succeed(short(&bench, groups)).says(&["20 classes"]);
    assert_eq!(bench.weights("run").tensors["fc7_weights"].0, [128, 20]);
    let few = short(&bench, "--num_classes 19 --set data.coarse_labels=true --model_path other");
    fail(few, 2, &["20 classes", "num_classes"]);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn other_files_and_folders_are_told_for_what_they_are() {
    let bench = bench();
    let file = |name: &str, bytes: &[u8]| {
        let path = bench.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    let refused = |path: &str, data: &str, code: i32, parts: &[&str]| {
        let flags = format!("--data {data} --set data.path={path}");
        fail(short(&bench, &flags), code, parts);
        assert!(!bench.path("run").exists());
    };
    let whole = records(40);
    file("cut/train.bin", &whole[..whole.len() - 100]);
    file("cut/test.bin", &whole);
    refused(
        "cut",
        "cifar100",
        1,
        &["cut/train.bin has 122860 bytes", "3074-byte records", "cifar-100-binary.tar.gz"],
    );
    for name in ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"]
    {
        file(&format!("ten/{name}.bin"), &vec![3; 40 * 3073]);
    }
    refused("ten", "cifar100", 1, &["ten/train.bin is missing", "--data cifar10 "]);
    refused("hundred", "cifar10", 1, &["hundred/data_batch_1.bin is missing", "--data cifar100 "]);
    file("renamed/train.bin", &vec![3; 40 * 3073]);
    file("renamed/test.bin", &whole);
    refused("renamed", "cifar100", 1, &["renamed/train.bin", "--data cifar10`"]);
    for name in ["train", "test", "meta", "file.txt~"] {
        file(&format!("python/{name}"), b"\x80\x02}q\x01");
    }
    refused("python", "cifar100", 1, &["train.bin is missing", "Python version", "cifar-100-binary.tar.gz"]);
    file("archive/cifar-100-binary.tar.gz", &gzip(&whole));
    refused("archive", "cifar100", 1, &["unpack archive/cifar-100-binary.tar.gz"]);
    refused("archive/cifar-100-binary.tar.gz", "cifar100", 1, &["is no folder: unpack it"]);
    file("zipped/train.bin", &gzip(&whole));
    file("zipped/test.bin", &whole);
    refused("zipped", "cifar100", 1, &["zipped/train.bin", "compressed with gzip: unpack it"]);
    file("above/cifar-100-binary/train.bin", &whole);
    file("above/cifar-100-binary/test.bin", &whole);
    refused(
        "above",
        "cifar100",
        1,
        &["it lies in above/cifar-100-binary", "--set data.path=above/cifar-100-binary"],
    );
    refused("hundred/train.bin", "cifar100", 1, &["hundred/train.bin is no folder"]);
    fail(short(&bench, "--num_classes 99"), 2, &["100 classes", "num_classes"]);
    let turned = "--data cifar100 --set data.rotation=181";
    fail(short(&bench, turned), 2, &["data.rotation = 181", "degrees, from 0 to 180"]);
    let grey = "--data mnist --set data.path=data --set data.rotation=5 --model MobileNet";
    fail(bench.small(grey), 2, &["data.rotation", "cifar10"]);
}

#[test]
fn either_network_takes_images_of_either_size() {
    let bench = bench();
    let dense = "--pruning_mode none --num_epochs 1";
    succeed(short(&bench, &format!("--model MobileNet {dense} --model_path small")));
    common::data::write_image_folder(&bench.path("images"));
    let photos = "--data imagenet --set data.path=images --num_classes 16 --set data.augment=false --batch_size 8 \
                  --set model.scale=0.125 --model_path large --threads 1 --num_workers 1";
    succeed(bench.bare(&format!("--model MobileNetCifar {dense} {photos}"))).says(&["3x224x224"]);
}
