//! The tables of `bench infer`.

use crate::tables::{optional, percent, table};
use sparse_trainer::bench::{InferReport, LayerInfer};

/// A row per network and batch, then for each where the time goes.
pub(crate) fn infer(reports: &[InferReport], layers: bool) -> String {
    let Some(first) = reports.first() else { return String::new() };
    let rows = reports.iter().map(|report| {
        vec![
            percent(report.sparsity),
            report.batch.to_string(),
            format!("{:.3}", report.median_ms),
            format!("{:.3}", report.p99_ms),
            format!("{:.3}", report.dense_median_ms),
            format!("{:.3}", report.dense_p99_ms),
            speed_up(report),
            format!("{:.1}", report.images_per_second),
            format!("{:.2}", report.gflop_done),
            format!("{:.2}", report.gflop_skipped),
            format!("{:.1}", report.gflops_per_second),
            report.max_rel_error.map_or("-".to_owned(), |error| format!("{error:.1e}")),
        ]
    });
    let header = [
        "sparsity",
        "batch",
        "median ms",
        "p99 ms",
        "dense median",
        "dense p99",
        "speed-up to dense",
        "images/s",
        "GFLOP done",
        "GFLOP skipped",
        "GFLOP/s",
        "max rel. error",
    ];
    let [height, width] = first.size;
    let mut text = format!(
        "{} weights, images of {height}×{width}, threads: {}\n{}",
        first.weights,
        first.threads,
        table(&header, rows),
    );
    if layers {
        for report in reports {
            let sparsity = percent(report.sparsity);
            text += &format!(
                "\n\nsparsity {sparsity}, batch {}, by layer\n{}",
                report.batch,
                by_layer(&report.layers)
            );
        }
    }
    text
}

/// The ratio, if it is one.
fn speed_up(report: &InferReport) -> String {
    if report.faster { format!("{:.2}", report.to_dense) } else { "none".to_owned() }
}

fn by_layer(layers: &[LayerInfer]) -> String {
    let rows = layers.iter().map(|layer| {
        let choice = match (layer.zeros_left_out, layer.sparsity > 0.0) {
            (true, _) => "left out",
            (false, true) => "multiplied",
            (false, false) => "-",
        };
        vec![
            layer.name.clone(),
            layer.kind.to_owned(),
            percent(layer.sparsity),
            choice.to_owned(),
            format!("{:.3}", layer.ms),
            format!("{:.3}", layer.dense_ms),
            format!("{:.1}", layer.gflops_per_second),
            optional(layer.break_even, 2),
        ]
    });
    table(&["layer", "kind", "sparsity", "zeros", "ms", "dense ms", "GFLOP/s", "zeros pay from"], rows)
}
