//! `sparse-train quantize WEIGHTS -o OUT`.

use crate::args::{Pruning, QuantizeArgs};
use crate::prune::{Progress, check_images};
use crate::signals::{self, Work};
use crate::talk::Talk;
use crate::{run, tables};
use sparse_trainer::oneshot::{QuantizeReport, quantize as quantize_network};
use sparse_trainer::{Error, WeightsAt};
use std::process::ExitCode;

/// Rounds a network to 8 bits by images, and prints its layers.
///
/// # Errors
/// What the flags, the data, the network or a layer report.
pub(crate) fn quantize(arguments: QuantizeArgs, talk: Talk) -> anyhow::Result<ExitCode> {
    let Pruning { config, oneshot, weights, key, output, json, .. } = arguments.into_pruning()?;
    rayon::ThreadPoolBuilder::new().num_threads(oneshot.threads).build_global()?;
    check_images(&config)?;
    let signals = signals::listen()?;
    signals.begin(Work::Pruning);
    let from = WeightsAt::from(&weights).under(key.as_deref());
    let mut progress = Progress::new(talk, "rounded");
    let result = quantize_network(&config, &oneshot, from, &output, signals.stop(), &mut progress);
    drop(progress);
    match result {
        Ok(report) => {
            run::print(&report, json, table)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(Error::Stopped { signal }) => Ok(ExitCode::from(signals::exit_code(signal))),
        Err(error) => Err(error.into()),
    }
}

/// A row for each layer, and what it does to the network.
pub(crate) fn table(report: &QuantizeReport) -> String {
    let ms = |ms: f64| format!("{ms:.3}");
    let rows = report.layers.iter().map(|layer| {
        let [outputs, inputs] = layer.shape;
        let scales = layer.scales.map_or("-".to_owned(), |[least, most]| format!("{least:.2e} – {most:.2e}"));
        let times =
            layer.ms.map_or(String::new(), |[before, after]| format!("{} → {}", ms(before), ms(after)));
        vec![
            layer.name.clone(),
            format!("{outputs}×{inputs}"),
            layer.bits.to_string(),
            tables::percent(layer.kept as f64 / layer.weights.max(1) as f64),
            scales,
            format!("{:.5}", layer.relative_error),
            times,
        ]
    });
    let heads = ["layer", "shape", "bits", "kept", "scales", "relative error", "ms"];
    let layers = tables::table(&heads, rows);
    let [before, after] = report.bytes;
    let top1 = report.top1.map_or(String::new(), |[before, after]| {
        format!(", top-1 {} where it was {}", tables::percent(after), tables::percent(before))
    });
    let peak = report.peak_bytes.map_or(String::new(), |bytes| format!(", {} MB at most", bytes >> 20));
    format!(
        "{layers}\n{:.2} MB where weights and biases were {:.2} MB as f32; the network takes {} ms an image where it took {}\non {} other images the scores are \
         off by {:.5} of their variance, and {} keep their class{top1}\n{} images looked at in {:.1} s{peak}: {}",
        after as f64 / 1e6,
        before as f64 / 1e6,
        ms(report.network_ms[1]),
        ms(report.network_ms[0]),
        report.compared,
        report.output_error,
        tables::percent(report.agreement),
        report.images,
        report.seconds,
        report.to
    )
}
