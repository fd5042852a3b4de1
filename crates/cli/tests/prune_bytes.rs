//! `sparse-train prune` writes the same bytes with any number of threads and any `--memory`, and takes no more memory than it may. On the real binary.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::onnx::{Network, write_grouped};
use common::{Bench, data, number, succeed};
use serde_json::Value;
use sparse_testing::Need;

fn prune(bench: &Bench, flags: &str) -> Value {
    let ended = succeed(bench.bare(&format!("prune {flags} --set data.path=data --json")));
    serde_json::from_str(&ended.stdout).unwrap()
}

/// Prunes with 1, 2 and 3 threads, with so much memory that all activations stay, and so little that they are computed again.
#[track_caller]
fn same_bytes(bench: &Bench, from: &str, end: &str, little: &str, flags: &str) {
    let settings = [(1, "2GB"), (2, little), (3, "2GB")];
    let mut results = settings.into_iter().map(|(threads, memory)| {
        let to = format!("{threads}-of-them.{end}");
        let flags = format!("{from} -o {to} --threads {threads} --memory {memory} --images 200 {flags}");
        prune(bench, &flags);
        bench.bytes(&to)
    });
    let first = results.next().unwrap();
    assert!(results.all(|bytes| bytes == first), "{from} {flags}");
}

#[test]
fn weights_packed_and_not() {
    let bench = Bench::new();
    bench.train("--threshold 0 --num_epochs 1");
    same_bytes(&bench, "run", "safetensors", "406MB", "--ratio 0.75");
    same_bytes(&bench, "run", "packed", "406MB", "--ratio 0.75 --to packed");
}

#[test]
fn blocks_and_patterns() {
    let bench = Bench::new();
    bench.train("--threshold 0 --num_epochs 1");
    same_bytes(&bench, "run", "safetensors", "406MB", "--ratio 0.5 --sparse_block 1 4");
    same_bytes(&bench, "run", "safetensors", "406MB", "--ratio 0.5 --sparse_block 1 4 --reorder");
    let pattern = "--pattern 2:4 --set prune.include=['_sep_weights$']";
    same_bytes(&bench, "run", "safetensors", "406MB", pattern);
}

#[test]
fn zeros_shared_out_in_every_way_but_by_time() {
    let bench = Bench::new();
    bench.train("--threshold 0 --num_epochs 1");
    for allocate in ["erk", "global", "error"] {
        same_bytes(&bench, "run", "safetensors", "406MB", &format!("--ratio 0.7 --allocate {allocate}"));
    }
}

#[test]
fn onnx_with_groups_and_without() {
    let bench = Bench::new();
    bench.train("--threshold 0 --num_epochs 1");
    succeed(bench.bare("export run --to onnx -o dense.onnx"));
    same_bytes(&bench, "dense.onnx", "onnx", "406MB", "--ratio 0.6");
    write_grouped(&bench.path("grouped.onnx"));
    same_bytes(&bench, "grouped.onnx", "onnx", "460MB", "--ratio 0.6");
    same_bytes(&bench, "grouped.onnx", "onnx", "460MB", "--ratio 0.6 --allocate error");
    let found = prune(&bench, "grouped.onnx -o sparse.onnx --ratio 0.6 --images 200");
    let layers = found["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 5);
    // In each of its groups as in any other layer.
    assert_eq!(layers[1]["shape"], serde_json::json!([16, 72]));
    assert!(layers.iter().all(|layer| (number(layer, "/relative_error")) < 0.5), "{found}");
    let magnitude = prune(&bench, "grouped.onnx -o by.onnx --ratio 0.6 --images 200 --method magnitude");
    let errors = |report: &Value| number(report, "/layers/1/relative_error");
    assert!(errors(&found) < errors(&magnitude), "{found} {magnitude}");
}

#[test]
fn the_memory_that_may_be_taken_is_not_exceeded() {
    let bench = Bench::new();
    data::write_some_data(&bench.path("data"), 3000, 10);
    // Activations of 3000 images take 300 MB at each layer, in both networks 600.
    Network::new([1, 28, 28])
        .convolution("first", [32, 1, 3], 1, 1)
        .convolution("second", [32, 32, 1], 1, 1)
        .convolution("third", [32, 32, 1], 1, 1)
        .classifier(32, 10, &bench.path("dense.onnx"));
    for (memory, most) in [("600MB", 600), ("2GB", 2048)] {
        let flags = format!("dense.onnx -o {memory} --ratio 0.5 --memory {memory} --images 3000");
        let found = prune(&bench, &flags);
        let Some(peak) = found["peak_bytes"].as_u64() else {
            return Need::PeakMemory.left_out("what prune takes at most");
        };
        println!("{} MB of {memory}", peak >> 20);
        assert!(peak <= most << 20, "{} MB of {memory}", peak >> 20);
    }
    assert_eq!(bench.bytes("600MB"), bench.bytes("2GB"));
}
