//! Wrong requests, files and folders: the exit code, the message, and what stays, on the real binary.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::data::{TRAIN_IMAGES, idx_images, idx_labels};
use common::weights::Weights;
use common::{Bench, STEPS_PER_EPOCH, fail, names, snapshot, succeed};
use std::io::Write;
use std::path::Path;
use std::process::Command;

const IMAGES: &str = "data/train-images-idx3-ubyte";
const LABELS: &str = "data/train-labels-idx1-ubyte";

#[test]
fn the_bare_command_shows_its_help_and_starts_nothing() {
    let bench = Bench::new();
    fail(bench.bare(""), 2, &["Usage: sparse-train", "--config"]);
    assert!(!bench.path("models").exists());
}

#[test]
fn an_unknown_key_names_the_nearest_one() {
    let bench = Bench::new();
    let mistyped = |flags: &str, parts: &[&str]| {
        fail(bench.small(flags), 2, parts);
    };
    mistyped("--set prune.rato=0.5", &["unknown key `prune.rato`", "did you mean `prune.ratio`?"]);
    mistyped("--set train.ratio=0.5", &["unknown key `train.ratio`", "`prune.ratio`"]);
    mistyped("--set prune=1", &["prune = 1 (--set prune=1)", "prune.KEY"]);
    mistyped("--treshold 0.5", &["--treshold", "--threshold"]);
    mistyped("--scale 0.5", &["--set model.scale=VALUE"]);
    std::fs::write(bench.path("typo.toml"), "[train]\nbatch_sise = 3\n").unwrap();
    mistyped("--config typo.toml", &["`train.batch_sise` (in typo.toml)", "`train.batch_size`"]);
    std::fs::write(bench.path("broken.toml"), "[train\n").unwrap();
    mistyped("--config broken.toml", &["broken.toml is not valid TOML", "line 1"]);
    mistyped("--config missing.toml", &["missing.toml", "--config", "No such file"]);
    assert!(!bench.path("run").exists());
}

#[test]
fn a_value_out_of_range_names_key_flag_and_range() {
    let bench = Bench::new();
    for (flags, parts) in [
        ("--ratio 1", ["prune.ratio = 1", "--ratio", "at least 0 and below 1"]),
        ("--ratio 1.5", ["prune.ratio = 1.5", "--ratio", "at least 0 and below 1"]),
        ("--ratio -0.1", ["prune.ratio = -0.1", "--ratio", "at least 0 and below 1"]),
        ("--ratio nan", ["prune.ratio = nan", "--ratio", "at least 0 and below 1"]),
        ("--set prune.ratio=55", ["prune.ratio = 55", "--ratio", "at least 0 and below 1"]),
        (
            "--pruning_mode threshold --threshold -0.01",
            ["prune.threshold = -0.01", "--threshold", "0 or more"],
        ),
        ("--pruning_mode threshold --threshold -1e-5", ["prune.threshold = -", "--threshold", "0 or more"]),
        (
            "--pruning_mode threshold --threshold nan",
            ["prune.threshold = nan", "--threshold", "finite number"],
        ),
        (
            "--pruning_mode threshold --threshold inf",
            ["prune.threshold = inf", "--threshold", "finite number"],
        ),
        ("--lr 0", ["train.lr = 0", "--lr", "above 0"]),
        ("--data coco", ["data.data = \"coco\"", "--data", "mnist"]),
        ("--model ResNet5", ["ResNet5", "--model", "ResNet50"]),
    ] {
        // A ratio given by --set is overridden by the flag that every run here has.
        let command = if flags.starts_with("--set") { bench.scaled(flags) } else { bench.small(flags) };
        let named = parts[1];
        let parts = if flags.starts_with("--set") {
            [parts[0], "--set", parts[2]]
        } else {
            [parts[0], named, parts[2]]
        };
        fail(command, 2, &parts);
    }
    fail(bench.scaled("--ratio 0.5 --threshold 0.1"), 2, &["both ratio and threshold", "--pruning_mode"]);
    assert!(!bench.path("run").exists() && !bench.path("models").exists());
}

#[test]
fn a_batch_larger_than_the_data_set_is_refused() {
    let bench = Bench::new();
    bench.train(&format!("--num_epochs 1 --batch_size {TRAIN_IMAGES} --model_path whole"));
    let parts = ["a batch of 641 images", "training set of 640", "--batch_size"];
    fail(bench.small("--batch_size 641"), 2, &parts);
    fail(bench.small("--batch_size 0"), 2, &["train.batch_size = 0", "1 or more"]);
    assert!(!bench.path("run").exists());
}

#[test]
fn gradual_pruning_needs_enough_steps() {
    let bench = Bench::new();
    let gmp = "--pruning_strategy gmp --stable_epochs 0 --tunning_epochs 1";
    let too_many = format!("{gmp} --pruning_epochs 1 --pruning_steps {}", STEPS_PER_EPOCH + 1);
    fail(
        bench.small(&too_many),
        2,
        &["11 ratio updates over 10 training steps", "--pruning_steps", "at most 10"],
    );
    let too_long = format!("{gmp} --pruning_epochs 3 --pruning_steps 4");
    fail(bench.small(&too_long), 2, &["after 3 epochs", "training ends after 2", "--num_epochs"]);
    fail(
        bench.small("--pruning_mode threshold --threshold 0.1 --pruning_strategy gmp"),
        2,
        &["prune.pruning_strategy", "raises a ratio", "--pruning_strategy base"],
    );
    let both = "--criterion taylor --set prune.paddle_compat=true";
    fail(
        bench.small(both),
        2,
        &["prune.criterion = \"taylor\"", "prune.paddle_compat", "turn one of them off"],
    );
    let compat = format!("{gmp} --pruning_epochs 1 --pruning_steps 1 --set prune.paddle_compat=true");
    fail(bench.small(&compat), 2, &["needs more than 10", "--pruning_epochs"]);
    assert!(!bench.path("run").exists());
}

#[test]
fn missing_data_names_the_path_and_the_setting() {
    let bench = Bench::new();
    for phase in ["train", "test"] {
        let elsewhere = format!("--phase {phase} --set data.path=no/such");
        fail(bench.small(&elsewhere), 1, &["no/such is missing", "data.path"]);
    }
    for (data, folder) in [
        ("cifar10", "data/cifar-10-batches-bin"),
        ("cifar100", "data/cifar-100-binary"),
        ("imagenet", "data/ILSVRC2012"),
    ] {
        fail(bench.bare(&format!("--data {data}")), 1, &[&format!("{folder} is missing"), "data.path"]);
    }
    for name in ["data/t10k-labels-idx1-ubyte", LABELS, IMAGES] {
        std::fs::remove_file(bench.path(name)).unwrap();
        fail(bench.small(""), 1, &[name, "is missing", "data.path"]);
    }
    assert!(!bench.path("run").exists() && !bench.path("models").exists());
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Puts `bytes` at `data/NAME` in place of `data/WHOLE`, expects the run to fail, and puts the file back.
fn with_file(bench: &Bench, whole: &str, name: &str, bytes: &[u8], parts: &[&str]) {
    let saved = bench.bytes(whole);
    std::fs::remove_file(bench.path(whole)).unwrap();
    std::fs::write(bench.path(name), bytes).unwrap();
    fail(bench.small(""), 1, &[&[name], parts].concat());
    std::fs::remove_file(bench.path(name)).unwrap();
    std::fs::write(bench.path(whole), saved).unwrap();
}

#[test]
fn damaged_mnist_files_are_named() {
    let bench = Bench::new();
    let (images, labels) = (bench.bytes(IMAGES), bench.bytes(LABELS));
    let zipped = gzip(&images);
    let in_gzip = format!("{IMAGES}.gz");
    let check = |name: &str, bytes: &[u8], parts: &[&str]| with_file(&bench, IMAGES, name, bytes, parts);
    check(IMAGES, &images[..images.len() - 1], &["cut short", "fetch it again"]);
    check(IMAGES, &images[..10], &["cut short"]);
    check(IMAGES, &[], &["cut short"]);
    check(IMAGES, &[&images[..], &[0]].concat(), &["goes on after", "fetch it again"]);
    check(IMAGES, &labels, &["0x00000801", "expected 0x00000803"]);
    check(&in_gzip, &zipped[..zipped.len() / 2], &["fetch it again"]);
    check(&in_gzip, b"<html>404 Not Found</html>", &["neither gzip nor an IDX file", "fetched whole"]);
    let mut flipped = zipped.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x10;
    check(&in_gzip, &flipped, &["fetch it again"]);
    check(IMAGES, &idx_images(TRAIN_IMAGES - 1, 1), &["639", "640"]);
    check(IMAGES, &idx_images(0, 1), &["0"]);
    assert!(!bench.path("run").exists());
    std::fs::remove_file(bench.path(IMAGES)).unwrap();
    std::fs::write(bench.path(&in_gzip), zipped).unwrap();
    bench.train("--num_epochs 1");
}

#[test]
fn a_label_out_of_range_is_named() {
    let bench = Bench::new();
    let mut labels = vec![0; TRAIN_IMAGES];
    labels[17] = 10;
    with_file(&bench, LABELS, LABELS, &idx_labels(&labels), &["label 17", "10"]);
    assert!(!bench.path("run").exists());
}

/// Every command that reads weights.
fn readers(bench: &Bench, weights: &str) -> Vec<Command> {
    vec![
        bench.small(&format!("--pretrained_model {weights} --model_path other")),
        bench.small(&format!("--phase test --pretrained_model {weights} --model_path other")),
        bench.small(&format!("--pruned_model {weights} --model_path other")),
    ]
}

#[test]
fn cut_weights_are_refused_by_every_command() {
    let bench = Bench::new();
    bench.train("--num_epochs 1");
    let whole = bench.bytes("run/weights.safetensors");
    for length in [whole.len() - 1, whole.len() / 2, 100, 8, 3, 0] {
        std::fs::write(bench.path("cut.safetensors"), &whole[..length]).unwrap();
        let inspect = bench.bare("inspect cut.safetensors");
        for command in readers(&bench, "cut.safetensors").into_iter().chain([inspect]) {
            fail(command, 1, &["cut.safetensors", "again"]);
        }
    }
    std::fs::write(bench.path("other.txt"), "not weights").unwrap();
    fail(bench.bare("inspect other.txt"), 1, &["other.txt", "is text and holds no weights"]);
    for command in readers(&bench, "nowhere") {
        fail(command, 1, &["nowhere is missing", "--pretrained_model"]);
    }
    fail(bench.bare("inspect nowhere"), 1, &["nowhere is missing"]);
    fail(bench.bare("inspect data"), 1, &["data/weights.safetensors is missing"]);
    assert!(!bench.path("other").exists() || names(&bench.path("other")).is_empty());
}

/// The weights of `run`, changed, at `changed.safetensors`.
fn changed(bench: &Bench, change: impl Fn(&mut Weights)) {
    let mut weights = bench.weights("run");
    change(&mut weights);
    weights.write(&bench.path("changed.safetensors"));
}

#[test]
fn a_missing_extra_or_misshaped_tensor_is_named() {
    let bench = Bench::new();
    bench.train("--num_epochs 1");
    let refused = |parts: &[&str]| {
        for command in readers(&bench, "changed.safetensors") {
            fail(command, 1, &[&["changed.safetensors"], parts].concat());
        }
    };
    changed(&bench, |weights| drop(weights.tensors.remove("conv5_3_dw_weights").unwrap()));
    refused(&["missing: conv5_3_dw_weights"]);
    changed(&bench, |weights| drop(weights.tensors.insert("stray".into(), (vec![2], vec![0.0; 2]))));
    refused(&["left over: stray"]);
    changed(&bench, |weights| weights.tensors.get_mut("fc7_weights").unwrap().0.reverse());
    refused(&["of another shape: fc7_weights [10, 128], which is to make [128, 10]", "model.scale"]);
    changed(&bench, |weights| weights.tensors.get_mut("conv1_weights").unwrap().1[3] = f32::NAN);
    fail(bench.bare("inspect changed.safetensors"), 1, &["conv1_weights", "NaN"]);
    let wider = bench.small("--phase test --pretrained_model run --model_path other --set model.scale=0.25");
    fail(wider, 2, &["run/weights.safetensors", "model.scale 0.125", "model.scale = 0.25"]);
    assert!(!bench.path("other").exists() || names(&bench.path("other")).is_empty());
}

#[test]
fn a_run_folder_that_cannot_be_made_is_named() {
    let bench = Bench::new();
    bench.train("--num_epochs 1");
    std::fs::write(bench.path("file"), "mine").unwrap();
    for path in ["file", "file/below"] {
        let parts = ["cannot create file", "--model_path"];
        fail(bench.small(&format!("--model_path {path}")), 1, &parts);
        fail(bench.small(&format!("--phase test --pretrained_model run --model_path {path}")), 1, &parts);
    }
    assert_eq!(bench.bytes("file"), b"mine");
    std::fs::create_dir(bench.path("odd")).unwrap();
    std::fs::write(bench.path("odd/earlier"), "mine").unwrap();
    std::fs::write(bench.path("odd/weights.safetensors"), "mine").unwrap();
    fail(bench.small("--model_path odd"), 1, &["cannot create odd/earlier", "--model_path"]);
    assert_eq!(bench.bytes("odd/weights.safetensors"), b"mine");
}

/// The command, with writes beyond `blocks` of 512 bytes to any file failing as on a full disk.
fn with_little_room(command: &Command, blocks: usize) -> Command {
    let mut limited = Command::new("sh");
    limited.arg("-c").arg(format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\""));
    limited.arg(command.get_program()).args(command.get_args());
    limited.current_dir(command.get_current_dir().unwrap()).env_remove("RUST_LOG");
    limited
}

/// Takes a finished run back to its first epoch.
fn back_to_the_first_epoch(run: &Path) {
    std::fs::remove_dir_all(run.join("checkpoints/step-00000020")).unwrap();
    for file in ["weights.safetensors", "summary.json"] {
        std::fs::remove_file(run.join(file)).unwrap();
    }
}

#[test]
fn a_full_disk_stops_the_run_and_keeps_the_checkpoints() {
    let bench = Bench::new();
    bench.train("");
    let (run, weights) = (bench.path("run"), bench.bytes("run/weights.safetensors"));
    back_to_the_first_epoch(&run);
    let checkpoint = snapshot(&run.join("checkpoints"));
    let resume = bench.small("--resume auto");
    fail(
        with_little_room(&resume, 200),
        1,
        &["cannot write", "run/checkpoints/step-00000020", "space", "large"],
    );
    assert!(snapshot(&run.join("checkpoints")) == checkpoint);
    assert!(!run.join("weights.safetensors").exists() && !run.join("summary.json").exists());
    bench.train("--resume auto").says(&["step-00000010 (10 of 20 steps done)"]);
    assert!(bench.bytes("run/weights.safetensors") == weights);
}

#[test]
fn a_full_disk_is_named_wherever_it_strikes() {
    let bench = Bench::new();
    bench.train("");
    let weights = bench.bytes("run/weights.safetensors");
    let test = bench.small("--phase test --pretrained_model run");
    fail(with_little_room(&test, 0), 1, &["run/predictions.csv", "space"]);
    assert!(!bench.path("run/test.json").exists());
    fail(with_little_room(&bench.small("--resume auto --num_epochs 3"), 0), 1, &["run/", "space"]);
    assert!(bench.bytes("run/weights.safetensors") == weights);
    assert_eq!(names(&bench.path("run")).len(), 6, "{:?}", names(&bench.path("run")));
    fail(with_little_room(&bench.small(""), 0), 1, &["run/config.toml", "space"]);
    assert!(bench.bytes("run/earlier/1/weights.safetensors") == weights);
    fail(
        with_little_room(&bench.small("--model_path second"), 4),
        1,
        &["cannot write second/metrics.jsonl", "room"],
    );
    bench.train("--model_path second --resume auto");
    assert!(bench.bytes("second/weights.safetensors") == weights);
    assert!(bench.metrics("second").iter().all(|record| record.get("step").is_some()));
}

#[test]
fn room_for_the_last_checkpoint_but_not_for_the_weights_is_made_good_later() {
    let bench = Bench::new();
    bench.train("--num_epochs 3 --model_path whole");
    bench.train("");
    // The weights file is a little larger than the same weights in a checkpoint: its metadata holds the recipe.
    let size = |file: &str| bench.bytes(file).len();
    let blocks = size("run/checkpoints/step-00000020/weights.safetensors").div_ceil(512);
    assert!(blocks * 512 < size("run/weights.safetensors"));
    let longer = bench.small("--num_epochs 3 --resume auto");
    fail(with_little_room(&longer, blocks), 1, &["run/weights.safetensors", "space"]);
    assert!(bench.path("run/checkpoints/step-00000030").exists());
    let resumed = succeed(longer);
    assert_eq!(bench.json("run/summary.json")["epochs"], 3, "{}", resumed.stderr);
    assert!(bench.bytes("run/weights.safetensors") == bench.bytes("whole/weights.safetensors"));
}

/// Runs the second epoch at a rate that drives the weights out of bounds, expects the failure, and checks that the
/// first epoch's checkpoint still leads to the end of the undisturbed run.
fn diverge(flags: &str, parts: &[&str]) {
    let bench = Bench::new();
    bench.train("");
    let (run, weights) = (bench.path("run"), bench.bytes("run/weights.safetensors"));
    back_to_the_first_epoch(&run);
    let ended = fail(bench.small(&format!("--resume auto {flags}")), 1, parts);
    for name in names(&run.join("checkpoints")) {
        let saved = Weights::read(&run.join("checkpoints").join(&name).join("weights.safetensors"));
        let finite = saved.tensors.values().flat_map(|(_, values)| values).all(|value| value.is_finite());
        assert!(finite, "{name} has weights that are not finite\n{}", ended.stderr);
    }
    assert!(!run.join("summary.json").exists());
    bench.train("--resume_epoch 1");
    assert!(bench.bytes("run/weights.safetensors") == weights);
}

#[test]
fn a_loss_that_is_nan_names_the_step_and_the_checkpoint() {
    diverge("--lr 1e20", &["step 11", "the loss is NaN", "--lr", "run/checkpoints/step-00000010"]);
}

#[test]
fn weights_that_become_nan_name_the_step_and_the_checkpoint() {
    diverge("--lr 1e10", &["step 1", "--lr", "run/checkpoints/step-00000010"]);
}

#[test]
fn a_diverged_state_is_not_saved_over_the_good_ones() {
    diverge(
        "--lr 1e38 --set checkpoint.every_steps=1",
        &["step 11", "--lr", "run/checkpoints/step-00000010"],
    );
}

#[test]
fn a_refused_request_leaves_the_earlier_run_alone() {
    let bench = Bench::new();
    bench.train("");
    std::fs::write(bench.path("cut.safetensors"), "cut").unwrap();
    let before = snapshot(&bench.path("run"));
    for flags in [
        "--ratio 2",
        "--batch_size 641",
        "--set data.path=nowhere",
        "--pretrained_model cut.safetensors",
        "--resume_epoch 9",
        "--checkpoint elsewhere --resume_epoch 1",
        "--phase test --pretrained_model cut.safetensors",
        "--set prune.include=[\"[\"]",
        "--set prune.include=[\"nothing\"]",
    ] {
        let ended = common::end(bench.small(flags));
        assert!(matches!(ended.code, Some(1 | 2)), "{flags}: {ended:?}");
        assert!(ended.stdout.is_empty() && ended.stderr.contains("error: "), "{flags}: {ended:?}");
        assert!(snapshot(&bench.path("run")) == before, "{flags} changed the run folder");
    }
    succeed(bench.small("--phase test"));
}
