//! `sparse-train predict` on the real binary: what it says of images, from weights and from ONNX, and what it refuses.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::data::write_image_folder;
use common::weights::Weights;
use common::{Bench, Ended, end, fail, number, succeed};
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// A file that `tests/torch/make.py` made: 10 classes, colour, of timm.
fn timm() -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/torch/timm.pth");
    path.canonicalize().unwrap().display().to_string()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The JSON that is printed of images.
fn predicted(bench: &Bench, flags: &str) -> Value {
    json(&succeed(bench.bare(&format!("predict {flags} --json"))).stdout)
}

/// Images as JSON names them: the file and its first class.
fn first_classes(found: &Value) -> Vec<(String, u64)> {
    let image = |image: &Value| {
        (image["file"].as_str().unwrap().to_owned(), image["top"][0]["class"].as_u64().unwrap())
    };
    found.as_array().unwrap().iter().map(image).collect()
}

/// A run on 16 images of 16 classes with a recipe that is out of the ordinary in all that decides how images are seen.
fn train_on_images(bench: &Bench) {
    write_image_folder(&bench.path("images"));
    succeed(bench.bare(
        "--data imagenet --set data.path=images --set data.image_size=32 --set data.crop=24 --set data.resize=30 \
         --set data.mean=0.4 --set data.std=[0.2,0.3,0.1] --set data.interpolation=bicubic --set model.scale=0.125 \
         --num_classes 16 --batch_size 8 --num_epochs 6 --lr 0.005 --bn_recal 2 --pruning_mode ratio --ratio 0.5 --threads 1 \
         --num_workers 1 --test_period 6 --model_path run",
    ));
}

/// The class that the test found for each image: `predictions.csv`.
fn tested(bench: &Bench, run: &str) -> Vec<u64> {
    let text = String::from_utf8(bench.bytes(&format!("{run}/predictions.csv"))).unwrap();
    text.lines().skip(1).map(|line| line.split(',').nth(2).unwrap().parse().unwrap()).collect()
}

#[test]
fn images_are_seen_as_in_the_test_of_the_run_whatever_file_holds_the_network() {
    let bench = Bench::new();
    train_on_images(&bench);
    let files: Vec<String> = (0..16).map(|class| format!("images/val/{class}.png")).collect();
    let files = files.join(" ");
    let found = predicted(&bench, &format!("{files} --weights run --top 16"));
    let classes: Vec<u64> = first_classes(&found).into_iter().map(|(_, class)| class).collect();
    assert_eq!(classes, tested(&bench, "run"));
    assert_eq!(first_classes(&found)[3].0, "images/val/3.png");
    // The loss of each image is that of its probability, so pixels are the same as in the test, and not nearly so.
    let losses = String::from_utf8(bench.bytes("run/predictions.csv")).unwrap();
    for (image, line) in found.as_array().unwrap().iter().zip(losses.lines().skip(1)) {
        let fields: Vec<f64> = line.split(',').map(|field| field.parse().unwrap()).collect();
        let guesses = image["top"].as_array().unwrap();
        let own = guesses.iter().find(|guess| guess["class"].as_f64() == Some(fields[1])).unwrap();
        let loss = -number(own, "/probability").ln();
        assert!((loss - fields[4]).abs() < 1e-4, "{loss} is not {}", fields[4]);
        let sum: f64 = guesses.iter().map(|guess| number(guess, "/probability")).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{sum}");
        assert_eq!(own["name"], Value::Null);
    }
    // Another way of seeing them gives other numbers.
    for flags in ["--resize_short 24", "--mean 0.5", "--std 0.2", "--size 32", "--precision bf16"] {
        assert_ne!(predicted(&bench, &format!("{files} --weights run --top 16 {flags}")), found, "{flags}");
    }
    succeed(bench.bare("export run --to packed -o packed.safetensors"));
    succeed(bench.bare("export run --to onnx -o run.onnx"));
    succeed(bench.bare("export packed.safetensors --to onnx -o sparse.onnx --sparse_initializer"));
    std::fs::copy(bench.path("run.onnx"), bench.path("without_extension")).unwrap();
    let other =
        ["run/weights.safetensors", "packed.safetensors", "run.onnx", "sparse.onnx", "without_extension"];
    for weights in other {
        let flags = format!("{files} --weights {weights} --top 16");
        assert_eq!(predicted(&bench, &flags), found, "{weights}");
        assert_eq!(predicted(&bench, &format!("{flags} --threads 3")), found, "{weights}");
    }
}

#[test]
fn images_that_cannot_be_used_are_named_and_the_others_are_printed() {
    let bench = Bench::new();
    write_image_folder(&bench.path("images"));
    std::fs::write(bench.path("text.png"), "no image").unwrap();
    let flags = format!("images/val/1.png nowhere.png text.png images images/val/2.png --weights {}", timm());
    let ended = end(bench.bare(&format!("predict {flags} --size 32 --top 2")));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    ended.says(&[
        "nowhere.png cannot be used: ",
        "text.png cannot be used: it begins neither",
        "images cannot",
    ]);
    let names =
        ["image", "rank", "probability", "class", "name", "images/val/1.png", "images/val/2.png", " % "];
    assert!(names.iter().all(|name| ended.stdout.contains(name)), "{}", ended.stdout);
    assert!(!ended.stdout.contains("text.png"), "{}", ended.stdout);
    assert_eq!(ended.stdout.lines().count(), 2 + 4, "{}", ended.stdout);
    let found = end(bench.bare(&format!("predict {flags} --size 32 --json")));
    let files: Vec<_> = first_classes(&json(&found.stdout)).into_iter().map(|(file, _)| file).collect();
    assert_eq!((found.code, files), (Some(1), vec!["images/val/1.png".into(), "images/val/2.png".into()]));
    fail(bench.bare(&format!("predict text.png --weights {}", timm())), 1, &["error: text.png cannot"]);
    assert_eq!(end(bench.bare(&format!("predict no.png --json --weights {}", timm()))).stdout, "[]\n");
}

/// Weights of the file of timm with another recipe and head.
fn write_weights(bench: &Bench, name: &str, classes: usize, metadata: &str) {
    succeed(bench.bare(&format!("convert {} plain.safetensors", timm())));
    let mut weights = Weights::read(&bench.path("plain.safetensors"));
    for name in ["fc7_weights", "fc7_offset"] {
        let (shape, values) = weights.tensors.get_mut(name).unwrap();
        let had = shape.pop().unwrap();
        let row = |row: &[f32]| (0..classes).map(|class| row[class % had] - class as f32).collect();
        *values = values.chunks(had).flat_map::<Vec<f32>, _>(row).collect();
        shape.push(classes);
    }
    weights.metadata.insert("sparse_train".to_owned(), metadata.to_owned());
    weights.write(&bench.path(name));
}

#[test]
fn classes_are_named_by_imagenet_by_the_labels_that_were_kept_or_by_a_file() {
    let bench = Bench::new();
    write_image_folder(&bench.path("images"));
    let named = |weights: &str, flags: &str| {
        let flags = format!("images/val/1.png --weights {weights} --size 32 --top 3 {flags}");
        let found = predicted(&bench, &flags);
        let guess = |guess: &Value| (guess["class"].as_u64().unwrap(), guess["name"].clone());
        found[0]["top"].as_array().unwrap().iter().map(guess).collect::<Vec<_>>()
    };
    // The bias of each class falls with its number.
    write_weights(&bench, "all.safetensors", 1000, "{}");
    assert_eq!(named("all.safetensors", "")[0], (0, "tench, Tinca tinca".into()));
    let recipe = r#"{"recipe":{"data.data":"imagenet","data.mean":[0.5],"data.std":[0.5],"data.classes":[701,0,217]}}"#;
    write_weights(&bench, "kept.safetensors", 3, recipe);
    let of_labels = named("kept.safetensors", "");
    assert_eq!(of_labels[0], (0, "parachute, chute".into()));
    assert_eq!(of_labels[1], (1, "tench, Tinca tinca".into()));
    succeed(bench.bare("export kept.safetensors --to onnx -o kept.onnx --size 32"));
    assert_eq!(named("kept.onnx", ""), of_labels);
    write_weights(&bench, "three.safetensors", 3, "{}");
    assert_eq!(named("three.safetensors", "")[0], (0, Value::Null));

    std::fs::write(bench.path("names.txt"), "first\r\n second one\nthird\n").unwrap();
    for weights in ["kept.safetensors", "kept.onnx", "three.safetensors"] {
        let got = named(weights, "--classes names.txt");
        assert_eq!(got[..2], [(0, "first".into()), (1, "second one".into())], "{weights}");
    }
    let refused = |classes: &str, parts: &[&str]| {
        let flags = format!("predict images/val/1.png --weights all.safetensors --classes {classes}");
        fail(bench.bare(&flags), 1, parts);
    };
    refused("names.txt", &["names.txt has 3 lines", "1000 classes"]);
    refused("nowhere.txt", &["nowhere.txt", "--classes"]);
}

/// Writes an image of 28 × 28 grey pixels and the same in colour.
fn write_digit(folder: &Path) {
    let pixel = |x: u32, y: u32| ((x * 9 + y * 5) % 256) as u8;
    let grey = image::GrayImage::from_fn(28, 28, |x, y| image::Luma([pixel(x, y)]));
    grey.save(folder.join("grey.png")).unwrap();
    let colour = image::RgbImage::from_fn(28, 28, |x, y| image::Rgb([pixel(x, y); 3]));
    colour.save(folder.join("colour.png")).unwrap();
    image::imageops::resize(&grey, 300, 200, image::imageops::FilterType::Nearest)
        .save(folder.join("large.jpg"))
        .unwrap();
}

#[test]
fn grey_networks_see_digits_as_their_test_does() {
    let bench = Bench::new();
    bench.train("");
    // The first test images, as files.
    let images = bench.bytes("data/t10k-images-idx3-ubyte");
    let mut flags = String::new();
    for (index, pixels) in images[16..].chunks(784).take(20).enumerate() {
        let name = format!("{index}.png");
        image::GrayImage::from_raw(28, 28, pixels.to_vec()).unwrap().save(bench.path(&name)).unwrap();
        flags += &format!("{name} ");
    }
    let found = predicted(&bench, &format!("{flags} --weights run"));
    let classes: Vec<u64> = first_classes(&found).into_iter().map(|(_, class)| class).collect();
    assert_eq!(classes, tested(&bench, "run")[..20]);
    assert_eq!((&found[0]["top"][0]["name"], found[0]["top"].as_array().unwrap().len()), (&Value::Null, 5));

    write_digit(bench.path("x").parent().unwrap());
    let found = predicted(&bench, "grey.png colour.png large.jpg --weights run");
    assert_eq!(found[0]["top"], found[1]["top"]);
    assert_eq!(found.as_array().unwrap().len(), 3);
    succeed(bench.bare("export run --to onnx -o run.onnx"));
    assert_eq!(predicted(&bench, "grey.png colour.png large.jpg --weights run.onnx"), found);
}

#[test]
fn files_that_say_nothing_of_their_input_get_imagenets_and_a_word() {
    let bench = Bench::new();
    write_image_folder(&bench.path("images"));
    write_weights(&bench, "plain.safetensors", 4, "{}");
    succeed(bench.bare("export plain.safetensors --to onnx -o plain.onnx --size 32"));
    let torch = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/onnx/mobilenet_13.onnx");
    std::fs::copy(torch, bench.path("torch.onnx")).unwrap();
    let word = "does not say how its images are normalised: mean [0.485, 0.456, 0.406]";
    for flags in ["plain.safetensors --size 32", "plain.onnx", "torch.onnx --size 32"] {
        let predict = format!("predict images/val/1.png --weights {flags}");
        succeed(bench.bare(&predict)).says(&[word]);
        let quiet =
            succeed(bench.bare(&format!("{predict} --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225")));
        assert!(!quiet.stderr.contains("normalised"), "{}", quiet.stderr);
        assert_eq!(quiet.stdout, succeed(bench.bare(&predict)).stdout);
    }
    // The weights of another program bring what it does.
    let ended = succeed(bench.bare(&format!("predict images/val/1.png --weights {} --size 32", timm())));
    assert!(!ended.stderr.contains("normalised"), "{}", ended.stderr);
}

#[test]
fn one_of_several_outputs_is_named() {
    let bench = Bench::new();
    write_image_folder(&bench.path("images"));
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/onnx");
    let one = std::fs::read(folder.join("mobilenet_13.onnx")).unwrap();
    // A further field of the graph (7): an output (12) with a name (1). Fields of a message may come in parts.
    let name = FEATURES.as_bytes();
    let (name_size, output_size) = (name.len() as u8, name.len() as u8 + 2);
    let more = [&[0x3a, output_size + 2, 0x62, output_size, 0x0a, name_size], name].concat();
    std::fs::write(bench.path("one.onnx"), &one).unwrap();
    std::fs::write(bench.path("two.onnx"), [one, more].concat()).unwrap();
    let predict = "predict images/val/1.png --size 32 --top 5 --weights";
    let named = |output: &str| succeed(bench.bare(&format!("{predict} two.onnx --output {output}"))).stdout;
    let both = format!("scores [batch, 5], {FEATURES} [N, 6]");
    fail(bench.bare(&format!("{predict} two.onnx")), 1, &[&both, "--output NAME"]);
    fail(bench.bare(&format!("{predict} two.onnx --output none")), 1, &["no output `none`", &both]);
    assert_eq!(named("scores"), succeed(bench.bare(&format!("{predict} one.onnx"))).stdout);
    assert_ne!(named(FEATURES), named("scores"));
    fail(bench.bare(&format!("{predict} {} --output scores", timm())), 1, &["which have one output"]);
    let infer = "bench infer --size 32 --batch 1 --runs 1 --threads 1 --weights two.onnx";
    fail(bench.bare(infer), 1, &[&both]);
    succeed(bench.bare(&format!("{infer} --output {FEATURES}")));
}

/// A tensor of `mobilenet_13.onnx` with the features of an image.
const FEATURES: &str = "/ReduceMean_output_0";

#[test]
fn an_image_may_come_through_the_standard_input() {
    let bench = Bench::new();
    write_image_folder(&bench.path("images"));
    let mut command = bench.bare(&format!("predict - --weights {} --size 32 --json", timm()));
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&bench.bytes("images/val/1.png")).unwrap();
    let ended = Ended::from(child.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let by_name = predicted(&bench, &format!("images/val/1.png --weights {} --size 32", timm()));
    let found = json(&ended.stdout);
    assert_eq!((&found[0]["file"], &found[0]["top"]), (&"-".into(), &by_name[0]["top"]));
}

#[test]
fn wrong_requests_are_named() {
    let bench = Bench::new();
    write_image_folder(&bench.path("images"));
    std::fs::write(bench.path("bad.onnx"), "no network").unwrap();
    let image = "predict images/val/1.png";
    let weights = format!("{image} --weights {}", timm());
    for (flags, code, part) in [
        ("predict --weights run", 2, "IMAGE"),
        (image, 2, "--weights"),
        (&format!("{weights} --top 0"), 2, "--top"),
        (&format!("{weights} --mean 127.5"), 2, "127.5 of 255 is 0.5"),
        (&format!("{weights} --mean 0.1,0.2"), 2, "--mean and --std"),
        (&format!("{weights} --size 100000"), 2, "--size"),
        (&format!("{weights} --size 32 --resize_short 20"), 2, "--resize_short"),
        (&format!("{image} --weights nowhere"), 1, "nowhere is missing"),
        (&format!("{image} --weights bad.onnx"), 1, "no ONNX model"),
        (&format!("{image} --weights images/val/1.png"), 1, "1.png"),
    ] {
        fail(bench.bare(flags), code, &[part]);
    }
}

#[test]
fn an_image_below_the_size_names_the_flag_that_enlarges_it() {
    let bench = Bench::new();
    write_image_folder(&bench.path("images"));
    let flags = format!("images/val/1.png --weights {} --resize_short 0 --size 224", timm());
    let ended = end(bench.bare(&format!("predict {flags}")));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    ended.says(&["48x40 pixels", "--resize_short 224 enlarges it"]);
    assert!(!ended.stderr.contains("data.resize"), "{}", ended.stderr);
}

#[test]
fn scores_that_are_no_numbers_are_no_ranking() {
    let bench = Bench::new();
    write_image_folder(&bench.path("images"));
    bench.train("--num_epochs 1");
    let good = bench.weights("run");
    for odd in [f32::NAN, f32::INFINITY] {
        let mut weights = good.clone();
        let (name, (_, values)) =
            weights.tensors.iter_mut().find(|(name, _)| name.starts_with("fc")).unwrap();
        assert!(!values.is_empty(), "{name}");
        values.fill(odd);
        weights.write(&bench.path("odd.safetensors"));
        for flags in ["", "--json"] {
            let ended =
                end(bench.bare(&format!("predict images/val/1.png --weights odd.safetensors {flags}")));
            assert_eq!(ended.code, Some(1), "{ended:?}");
            assert_eq!(ended.stdout.trim(), if flags.is_empty() { "" } else { "[]" }, "{ended:?}");
            ended.says(&["images/val/1.png cannot be used: the network gives it scores that are no numbers"]);
        }
    }
}
