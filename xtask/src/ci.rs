//! `cargo xtask ci`: everything that a change must pass, cheapest first; the last step is the test command of README.md.
//!
//! Every step that compiles uses the release profile, so that what one step built the next one finds. A test that was left
//! out for want of something that this machine has fails its step.

use std::env;
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::Context;
use cargo_metadata::{Metadata, TargetKind};
use sparse_testing::Need;

use crate::tidy::readme_commands;

/// The engine's team of threads in every order. Without optimisation, since building takes longer than running.
const LOOM: &str = "test -p sparse-inference --lib --target-dir target/loom --config profile.dev.opt-level=0 \
    --config profile.dev.debug=false every_order";

/// The tests of the parquet reader. Without the default features of the fuzz targets, which would build the trainer anew.
const PARQUET: &str = "test --release -p sparse-data -p sparse-fuzz --no-default-features \
    --features sparse-data/parquet,sparse-fuzz/parquet --test parquet --test parquet_columns --test corpus";

/// Runs of several processes, where there is an MPI.
const MPI: &str = "test --release --workspace --features sparse-collectives/mpi,sparse-train/mpi --test communicators \
    --test mpi --test mpi_modes --test mpi_hosts";

/// One cargo command.
#[derive(Clone, Debug, PartialEq)]
struct Step {
    arguments: Vec<String>,
    /// A variable that the command gets, and its value.
    variable: Option<(&'static str, &'static str)>,
    /// An exit code that is no failure, and what it means.
    forgiven: Option<(i32, &'static str)>,
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((name, value)) = self.variable {
            write!(formatter, "{name}='{value}' ")?;
        }
        write!(formatter, "cargo {}", self.arguments.join(" "))
    }
}

/// Runs the steps up to the first failure; whether there was none.
pub(crate) fn run(metadata: &Metadata) -> anyhow::Result<bool> {
    let root = metadata.workspace_root.as_std_path();
    let started = Instant::now();
    let readme = std::fs::read_to_string(root.join("README.md")).context("cannot read README.md")?;
    let mut steps = steps(&library_crates(metadata), &test_command(&readme)?);
    if has_mpi() {
        steps.push(step(MPI));
    } else {
        eprintln!(
            "ci: NOTE runs of several processes are not tested: there is no mpirun (Debian: libopenmpi-dev, libclang-dev)"
        );
    }
    let failed = first_failure(&steps, |step| timed(step, root))?;
    match &failed {
        None => eprintln!("ci: all steps passed in {:.1} s", started.elapsed().as_secs_f64()),
        Some(step) => eprintln!("ci: failed; repeat this step alone with\n    {step}"),
    }
    Ok(failed.is_none())
}

/// The test command of README.md, without `cargo`.
fn test_command(readme: &str) -> anyhow::Result<String> {
    let commands = readme_commands(readme);
    let mut tests = commands.iter().filter_map(|command| command.strip_prefix("cargo "));
    let test = tests.find(|command| command.starts_with("test "));
    test.map(str::to_owned).context("README.md shows no `cargo test` command")
}

/// Whether programs can be built with an MPI here and started by it.
fn has_mpi() -> bool {
    let runs = |program: &str| {
        Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
    };
    runs("mpirun") && runs("mpicc")
}

fn step(line: &str) -> Step {
    Step { arguments: line.split_whitespace().map(str::to_owned).collect(), variable: None, forgiven: None }
}

fn steps(library_crates: &[String], test_command: &str) -> Vec<Step> {
    let not_assembled =
        (i32::from(crate::NOT_ASSEMBLED), "the CUDA kernels were not assembled: there is no ptxas");
    let mut steps = vec![
        step("fmt --all -- --check"),
        step("xtask tidy"),
        Step { forgiven: Some(not_assembled), ..step("xtask build-kernels --check") },
        step("clippy --workspace --all-targets --release -- -D warnings"),
        Step {
            variable: Some(("RUSTDOCFLAGS", "-D warnings")),
            ..step("doc --workspace --no-deps --release")
        },
    ];
    // Alone, a crate cannot borrow a feature that another one switches on.
    steps.extend(library_crates.iter().map(|name| step(&format!("check --release -p {name}"))));
    steps.push(step("check --release -p sparse-cuda --features cuda --all-targets"));
    steps.push(step("check --release -p sparse-train --features cuda --all-targets"));
    steps.push(Step { variable: Some(("RUSTFLAGS", "--cfg loom")), ..step(LOOM) });
    // The one reader that is no part of the default build, so of no test of the workspace.
    steps.push(step(PARQUET));
    steps.push(step(test_command));
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
    command.args(&step.arguments).current_dir(root).stderr(Stdio::piped());
    command.envs(step.variable);
    let mut child = command.spawn().with_context(|| format!("cannot start `{step}`"))?;
    let stderr = child.stderr.take().context("no output to read")?;
    let left_out = shown(BufReader::new(stderr), &mut std::io::stderr()).context("cannot read the output")?;
    let status = child.wait().with_context(|| format!("cannot wait for `{step}`"))?;
    let unjust = without_reason(&left_out, Need::is_met);
    for line in &unjust {
        eprintln!("ci: left out although this machine has it: {line}");
    }
    let forgiven = step.forgiven.filter(|(code, _)| status.code() == Some(*code));
    let passed = (status.success() || forgiven.is_some()) && unjust.is_empty();
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

/// Passes everything on; the lines of tests that were left out.
fn shown(mut output: impl BufRead, to: &mut impl Write) -> std::io::Result<Vec<String>> {
    let (mut left_out, mut line) = (Vec::new(), Vec::new());
    while output.read_until(b'\n', &mut line)? > 0 {
        to.write_all(&line)?;
        let text = String::from_utf8_lossy(&line);
        if text.contains(sparse_testing::SKIPPED) {
            left_out.push(text.trim_end().to_owned());
        }
        line.clear();
    }
    Ok(left_out)
}

/// The lines of tests that were left out for a need that is met, or for none that is known.
fn without_reason(left_out: &[String], is_met: impl Fn(Need) -> bool) -> Vec<&String> {
    left_out.iter().filter(|line| Need::of_line(line).is_none_or(&is_met)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Vec<String> {
        let names = ["sparse-data".to_owned(), "sparse-sparsity".to_owned()];
        steps(&names, "test --release --workspace").iter().map(Step::to_string).collect()
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
                "cargo check --release -p sparse-cuda --features cuda --all-targets",
                "cargo check --release -p sparse-train --features cuda --all-targets",
                "RUSTFLAGS='--cfg loom' cargo test -p sparse-inference --lib --target-dir target/loom \
                 --config profile.dev.opt-level=0 --config profile.dev.debug=false every_order",
                "cargo test --release -p sparse-data -p sparse-fuzz --no-default-features \
                 --features sparse-data/parquet,sparse-fuzz/parquet --test parquet --test parquet_columns --test corpus",
                "cargo test --release --workspace",
            ]
        );
    }

    #[test]
    fn the_first_failure_stops_the_rest_and_is_named() {
        let mut ran = Vec::new();
        let failed = first_failure(&steps(&[], "test"), |step| {
            ran.push(step.to_string());
            Ok(!step.arguments.contains(&"clippy".to_owned()))
        });
        assert_eq!(failed.unwrap().unwrap().to_string(), lines()[3]);
        assert_eq!(ran, lines()[..4]);
        assert_eq!(first_failure(&steps(&[], "test"), |_| Ok(true)).unwrap(), None);
    }

    #[test]
    fn every_library_of_this_workspace_is_checked_alone() {
        let names = library_crates(&crate::workspace_metadata().unwrap());
        for name in ["sparse-formats", "sparse-sparsity"] {
            assert!(names.contains(&name.to_owned()), "{names:?}");
        }
        assert!(!names.contains(&"xtask".to_owned()) && !names.contains(&"sparse-tests".to_owned()));
    }

    #[test]
    fn the_test_command_is_that_of_the_readme() {
        let readme = "```sh\ncargo run\n```\n```sh\ncargo test --release   # all\n```\n";
        assert_eq!(test_command(readme).unwrap(), "test --release");
        assert!(test_command("none").is_err());
    }

    #[test]
    fn a_test_may_be_left_out_only_for_what_is_not_there() {
        let line = |need: Need| format!("{}x: needs {}", sparse_testing::SKIPPED, need.name());
        let lines = [line(Need::CCompiler), line(Need::Valgrind), "SKIPPED: no luck".to_owned()];
        let output = format!("running\n{}\n\u{fffd}\n", lines[..2].join("\n"));
        assert_eq!(shown(output.as_bytes(), &mut Vec::new()).unwrap(), lines[..2]);
        let unjust = without_reason(&lines, |need| need == Need::CCompiler);
        assert_eq!(unjust, [&lines[0], &lines[2]]);
        assert!(without_reason(&lines[..2], |_| false).is_empty());
    }
}
