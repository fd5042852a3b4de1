//! `cargo xtask gpu-check`: everything that needs a GPU, and one report of it.
//!
//! The kernels' suite, which otherwise runs on the CPU, runs on the device; then bandwidths, a whole run and training steps are measured.

use anyhow::{Context, bail};
use cargo_metadata::Metadata;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// A part of the report: a cargo command and what is to be seen in its output.
struct Part {
    title: &'static str,
    /// What a reader holds the output against.
    about: &'static str,
    arguments: String,
}

/// Runs all parts on a device and writes the report; whether all passed.
///
/// # Errors
/// Without a device, or if the report cannot be written.
pub(crate) fn run(metadata: &Metadata, device: usize, report: &Path) -> anyhow::Result<bool> {
    let root = metadata.workspace_root.as_std_path();
    let runs = metadata.target_directory.join("gpu-check");
    fs::create_dir_all(&runs)?;
    let commit = text_of(Command::new("git").args(["rev-parse", "HEAD"]).current_dir(root))
        .map_or_else(|_| "unknown".to_owned(), |(text, _)| text.trim().to_owned());
    let mut written = format!("# GPU check\n\nCommit {commit}, CUDA device {device}.\n");
    let mut all_passed = true;
    for (index, part) in parts(device, runs.as_str()).iter().enumerate() {
        eprintln!("gpu-check: {} (cargo {})", part.title, part.arguments);
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(part.arguments.split_whitespace()).current_dir(root);
        command.env("SPARSE_GPU", device.to_string());
        let (output, passed) = text_of(&mut command)?;
        if index == 0 && !passed {
            // The first part asks for the device; its error has been seen.
            bail!("there is nothing to check without a device");
        }
        all_passed &= passed;
        let outcome = if passed { "passed" } else { "FAILED" };
        written += &format!(
            "\n## {}: {outcome}\n\n{}\n\n```sh\ncargo {}\n```\n\n```text\n{}\n```\n",
            part.title,
            part.about,
            part.arguments,
            output.trim_end()
        );
        fs::write(report, &written).with_context(|| format!("cannot write {}", report.display()))?;
    }
    eprintln!(
        "gpu-check: {}; the report is {}",
        if all_passed { "all passed" } else { "failed" },
        report.display()
    );
    Ok(all_passed)
}

fn parts(device: usize, runs: &str) -> Vec<Part> {
    let bench = |precision: &str, sparse_from: f64| {
        format!(
            "run --release -q -p sparse-train --features cuda -- bench train --device cuda:{device} --batch 128 --steps 30 \
             --sparsity 0,0.75,0.9,0.95 --precision {precision} --gpu_sparse_from {sparse_from}"
        )
    };
    vec![
        Part {
            title: "The device",
            about: "It is there, kernels load, and cuBLAS is found.",
            arguments: format!(
                "run --release -q -p sparse-train --features cuda -- bench train --device cuda:{device} --batch 2 --size 32 --steps 1 \
                 --sparsity 0"
            ),
        },
        Part {
            title: "Bytes per second of each kernel",
            about: "The last column is the share of what a copy reaches; docs/gpu.md says what to expect.",
            arguments: format!(
                "run --release -q -p sparse-cuda --features cuda --example gpu_bandwidth -- {device}"
            ),
        },
        Part {
            title: "The kernels against the CPU's",
            about: "The suite that runs on the CPU otherwise: every operation, whole steps, the pruner in every mode. Tests of bf16 fail before \
                    compute capability 8.0. The steps are of chosen images: a value within rounding of zero before a ReLU may part a device \
                    from the CPU where the kernels are right.",
            arguments: "test --release -q -p sparse-emulator -p sparse-model -p sparse-trainer --features sparse-emulator/gpu --no-fail-fast \
                        --test batch_norm --test depthwise --test head --test pointwise --test pruner --test stem --test device"
                .to_owned(),
        },
        Part {
            title: "A whole run",
            about: "MNIST, as README.md trains it on the CPU to 98.8 % at 49.3 % of all parameters zero.",
            arguments: format!(
                "run --release -q -p sparse-train --features cuda -- --config configs/mnist.toml --device cuda:{device} \
                 --model_path {runs}/mnist"
            ),
        },
        Part {
            title: "Training steps in f32",
            about: "Dense products at every sparsity.",
            arguments: bench("f32", 1.0),
        },
        Part {
            title: "Training steps in f32 that leave zeros out",
            about: "Where a row is faster than the same row above, `train.gpu_sparse_from` should be at most its sparsity.",
            arguments: bench("f32", 0.0),
        },
        Part {
            title: "Training steps in bf16",
            about: "Activations in bf16, products on tensor cores.",
            arguments: bench("bf16", 1.0),
        },
    ]
}

/// What a command prints on stdout, and whether it succeeded; its stderr is passed on.
fn text_of(command: &mut Command) -> anyhow::Result<(String, bool)> {
    let output = command.stderr(Stdio::inherit()).output().context("cannot start a command")?;
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), output.status.success()))
}
