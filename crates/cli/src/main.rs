//! The `sparse-train` binary: parse, resolve, call one function, print.
//!
//! stdout carries data, stderr carries talk. Exit codes: 0 done, 1 failed, 2 usage, 130 and 143 stopped by Ctrl-C and
//! SIGTERM with the state saved.

mod args;
mod bench;
mod compare;
mod convert;
mod exit;
mod export;
mod infer_tables;
mod inspect;
mod predict;
mod progress;
mod run;
mod signals;
mod sweep;
mod tables;
mod talk;

use args::Action;
use std::process::ExitCode;

/// Keeps freed activation buffers for the next step, where the system's allocator gives large ones back each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let action = match args::read(std::env::args_os()) {
        Ok(action) => action,
        Err(error) => error.exit(),
    };
    let talk = talk::start();
    let result = match action {
        Action::Run(flags) => run::run(*flags, talk),
        Action::Inspect(arguments) => inspect::inspect(&arguments).map(|()| ExitCode::SUCCESS),
        Action::Compare(arguments) => compare::print(&arguments).map(|()| ExitCode::SUCCESS),
        Action::Sweep(arguments) => sweep::sweep(*arguments, talk),
        Action::Convert(arguments) => convert::convert(&arguments).map(|()| ExitCode::SUCCESS),
        Action::Export(arguments) => export::export(&arguments).map(|()| ExitCode::SUCCESS),
        Action::Predict(arguments) => predict::predict(&arguments),
        Action::Bench(arguments) => bench::bench(&arguments).map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| exit::report(&error))
}
