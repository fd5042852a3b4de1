//! A small stand-in for MNIST, a way to run the real binary on it, and readers of what it leaves.

#![allow(dead_code, reason = "each test file uses a part of these helpers")]

pub(crate) mod data;
pub(crate) mod hosts;
pub(crate) mod mpi;
pub(crate) mod onnx;
pub(crate) mod watched;
pub(crate) mod weights;

use data::{TRAIN_IMAGES, write_data};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;
use weights::Weights;

/// Batches of one epoch at the batch size of [`Bench::small`].
pub(crate) const STEPS_PER_EPOCH: usize = TRAIN_IMAGES / BATCH;
const BATCH: usize = 64;
const SMALL: &str = "--batch_size 64 --num_epochs 2 --lr 0.05 --pruning_mode ratio --ratio 0.5 --log_period 1 \
                     --test_period 1 --model_period 1 --threads 1 --num_workers 1 --model_path run";

/// A folder of one test, with the stand-in data in `data/`.
pub(crate) struct Bench {
    folder: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        write_data(&bench.path("data"));
        bench
    }

    /// A path in the test's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The binary, run from the test's folder, with the flags given (separated by blanks) and nothing else.
    pub(crate) fn bare(&self, flags: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sparse-train"));
        command.args(flags.split_whitespace()).current_dir(self.folder.path());
        command.env_remove("RUST_LOG").stdin(Stdio::null());
        command
    }

    /// The binary on the stand-in data with a network of an eighth of the width.
    pub(crate) fn scaled(&self, flags: &str) -> Command {
        self.bare(&format!("--set data.path=data --set model.scale=0.125 {flags}"))
    }

    /// A run of 2 epochs of 10 steps into `run/` that prunes half of the weights, logged at every step; later
    /// flags win.
    pub(crate) fn small(&self, flags: &str) -> Command {
        self.scaled(&format!("{SMALL} {flags}"))
    }

    /// A shell in the test's folder, for what only a shell does to a process. `$BIN` is the binary, `$SMALL` the flags of
    /// [`Bench::small`].
    pub(crate) fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .current_dir(self.folder.path())
            .env_remove("RUST_LOG")
            .stdin(Stdio::null());
        command.env("BIN", env!("CARGO_BIN_EXE_sparse-train"));
        command.env("SMALL", format!("--set data.path=data --set model.scale=0.125 {SMALL}"));
        command
    }

    /// Starts [`Bench::small`] and waits for it to succeed.
    pub(crate) fn train(&self, flags: &str) -> Ended {
        succeed(self.small(flags))
    }

    /// The bytes of a file in the test's folder.
    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// A JSON file in the test's folder.
    pub(crate) fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.bytes(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The objects of `metrics.jsonl` in a run folder.
    pub(crate) fn metrics(&self, run: &str) -> Vec<Value> {
        let text = String::from_utf8(self.bytes(&format!("{run}/metrics.jsonl"))).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The weights of a run folder.
    pub(crate) fn weights(&self, run: &str) -> Weights {
        Weights::read(&self.path(run).join("weights.safetensors"))
    }
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Ended {
    /// Checks that stderr holds every part.
    #[track_caller]
    pub(crate) fn says(&self, parts: &[&str]) -> &Self {
        for part in parts {
            assert!(self.stderr.contains(part), "stderr does not say {part:?}:\n{}", self.stderr);
        }
        self
    }
}

/// Waits for the end of a process.
pub(crate) fn end(mut command: Command) -> Ended {
    command.output().unwrap().into()
}

/// Waits for the end of a process that must succeed.
#[track_caller]
pub(crate) fn succeed(command: Command) -> Ended {
    let ended = end(command);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended
}

/// Waits for the end of a process that must fail in good order: this exit code, nothing on stdout, and on stderr one
/// error that holds every part, without a panic.
#[track_caller]
pub(crate) fn fail(command: Command, code: i32, parts: &[&str]) -> Ended {
    let ended = end(command);
    assert_eq!(ended.code, Some(code), "{ended:?}");
    assert_eq!(ended.stdout, "", "{ended:?}");
    assert!(ended.stderr.contains("error: "), "{ended:?}");
    for word in ["panicked", "RUST_BACKTRACE", "unwrap"] {
        assert!(!ended.stderr.contains(word), "{ended:?}");
    }
    ended.says(parts);
    ended
}

/// The names in a folder, sorted.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Every file below a folder with its bytes, by its path from there.
pub(crate) fn snapshot(folder: &Path) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
    let mut files = std::collections::BTreeMap::new();
    for name in names(folder) {
        let path = folder.join(&name);
        if path.is_dir() {
            files.extend(
                snapshot(&path).into_iter().map(|(below, bytes)| (Path::new(&name).join(below), bytes)),
            );
        } else {
            files.insert(name.into(), std::fs::read(&path).unwrap());
        }
    }
    files
}

/// Checks that two fractions of a network's weights are the same; one weight makes a difference of more than 1e-6.
#[track_caller]
pub(crate) fn same_fraction(got: f64, expected: f64) {
    assert!((got - expected).abs() < 1e-9, "{got} is not {expected}");
}

/// A number in a JSON value, by pointer.
#[track_caller]
pub(crate) fn number(value: &Value, pointer: &str) -> f64 {
    let found = value.pointer(pointer).and_then(Value::as_f64);
    found.unwrap_or_else(|| panic!("no number at {pointer} in {value}"))
}

/// A record without what a clock measured.
pub(crate) fn timeless(mut record: Value) -> Value {
    for key in ["images_per_second", "data_wait_seconds", "wall_seconds"] {
        record.as_object_mut().unwrap().remove(key);
    }
    record
}
