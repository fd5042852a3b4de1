//! `sparse-train sweep`.

use crate::args::SweepArgs;
use crate::progress::Progress;
use crate::signals::{self, Work};
use crate::talk::Talk;
use crate::{run, tables};
use sparse_trainer::Datasets;
use sparse_trainer::config::Phase;
use sparse_trainer::plan::{DeviceChoice, data_path_check};
use sparse_trainer::sweep::SweepOutcome;
use std::process::ExitCode;

/// Runs a sweep or goes on with it, and prints its points.
///
/// # Errors
/// What the flags, the config, the data or a run report.
pub(crate) fn sweep(arguments: SweepArgs, talk: Talk) -> anyhow::Result<ExitCode> {
    let json = arguments.json;
    let config = arguments.into_config()?;
    let threads = DeviceChoice::for_config(&config.base.train)?.threads();
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    data_path_check(&config.base.data, Phase::Train)?;
    let signals = signals::listen()?;
    let datasets = Datasets::open(&config.base)?;
    signals.begin(Work::Sweep(config.base.train.model_path.clone()));
    match sparse_trainer::sweep::sweep(&config, &datasets, signals.stop(), &mut Progress::new(talk))? {
        SweepOutcome::Finished(report) => {
            run::print(&report, json, tables::sweep)?;
            Ok(ExitCode::SUCCESS)
        }
        SweepOutcome::Stopped { signal } => {
            tracing::warn!("stopped, state saved; the same command goes on from there");
            Ok(ExitCode::from(signals::exit_code(signal)))
        }
    }
}
