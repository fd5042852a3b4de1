//! Project chores: `cargo xtask ci` is everything that a change must pass, `cargo xtask tidy` the house rules alone.
//!
//! Exit code 0: all well; 1: something failed, and it was printed what; 2: usage.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is what these commands are for")]

mod ci;
mod tidy;

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
    match cli.command {
        Command::Ci => ci::run(&metadata),
        Command::Tidy => tidy::run(&metadata),
    }
}

/// The workspace around the current folder, resolved with every feature on.
fn workspace_metadata() -> anyhow::Result<Metadata> {
    MetadataCommand::new().features(CargoOpt::AllFeatures).exec().context("`cargo metadata` failed")
}
