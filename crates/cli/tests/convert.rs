//! Weights of other programs on the real binary: converting them, and training and testing from them without a setting.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::data::write_image_folder;
use common::weights::Weights;
use common::{Bench, end, fail, succeed};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

/// A file that `tests/torch/make.py` made.
fn made(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/torch").join(name);
    path.canonicalize().unwrap().display().to_string()
}

/// The binary on 16 small images of 16 classes, with nothing said about the network.
fn images(bench: &Bench, flags: &str) -> Command {
    if !bench.path("images").exists() {
        write_image_folder(&bench.path("images"));
    }
    bench.bare(&format!(
        "--data imagenet --set data.path=images --set data.image_size=32 --batch_size 8 --num_epochs 1 --lr 0.001 \
         --pruning_mode none --threads 1 --num_workers 1 --model_path run {flags}"
    ))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The metadata of a weights file in the test's folder.
fn metadata(bench: &Bench, file: &str) -> Value {
    json(&Weights::read(&bench.path(file)).metadata["sparse_train"])
}

#[test]
fn a_converted_file_needs_no_other_setting() {
    let bench = Bench::new();
    let converted = succeed(bench.bare(&format!("convert {} out.safetensors --json", made("timm.pth"))));
    let facts = json(&converted.stdout);
    assert_eq!((&facts["family"], &facts["activation"]), (&"timm".into(), &"relu6".into()));
    assert_eq!((facts["classes"].as_u64(), facts["left_out"].as_u64()), (Some(10), Some(27)));
    let written = metadata(&bench, "out.safetensors");
    assert_eq!(written["architecture"]["activation"], "relu6");
    assert_eq!(written["architecture"]["scale"], 0.0625);
    assert_eq!(written["input"]["interpolation"], "bicubic");

    let trained = succeed(images(&bench, "--pretrained_model out.safetensors --num_classes 16"));
    trained.says(&[
        "MobileNet x0.0625",
        "a new head: the file tells 10 classes apart",
        "mean [0.5, 0.5, 0.5]",
    ]);
    let config = std::fs::read_to_string(bench.path("run/config.toml")).unwrap();
    for line in ["scale = 0.0625", "num_classes = 16", "activation = \"relu6\"", "bn_epsilon = 0.00001"] {
        assert!(config.lines().any(|got| got == line), "{line}\n{config}");
    }
    // What it trained says the same of itself.
    assert_eq!(metadata(&bench, "run/weights.safetensors")["architecture"]["activation"], "relu6");
    let tested = succeed(images(&bench, "--phase test --pretrained_model run --model_path other --json"));
    assert_eq!(json(&tested.stdout)["top1"], bench.json("run/summary.json")["top1"]);
}

#[test]
fn a_foreign_file_given_directly_is_as_its_program_has_it() {
    let bench = Bench::new();
    let flags = format!("--pretrained_model {} --num_classes 16", made("slim.safetensors"));
    succeed(images(&bench, &flags)).says(&["starting from the weights of", "a new head"]);
    let config = std::fs::read_to_string(bench.path("run/config.toml")).unwrap();
    for line in ["activation = \"relu6\"", "padding = \"same\"", "bn_epsilon = 0.001"] {
        assert!(config.lines().any(|got| got == line), "{line}\n{config}");
    }
}

#[test]
fn an_explicit_setting_beats_the_file_with_a_word_and_another_width_is_refused() {
    let bench = Bench::new();
    let flags = format!("--pretrained_model {} --num_classes 16", made("timm.pth"));
    succeed(images(&bench, &format!("{flags} --set model.activation=relu")))
        .says(&["was made with model.activation = relu6; going on with relu"]);
    let wider = images(&bench, &format!("{flags} --set model.scale=0.25"));
    fail(wider, 2, &["timm.pth", "model.scale 0.0625", "model.scale = 0.25"]);
    let test = images(&bench, &format!("{flags} --phase test --model_path other"));
    fail(test, 1, &["timm.pth tells 10 classes apart", "model.num_classes=10", "data.classes"]);
}

#[test]
fn the_input_is_never_written_onto_and_a_failure_leaves_nothing() {
    let bench = Bench::new();
    succeed(bench.bare(&format!("convert {} out.safetensors", made("str.pt"))));
    let before = bench.bytes("out.safetensors");
    fail(bench.bare("convert out.safetensors ./out.safetensors"), 2, &["is what is read"]);
    assert_eq!(bench.bytes("out.safetensors"), before);
    // Converting what was converted changes nothing.
    succeed(bench.bare("convert out.safetensors again.safetensors"));
    assert_eq!(bench.bytes("again.safetensors"), before);

    let evil = "cos\nsystem\n(S'touch ran'\ntR.";
    for (name, bytes, parts) in [
        ("class.pth", [b"\x80\x02".as_slice(), evil.as_bytes()].concat(), ["`os.system`", "was run"]),
        ("cut.pth", std::fs::read(made("timm.pth")).unwrap()[..5000].to_vec(), ["cut.pth", "copy it again"]),
        ("text.pth", b"not weights".to_vec(), ["text.pth", "is text"]),
    ] {
        std::fs::write(bench.path(name), bytes).unwrap();
        fail(bench.bare(&format!("convert {name} new.safetensors")), 1, &parts);
        let train = images(&bench, &format!("--pretrained_model {name}"));
        fail(train, 1, &parts);
    }
    for name in ["ran", "new.safetensors", "run"] {
        assert!(!bench.path(name).exists(), "{name}");
    }
    fail(bench.bare("convert nowhere out.safetensors"), 1, &["nowhere is missing"]);
    assert_eq!(end(bench.bare("convert only_one")).code, Some(2));
}
