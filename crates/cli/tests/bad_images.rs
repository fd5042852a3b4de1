//! Training and testing on folders with images that cannot be used, on the real binary.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::data::write_class_folders;
use common::{Bench, fail, succeed};
use std::process::Command;

fn bench() -> Bench {
    let bench = Bench::new();
    std::fs::remove_dir_all(bench.path("data")).unwrap();
    write_class_folders(&bench.path("data"));
    bench
}

/// Two epochs of 6 steps into `run`.
fn run(bench: &Bench, flags: &str) -> Command {
    bench.scaled(&format!(
        "--data imagenet --set data.image_size=32 --set model.num_classes=3 --batch_size 10 --num_epochs 2 --lr 0.01 \
         --pruning_mode ratio --ratio 0.5 --test_period 1 --model_period 1 --threads 1 --model_path run {flags}"
    ))
}

fn listed(bench: &Bench) -> Vec<String> {
    let text = String::from_utf8(bench.bytes("run/bad_images.txt")).unwrap();
    text.lines().map(str::to_owned).collect()
}

const BAD: [(&str, &str); 8] = [
    ("training", "cat/01.png\tthe file is empty"),
    ("training", "cat/02.png\t"),
    ("training", "dog/03.png\t"),
    ("training", "dog/more.jpg\t"),
    ("training", "emu/00.png\t"),
    ("training", "emu/19.png\t"),
    ("test", "dog/00.png\tthe file is empty"),
    ("test", "emu/04.png\t"),
];

#[test]
fn bad_images_are_skipped_counted_and_listed_once() {
    let bench = bench();
    let ended = succeed(run(&bench, "--set data.bad_images_limit=0.2"));
    ended.says(&[
        "6 of 61 training images cannot be used and were replaced by others; run/bad_images.txt",
        "2 of 15 test images cannot be used and were left out",
    ]);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    let lines = listed(&bench);
    assert_eq!(lines.len(), BAD.len(), "{lines:?}");
    for (split, part) in BAD {
        let named = |line: &&String| line.starts_with(&format!("{split}\t")) && line.contains(part);
        assert_eq!(lines.iter().filter(named).count(), 1, "{part}: {lines:?}");
    }
    // The accuracy is over the good images.
    assert_eq!(bench.json("run/summary.json")["images"], 13);
    let ended = succeed(run(&bench, "--phase test --set data.bad_images_limit=0.2"));
    ended.says(&["2 of 15 test images"]);
    assert_eq!(bench.json("run/test.json")["images"], 13);
    assert_eq!(listed(&bench), lines);
}

#[test]
fn threads_and_resumption_change_no_byte_beside_bad_images() {
    let bench = bench();
    let skip = "--set data.bad_images_limit=0.2 --set checkpoint.every_steps=4";
    succeed(run(&bench, &format!("{skip} --num_workers 1")));
    let weights = bench.bytes("run/weights.safetensors");
    succeed(run(&bench, &format!("{skip} --num_workers 3 --model_path other")));
    assert!(bench.bytes("other/weights.safetensors") == weights);
    // Go back to the middle of the second epoch.
    std::fs::remove_dir_all(bench.path("other/checkpoints/step-00000012")).unwrap();
    let ended = succeed(run(&bench, &format!("{skip} --num_workers 2 --model_path other --resume auto")));
    ended.says(&["resumed from", "8 of 12 steps"]);
    assert!(bench.bytes("other/weights.safetensors") == weights);
}

#[test]
fn too_many_bad_images_stop_the_run_and_are_listed() {
    let bench = bench();
    // Threads that read ahead may find more before the run has stopped; one alone finds as many as it takes.
    let run = |bench: &Bench, flags: &str| run(bench, &format!("--num_workers 1 {flags}"));
    let parts = ["1 of 61 images cannot be used", "data.bad_images_limit", "bad_images.txt"];
    fail(run(&bench, ""), 1, &parts);
    // Each loader thread may have found one.
    assert!(!listed(&bench).is_empty());
    fail(run(&bench, "--set data.bad_images_limit=0.05"), 1, &["4 of 61 images", "the share of 0.05"]);
    assert_eq!(listed(&bench).len(), 4);
    let refuse = ["is not a usable JPEG or PNG image", "set `data.bad_images` to \"skip\""];
    fail(run(&bench, "--set data.bad_images=error"), 1, &refuse);
    fail(run(&bench, "--set data.bad_images=ignore"), 2, &["data.bad_images", "\"error\" or \"skip\""]);
    fail(run(&bench, "--set data.bad_images_limit=2"), 2, &["data.bad_images_limit", "from 0 to 1"]);
}

#[test]
fn a_missing_file_of_a_list_is_one_bad_image() {
    let bench = bench();
    let list = |split: &str, names: &[&str]| {
        let lines: String = names.iter().map(|name| format!("{split}/{name} 700\n")).collect();
        std::fs::write(bench.path(&format!("data/{split}_list.txt")), lines).unwrap();
    };
    list("train", &["cat/00.png", "cat/03.png", "cat/99.png", "cat/04.png"]);
    list("val", &["cat/00.png", "cat/77.png"]);
    let flags =
        "--batch_size 2 --set data.bad_images_limit=0.5 --set data.classes=[700] --set model.num_classes=1";
    succeed(run(&bench, flags));
    let lines = listed(&bench);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines.iter().all(|line| line.contains("No such file")), "{lines:?}");
}

#[test]
fn kept_classes_give_the_network_its_outputs() {
    let bench = bench();
    let flags = "--data imagenet --set data.image_size=32 --set data.classes=[2,0] --set data.bad_images_limit=0.2 \
                 --batch_size 8 --num_epochs 1 --lr 0.01 --model_path kept";
    succeed(bench.scaled(flags));
    assert_eq!(bench.weights("kept").tensors["fc7_offset"].0, [2]);
    // 5 images each, one of them bad.
    assert_eq!(bench.json("kept/summary.json")["images"], 9);
    let outside = "--data imagenet --set data.image_size=32 --set data.classes=[3] --batch_size 8";
    fail(bench.scaled(outside), 1, &["data.classes", "label 3"]);
}

#[test]
fn a_folder_without_a_layout_says_what_was_looked_for() {
    let bench = Bench::new();
    let parts =
        ["holds no data set", "train_list.txt", "train/CLASS", "ILSVRC2012_img_train.tar", "data.format"];
    fail(bench.scaled("--data imagenet"), 1, &parts);
    fail(bench.scaled("--data imagenet --set data.format=zip"), 2, &["data.format", "\"webdataset\""]);
    fail(
        bench.scaled("--data mnist --set data.format=list"),
        2,
        &["data.format", "now \"mnist\"", "leave it out"],
    );
}
