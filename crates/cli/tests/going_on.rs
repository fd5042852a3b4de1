//! What must agree before a run goes on: the batches its epochs are counted in, and its training images. On the real binary.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::data::{TRAIN_IMAGES, idx_images, idx_labels};
use common::{Bench, fail, names, snapshot};
use std::path::Path;

const IMAGES: &str = "data/train-images-idx3-ubyte";
const LABELS: &str = "data/train-labels-idx1-ubyte";

#[test]
fn an_epoch_of_another_batch_size_is_refused_as_resume_auto_refuses_it() {
    let bench = Bench::new();
    bench.train("--batch_size 32");
    let before = snapshot(&bench.path("run"));
    let parts = ["was saved with train.batch_size = 32, this run has 64", "--model_path"];
    // Epoch 1 of 64 would be half of one of 32, epoch 2 the first of them.
    for flags in ["--resume auto", "--resume_epoch 1", "--resume_epoch 2", "--last_epoch 6"] {
        let ended = fail(bench.small(flags), 1, &parts);
        assert!(!ended.stderr.contains("no checkpoint of epoch"), "{}", ended.stderr);
    }
    fail(bench.small("--resume_epoch 1 --model_path x --checkpoint run"), 1, &parts);
    fail(
        bench.small("--batch_size 32 --resume_epoch 9223372036854775807"),
        1,
        &["no checkpoint of epoch 92", "epoch 2"],
    );
    assert!(snapshot(&bench.path("run")) == before);
}

#[test]
fn changed_training_images_are_refused_and_test_images_may_change() {
    let bench = Bench::new();
    bench.train("");
    let (weights, images, labels) =
        (bench.bytes("run/weights.safetensors"), bench.bytes(IMAGES), bench.bytes(LABELS));
    let write = |name: &str, bytes: &[u8]| std::fs::write(bench.path(name), bytes).unwrap();
    let before = snapshot(&bench.path("run"));
    let refused = |parts: &[&str]| {
        for flags in ["--resume auto --num_epochs 3", "--resume_epoch 1", "--resume_epoch 7"] {
            let ended = fail(
                bench.small(flags),
                1,
                &["run/checkpoints/step-000000", "on other training images", "--model_path"],
            );
            ended.says(parts);
        }
        assert!(snapshot(&bench.path("run")) == before);
    };
    // As many images, some of them others.
    let mut others = images.clone();
    others[16 + 28 * 28 * 500..].fill(7);
    write(IMAGES, &others);
    refused(&["contents"]);
    write(IMAGES, &images);
    // Other labels.
    let mut turned = labels.clone();
    turned[8..].reverse();
    write(LABELS, &turned);
    refused(&["labels"]);
    // Fewer images.
    write(IMAGES, &idx_images(TRAIN_IMAGES - 64, 1));
    write(LABELS, &idx_labels(&labels[8..][..TRAIN_IMAGES - 64]));
    refused(&["there were 640 images and are 576"]);
    // A start of its own may use them.
    bench.train("--model_path fresh --pretrained_model run/checkpoints/step-00000020");
    write(IMAGES, &images);
    write(LABELS, &labels);
    // Elsewhere they are the same, and so are they with other test images.
    std::fs::rename(bench.path("data"), bench.path("moved")).unwrap();
    std::fs::write(bench.path("moved/t10k-images-idx3-ubyte"), idx_images(200, 9)).unwrap();
    bench.train("--set data.path=moved --resume_epoch 1").says(&["(10 of 20 steps done)"]);
    assert!(bench.bytes("run/weights.safetensors") == weights);
}

/// Rewrites the state of a checkpoint as it was before training images were noted in it.
fn forget_images(checkpoint: &Path) {
    let path = checkpoint.join("state.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut state: serde_json::Value = serde_json::from_str(text.split_once('\n').unwrap().1).unwrap();
    assert!(state.as_object_mut().unwrap().remove("data").is_some());
    let json = serde_json::to_string_pretty(&state).unwrap();
    let mut crc = flate2::Crc::new();
    crc.update(json.as_bytes());
    std::fs::write(path, format!("{:08x}\n{json}", crc.sum())).unwrap();
}

#[test]
fn a_checkpoint_of_an_earlier_version_goes_on_with_a_warning() {
    let bench = Bench::new();
    bench.train("");
    let weights = bench.bytes("run/weights.safetensors");
    for name in names(&bench.path("run/checkpoints")) {
        forget_images(&bench.path("run/checkpoints").join(name));
    }
    bench.train("--resume_epoch 1").says(&["WARN", "does not say which images", "(10 of 20 steps done)"]);
    assert!(bench.bytes("run/weights.safetensors") == weights);
    // What it saves from there on says it.
    let ended = bench.train("--resume auto");
    assert!(!ended.stderr.contains("does not say which images"), "{}", ended.stderr);
}

#[test]
fn a_sweep_goes_on_with_its_images_only() {
    let bench = Bench::new();
    let sweep = |ladder: &str| {
        bench.bare(&format!(
            "sweep --set data.path=data --set model.scale=0.125 --batch_size 64 --num_epochs 1 --threads 1 --model_path sweep \
             --loss 0.9 --ladder {ladder}"
        ))
    };
    common::succeed(sweep("0.5"));
    let images = bench.bytes(IMAGES);
    let mut others = images.clone();
    others[16 + 28 * 28 * 500..].fill(7);
    std::fs::write(bench.path(IMAGES), &others).unwrap();
    let before = snapshot(&bench.path("sweep"));
    fail(
        sweep("0.5,0.7"),
        1,
        &["sweep holds a sweep over other training images", "contents", "--model_path"],
    );
    assert!(snapshot(&bench.path("sweep")) == before);
    std::fs::write(bench.path(IMAGES), &images).unwrap();
    common::succeed(sweep("0.5,0.7"));
    std::fs::write(bench.path("sweep/sweep.json"), "{\"loss\"").unwrap();
    fail(sweep("0.5,0.7"), 1, &["sweep/sweep.json is cut or was altered", "move it away"]);
}

#[test]
fn weights_given_to_a_run_that_goes_on_are_said_to_have_no_effect() {
    const NO_EFFECT: &str = "has no effect: the run goes on from its checkpoint";
    let bench = Bench::new();
    bench.train("--num_epochs 1 --model_path other");
    bench.train("--num_epochs 1");
    let given = "--pretrained_model other --resume auto";
    bench.train(&format!("{given} --num_epochs 2")).says(&[
        "model.pretrained_model = other has no effect",
        "began with initial weights",
        "--model_path",
    ]);
    let config = |run: &str| String::from_utf8(bench.bytes(&format!("{run}/config.toml"))).unwrap();
    assert!(!config("run").contains("pretrained_model"), "{}", config("run"));
    // What it began with stays on record, said again or not.
    bench.train("--num_epochs 1 --pretrained_model other --model_path from");
    for flags in [format!("{given} --num_epochs 2"), "--resume auto --num_epochs 3".to_owned()] {
        let ended = bench.train(&format!("{flags} --model_path from"));
        assert!(!ended.stderr.contains(NO_EFFECT), "{}", ended.stderr);
        assert!(config("from").contains("pretrained_model = \"other\""), "{}", config("from"));
    }
    bench
        .train("--resume auto --num_epochs 3 --pretrained_model run --model_path from")
        .says(&["model.pretrained_model = run has no effect", "began with the weights of other"]);
}

#[test]
fn a_run_that_is_past_its_end_is_refused() {
    let bench = Bench::new();
    bench.train("--num_epochs 3");
    let before = snapshot(&bench.path("run"));
    let parts = ["step-00000030 lies after the end of a run of 2 epochs", "--num_epochs 3", "--resume_epoch"];
    fail(bench.small("--num_epochs 2 --resume auto"), 1, &parts);
    assert!(snapshot(&bench.path("run")) == before);
    bench.train("--num_epochs 2 --resume_epoch 2");
}
