//! `cargo xtask fuzz`: looks for bytes that a reader does not survive, or reads as something else than another reader.
//!
//! The targets are in `tests/fuzz`; libFuzzer changes the files of their corpus and keeps what runs new code. It is built by
//! `cargo fuzz`, whose flags the stable compiler takes under `RUSTC_BOOTSTRAP=1`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use cargo_metadata::Metadata;

const FOLDER: &str = "tests/fuzz";

/// Fuzzes the named targets, or all, for so many seconds each; whether nothing was found.
///
/// # Errors
/// Without `cargo fuzz`, or if there is no such target.
pub(crate) fn run(metadata: &Metadata, names: &[String], seconds: u64) -> anyhow::Result<bool> {
    let root = metadata.workspace_root.as_std_path();
    let known = targets(&root.join(FOLDER).join("corpus"))?;
    let stranger = names.iter().find(|name| !known.contains(name));
    ensure!(stranger.is_none(), "no target {}; there are {}", stranger.map_or("", |n| n), known.join(", "));
    let installed = cargo().args(["fuzz", "--version"]).output().is_ok_and(|output| output.status.success());
    ensure!(installed, "there is no `cargo fuzz`; get it by `cargo install cargo-fuzz`");
    let work = metadata.target_directory.as_std_path().join("fuzz");
    let mut failed = Vec::new();
    for name in if names.is_empty() { &known } else { names } {
        if !fuzz(root, &work, name, seconds)? {
            failed.push(name.as_str());
        }
    }
    match failed.is_empty() {
        true => eprintln!("fuzz: nothing found"),
        false => eprintln!("fuzz: FOUND in {}: see {}", failed.join(", "), work.join("found").display()),
    }
    Ok(failed.is_empty())
}

/// One target per folder of the corpus.
fn targets(corpus: &Path) -> anyhow::Result<Vec<String>> {
    let entries = fs::read_dir(corpus).with_context(|| format!("cannot read {}", corpus.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Whether a target survived so many seconds. New files of the corpus go to `work/corpus`, what ends it to `work/found`.
fn fuzz(root: &Path, work: &Path, name: &str, seconds: u64) -> anyhow::Result<bool> {
    let (grown, found) = (work.join("corpus").join(name), work.join("found").join(name));
    fs::create_dir_all(&grown)?;
    fs::create_dir_all(&found)?;
    eprintln!("fuzz: {name}, {seconds} s");
    let mut command = cargo();
    command.args(["fuzz", "run", "--fuzz-dir", FOLDER, "--sanitizer", "none"]);
    // The trainer is built for the one target that needs it.
    let features = if name == "config" { "libfuzzer,config" } else { "libfuzzer,parquet" };
    command.args(["--no-default-features", "--features", features]);
    command.arg("--target-dir").arg(work.join("build"));
    command.arg("any").arg(&grown).arg(root.join(FOLDER).join("corpus").join(name));
    command.args(["--", &format!("-max_total_time={seconds}"), "-rss_limit_mb=4096", "-timeout=20"]);
    command.args(["-print_final_stats=1", "-max_len=65536"]);
    command.arg(format!("-artifact_prefix={}/", found.display()));
    command.current_dir(root).env("RUSTC_BOOTSTRAP", "1").env("FUZZ_TARGET", name);
    Ok(command.status().context("cannot start cargo fuzz")?.success())
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_target_is_named_with_those_there_are() {
        let metadata = crate::workspace_metadata().unwrap();
        let error = run(&metadata, &["jpg".to_owned()], 1).unwrap_err().to_string();
        assert!(error.starts_with("no target jpg; there are config, idx, jpeg"), "{error}");
    }
}
