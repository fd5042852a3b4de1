//! `sparse-train export` on the real binary: small files that are read like any other, and ONNX.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::weights::{Weights, prunable};
use common::{Bench, fail, number, same_fraction, succeed};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

/// A network for the stand-in data, under the names of this program: the tensors of a file that `tests/torch/make.py`
/// made, one input channel of three, with the smallest three of four weights set to zero.
fn write_pruned(bench: &Bench, name: &str) {
    let from = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/torch/timm.pth");
    let from = from.canonicalize().unwrap();
    succeed(bench.bare(&format!("convert {} dense.safetensors", from.display())));
    let mut weights = Weights::read(&bench.path("dense.safetensors"));
    for (name, (shape, values)) in &mut weights.tensors {
        if name == "conv1_weights" {
            *values = values.chunks(27).flat_map(|kernel| kernel[..9].to_vec()).collect();
            shape[1] = 1;
        }
        if prunable(name, shape) {
            let mut sizes: Vec<f32> = values.iter().map(|value| value.abs()).collect();
            sizes.sort_by(f32::total_cmp);
            let cut = sizes[sizes.len() * 3 / 4];
            values.iter_mut().filter(|value| value.abs() < cut).for_each(|value| *value = 0.0);
        }
    }
    weights.write(&bench.path("changed.safetensors"));
    // Also the metadata says one channel then.
    succeed(bench.bare(&format!("convert changed.safetensors {name}")));
}

/// The test of weights on the stand-in data.
fn test(bench: &Bench, weights: &str) -> Command {
    bench.bare(&format!(
        "--set data.path=data --phase test --pretrained_model {weights} --model_path out-{weights} --threads 1 \
         --num_workers 1 --json"
    ))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn a_packed_file_is_small_and_the_same_network() {
    let bench = Bench::new();
    write_pruned(&bench, "w.safetensors");
    let facts = json(&succeed(bench.bare("export w.safetensors --to packed -o p.safetensors --json")).stdout);
    let bytes = bench.bytes("p.safetensors").len();
    assert_eq!(facts["file_bytes"][1], bytes);
    assert_eq!(facts["file_bytes"][0], bench.bytes("w.safetensors").len());
    assert!(number(&facts, "/tensor_ratio") < 0.35 && number(&facts, "/rounding_error") == 0.0, "{facts}");
    assert!((number(&facts, "/sparsity") - 0.75).abs() < 0.01, "{facts}");

    // Unpacked it is the file that it was made from, also by way of a file that is packed again.
    succeed(bench.bare("export p.safetensors --to packed --output again.safetensors"));
    assert_eq!(bench.bytes("again.safetensors"), bench.bytes("p.safetensors"));
    succeed(bench.bare("convert p.safetensors back.safetensors"));
    assert_eq!(bench.bytes("back.safetensors"), bench.bytes("w.safetensors"));

    let tested = |weights: &str| {
        let mut report = json(&succeed(test(&bench, weights)).stdout);
        assert_eq!(report["weights"].take(), weights);
        report
    };
    assert_eq!(tested("p.safetensors"), tested("w.safetensors"));
    let predictions = |weights: &str| bench.bytes(&format!("out-{weights}/predictions.csv"));
    assert_eq!(predictions("p.safetensors"), predictions("w.safetensors"));

    let inspected = json(&succeed(bench.bare("inspect p.safetensors --json")).stdout);
    let sparsity = Weights::read(&bench.path("w.safetensors")).sparsity(prunable);
    same_fraction(number(&inspected, "/sparsity/prunable"), sparsity);
}

#[test]
fn shorter_numbers_make_it_smaller_and_training_starts_from_it() {
    let bench = Bench::new();
    write_pruned(&bench, "w.safetensors");
    let export = |values: &str| {
        let flags = format!("export w.safetensors --to packed -o {values}.safetensors --values {values}");
        let facts = json(&succeed(bench.bare(&format!("{flags} --json"))).stdout);
        (
            number(&facts, "/tensor_ratio"),
            number(&facts, "/rounding_error"),
            succeed(bench.bare(&flags)).stdout,
        )
    };
    let [(full, ..), (half, half_error, table), (brain, brain_error, _)] = ["f32", "f16", "bf16"].map(export);
    assert!(half < full - 0.1 && brain < full - 0.1, "{full} {half} {brain}");
    assert!(
        half_error > 0.0 && brain_error > 1e-3 && brain_error < 1.0 / 256.0,
        "{half_error} {brain_error}"
    );
    for part in ["| packed tensors", "| whole file", "bytes dense", "values f16", "relative rounding error"] {
        assert!(table.contains(part), "{part} missing in:\n{table}");
    }
    let train = "--set data.path=data --pretrained_model bf16.safetensors --batch_size 64 --num_epochs 1 --lr 0.001 \
                 --pruning_mode none --threads 1 --num_workers 1 --model_path run";
    succeed(bench.bare(train)).says(&["starting from the weights of bf16.safetensors"]);
}

#[test]
fn an_onnx_file_says_what_it_is_and_is_the_same_for_the_same_weights() {
    let bench = Bench::new();
    write_pruned(&bench, "w.safetensors");
    let export = |flags: &str| json(&succeed(bench.bare(&format!("export {flags} --to onnx --json"))).stdout);
    let facts = export("w.safetensors -o w.onnx");
    assert_eq!(facts["bytes"], bench.bytes("w.onnx").len());
    assert_eq!((&facts["input_shape"], &facts["classes"]), (&serde_json::json!([1, 28, 28]), &10.into()));
    assert_eq!((&facts["nodes"], &facts["format"]), (&57.into(), &"safetensors".into()));
    // A weight of each convolution and the head, and a bias for each of their channels in place of batch norm.
    let weights = Weights::read(&bench.path("w.safetensors"));
    let counted = |chosen: fn(&str, &[usize]) -> bool| weights.zeros(chosen);
    let (zeros, matrices) = counted(prunable);
    let (_, biases) = counted(|name, shape| shape.len() == 1 && name.ends_with("offset"));
    assert_eq!(facts["parameters"], matrices + biases);
    same_fraction(number(&facts, "/sparsity"), zeros as f64 / matrices as f64);

    succeed(bench.bare("export w.safetensors --to packed -o p.safetensors"));
    let other = export("p.safetensors -o p.onnx");
    assert_eq!((&other["parameters"], bench.bytes("p.onnx")), (&facts["parameters"], bench.bytes("w.onnx")));
    assert_eq!(
        export("w.safetensors -o large.onnx --size 48")["input_shape"],
        serde_json::json!([1, 48, 48])
    );
    let sparse = succeed(bench.bare("export w.safetensors --to onnx -o s.onnx --sparse_initializer"));
    sparse.says(&["most engines fill the zeros in again"]);
    assert!(bench.bytes("s.onnx").len() < bench.bytes("w.onnx").len());
    for part in ["| s.onnx", "| bytes", "| nodes", "| parameters", "| sparsity", "N×1×28×28", "N×10"] {
        assert!(sparse.stdout.contains(part), "{part} missing in:\n{}", sparse.stdout);
    }
}

#[test]
fn wrong_requests_and_damaged_files_are_named_and_leave_nothing() {
    let bench = Bench::new();
    write_pruned(&bench, "w.safetensors");
    for (flags, code, part) in [
        ("export w.safetensors -o new", 2, "--to"),
        ("export w.safetensors --to packed", 2, "--output"),
        ("export w.safetensors --to zip -o new", 2, "packed"),
        ("export w.safetensors --to onnx -o new --values f16", 2, "--values and --to onnx"),
        ("export w.safetensors --to packed -o new --size 32", 2, "--size and --to packed"),
        (
            "export w.safetensors --to packed -o new --sparse_initializer",
            2,
            "--sparse_initializer and --to packed",
        ),
        ("export w.safetensors --to onnx -o new --size 0", 2, "--size"),
        ("export w.safetensors --to onnx -o ./w.safetensors", 2, "is what is read"),
        ("export nowhere --to onnx -o new", 1, "nowhere is missing"),
        ("export w.safetensors --to onnx -o no/such/folder", 1, "no/such/folder"),
        ("export w.safetensors --to packed -o new --values f8", 2, "bf16"),
        ("export w.safetensors --to packed -o ./w.safetensors", 2, "is what is read"),
        ("export nowhere --to packed -o new", 1, "nowhere is missing"),
        ("export data --to packed -o new", 1, "data"),
        ("export w.safetensors --to packed -o no/such/folder", 1, "no/such/folder"),
    ] {
        fail(bench.bare(flags), code, &[part]);
    }
    let mut large = Weights::read(&bench.path("w.safetensors"));
    let (_, values) = large.tensors.get_mut("fc7_weights").unwrap();
    values[3] = 70_000.0;
    large.write(&bench.path("large.safetensors"));
    let export = "export large.safetensors --to packed -o new --values";
    fail(bench.bare(&format!("{export} f16")), 1, &["fc7_weights", "7e4", "use bf16 values"]);
    assert!(!bench.path("new").exists());
    succeed(bench.bare(&format!("{export} bf16")));

    succeed(bench.bare("export w.safetensors --to packed -o p.safetensors"));
    let whole = bench.bytes("p.safetensors");
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 0b11;
    for (bytes, part) in [(&flipped, "bits are set"), (&whole[..whole.len() - 9].to_vec(), "cut short")] {
        std::fs::write(bench.path("p.safetensors"), bytes).unwrap();
        for command in ["inspect p.safetensors", "convert p.safetensors out.safetensors"] {
            fail(bench.bare(command), 1, &["p.safetensors", part]);
        }
        fail(test(&bench, "p.safetensors"), 1, &["p.safetensors", part]);
    }
}
