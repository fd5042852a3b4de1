//! Networks other than MobileNetV1, on the real binary: trained, pruned, resumed, taught, tested, exported and run.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Bench, fail, number, succeed};
use serde_json::Value;

const NETWORKS: [&str; 4] = ["MobileNetV2", "ResNet18", "ResNet34", "ResNet50"];

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn every_network_is_pruned_while_it_trains_and_goes_on_to_the_same_bytes() {
    for network in NETWORKS {
        let bench = Bench::new();
        let flags = format!("--model {network} --prune_params_type None");
        bench.train(&format!("{flags} --model_path whole"));
        let summary = bench.json("whole/summary.json");
        assert!(number(&summary, "/sparsity/prunable") > 0.49, "{network}: {summary}");
        bench.train(&format!("{flags} --num_epochs 1"));
        bench
            .train(&format!("{flags} --num_epochs 2 --resume auto --threads 2"))
            .says(&["10 of 20 steps done"]);
        assert!(
            bench.bytes("run/weights.safetensors") == bench.bytes("whole/weights.safetensors"),
            "{network}"
        );
        let log = bench.metrics("whole");
        let loss = |record: &Value| record.get("loss").and_then(Value::as_f64);
        let losses: Vec<f64> = log.iter().filter_map(loss).collect();
        assert!(losses.iter().all(|loss| loss.is_finite()) && losses.len() >= 20, "{network}: {losses:?}");
    }
}

#[test]
fn what_is_trained_is_tested_exported_and_run_by_the_engine() {
    for network in ["MobileNetV2", "ResNet18", "ResNet50"] {
        let bench = Bench::new();
        bench.train(&format!("--model {network}"));
        let top1 = number(&bench.json("run/summary.json"), "/top1");
        // The file says which network it is.
        let test = "--phase test --pruned_model run --json";
        let tested = json(&succeed(bench.bare(&format!("--set data.path=data {test}"))).stdout);
        assert!((number(&tested, "/top1") - top1).abs() < 1e-9, "{network}: {tested}");
        succeed(bench.bare("export run/weights.safetensors --to packed -o packed.safetensors"));
        let packed = "--phase test --pruned_model packed.safetensors --json";
        let again = json(&succeed(bench.bare(&format!("--set data.path=data {packed}"))).stdout);
        assert!((number(&again, "/top1") - top1).abs() < 1e-9, "{network}: {again}");
        succeed(bench.bare("export run/weights.safetensors --to onnx -o net.onnx"));
        for file in ["run/weights.safetensors", "packed.safetensors", "net.onnx"] {
            let timed =
                succeed(bench.bare(&format!("bench infer --weights {file} --threads 1 --runs 1 --json")));
            assert!(timed.stdout.contains("images_per_second"), "{network} {file}: {}", timed.stdout);
        }
        fail(
            bench.small("--model MobileNet --pretrained_model run --model_path other"),
            2,
            &[network, "model.model is MobileNet", "leave --model out"],
        );
    }
}

#[test]
fn other_networks_learn_from_teachers_and_in_bf16() {
    let bench = Bench::new();
    bench.train("--model ResNet18 --pruning_mode none --model_path dense");
    let taught =
        "--pretrained_model dense --distill --distill_features 1 --ratio 0.75 --num_epochs 1 --lr 0.01";
    bench.train(&format!("{taught} --model_path taught")).says(&["learning from the scores and features"]);
    assert!(number(&bench.json("taught/summary.json"), "/sparsity/prunable") > 0.74);
    bench.train("--model ResNet18 --precision bf16 --num_epochs 1 --model_path short");
    bench.train("--model MobileNetV2 --precision bf16 --num_epochs 1 --ratio 0.9 --model_path shorter");
}

#[test]
fn a_misspelt_network_is_told_with_the_nearest_and_all_there_are() {
    let bench = Bench::new();
    for (given, nearest) in
        [("ResNet19", "ResNet18"), ("resnet50", "ResNet50"), ("mobilenet_v2", "MobileNetV2")]
    {
        fail(
            bench.small(&format!("--model {given}")),
            2,
            &[given, &format!("the nearest is \"{nearest}\""), "\"MobileNet\"", "\"ResNet34\""],
        );
    }
}
