//! `sparse-train sensitivity WEIGHTS`.

use crate::args::{Sensing, SensitivityArgs};
use crate::prune::{Progress, check_images};
use crate::signals::{self, Work};
use crate::talk::Talk;
use crate::{run, tables};
use sparse_trainer::oneshot::{LayerSensitivity, SensitivityPoint, SensitivityReport, sensitivity as look};
use sparse_trainer::plot::{Plot, Point, Series, accuracy_over_sparsity, check_target};
use sparse_trainer::{Error, WeightsAt};
use std::process::ExitCode;

/// Looks at the network with each layer pruned alone, and prints what that costs.
///
/// # Errors
/// What the flags, the data, the network or a layer report.
pub(crate) fn sensitivity(arguments: SensitivityArgs, talk: Talk) -> anyhow::Result<ExitCode> {
    let Sensing { config, wanted, weights, key, svg, json } = arguments.into_sensing()?;
    rayon::ThreadPoolBuilder::new().num_threads(wanted.oneshot.threads).build_global()?;
    check_images(&config)?;
    svg.as_deref().map_or(Ok(()), check_target)?;
    let signals = signals::listen()?;
    signals.begin(Work::Testing);
    let from = WeightsAt::from(&weights).under(key.as_deref());
    let mut progress = Progress::new(talk, "pruned");
    let result = look(&config, &wanted, from, signals.stop(), &mut progress);
    drop(progress);
    match result {
        Ok(report) => {
            if let Some(path) = &svg {
                accuracy_over_sparsity(path, &plot(&report))?;
            }
            run::print(&report, json, table)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(Error::Stopped { signal }) => Ok(ExitCode::from(signals::exit_code(signal))),
        Err(error) => Err(error.into()),
    }
}

/// Top-1, or where there are no labels the share of images that keep their class.
fn height(point: &SensitivityPoint) -> f64 {
    point.top1.unwrap_or(point.agreement)
}

fn plot(report: &SensitivityReport) -> Plot {
    let point = |point: &SensitivityPoint| Point {
        sparsity: point.sparsity,
        top1: height(point),
        interval: [0.0; 2],
    };
    let series = |layer: &LayerSensitivity| Series {
        name: layer.name.clone(),
        points: layer.points.iter().map(point).collect(),
    };
    let title = match report.top1 {
        Some(_) => "One layer pruned alone",
        None => "One layer pruned alone: images that keep their class",
    };
    Plot {
        title: title.to_owned(),
        series: report.layers.iter().map(series).collect(),
        lines: vec![("dense".to_owned(), report.top1.unwrap_or(1.0))],
    }
}

fn table(report: &SensitivityReport) -> String {
    let ratios = report.layers.first().map_or(&[][..], |layer| &layer.points);
    let heads: Vec<String> = ratios.iter().map(|point| tables::percent(point.ratio)).collect();
    let mut columns = vec!["layer", "weights"];
    columns.extend(heads.iter().map(String::as_str));
    let rows = report.layers.iter().map(|layer| {
        let point = |point: &SensitivityPoint| {
            format!("{} ({:.4})", tables::percent(height(point)), point.output_error)
        };
        let mut row = vec![layer.name.clone(), layer.weights.to_string()];
        row.extend(layer.points.iter().map(point));
        row
    });
    let layers = tables::table(&columns, rows);
    let (what, dense) = match report.top1 {
        Some(top1) => ("top-1", format!(", dense {}", tables::percent(top1))),
        None => ("images that keep their class", String::new()),
    };
    format!(
        "{layers}\n{what} (error of the scores) with so many zeros in this layer alone{dense}; {} test images in {:.1} s",
        report.images, report.seconds
    )
}
