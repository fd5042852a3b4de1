//! The `sparse-train` binary: parse, resolve, call one function, print.
//!
//! stdout carries data, stderr carries talk; what cannot be written on stderr is dropped. Exit codes: 0 done, 1 failed,
//! 2 usage, 130 and 143 stopped by Ctrl-C and SIGTERM, at the first of them with the state saved.
//!
//! # Where things lie
//!
//! `args/` turns PaddleSlim's flags into config layers (`keys.rs` makes the flags of keys from their declarations,
//! `tables.rs` the text of docs/keys.md), `run.rs`, `sweep.rs`, `compare.rs`, `bench.rs`, `convert.rs`,
//! `export.rs`, `predict.rs`, `prune.rs`, `sensitivity.rs` and `inspect.rs` call one function of `trainer` each,
//! `tables.rs` and `progress.rs` show results, `talk.rs` and `steady.rs` write as far as somebody reads, `bugs.rs`
//! says what panicked, `signals.rs` answers signals on a thread (the first: save and stop; the second: end at
//! once), `exit.rs` maps errors to messages and exit codes.

mod args;
mod bench;
mod bugs;
mod compare;
mod convert;
mod exit;
mod export;
mod infer_tables;
mod inspect;
mod predict;
mod progress;
mod prune;
mod quantize;
mod ranks;
mod run;
mod sensitivity;
mod signals;
mod steady;
mod sweep;
mod tables;
mod talk;

use args::Action;
use std::process::ExitCode;

/// Keeps freed activation buffers for the next step, where the system's allocator gives large ones back each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    bugs::guard(work)
}

fn work() -> ExitCode {
    let action = match args::read(std::env::args_os()) {
        Ok(action) => action,
        Err(error) => return exit::before_start(&error),
    };
    let talk = talk::start(ranks::rank().unwrap_or(0));
    if let Err(error) = signals::file_limit_is_an_error() {
        tracing::warn!("a limit on the size of files would end the program: {error}");
    }
    if let Err(error) = ranks::refuse_several(&action) {
        return exit::report(&error.into());
    }
    let result = match action {
        Action::Run(flags) => run::run(*flags, talk),
        Action::Inspect(arguments) => inspect::inspect(&arguments).map(|()| ExitCode::SUCCESS),
        Action::Compare(arguments) => compare::print(&arguments).map(|()| ExitCode::SUCCESS),
        Action::Prune(arguments) => prune::prune(*arguments, talk),
        Action::Quantize(arguments) => quantize::quantize(*arguments, talk),
        Action::Sensitivity(arguments) => sensitivity::sensitivity(*arguments, talk),
        Action::Sweep(arguments) => sweep::sweep(*arguments, talk),
        Action::Convert(arguments) => convert::convert(&arguments).map(|()| ExitCode::SUCCESS),
        Action::Export(arguments) => export::export(&arguments).map(|()| ExitCode::SUCCESS),
        Action::Predict(arguments) => predict::predict(&arguments),
        Action::Bench(arguments) => bench::bench(&arguments).map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| exit::report(&error))
}
