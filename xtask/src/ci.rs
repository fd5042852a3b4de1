//! `cargo xtask ci`: everything that a change must pass, cheapest first.
//!
//! Every step that compiles uses the release profile, so that what one step built the next one finds.

use std::env;
use std::fmt;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::Context;
use cargo_metadata::{Metadata, TargetKind};

/// One cargo command.
#[derive(Clone, Debug, PartialEq)]
struct Step {
    arguments: Vec<String>,
    rustdoc_flags: Option<&'static str>,
    /// An exit code that is no failure, and what it means.
    forgiven: Option<(i32, &'static str)>,
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(flags) = self.rustdoc_flags {
            write!(formatter, "RUSTDOCFLAGS='{flags}' ")?;
        }
        write!(formatter, "cargo {}", self.arguments.join(" "))
    }
}

/// Runs the steps up to the first failure; whether there was none.
pub(crate) fn run(metadata: &Metadata) -> anyhow::Result<bool> {
    let root = metadata.workspace_root.as_std_path();
    let started = Instant::now();
    let failed = first_failure(&steps(&library_crates(metadata)), |step| timed(step, root))?;
    match &failed {
        None => eprintln!("ci: all steps passed in {:.1} s", started.elapsed().as_secs_f64()),
        Some(step) => eprintln!("ci: failed; repeat this step alone with\n    {step}"),
    }
    Ok(failed.is_none())
}

fn steps(library_crates: &[String]) -> Vec<Step> {
    let step = |line: &str| Step {
        arguments: line.split_whitespace().map(str::to_owned).collect(),
        rustdoc_flags: None,
        forgiven: None,
    };
    let not_assembled =
        (i32::from(crate::NOT_ASSEMBLED), "the CUDA kernels were not assembled: there is no ptxas");
    let mut steps = vec![
        step("fmt --all -- --check"),
        step("xtask tidy"),
        Step { forgiven: Some(not_assembled), ..step("xtask build-kernels --check") },
        step("clippy --workspace --all-targets --release -- -D warnings"),
        Step { rustdoc_flags: Some("-D warnings"), ..step("doc --workspace --no-deps --release") },
    ];
    // Alone, a crate cannot borrow a feature that another one switches on.
    steps.extend(library_crates.iter().map(|name| step(&format!("check --release -p {name}"))));
    steps.push(step("check --release -p sparse-kernels --features cuda --all-targets"));
    steps.push(step("check --release -p sparse-train --features cuda --all-targets"));
    steps.push(step("check --manifest-path xtask/cuda-types/Cargo.toml --target-dir target/cuda-types"));
    steps.push(step("test --release --workspace"));
    steps
}

/// The packages under `crates/` that have a library, in order of name.
fn library_crates(metadata: &Metadata) -> Vec<String> {
    let folder = metadata.workspace_root.join("crates");
    let mut names: Vec<String> = metadata
        .workspace_packages()
        .into_iter()
        .filter(|package| package.manifest_path.starts_with(&folder))
        .filter(|package| package.targets.iter().any(|target| target.kind.contains(&TargetKind::Lib)))
        .map(|package| package.name.to_string())
        .collect();
    names.sort();
    names
}

fn first_failure(
    steps: &[Step],
    mut passes: impl FnMut(&Step) -> anyhow::Result<bool>,
) -> anyhow::Result<Option<Step>> {
    for step in steps {
        if !passes(step)? {
            return Ok(Some(step.clone()));
        }
    }
    Ok(None)
}

/// Runs one step with its output shown; whether it passed.
fn timed(step: &Step, root: &Path) -> anyhow::Result<bool> {
    eprintln!("ci: {step}");
    let started = Instant::now();
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(&step.arguments).current_dir(root);
    if let Some(flags) = step.rustdoc_flags {
        command.env("RUSTDOCFLAGS", flags);
    }
    let status = command.status().with_context(|| format!("cannot start `{step}`"))?;
    let forgiven = step.forgiven.filter(|(code, _)| status.code() == Some(*code));
    let passed = status.success() || forgiven.is_some();
    if let Some((code, reason)) = forgiven {
        eprintln!("ci: NOTE exit code {code} is forgiven: {reason}");
    }
    eprintln!(
        "ci: {} in {:.1} s\n",
        if passed { "passed" } else { "FAILED" },
        started.elapsed().as_secs_f64()
    );
    Ok(passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Vec<String> {
        let names = ["sparse-data".to_owned(), "sparse-sparsity".to_owned()];
        steps(&names).iter().map(Step::to_string).collect()
    }

    #[test]
    fn the_steps_go_from_cheap_to_dear() {
        assert_eq!(
            lines(),
            [
                "cargo fmt --all -- --check",
                "cargo xtask tidy",
                "cargo xtask build-kernels --check",
                "cargo clippy --workspace --all-targets --release -- -D warnings",
                "RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --release",
                "cargo check --release -p sparse-data",
                "cargo check --release -p sparse-sparsity",
                "cargo check --release -p sparse-kernels --features cuda --all-targets",
                "cargo check --release -p sparse-train --features cuda --all-targets",
                "cargo check --manifest-path xtask/cuda-types/Cargo.toml --target-dir target/cuda-types",
                "cargo test --release --workspace",
            ]
        );
    }

    #[test]
    fn the_first_failure_stops_the_rest_and_is_named() {
        let mut ran = Vec::new();
        let failed = first_failure(&steps(&[]), |step| {
            ran.push(step.to_string());
            Ok(!step.arguments.contains(&"clippy".to_owned()))
        });
        assert_eq!(failed.unwrap().unwrap().to_string(), lines()[3]);
        assert_eq!(ran, lines()[..4]);
        assert_eq!(first_failure(&steps(&[]), |_| Ok(true)).unwrap(), None);
    }

    #[test]
    fn every_library_of_this_workspace_is_checked_alone() {
        let names = library_crates(&crate::workspace_metadata().unwrap());
        for name in ["sparse-formats", "sparse-sparsity"] {
            assert!(names.contains(&name.to_owned()), "{names:?}");
        }
        assert!(!names.contains(&"xtask".to_owned()) && !names.contains(&"sparse-tests".to_owned()));
    }
}
