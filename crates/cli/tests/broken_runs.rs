//! Run folders that were damaged, copied by hand or are not writable: what the messages say, on the real binary.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Bench, Ended, end, fail, names, snapshot};
use sparse_testing::Need;
use std::path::Path;

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for name in names(from) {
        std::fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
}

#[test]
fn a_checkpoint_copied_by_hand_is_not_taken_for_another_step() {
    let bench = Bench::new();
    bench.train("");
    let checkpoints = bench.path("run/checkpoints");
    copy(&checkpoints.join("step-00000010"), &checkpoints.join("step-00000030"));
    fail(
        bench.small("--resume_epoch 3 --num_epochs 4"),
        1,
        &["step-00000030 is damaged", "of step 10", "copied or renamed"],
    );
    bench
        .train("--resume auto --num_epochs 3")
        .says(&["step-00000030 is damaged", "step-00000020 (20 of 30 steps done)"]);
    // Names that no run gives are left alone.
    copy(&checkpoints.join("step-00000010"), &checkpoints.join("step-00000010 (copy)"));
    bench.train("--resume auto --num_epochs 3");
    assert!(checkpoints.join("step-00000010 (copy)").exists());
}

#[test]
fn a_run_whose_checkpoints_are_all_damaged_is_not_begun_anew() {
    let bench = Bench::new();
    bench.train("");
    let checkpoints = bench.path("run/checkpoints");
    for name in names(&checkpoints) {
        std::fs::write(checkpoints.join(name).join("masks.safetensors"), b"").unwrap();
    }
    let before = snapshot(&bench.path("run"));
    let parts =
        ["none of the 2 checkpoints in run/checkpoints can be used", "masks.safetensors", "start afresh"];
    fail(bench.small("--resume auto --num_epochs 3"), 1, &parts);
    assert!(snapshot(&bench.path("run")) == before);
}

/// Writes a state with its checksum.
fn seal(path: &Path, json: &str) {
    let mut crc = flate2::Crc::new();
    crc.update(json.as_bytes());
    std::fs::write(path, format!("{:08x}\n{json}", crc.sum())).unwrap();
}

#[test]
fn a_state_of_another_version_is_not_damage() {
    let bench = Bench::new();
    bench.train("");
    let state = bench.path("run/checkpoints/step-00000020/state.json");
    let text = std::fs::read_to_string(&state).unwrap();
    let json = text.split_once('\n').unwrap().1;
    let parts =
        ["step-00000020 was saved by another version", "layout 7", "this one reads 1", "--pretrained_model"];
    for json in
        [json.replace("\"version\": 1", "\"version\": 7"), "{\"version\": 7, \"steps\": []}".to_owned()]
    {
        seal(&state, &json);
        for flags in ["--resume auto", "--resume_epoch 2"] {
            let ended = fail(bench.small(flags), 1, &parts);
            assert!(!ended.stderr.contains("damaged"), "{}", ended.stderr);
        }
    }
    seal(&state, "{}");
    bench.train("--resume auto").says(&["step-00000020 is damaged", "version", "(10 of 20 steps done)"]);
}

#[test]
fn a_folder_named_for_its_checkpoints_has_to_have_some() {
    let bench = Bench::new();
    bench.train("");
    std::fs::create_dir(bench.path("empty")).unwrap();
    for (folder, resume) in [
        ("nowhere", "auto"),
        ("empty", "auto"),
        ("run/checkpoints/step-00000020", "auto"),
        ("run/config", "auto"),
    ] {
        let flags = format!("--model_path x --checkpoint {folder} --resume {resume}");
        fail(bench.small(&flags), 1, &[folder, "holds no checkpoints", "--checkpoint", "step-..."]);
    }
    assert!(!bench.path("x/config.toml").exists());
    bench
        .train("--model_path x --checkpoint run/checkpoints --resume auto")
        .says(&["run/checkpoints/step-00000020"]);
}

#[test]
fn what_stands_in_the_way_of_a_run_folder_is_named() {
    let bench = Bench::new();
    std::fs::write(bench.path("file"), b"x").unwrap();
    for path in ["file", "file/run"] {
        let ended = fail(
            bench.small(&format!("--model_path {path}")),
            1,
            &[path, "something else has that name", "--model_path"],
        );
        assert!(!ended.stderr.contains("make room"), "{}", ended.stderr);
    }
    bench.train("--num_epochs 1");
    // A file where checkpoints belong.
    std::fs::remove_dir_all(bench.path("run/checkpoints")).unwrap();
    std::fs::write(bench.path("run/checkpoints"), b"x").unwrap();
    let ended = end(bench.small("--resume auto"));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    ended.says(&["cannot list `run/checkpoints`", "Not a directory"]);
}

#[cfg(unix)]
#[test]
fn a_device_in_the_place_of_a_file_is_not_read_for_ever() {
    let bench = Bench::new();
    bench.train("--num_epochs 1");
    std::fs::remove_file(bench.path("run/metrics.jsonl")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", bench.path("run/metrics.jsonl")).unwrap();
    fail(bench.small("--resume auto"), 1, &["run/metrics.jsonl is a device", "move it away"]);
    assert_eq!(names(&bench.path("run/checkpoints")), ["step-00000010"]);
}

#[cfg(unix)]
#[test]
fn what_may_not_be_read_or_written_is_no_damage() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new();
    if !Need::BoundUser.is_met_for("run folders that may not be read or written") {
        return;
    }
    bench.train("");
    let mode = |path: &str, mode| {
        std::fs::set_permissions(bench.path(path), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let weights = "run/checkpoints/step-00000020/weights.safetensors";
    mode(weights, 0);
    for flags in ["--resume auto", "--resume_epoch 2"] {
        let ended: Ended =
            fail(bench.small(flags), 1, &["cannot read", weights, "Permission denied", "make it readable"]);
        assert!(!ended.stderr.contains("damaged"), "{}", ended.stderr);
    }
    mode(weights, 0o644);
    mode("run", 0o555);
    for flags in ["", "--resume_epoch 1", "--phase test"] {
        fail(
            bench.small(flags),
            1,
            &["run", "Permission denied", "make it writable for you", "--model_path"],
        );
    }
    mode("run", 0o755);
    bench.train("--resume_epoch 1");
}

#[test]
fn a_checkpoint_of_other_prune_settings_names_itself() {
    let bench = Bench::new();
    bench.train("");
    let parts = ["run/checkpoints/step-00000020 cannot go on with these settings of pruning", "config.toml"];
    for flags in [
        "--set prune.exclude=[\"conv1\"]",
        "--pruning_strategy gmp --pruning_epochs 1 --pruning_steps 5 --tunning_epochs 1",
        "--prune_params_type conv1x1_only",
    ] {
        fail(bench.small(&format!("--resume auto --num_epochs 3 {flags}")), 1, &parts);
    }
}

#[test]
fn results_that_were_cut_are_named_and_not_said_to_be_unwritable() {
    let bench = Bench::new();
    bench.train("");
    bench.train("--model_path other");
    let cut = |path: &str| {
        let bytes = bench.bytes(path);
        std::fs::write(bench.path(path), &bytes[..bytes.len() / 2]).unwrap();
    };
    cut("run/summary.json");
    let ended = fail(
        bench.bare("compare other run"),
        1,
        &["run/summary.json is cut or was altered", "--resume auto"],
    );
    assert!(!ended.stderr.contains("cannot be written"), "{}", ended.stderr);
    bench.train("--resume auto");
    common::succeed(bench.bare("compare other run"));
}
