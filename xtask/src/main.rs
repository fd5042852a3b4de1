//! Project chores: `cargo xtask ci` is everything that a change must pass, `cargo xtask tidy` the house rules alone,
//! `cargo xtask results` makes a recorded table.
//!
//! Exit code 0: all well; 1: something failed, and it was printed what; 2: usage.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is what these commands are for")]

mod ci;
mod results;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use cargo_metadata::{CargoOpt, Metadata, MetadataCommand};
use clap::{Parser, Subcommand};

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
    /// Train the rows of a table and record them under docs/results; goes on where it was stopped
    Results {
        /// The table, such as configs/results/fashion.toml
        table: PathBuf,
        /// A setting for every run, as in --set train.threads=2; may be repeated
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all was well.
fn run(cli: &Cli) -> anyhow::Result<bool> {
    let metadata = workspace_metadata()?;
    match &cli.command {
        Command::Ci => ci::run(&metadata),
        Command::Tidy => tidy::run(&metadata),
        Command::Results { table, set } => results::run(&metadata, table, set).map(|()| true),
    }
}

/// The workspace around the current folder, resolved with every feature on.
fn workspace_metadata() -> anyhow::Result<Metadata> {
    MetadataCommand::new().features(CargoOpt::AllFeatures).exec().context("`cargo metadata` failed")
}
