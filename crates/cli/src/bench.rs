//! `sparse-train bench`.

use crate::args::{BenchArgs, BenchTrainArgs, BenchWhat};
use crate::{infer_tables, ranks, run, tables};
use sparse_trainer::bench::{bench_data, bench_infer, bench_train_shared};
use sparse_trainer::config::TrainSection;
use sparse_trainer::plan::DeviceChoice;

/// Measures what the arguments say, and prints the result.
///
/// # Errors
/// If a setting is out of its range, or a step fails.
pub(crate) fn bench(arguments: &BenchArgs) -> anyhow::Result<()> {
    match &arguments.what {
        BenchWhat::Train(arguments) => bench_steps(arguments),
        BenchWhat::Infer(arguments) => {
            let reports = bench_infer(&arguments.config())?;
            run::print(&reports, arguments.json, |reports| infer_tables::infer(reports, arguments.layers))
        }
        BenchWhat::Data(arguments) => {
            let report = bench_data(&arguments.config())?;
            run::print(&report, arguments.json, tables::bench_data)
        }
    }
}

fn bench_steps(arguments: &BenchTrainArgs) -> anyhow::Result<()> {
    let threads = TrainSection { threads: arguments.threads, ..TrainSection::default() }.thread_count();
    DeviceChoice::of(Some(arguments.device), threads)?;
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    let ranks = ranks::join()?;
    let reports = bench_train_shared(&arguments.config(), &ranks)?;
    let first = ranks.place().is_first();
    ranks.finish()?;
    if !first {
        return Ok(());
    }
    run::print(&reports, arguments.json, |reports| tables::bench(reports, arguments.layers))
}
