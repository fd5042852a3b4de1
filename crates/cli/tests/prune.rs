//! `sparse-train prune` on the real binary: zeros by images, without training.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::data::{TRAIN_IMAGES, write_class_folders};
use common::weights::Weights;
use common::{Bench, fail, number, succeed};
use serde_json::Value;
use std::process::Stdio;

const POINTWISE: &str = "--prune_params_type conv1x1_only";

fn report(bench: &Bench, flags: &str) -> Value {
    let ended = succeed(bench.bare(&format!("prune {flags} --set data.path=data --json")));
    serde_json::from_str(&ended.stdout).unwrap()
}

fn layers(report: &Value) -> &[Value] {
    report["layers"].as_array().unwrap()
}

fn accuracy(bench: &Bench, weights: &str) -> f64 {
    let flags = format!(
        "--set data.path=data --phase test --pretrained_model {weights} --model_path of-{weights} --threads 1"
    );
    succeed(bench.bare(&flags));
    number(&bench.json(&format!("of-{weights}/test.json")), "/top1")
}

fn is_pointwise(name: &str, shape: &[usize]) -> bool {
    name.ends_with("_sep_weights") && shape[2..] == [1, 1]
}

#[test]
fn weights_pruned_by_images_are_better_than_by_magnitude_and_the_same_bytes_everywhere() {
    let bench = Bench::new();
    bench.train("--threshold 0");
    let prune = |to: &str, flags: &str| {
        report(&bench, &format!("run -o {to} --ratio 0.75 {POINTWISE} --images 100 {flags}"))
    };
    let one = prune("one.safetensors", "--threads 1");
    prune("two.safetensors", "--threads 2");
    // With less memory more is computed again, and with more images at a time less.
    prune("little.safetensors", "--threads 3 --memory 450MB");
    assert_eq!(bench.bytes("one.safetensors"), bench.bytes("two.safetensors"));
    assert_eq!(bench.bytes("one.safetensors"), bench.bytes("little.safetensors"));
    assert!((number(&one, "/sparsity") - 0.75).abs() < 0.01, "{one}");
    assert_eq!(one["images"], 100);
    let weights = Weights::read(&bench.path("one.safetensors"));
    assert!((weights.sparsity(is_pointwise) - 0.75).abs() < 0.01);
    let error =
        |report: &Value| layers(report).iter().map(|layer| number(layer, "/relative_error")).sum::<f64>();
    let magnitude = prune("magnitude.safetensors", "--method magnitude");
    assert!(2.0 * error(&one) <= error(&magnitude), "{one} {magnitude}");
    let (dense, found) = (accuracy(&bench, "run"), accuracy(&bench, "one.safetensors"));
    assert!(found > dense - 0.2, "{found} of {dense}");
    assert!(!bench.path("one.safetensors.partial").exists());
}

/// By the statistics of a batch, as training computes it, the pruned network gives what it does by its running ones in a test.
#[test]
fn training_goes_on_from_the_network_as_it_was_tested() {
    let bench = Bench::new();
    bench.train("--pruning_mode none --num_epochs 6 --bn_recal 10 --model_path dense");
    report(&bench, &format!("dense -o sparse.safetensors --ratio 0.85 {POINTWISE} --images {TRAIN_IMAGES}"));
    let loss = |weights: &str| {
        bench.train(&format!(
            "--pretrained_model {weights} --pruning_mode none --batch_size {TRAIN_IMAGES} --num_epochs 1 --lr 1e-30 --model_path from"
        ));
        let metrics = String::from_utf8(bench.bytes("from/metrics.jsonl")).unwrap();
        let first: Value = serde_json::from_str(metrics.lines().next().unwrap()).unwrap();
        succeed(bench.small(&format!("--phase test --pretrained_model {weights} --model_path test")));
        [number(&first, "/loss"), number(&bench.json("test/test.json"), "/loss")]
    };
    let [trained, tested] = loss("sparse.safetensors");
    assert!(trained < tested + 0.05, "{trained} in training, {tested} in a test");
}

fn is_ranked(name: &str) -> bool {
    name.ends_with("_weights") && !name.ends_with("_dw_weights")
}

#[test]
fn magnitude_is_that_of_training_bit_for_bit() {
    let bench = Bench::new();
    bench.train("--pruning_mode none");
    let kinds = [("None", "--sparse_block 1 1"), ("conv1x1_only", "--sparse_block 2 2")];
    for (kind, block) in kinds {
        for (allocate, local) in [("global", false), ("uniform", true)] {
            // One-shot leaves the kernels of single channels alone unless they are named.
            let flags = format!(
                "--ratio 0.6 --prune_params_type {kind} {block} --set prune.exclude=['_dw_weights$']"
            );
            report(
                &bench,
                &format!("run -o magnitude --method magnitude --allocate {allocate} --images 20 {flags}"),
            );
            // Updates so small that they change no weight: what is left is the mask.
            let flags =
                format!("{flags} --local_sparsity {local} --pretrained_model run --lr 1e-30 --num_epochs 1");
            let _ = std::fs::remove_dir_all(bench.path("trained"));
            succeed(bench.small(&format!("{flags} --model_path trained")));
            let (found, expected) = (Weights::read(&bench.path("magnitude")), bench.weights("trained"));
            for (name, (_, values)) in found.tensors.iter().filter(|(name, _)| is_ranked(name)) {
                assert_eq!(values, &expected.tensors[name].1, "{name} {kind} {allocate}");
            }
        }
    }
}

/// Channels come in another order, and batch norms and depthwise kernels with them: the network is the same but for which blocks are zero.
#[test]
fn blocks_cost_less_where_channels_may_be_reordered() {
    let bench = Bench::new();
    bench.train("--threshold 0");
    succeed(bench.bare("export run --to onnx -o dense.onnx"));
    let flags = format!("{POINTWISE} --ratio 0.75 --sparse_block 1 4 --images 100");
    let as_they_are = report(&bench, &format!("run -o plain {flags}"));
    let reordered = report(&bench, &format!("run -o reordered {flags} --reorder"));
    let error =
        |report: &Value| layers(report).iter().map(|layer| number(layer, "/relative_error")).sum::<f64>();
    assert!(error(&reordered) < error(&as_they_are), "{reordered} {as_they_are}");
    let [dense, found] = ["run", "reordered"].map(|weights| accuracy(&bench, weights));
    assert!(found > dense - 0.2, "{found} of {dense}");
    let weights = Weights::read(&bench.path("reordered"));
    let pointwise = weights.tensors.iter().filter(|(name, (shape, _))| is_pointwise(name, shape));
    let blocks = pointwise.flat_map(|(_, (shape, values))| {
        values.chunks(shape[1]).flat_map(|row| row.chunks(4).map(|block| block.iter().all(|&w| w == 0.0)))
    });
    let (zero, all) = blocks.fold((0, 0), |(zero, all), is_zero| (zero + u32::from(is_zero), all + 1));
    assert!((0.75..0.77).contains(&(f64::from(zero) / f64::from(all))), "{zero} of {all} blocks");
    // By magnitude it is the greatest blocks that stay, of the weights where they are now.
    let [plain, moved] = ["", "--reorder"].map(|order| {
        report(&bench, &format!("run -o by {flags} --method magnitude {order}"));
        let weights = Weights::read(&bench.path("by"));
        let pointwise = weights.tensors.iter().filter(|(name, (shape, _))| is_pointwise(name, shape));
        pointwise.flat_map(|(_, (_, values))| values).map(|w| w.abs()).sum::<f32>()
    });
    assert!(moved > 0.95 * plain, "{moved} {plain}");
    // The same of ONNX, where batch norms are part of the convolutions.
    let of_onnx = report(&bench, &format!("dense.onnx -o reordered.onnx {flags} --reorder"));
    for (weights, onnx) in layers(&reordered).iter().zip(layers(&of_onnx)) {
        let off = number(weights, "/relative_error") - number(onnx, "/relative_error");
        assert!(off.abs() < 1e-3, "{weights} {onnx}");
    }
    // With next to no zeros it is the network that it was.
    let some = format!("{POINTWISE} --ratio 0.01 --sparse_block 1 4 --images 100 --reorder");
    for (from, to) in [("run", "same"), ("dense.onnx", "same.onnx")] {
        assert!(error(&report(&bench, &format!("{from} -o {to} {some}"))) < 0.01);
    }
    accuracy(&bench, "same");
    let [before, after] =
        ["run", "same"].map(|weights| number(&bench.json(&format!("of-{weights}/test.json")), "/loss"));
    assert!((after - before).abs() < 0.01 * before, "{after} {before}");
}

#[test]
fn onnx_files_stay_onnx_and_patterns_hold() {
    let bench = Bench::new();
    bench.train("--threshold 0");
    succeed(bench.bare("export run --to onnx -o dense.onnx"));
    let flags = "dense.onnx -o sparse.onnx --pattern 2:4 --images 32 --set prune.include=['_sep_weights$']";
    let found = report(&bench, flags);
    assert!(layers(&found).iter().all(|layer| number(layer, "/kept") * 2.0 == number(layer, "/weights")));
    assert!(bench.bytes("sparse.onnx") != bench.bytes("dense.onnx"));
    succeed(bench.bare("bench infer --weights sparse.onnx --runs 1 --threads 1"));
    // Weights and ONNX are one network, and so are their results.
    let flags = format!("{POINTWISE} --ratio 0.5 --images 32");
    let of_weights = report(&bench, &format!("run -o weights {flags}"));
    let of_onnx = report(&bench, &format!("dense.onnx -o again.onnx {flags}"));
    for (weights, onnx) in layers(&of_weights).iter().zip(layers(&of_onnx)) {
        assert_eq!(weights["kept"], onnx["kept"]);
        let off = number(weights, "/relative_error") - number(onnx, "/relative_error");
        assert!(off.abs() < 1e-3, "{weights} {onnx}");
    }
}

#[test]
fn zeros_are_shared_out_by_error_and_by_time_and_timings_give_the_same_bytes_again() {
    let bench = Bench::new();
    bench.train("--threshold 0");
    for allocate in ["erk", "error", "global"] {
        let found = report(
            &bench,
            &format!("run -o {allocate} --ratio 0.7 --allocate {allocate} {POINTWISE} --images 48"),
        );
        assert!((number(&found, "/sparsity") - 0.7).abs() < 0.02, "{allocate}: {found}");
        let shares: Vec<f64> =
            layers(&found).iter().map(|layer| number(layer, "/kept") / number(layer, "/weights")).collect();
        assert!(shares.iter().any(|share| (share - shares[0]).abs() > 0.01), "{shares:?}");
    }
    let by_time =
        "--allocate time --speedup 1.02 --timings times.json --images 48 --prune_params_type conv1x1_only";
    report(&bench, &format!("run -o first {by_time} --threads 1"));
    let times = bench.bytes("times.json");
    report(&bench, &format!("run -o second {by_time} --threads 1"));
    assert_eq!((bench.bytes("first"), times), (bench.bytes("second"), bench.bytes("times.json")));
    // As if each of 13 layers took a millisecond, and less in proportion: of those that may not be pruned this time both milliseconds stay.
    let mut made = bench.json("times.json");
    made["others_ms"] = 0.0.into();
    for times in made["layers"].as_object_mut().unwrap().values_mut() {
        times.as_array_mut().unwrap().iter_mut().for_each(|time| time["ms"] = time["density"].clone());
    }
    std::fs::write(bench.path("made.json"), made.to_string()).unwrap();
    let fewer = format!("run -o fewer {by_time} --timings made.json --threads 1 --speedup 1.5");
    let found = report(&bench, &format!("{fewer} --set prune.exclude=['^conv2_']"));
    let took: f64 =
        layers(&found).iter().map(|layer| number(layer, "/kept") / number(layer, "/weights")).sum();
    assert!((took - (13.0 / 1.5 - 2.0)).abs() < 0.2, "{took}");
    succeed(bench.small("--set model.scale=0.25 --threshold 0 --num_epochs 1 --model_path wide"));
    let wide = format!("prune wide -o third {by_time} --threads 1 --set data.path=data");
    fail(bench.bare(&wide), 1, &["times.json", "another network"]);
    let threads = format!("prune run -o third {by_time} --threads 2 --set data.path=data");
    fail(bench.bare(&threads), 1, &["times.json", "1 threads"]);
    let fast = format!("prune run -o fast {by_time} --speedup 100 --threads 1 --set data.path=data");
    fail(bench.bare(&fast), 2, &["100 times as fast is out of reach"]);
}

#[test]
fn packed_files_hold_the_same_weights_and_are_smaller() {
    let bench = Bench::new();
    bench.train("--threshold 0");
    let flags = "--ratio 0.8 --images 40";
    report(&bench, &format!("run -o plain.safetensors {flags}"));
    report(&bench, &format!("run -o small.safetensors {flags} --to packed"));
    assert!(2 * bench.bytes("small.safetensors").len() < bench.bytes("plain.safetensors").len());
    succeed(bench.bare("convert small.safetensors again.safetensors"));
    let read = |name: &str| Weights::read(&bench.path(name)).tensors;
    assert_eq!(read("again.safetensors"), read("plain.safetensors"));
    // A packed file can be pruned further.
    let further =
        report(&bench, "small.safetensors -o further.safetensors --ratio 0.85 --images 40 --svg layers.svg");
    assert!((number(&further, "/sparsity") - 0.85).abs() < 0.01);
    assert!(String::from_utf8(bench.bytes("layers.svg")).unwrap().starts_with("<svg"));
}

#[test]
fn a_run_that_was_killed_goes_on_and_ends_with_the_same_bytes() {
    let bench = Bench::new();
    bench.train("--threshold 0");
    let flags = "--ratio 0.6 --allocate error --images 200 --set data.path=data";
    succeed(bench.bare(&format!("prune run -o whole {flags}")));
    let mut killed = 0;
    for _ in 0..40 {
        let mut command = bench.bare(&format!("prune run -o parts {flags}"));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Until it has saved more layers than before, or is done.
        let size = || std::fs::metadata(bench.path("parts.partial")).map_or(0, |file| file.len());
        let before = size();
        while child.try_wait().unwrap().is_none() && size() <= before {
            std::thread::yield_now();
        }
        if child.kill().is_ok() && !child.wait().unwrap().success() {
            killed += 1;
        }
        if bench.path("parts").exists() {
            break;
        }
    }
    assert!(killed > 2, "{killed}");
    assert_eq!(bench.bytes("parts"), bench.bytes("whole"));
    assert!(!bench.path("parts.partial").exists());
    // What was begun with other settings is not gone on with.
    std::fs::write(bench.path("whole.partial"), "of something else").unwrap();
    succeed(bench.bare(&format!("prune run -o whole {flags}"))).says(&["written anew"]);
    assert_eq!(bench.bytes("parts"), bench.bytes("whole"));
}

#[test]
fn photos_need_no_labels() {
    let bench = Bench::new();
    write_class_folders(&bench.path("photos"));
    succeed(bench.bare(
        "--data imagenet --set data.path=photos --set data.crop=32 --set data.resize=32 --set model.num_classes=4 --set model.scale=0.1 \
         --num_epochs 1 --batch_size 4 --threshold 0 --model_path run --threads 1 --set data.bad_images_limit=0.5",
    ));
    let prune = |folder: &str, to: &str| {
        let flags = "--ratio 0.5 --images 6 --threads 1 --seed 3 --set data.bad_images_limit=0.5";
        succeed(bench.bare(&format!("prune run -o {to} --data imagenet --set data.path={folder} {flags}")))
    };
    prune("photos", "labelled");
    std::fs::create_dir(bench.path("heap")).unwrap();
    let mut number = 0;
    for class in std::fs::read_dir(bench.path("photos/train")).unwrap() {
        for photo in std::fs::read_dir(class.unwrap().path()).unwrap() {
            let photo = photo.unwrap().path();
            let end = photo.extension().unwrap().to_str().unwrap();
            std::fs::copy(&photo, bench.path(&format!("heap/{number}.{end}"))).unwrap();
            number += 1;
        }
    }
    prune("heap", "heaped").says(&["no data set", "drawn from all"]);
    assert!(bench.path("heaped").exists() && bench.path("labelled").exists());
}

#[test]
fn what_cannot_be_pruned_is_refused_and_leaves_no_file() {
    let bench = Bench::new();
    bench.train("--threshold 0 --num_epochs 1");
    let fails = |flags: &str, code: i32, parts: &[&str]| {
        fail(bench.bare(&format!("prune {flags} --set data.path=data")), code, parts);
        assert!(!bench.path("out").exists(), "{flags}");
    };
    fails("run -o out --pattern 4:2", 2, &["pattern", "2:4"]);
    for block in ["", "--sparse_block 2 1", "--sparse_block 4 4"] {
        fails(&format!("run -o out --ratio 0.5 {block} --reorder"), 2, &["--reorder", "--sparse_block 1 4"]);
    }
    fails("run -o out --damp 0", 2, &["--damp", "above 0"]);
    fails("run -o out --images 0", 2, &["--images"]);
    fails("run -o out --memory 4", 2, &["--memory", "4GB"]);
    fails("run -o out --memory 300MB --ratio 0.5", 2, &["--memory", "MB"]);
    fails("run -o out --speedup 2 --ratio 0.5", 2, &["--speedup", "--allocate time"]);
    fails("run -o out --allocate time", 2, &["--speedup 2.5"]);
    fails("run -o out --pattern 2:4 --ratio 0.75", 2, &["both ratio and pattern"]);
    fails("run -o out --threshold 0.1", 2, &["--ratio 0.75"]);
    fails("run -o out", 2, &["--ratio 0.75"]);
    fails("run -o out --pattern 2:4 --allocate erk", 2, &["--pattern", "--allocate"]);
    fails("run -o out --ratio 0.9 --sparse_block 64 64", 2, &["blocks of 64x64", "at the nearest"]);
    fails("nowhere -o out --ratio 0.5", 1, &["nowhere"]);
    fails(
        "run -o out --set prune.include=['nothing'] --ratio 0.5",
        2,
        &["no layer that may be pruned", "conv1_weights"],
    );
    fails("run -o out --set prune.include=['('] --ratio 0.5", 2, &["prune.include"]);
    fails("run -o out --pattern 3:7", 2, &["conv1_weights", "3:7", "input channels", "prune.exclude"]);
    fails("run/weights.safetensors -o run/weights.safetensors --ratio 0.5", 2, &["run/weights.safetensors"]);
    fails("run -o missing/out --ratio 0.5 --images 5", 1, &["missing"]);
    let mut weights = bench.weights("run");
    weights.tensors.get_mut("conv3_1_sep_weights").unwrap().1[7] = f32::NAN;
    weights.write(&bench.path("nan.safetensors"));
    fails("nan.safetensors -o out --images 8 --ratio 0.5", 1, &["conv3_1_sep_weights", "NaN"]);
    // One layer's weight in two places.
    let mut weights = bench.weights("run");
    let shared = weights.tensors["conv5_1_sep_weights"].clone();
    weights.tensors.insert("conv5_2_sep_weights".to_owned(), shared);
    weights.write(&bench.path("shared.safetensors"));
    let parts = ["conv5_1_sep_weights", "conv5_2_sep_weights", "prune.exclude"];
    fails("shared.safetensors -o out --images 8 --ratio 0.5", 1, &parts);
}
