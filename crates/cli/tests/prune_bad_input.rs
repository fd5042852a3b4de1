//! `sparse-train prune` with images that say too little, numbers that are none, no room, and others at work. On the real binary.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::data::{idx_images, idx_labels};
use common::mpi::signal;
use common::onnx::Network;
use common::{Bench, Ended, fail, names, number, succeed};
use sparse_testing::Need;
use std::process::{Child, Stdio};

/// A bench with a run in `run/`.
fn trained() -> Bench {
    let bench = Bench::new();
    bench.train("--threshold 0 --num_epochs 1");
    bench
}

fn prune(bench: &Bench, flags: &str) -> Ended {
    succeed(bench.bare(&format!("prune {flags} --set data.path=data")))
}

/// Checks that it is refused, and that nothing new lies in the folder then.
#[track_caller]
fn refused(bench: &Bench, flags: &str, code: i32, parts: &[&str]) -> Ended {
    let before = names(&bench.path("."));
    let ended = fail(bench.bare(&format!("prune {flags}")), code, parts);
    assert_eq!(names(&bench.path(".")), before, "{flags}");
    ended
}

#[test]
fn fewer_images_than_inputs_are_a_warning_and_all_there_are_may_be_asked_for() {
    let bench = trained();
    let few = prune(&bench, "run -o few --ratio 0.5 --images 20 --damp 0.02");
    few.says(&["conv6_sep_weights has 128 inputs", "at 20 places", "damping (0.02)", "--images"]);
    assert!(bench.path("few").exists());
    let all = prune(&bench, "run -o all --ratio 0.5 --images 10000000 --set prune.include=['^conv3_1_sep']");
    all.says(&["there are 640 images to look at, and not 10000000"]);
}

#[test]
fn images_all_alike_are_refused_and_a_layer_that_reads_the_same_of_all_is_named() {
    let bench = trained();
    let one = idx_images(1, 7);
    let mut images = idx_images(40, 7);
    images.truncate(16);
    images.extend((0..40).flat_map(|_| one[16..].iter().copied()));
    std::fs::create_dir(bench.path("alike")).unwrap();
    for (prefix, labels) in [("train", [0; 40].as_slice()), ("t10k", &[0; 40])] {
        std::fs::write(bench.path(&format!("alike/{prefix}-images-idx3-ubyte")), &images).unwrap();
        std::fs::write(bench.path(&format!("alike/{prefix}-labels-idx1-ubyte")), idx_labels(labels)).unwrap();
    }
    let flags = "run -o out --ratio 0.5 --set data.path=alike";
    refused(&bench, flags, 1, &["40 images from alike", "all the same", "--method magnitude"]);
    refused(&bench, &format!("{flags} --allocate error"), 1, &["all the same"]);
    succeed(bench.bare(&format!("prune {flags} --method magnitude")));
    let sensitivity = "sensitivity run --set data.path=alike --ratios 0.5";
    fail(bench.bare(&format!("{sensitivity} --method obs")), 1, &["40 images from alike", "all the same"]);
    succeed(bench.bare(&format!("{sensitivity} --set prune.include=['^conv6_sep_']")));
    // The last layers see an image as one pixel.
    let one = fail(
        bench.bare("prune run -o one --ratio 0.5 --images 1 --set data.path=data"),
        1,
        &["_weights reads the same of all images", "prune.exclude"],
    );
    assert!(one.stderr.contains("places: damping"), "{one:?}");
    assert!(!bench.path("one").exists());
}

#[test]
fn numbers_that_are_none_name_their_layer() {
    let bench = trained();
    let with = |name: &str, value: f32| {
        let mut weights = bench.weights("run");
        weights.tensors.get_mut(name).unwrap().1.fill(value);
        weights.write(&bench.path("changed.safetensors"));
    };
    let flags = "changed.safetensors -o out --ratio 0.5 --images 40 --set data.path=data";
    for (name, value) in [
        ("conv3_1_sep_bn_scale", 3e38),
        ("conv3_1_sep_bn_variance", -1.0),
        ("conv3_1_sep_bn_scale", f32::NAN),
        ("conv3_1_sep_bn_offset", f32::NAN),
        ("conv3_1_sep_bn_mean", f32::INFINITY),
    ] {
        with(name, value);
        for more in ["", "--allocate error", "--method magnitude"] {
            refused(&bench, &format!("{flags} {more}"), 1, &["conv3_1_sep_weights", "NaN"]);
        }
    }
    // All weights are finite, and what they make of images is not.
    let network = || Network::new([1, 28, 28]).convolution("first", [8, 1, 3], 1, 1);
    let huge = network().convolution("second", [8, 8, 1], 1, 1).times(1e20);
    huge.convolution("third", [8, 8, 1], 1, 1).classifier(8, 10, &bench.path("huge.onnx"));
    for more in ["", "--allocate error", "--method magnitude"] {
        let flags = format!("prune huge.onnx -o out --ratio 0.5 --images 40 --set data.path=data {more}");
        fail(bench.bare(&flags), 1, &["third_weights", "NaN or infinite"]);
        assert!(!bench.path("out").exists());
    }
}

#[test]
fn without_room_nothing_is_half_written() {
    let bench = trained();
    let limited = |blocks: usize, flags: &str| {
        let flags = format!("--ratio 0.5 --images 40 --set data.path=data {flags}");
        bench.shell(&format!("ulimit -f {blocks}; exec $BIN prune run -o out {flags}"))
    };
    let before = names(&bench.path("."));
    // Layers that are done have no room either: that is a warning, and no layer is lost that was saved.
    fail(limited(40, ""), 1, &["what was pruned so far is not saved", "out", "too large"]);
    for left in names(&bench.path(".")) {
        assert!(before.contains(&left) || left == "out.partial", "{left}");
    }
    fail(limited(40, "--to packed"), 1, &["out", "too large"]);
    let goes_on = prune(&bench, "run -o out --ratio 0.5 --images 40");
    assert!(!bench.path("out.partial").exists(), "{goes_on:?}");
    prune(&bench, "run -o whole --ratio 0.5 --images 40");
    assert_eq!(bench.bytes("out"), bench.bytes("whole"));
}

#[test]
fn places_where_nothing_can_be_written_are_refused_before_the_work() {
    let bench = trained();
    std::fs::create_dir(bench.path("folder")).unwrap();
    let says = |flags: &str, parts: &[&str]| {
        let ratio = if flags.contains("--speedup") { "" } else { "--ratio 0.5" };
        let flags = format!("run {ratio} --images 40 --set data.path=data {flags}");
        let ended = refused(&bench, &flags, 1, parts);
        assert!(!ended.stderr.contains("kept"), "{ended:?}");
    };
    says("-o folder", &["folder"]);
    says("-o missing/out", &["missing/out"]);
    says("-o out --svg missing/layers.svg", &["missing/layers.svg"]);
    says("-o out --svg folder", &["folder"]);
    says("-o out --allocate time --speedup 2 --timings missing/times.json", &["missing/times.json"]);
    fail(
        bench.bare("sensitivity run --set data.path=data --svg missing/layers.svg"),
        1,
        &["missing/layers.svg"],
    );
    if cfg!(target_os = "linux") {
        says("-o /proc/out", &["/proc/out"]);
    }
    if Need::BoundUser.is_met_for("pruning into a folder that is read only") {
        let shut = std::os::unix::fs::PermissionsExt::from_mode(0o555);
        std::fs::set_permissions(bench.path("folder"), shut).unwrap();
        says("-o folder/out", &["folder/out", "denied"]);
    }
}

/// Starts a pruning into `out` and waits until layers are saved.
fn under_way(bench: &Bench, flags: &str) -> Child {
    let mut command = bench.bare(&format!("prune run -o out --set data.path=data {flags}"));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while child.try_wait().unwrap().is_none() && !bench.path("out.partial").exists() {
        std::thread::yield_now();
    }
    child
}

#[test]
fn a_second_process_is_told_who_writes_the_file() {
    let bench = trained();
    let flags = "--ratio 0.5 --allocate error --images 640 --threads 1";
    let mut first = under_way(&bench, flags);
    // Stopped, it holds what it had.
    signal(first.id(), "-STOP");
    if first.try_wait().unwrap().is_none() {
        let id = format!("process {}", first.id());
        let second = format!("prune run -o out --set data.path=data {flags}");
        fail(bench.bare(&second), 1, &["out is being written by", &id, "another -o"]);
    }
    signal(first.id(), "-CONT");
    assert!(first.wait().unwrap().success());
    assert!(bench.path("out").exists());
    assert!(!names(&bench.path(".")).iter().any(|name| name.starts_with("out.") || name.starts_with('.')));
}

#[test]
fn what_a_killed_run_left_is_used_if_it_is_whole_and_cleared_away() {
    let bench = trained();
    let flags = "--ratio 0.6 --images 300";
    let mut child = under_way(&bench, flags);
    let _ = child.kill();
    child.wait().unwrap();
    let partial = bench.bytes("out.partial");
    let whole = format!("run -o whole {flags}");
    prune(&bench, &whole);
    let again = |says: &str| {
        prune(&bench, &format!("run -o out {flags}")).says(&[says]);
        assert_eq!(bench.bytes("out"), bench.bytes("whole"), "{says}");
        for name in names(&bench.path(".")) {
            assert!(!name.starts_with('.') && !name.starts_with("out."), "{name}");
        }
    };
    let write = |bytes: &[u8]| std::fs::write(bench.path("out.partial"), bytes).unwrap();
    // A temporary of a killed process.
    std::fs::write(bench.path(".out.partial.tmp-999999999-0"), "x").unwrap();
    again("going on after");
    let mut changed = partial.clone();
    *changed.last_mut().unwrap() ^= 4;
    write(&changed);
    again("out.partial is damaged");
    write(&partial[..partial.len() / 2]);
    again("out.partial is damaged");
    // Other settings, and other images in the same folder.
    write(&partial);
    prune(&bench, "run -o out --ratio 0.6 --images 300 --seed 9").says(&["other settings"]);
    write(&partial);
    let labels: Vec<u8> = (0..640).map(|index| (index % 10) as u8).collect();
    std::fs::write(bench.path("data/train-images-idx3-ubyte"), idx_images(640, 5)).unwrap();
    std::fs::write(bench.path("data/train-labels-idx1-ubyte"), idx_labels(&labels)).unwrap();
    prune(&bench, &format!("run -o out {flags}")).says(&["weights or data"]);
}

#[test]
fn images_that_the_network_does_not_take_are_refused_with_a_way_out() {
    let bench = trained();
    let write = |shape: [usize; 3], name: &str| {
        let network = Network::new(shape).convolution("first", [4, shape[0], 3], 1, 2);
        network.classifier(4, 10, &bench.path(name));
    };
    write([1, 28, 20], "tall.onnx");
    write([1, 32, 32], "grey.onnx");
    write([3, 32, 32], "colour.onnx");
    write([3, 24, 32], "wide.onnx");
    common::data::write_image_folder(&bench.path("photos"));
    let says = |flags: &str, parts: &[&str]| {
        refused(&bench, &format!("{flags} -o out --ratio 0.5"), 1, parts);
    };
    says("tall.onnx --set data.path=data", &["[1, 28, 20]", "20x20 or 28x28"]);
    says("grey.onnx --set data.path=data", &["[1, 32, 32]", "28x28 pixels"]);
    says("colour.onnx --data mnist --set data.path=data", &["--data imagenet", "data.image_size=32"]);
    let photos = "--data imagenet --set data.path=photos";
    says(&format!("wide.onnx {photos}"), &["24x24 or 32x32"]);
    says(&format!("colour.onnx {photos} --set data.image_size=48"), &["--set data.image_size=32"]);
    says("colour.onnx --data imagenet --set data.path=nowhere", &["nowhere is missing", "data.path"]);
    let key = "prune grey.onnx --key model -o out --ratio 0.5 --set data.path=data";
    fail(bench.bare(key), 2, &["grey.onnx", "--key"]);
    let pruned = succeed(bench.bare(&format!("prune colour.onnx {photos} -o out --ratio 0.5 --json")));
    let report: serde_json::Value = serde_json::from_str(&pruned.stdout).unwrap();
    assert_eq!(number(&report, "/images"), 16.0);
}
