//! The main job: train and prune, or test.

use crate::args::{self, Flags, Print, Resolved};
use crate::progress::Progress;
use crate::ranks;
use crate::signals::{self, Signals, Work};
use crate::tables;
use crate::talk::Talk;
use anyhow::Context;
use serde::Serialize;
use sparse_trainer::config::{Phase, schema};
use sparse_trainer::plan::{DeviceChoice, TrainPlan, data_path_check};
use sparse_trainer::{Datasets, Error, Outcome, Ranks, Start, WeightsAt};
use std::io::Write;
use std::process::ExitCode;

/// Does what the flags say.
///
/// # Errors
/// What the flags, the config, the data or the run report.
pub(crate) fn run(flags: Flags, talk: Talk) -> anyhow::Result<ExitCode> {
    let wanted = flags.print();
    match wanted {
        Some(Print::Schema) => return print_text(&serde_json::to_string_pretty(&schema())?),
        Some(Print::Keys) => return print_text(args::keys_and_flags().trim_end()),
        Some(Print::Config) | None => {}
    }
    let mut resolved = flags.into_config()?;
    resolved.check()?;
    if wanted.is_some() {
        resolved.settle(&Ranks::alone())?;
        return print_text(resolved.described()?.trim_end());
    }
    let ranks = ranks::join()?;
    ranks.check_task(task(resolved.phase))?;
    let threads = DeviceChoice::for_config(&resolved.config.train)?.threads();
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    data_path_check(&resolved.config.data, resolved.phase)?;
    resolved.settle(&ranks)?;
    let signals = signals::listen()?;
    let code = match resolved.phase {
        Phase::Train => train(resolved, &ranks, &signals, talk),
        Phase::Test => test(&resolved, &ranks, &signals, talk),
    }?;
    ranks.finish()?;
    Ok(code)
}

/// What a phase is, to compare over ranks.
fn task(phase: Phase) -> &'static str {
    match phase {
        Phase::Train => "training",
        Phase::Test => "a test",
    }
}

fn print_text(text: &str) -> anyhow::Result<ExitCode> {
    if ranks::rank().is_some_and(|rank| rank > 0) {
        return Ok(ExitCode::SUCCESS);
    }
    print(&(), false, |()| text.to_owned())?;
    Ok(ExitCode::SUCCESS)
}

fn train(resolved: Resolved, ranks: &Ranks, signals: &Signals, talk: Talk) -> anyhow::Result<ExitCode> {
    let datasets = Datasets::open_shared(&resolved.config, ranks, ranks::is_first_here())?;
    let plan = TrainPlan::resolve_shared(&resolved.config, &datasets.size(), ranks.place())?;
    let first = ranks.place().is_first();
    if first {
        talk.say(&plan.to_string());
    }
    let start = Start { resume: resolved.resume, checkpoint: resolved.checkpoint };
    signals.begin(Work::Training(plan.config.train.model_path.clone()));
    match sparse_trainer::train_shared(
        &plan,
        &datasets,
        &start,
        ranks,
        signals.stop(),
        &mut Progress::new(talk),
    )? {
        Outcome::Finished(_) if !first => Ok(ExitCode::SUCCESS),
        Outcome::Finished(summary) => {
            print(&summary, resolved.json, tables::summary)?;
            Ok(ExitCode::SUCCESS)
        }
        Outcome::Stopped { step, signal } => {
            tracing::warn!("stopped after step {step}, state saved; --resume auto goes on from there");
            Ok(ExitCode::from(signals::exit_code(signal)))
        }
    }
}

fn test(resolved: &Resolved, ranks: &Ranks, signals: &Signals, talk: Talk) -> anyhow::Result<ExitCode> {
    let config = &resolved.config;
    let weights = resolved.weights().unwrap_or_else(|| WeightsAt::from(&config.train.model_path));
    signals.begin(Work::Testing);
    match sparse_trainer::test_shared(config, weights, ranks, signals.stop(), &mut Progress::new(talk)) {
        Ok(_) if !ranks.place().is_first() => Ok(ExitCode::SUCCESS),
        Ok(report) => {
            print(&report, resolved.json, tables::test)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(Error::Stopped { signal }) => Ok(ExitCode::from(signals::exit_code(signal))),
        Err(error) => Err(error.into()),
    }
}

/// A result on stdout, as JSON or as a table. A reader that went away is no error.
pub(crate) fn print<T: Serialize>(value: &T, json: bool, table: impl Fn(&T) -> String) -> anyhow::Result<()> {
    let text = if json { serde_json::to_string_pretty(value)? } else { table(value) };
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write the result to the standard output"),
    }
}
