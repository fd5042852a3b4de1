//! `sparse-train quantize` on the real binary: weights and activations of 8 bits by images, without training.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Bench, Ended, fail, number, succeed};
use serde_json::Value;
use sparse_formats::MappedFile;
use std::process::Stdio;

const POINTWISE: &str = "--prune_params_type conv1x1_only";

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{}: {error}", ended.stdout))
}

fn report(bench: &Bench, flags: &str) -> Value {
    json(&succeed(bench.bare(&format!("{flags} --set data.path=data --json"))))
}

fn layers(report: &Value) -> &[Value] {
    report["layers"].as_array().unwrap()
}

/// Writes the first test images as files, and gives their names.
fn write_images(bench: &Bench, count: usize) -> String {
    let images = bench.bytes("data/t10k-images-idx3-ubyte");
    let write = |at: usize| {
        let pixels = images[16 + 784 * at..][..784].to_vec();
        let name = format!("{at}.png");
        image::GrayImage::from_raw(28, 28, pixels).unwrap().save(bench.path(&name)).unwrap();
        name
    };
    (0..count).map(write).collect::<Vec<_>>().join(" ")
}

/// The probabilities of all classes of each image.
fn probabilities(bench: &Bench, images: &str, weights: &str, flags: &str) -> Vec<Vec<f64>> {
    let found =
        json(&succeed(bench.bare(&format!("predict {images} --weights {weights} --top 10 --json {flags}"))));
    let image = |image: &Value| {
        let mut of = vec![0.0; 10];
        for guess in image["top"].as_array().unwrap() {
            of[guess["class"].as_u64().unwrap() as usize] = number(guess, "/probability");
        }
        of
    };
    found.as_array().unwrap().iter().map(image).collect()
}

fn first(of: &[f64]) -> usize {
    (0..of.len()).max_by(|&a, &b| of[a].total_cmp(&of[b])).unwrap()
}

/// Multiples and scales of a layer, and what its weights are.
fn weights_of(bench: &Bench, file: &str, name: &str) -> (Vec<f32>, Vec<f32>) {
    let file = MappedFile::open(bench.path(file)).unwrap();
    let (_, values) = file.values(name).unwrap();
    (file.scales(name).unwrap().unwrap_or_default(), values)
}

#[test]
fn a_network_of_8_bits_predicts_as_it_did_and_has_the_same_bytes_everywhere() {
    let bench = Bench::new();
    bench.train("--threshold 0 --num_epochs 4");
    let quantize =
        |to: &str, flags: &str| report(&bench, &format!("quantize run -o {to} --images 100 {flags}"));
    let one = quantize("one.safetensors", "--threads 1");
    quantize("two.safetensors", "--threads 2");
    quantize("little.safetensors", "--threads 3 --memory 450MB");
    assert_eq!(bench.bytes("one.safetensors"), bench.bytes("two.safetensors"));
    assert_eq!(bench.bytes("one.safetensors"), bench.bytes("little.safetensors"));
    assert!(!bench.path("one.safetensors.partial").exists());
    assert_eq!((&one["images"], layers(&one).len()), (&Value::from(100), 28));
    assert!(
        layers(&one).iter().all(|layer| layer["bits"] == 8 && number(layer, "/relative_error") < 0.01),
        "{one}"
    );
    assert!(number(&one, "/output_error") < 0.02 && number(&one, "/agreement") >= 0.85, "{one}");
    let [before, after] = ["/top1/0", "/top1/1"].map(|path| number(&one, path));
    assert!(after >= before - 0.05, "{one}");
    // A zero of the run is a zero of the file, and the others are multiples of their scale.
    let run = bench.weights("run");
    for name in ["conv1_weights", "conv2_1_dw_weights", "conv4_2_sep_weights"] {
        let (scales, values) = weights_of(&bench, "one.safetensors", name);
        let columns = values.len() / scales.len();
        for (at, value) in values.iter().enumerate() {
            let multiple = value / scales[at / columns];
            assert!(
                (multiple - multiple.round()).abs() < 1e-3 && multiple.abs() < 127.1,
                "{name} {multiple}"
            );
        }
        assert_eq!(values.len(), run.tensors[name].1.len());
    }
    let images = write_images(&bench, 40);
    let (of_run, of_one) =
        (probabilities(&bench, &images, "run", ""), probabilities(&bench, &images, "one.safetensors", ""));
    let same = of_run.iter().zip(&of_one).filter(|(a, b)| first(a) == first(b)).count();
    assert!(same >= 32, "{same}");
    let off = of_run.concat().iter().zip(of_one.concat()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!((1e-9..1.0).contains(&off), "{off}");
    assert_eq!(probabilities(&bench, &images, "one.safetensors", "--threads 3"), of_one);
    succeed(bench.bare("bench infer --weights one.safetensors --runs 1 --threads 1"));
    let inspected = json(&succeed(bench.bare("inspect one.safetensors --json")));
    let names: Vec<&str> = layers(&inspected).iter().map(|layer| layer["name"].as_str().unwrap()).collect();
    assert!(["conv1_weights", "conv1_bias", "image_quantization"].iter().all(|name| names.contains(name)));
}

#[test]
fn zeros_stay_zeros_and_make_the_file_small() {
    let bench = Bench::new();
    bench.train("--threshold 0 --num_epochs 1 --ratio 0.75");
    report(&bench, "quantize run -o small.safetensors --images 40");
    let run = bench.weights("run");
    for (name, (shape, expected)) in run.tensors.iter().filter(|(name, _)| name.ends_with("_sep_weights")) {
        let (_, found) = weights_of(&bench, "small.safetensors", name);
        assert_eq!(found.len(), shape.iter().product::<usize>());
        for (found, expected) in found.iter().zip(expected) {
            assert!(*expected != 0.0 || *found == 0.0, "{name}");
        }
    }
    assert!(3 * bench.bytes("small.safetensors").len() < bench.bytes("run/weights.safetensors").len());
}

#[test]
fn layers_are_pruned_and_rounded_in_one_pass() {
    let bench = Bench::new();
    bench.train("--threshold 0 --pruning_mode none --num_epochs 4");
    let both = |to: &str, flags: &str| {
        report(&bench, &format!("prune run -o {to} --quantize --ratio 0.75 {POINTWISE} --images 100 {flags}"))
    };
    let found = both("both.safetensors", "--sparse_block 1 4 --threads 1");
    both("again.safetensors", "--sparse_block 1 4 --threads 2");
    assert_eq!(bench.bytes("both.safetensors"), bench.bytes("again.safetensors"));
    // Some of the weights that are kept are rounded to zero.
    assert!((0.745..0.8).contains(&number(&found, "/sparsity")), "{found}");
    assert_eq!((layers(&found).len(), layers(&found["quantized"]).len()), (13, 28));
    let (_, values) = weights_of(&bench, "both.safetensors", "conv5_3_sep_weights");
    let kept = values.chunks(4).filter(|block| block.iter().any(|&value| value != 0.0)).count();
    assert!(kept <= values.len() / 16 + 1, "{kept} of {}", values.len() / 4);
    let file = MappedFile::open(bench.path("both.safetensors")).unwrap();
    assert!(file.tensors().any(|name| name == "conv5_3_sep_weights.blockmask"));
    // What rounding does is little beside what pruning does, and the layers after it make it good.
    report(
        &bench,
        &format!("prune run -o zeros.safetensors --ratio 0.75 --sparse_block 1 4 {POINTWISE} --images 100"),
    );
    let images = write_images(&bench, 60);
    let of = |weights: &str| probabilities(&bench, &images, weights, "");
    let (dense, zeros, both) = (of("run"), of("zeros.safetensors"), of("both.safetensors"));
    let same = |of: &[Vec<f64>]| dense.iter().zip(of).filter(|(a, b)| first(a) == first(b)).count();
    assert!(same(&both) + 4 >= same(&zeros), "{} {}", same(&both), same(&zeros));
}

/// ONNX goes in and comes out as weights do, rounded alone or pruned before, with channels in another order or as they are.
#[test]
fn onnx_files_are_rounded_as_weights_are() {
    let bench = Bench::new();
    bench.train("--threshold 0 --pruning_mode none --num_epochs 4");
    succeed(bench.bare("export run --to onnx -o dense.onnx"));
    let images = write_images(&bench, 40);
    let of = |weights: &str| probabilities(&bench, &images, weights, "");
    let dense = of("run");
    let blocks = format!("--ratio 0.5 --sparse_block 1 4 {POINTWISE}");
    let ways = [
        ("quantize dense.onnx --images 100".to_owned(), 35),
        (format!("prune dense.onnx --quantize --images 100 {blocks}"), 20),
        (format!("prune dense.onnx --quantize --images 100 {blocks} --reorder"), 20),
    ];
    for (way, least) in ways {
        let found = report(&bench, &format!("{way} -o one.onnx --threads 1"));
        report(&bench, &format!("{way} -o two.onnx --threads 2"));
        report(&bench, &format!("{way} -o little.onnx --threads 3 --memory 450MB"));
        assert_eq!(bench.bytes("one.onnx"), bench.bytes("two.onnx"), "{way}");
        assert_eq!(bench.bytes("one.onnx"), bench.bytes("little.onnx"), "{way}");
        let rounded = if way.starts_with("prune") { &found["quantized"] } else { &found };
        assert!(layers(rounded).iter().all(|layer| layer["bits"] == 8), "{found}");
        let same = of("one.onnx").iter().zip(&dense).filter(|(a, b)| first(a) == first(b)).count();
        assert!(same >= least, "{way}: {same}");
        let timed = json(&succeed(
            bench.bare("bench infer --weights one.onnx --runs 1 --batch 1 --threads 1 --json"),
        ));
        let kinds = timed[0]["layers"].as_array().unwrap();
        assert!(kinds.iter().any(|layer| layer["kind"] == "int8 depthwise + product"), "{timed}");
    }
}

#[test]
fn layers_stay_f32_if_they_are_named_or_lose_too_much() {
    let bench = Bench::new();
    bench.train("--threshold 0 --num_epochs 4");
    let bits = |found: &Value| -> Vec<(String, u64)> {
        let layer =
            |layer: &Value| (layer["name"].as_str().unwrap().to_owned(), layer["bits"].as_u64().unwrap());
        layers(found).iter().map(layer).collect()
    };
    let named = report(&bench, "quantize run -o kept.safetensors --images 60 --keep ^conv1_ --keep fc7");
    for (name, bits) in bits(&named) {
        assert_eq!(bits == 32, name == "conv1_weights" || name == "fc7_weights", "{name}");
    }
    let all = report(&bench, "quantize run -o all.safetensors --images 60");
    let wanted = 0.8 * number(&all, "/output_error");
    let fewer = report(&bench, &format!("quantize run -o fewer.safetensors --images 60 --loss {wanted}"));
    assert!(number(&fewer, "/output_error") <= wanted, "{fewer}");
    let stay = bits(&fewer).iter().filter(|(_, bits)| *bits == 32).count();
    assert!((1..28).contains(&stay), "{fewer}");
    succeed(bench.bare("bench infer --weights fewer.safetensors --runs 1 --threads 1"));
    let loose = report(&bench, "quantize run -o loose.safetensors --images 60 --loss 10");
    assert_eq!(
        (bits(&loose), bench.bytes("loose.safetensors")),
        (bits(&all), bench.bytes("all.safetensors"))
    );
    let narrow = report(&bench, "quantize run -o narrow.safetensors --images 60 --percentile 90");
    assert!(number(&narrow, "/output_error") > number(&all, "/output_error"), "{narrow}");
    let flags = "quantize run -o out --images 60 --set data.path=data --loss 1e-12";
    fail(bench.bare(flags), 2, &["--loss", "leaves no layer to be rounded"]);
    assert!(!bench.path("out").exists());
}

#[test]
fn a_run_that_was_killed_goes_on_and_ends_with_the_same_bytes() {
    let bench = Bench::new();
    bench.train("--threshold 0 --num_epochs 1");
    let all = report(&bench, "quantize run -o all --images 200");
    let flags = format!("--images 200 --loss {} --set data.path=data", 0.8 * number(&all, "/output_error"));
    succeed(bench.bare(&format!("quantize run -o whole {flags}")));
    let mut killed = 0;
    for _ in 0..400 {
        let mut command = bench.bare(&format!("quantize run -o parts {flags}"));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let partial = || std::fs::read(bench.path("parts.partial")).unwrap_or_default();
        let before = partial();
        while child.try_wait().unwrap().is_none() && partial() == before {
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
    std::fs::write(bench.path("whole.partial"), "of something else").unwrap();
    succeed(bench.bare(&format!("quantize run -o whole {flags}"))).says(&["written anew"]);
    assert_eq!(bench.bytes("parts"), bench.bytes("whole"));
}

#[test]
fn what_cannot_be_rounded_is_refused_and_leaves_no_file() {
    let bench = Bench::new();
    bench.train("--threshold 0 --num_epochs 1");
    let fails = |flags: &str, code: i32, parts: &[&str]| {
        fail(bench.bare(&format!("{flags} --set data.path=data")), code, parts);
        assert!(!bench.path("out").exists(), "{flags}");
    };
    fails("quantize run -o out --images 0", 2, &["--images"]);
    fails("quantize run -o out --loss 0", 2, &["--loss", "above 0"]);
    fails("quantize run -o out --percentile 101", 2, &["--percentile", "100"]);
    fails("quantize run -o out --keep (", 2, &["--keep"]);
    fails("quantize run -o out --keep nothing", 2, &["--keep nothing", "conv1_weights"]);
    fails("quantize run -o out --keep .", 2, &["no layer is left"]);
    fails("quantize run -o out --ratio 0.5", 2, &["--ratio", "prune --quantize"]);
    fails("quantize run -o out --memory 300MB", 2, &["--memory"]);
    fails("quantize nowhere -o out", 1, &["nowhere"]);
    fails("quantize run -o missing/out --images 5", 1, &["missing"]);
    fails("quantize run/weights.safetensors -o run/weights.safetensors", 2, &["run/weights.safetensors"]);
    fails("prune run -o out --ratio 0.5 --keep conv1", 2, &["--keep", "--quantize"]);
    fails("prune run -o out --ratio 0.5 --quantize --to packed", 2, &["--to", "--quantize"]);
    fails("prune run -o out --ratio 0.5 --quantize --method magnitude", 2, &["--method magnitude"]);
    std::fs::create_dir(bench.path("empty")).unwrap();
    fail(bench.bare("quantize run -o out --set data.path=empty"), 1, &["empty"]);
    assert!(!bench.path("out").exists());
    // What is of 8 bits already.
    report(&bench, "quantize run -o small.safetensors --images 20");
    let parts = ["small.safetensors", "8 bits already", "f32 weights"];
    fails("quantize small.safetensors -o out", 1, &parts);
    fails("prune small.safetensors -o out --ratio 0.5", 1, &parts);
    fail(bench.bare("convert small.safetensors out"), 1, &parts);
    fail(bench.bare("export small.safetensors --to packed -o out"), 1, &parts);
    fail(bench.small("--pretrained_model small.safetensors --model_path out"), 1, &parts);
    fail(bench.small("--phase test --pruned_model small.safetensors --model_path out"), 1, &parts);
    let mut weights = bench.weights("run");
    weights.tensors.get_mut("conv3_1_sep_weights").unwrap().1[7] = f32::NAN;
    weights.write(&bench.path("nan.safetensors"));
    fails("quantize nan.safetensors -o out --images 8", 1, &["conv3_1_sep_weights", "NaN"]);
    // Damaged in its middle, and cut.
    let whole = bench.bytes("small.safetensors");
    std::fs::write(bench.path("cut.safetensors"), &whole[..whole.len() - 9]).unwrap();
    let images = write_images(&bench, 1);
    fail(bench.bare(&format!("predict {images} --weights cut.safetensors")), 1, &["cut.safetensors"]);
}
