//! `sparse-train prune WEIGHTS -o OUT`.

use crate::args::{PruneArgs, Pruning};
use crate::signals::{self, Work};
use crate::talk::Talk;
use crate::{quantize, run, tables};
use indicatif::ProgressBar;
use sparse_trainer::config::{DataKind, Phase, TrainConfig};
use sparse_trainer::oneshot::{
    OneshotObserver, OneshotReport, PrunedLayer, QuantizedLayer, chart, prune as prune_network,
};
use sparse_trainer::plan::{data_folder_check, data_path_check};
use sparse_trainer::{Error, WeightsAt, plot};
use std::process::ExitCode;

const TEMPLATE: &str = "{bar:30} {pos}/{len} {msg}, {eta} left";

/// Prunes a network by images, and prints its layers.
///
/// # Errors
/// What the flags, the data, the network or a layer report.
pub(crate) fn prune(arguments: PruneArgs, talk: Talk) -> anyhow::Result<ExitCode> {
    let Pruning { config, oneshot, weights, key, output, svg, json } = arguments.into_pruning()?;
    rayon::ThreadPoolBuilder::new().num_threads(oneshot.threads).build_global()?;
    check_images(&config)?;
    svg.as_deref().map_or(Ok(()), plot::check_target)?;
    let signals = signals::listen()?;
    signals.begin(Work::Pruning);
    let from = WeightsAt::from(&weights).under(key.as_deref());
    let mut progress = Progress::new(talk, "pruned");
    match prune_network(&config, &oneshot, from, &output, signals.stop(), &mut progress) {
        Ok(report) => {
            drop(progress);
            if let Some(path) = &svg {
                chart(path, &report.layers)?;
            }
            run::print(&report, json, table)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(Error::Stopped { signal }) => Ok(ExitCode::from(signals::exit_code(signal))),
        Err(error) => Err(error.into()),
    }
}

/// Checks that there are images where they are looked for.
///
/// # Errors
/// Naming the folder or file that is missing, and the setting that moves it.
pub(crate) fn check_images(config: &TrainConfig) -> anyhow::Result<()> {
    match config.data.data {
        // Photos may also lie in a folder that is no data set.
        DataKind::Imagenet => data_folder_check(&config.data)?,
        _ => data_path_check(&config.data, Phase::Train)?,
    }
    Ok(())
}

/// A bar on a terminal, a line for each layer elsewhere.
pub(crate) struct Progress {
    talk: Talk,
    /// What is done to a layer.
    done: &'static str,
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(crate) fn new(talk: Talk, done: &'static str) -> Self {
        Self { talk, done, bar: None }
    }

    fn show(&mut self, what: &str, done: usize, total: usize) {
        if !self.talk.is_terminal() {
            return;
        }
        let talk = &self.talk;
        let bar = self.bar.get_or_insert_with(|| talk.bar(TEMPLATE));
        if bar.length() != Some(total as u64) {
            bar.reset();
        }
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        bar.set_message(what.to_owned());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl OneshotObserver for Progress {
    fn image(&mut self, done: usize, total: usize) {
        self.show("images read", done, total);
    }

    fn estimating(&mut self, name: &str, index: usize, total: usize) {
        self.show(&format!("layers looked at, {name}"), index, total);
        if !self.talk.is_terminal() && index == 0 {
            tracing::info!("looking at what each of {total} layers does to the output");
        }
    }

    fn layer(&mut self, name: &str, index: usize, total: usize) {
        self.show(&format!("layers {}, {name}", self.done), index, total);
    }

    fn quantized(&mut self, layer: &QuantizedLayer) {
        let error = layer.relative_error;
        if !self.talk.is_terminal() {
            tracing::info!("{}: {} bits, relative error {error:.5}", layer.name, layer.bits);
        }
    }

    fn keeping(&mut self, names: &[String]) {
        tracing::info!("the scores are too far off: {} stays f32, and all is done anew", names.join(", "));
    }

    fn pruned(&mut self, layer: &PrunedLayer) {
        let error = layer.relative_error;
        if !self.talk.is_terminal() {
            tracing::info!(
                "{}: {} kept, relative error {error:.4}",
                layer.name,
                tables::percent(layer.density())
            );
        }
    }
}

fn table(report: &OneshotReport) -> String {
    if let Some(quantized) = &report.quantized {
        let zeros = tables::percent(report.sparsity);
        return format!("{}\n{zeros} zeros in what was pruned", quantize::table(quantized));
    }
    let ms = |ms: f64| format!("{ms:.3}");
    let rows = report.layers.iter().map(|layer| {
        let [outputs, inputs] = layer.shape;
        let times =
            layer.ms.map_or(String::new(), |[dense, pruned]| format!("{} → {}", ms(dense), ms(pruned)));
        vec![
            layer.name.clone(),
            format!("{outputs}×{inputs}"),
            tables::percent(layer.density()),
            format!("{:.4}", layer.relative_error),
            times,
        ]
    });
    let layers = tables::table(&["layer", "shape", "kept", "relative error", "ms"], rows);
    let [dense, pruned] = report.network_ms;
    let peak = report.peak_bytes.map_or(String::new(), |bytes| format!(", {} MB at most", bytes >> 20));
    format!(
        "{layers}\n{} zeros; the network takes {} ms an image where it took {} ({:.2} times as fast)\n{} images looked at in {:.1} \
         s{peak}: {}",
        tables::percent(report.sparsity),
        ms(pruned),
        ms(dense),
        dense / pruned.max(f64::MIN_POSITIVE),
        report.images,
        report.seconds,
        report.to
    )
}
