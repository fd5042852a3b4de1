//! Project chores: `cargo xtask ci` is everything that a change must pass, `cargo xtask tidy` the house rules alone,
//! `cargo xtask fuzz` looks for bytes that a reader does not survive, `cargo xtask results` makes a recorded table, `cargo xtask build-kernels` compiles the CUDA kernels,
//! `cargo xtask gpu-check` checks and measures them on a GPU.
//!
//! Exit code 0: all well; 1: something failed, and it was printed what; 2: usage; 3: the CUDA kernels could not be assembled, as there is
//! nothing to assemble them with.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is what these commands are for")]

mod ci;
mod fuzz;
mod gpu_check;
mod kernels;
mod picture;
mod results;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use cargo_metadata::{CargoOpt, Metadata, MetadataCommand};
use clap::{Parser, Subcommand};
use kernels::Outcome;

/// Exit code: committed PTX is of the sources, but nothing could assemble it.
const NOT_ASSEMBLED: u8 = 3;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Project chores")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything that a change must pass, cheapest first, up to the first failure
    Ci,
    /// Check the house rules: crate arrows, sizes, unsafe code, forbidden words, README commands
    Tidy,
    /// Change the files of tests/fuzz/corpus at random, for whatever a reader does not survive
    Fuzz {
        /// Targets, such as jpeg; all if none is given
        targets: Vec<String>,
        /// How long each is fuzzed
        #[arg(long, value_name = "N", default_value_t = 120)]
        seconds: u64,
    },
    /// Train the rows of a table and record them under docs/results; goes on where it was stopped
    Results {
        /// The table, such as configs/results/fashion.toml
        table: PathBuf,
        /// A setting for every run, as in --set train.threads=2; may be repeated
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
    },
    /// Compile kernels/*.cu to kernels/ptx and assemble them; prints what each kernel takes
    BuildKernels {
        /// Write nothing; fail if what is committed is stale or does not assemble, exit 3 if there is no assembler
        #[arg(long)]
        check: bool,
        /// Download a compiler and an assembler from PyPI into the target folder, if they are not there
        #[arg(long)]
        fetch: bool,
    },
    /// Draw the crates and what they use into docs/crates.svg
    Picture,
    /// Check and measure everything on a GPU, and write one report
    GpuCheck {
        /// Number of the CUDA device
        #[arg(long, value_name = "N", default_value_t = 0)]
        device: usize,
        /// The report
        #[arg(long, value_name = "FILE", default_value = "target/gpu-check.md")]
        out: PathBuf,
    },
    /// Compile one file by NVRTC and print its PTX: what build-kernels starts for each file
    #[command(hide = true)]
    Nvrtc {
        source: PathBuf,
        architecture: u32,
        include: PathBuf,
        #[arg(allow_hyphen_values = true)]
        define: Option<String>,
    },
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    if let Command::Nvrtc { source, architecture, include, define } = &cli.command {
        kernels::nvrtc(source, *architecture, include, define.as_deref())?;
        return Ok(ExitCode::SUCCESS);
    }
    let metadata = workspace_metadata()?;
    let passed = match &cli.command {
        Command::Ci => ci::run(&metadata)?,
        Command::Fuzz { targets, seconds } => fuzz::run(&metadata, targets, *seconds)?,
        Command::Tidy => tidy::run(&metadata)?,
        Command::Picture => picture::run(&metadata).map(|()| true)?,
        Command::Results { table, set } => results::run(&metadata, table, set).map(|()| true)?,
        Command::BuildKernels { check, fetch } => match kernels::run(&metadata, *check, *fetch)? {
            Outcome::Good => true,
            Outcome::Bad => false,
            Outcome::NotAssembled => return Ok(ExitCode::from(NOT_ASSEMBLED)),
        },
        Command::GpuCheck { device, out } => gpu_check::run(&metadata, *device, out)?,
        Command::Nvrtc { .. } => true,
    };
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The workspace around the current folder, resolved with every feature on.
fn workspace_metadata() -> anyhow::Result<Metadata> {
    MetadataCommand::new().features(CargoOpt::AllFeatures).exec().context("`cargo metadata` failed")
}
