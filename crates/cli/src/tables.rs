//! Results as tables for people.

use comfy_table::{CellAlignment, Table, presets};
use sparse_trainer::bench::{BenchReport, DataBenchReport, LayerBench, Split};
use sparse_trainer::compare::{Comparison, Difference, Row};
use sparse_trainer::sweep::SweepReport;
use sparse_trainer::{Converted, EvaluationRecord, Inspection, Packed, Sparsity, Summary, TestReport};

/// A table with right-aligned columns but the first.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    aligned(header, rows, header.len())
}

/// A table with right-aligned columns from the second up to `end`.
pub(crate) fn aligned(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>, end: usize) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(header.iter().copied());
    table.add_rows(rows);
    for column in table.column_iter_mut().take(end).skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

pub(crate) fn percent(fraction: f64) -> String {
    format!("{:.2} %", 100.0 * fraction)
}

fn result_rows(top1: f64, top5: f64, images: u64, sparsity: Sparsity) -> Vec<Vec<String>> {
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    vec![
        row("top-1", percent(top1)),
        row("top-5", percent(top5)),
        row("test images", images.to_string()),
        row("sparsity, all parameters", percent(sparsity.all_parameters)),
        row("sparsity, prunable", percent(sparsity.prunable)),
        row("sparsity, pointwise", percent(sparsity.pointwise)),
    ]
}

/// The end of a run.
pub(crate) fn summary(summary: &Summary) -> String {
    let mut rows = result_rows(summary.top1, summary.top5, summary.images, summary.sparsity);
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    if let Some(ema) = &summary.ema {
        rows.push(row("top-1, averaged weights (EMA)", percent(ema.top1)));
        rows.push(row("top-5, averaged weights (EMA)", percent(ema.top5)));
    }
    rows.push(row(
        "threshold",
        summary.threshold.map_or_else(|| "-".to_owned(), |value| format!("{value:.4e}")),
    ));
    rows.push(row("epochs, steps", format!("{}, {}", summary.epochs, summary.steps)));
    rows.push(row("images/s in training", format!("{:.0}", summary.images_per_second)));
    rows.push(row("seconds", format!("{:.1}", summary.wall_seconds)));
    table(&["result", ""], rows)
}

/// `--phase test`.
pub(crate) fn test(report: &TestReport) -> String {
    let mut rows = vec![vec!["weights".to_owned(), report.weights.clone()]];
    rows.extend(result_rows(report.top1, report.top5, report.images, report.sparsity));
    table(&["test", ""], rows)
}

/// `convert`.
pub(crate) fn converted(converted: &Converted) -> String {
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let background = if converted.background_dropped { ", background class dropped" } else { "" };
    let input = converted.input.as_ref().map_or_else(
        || "-".to_owned(),
        |input| {
            let interpolation =
                input.interpolation.as_ref().map(|how| format!(", {how}")).unwrap_or_default();
            format!("mean {:?}, std {:?}{interpolation}", input.mean, input.std)
        },
    );
    let spelled = |value: serde_json::Result<serde_json::Value>| {
        value.ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    };
    let masked = if converted.masked > 0 { converted.masked.to_string() } else { String::new() };
    let rows = [
        row("from", converted.from.clone()),
        row("network under", converted.key.clone()),
        row("format", converted.format.clone()),
        row("names of", converted.family.to_owned()),
        row("to", converted.to.clone()),
        row("model.scale", converted.scale.to_string()),
        row("input channels", converted.channels.to_string()),
        row("classes", format!("{}{background}", converted.classes)),
        row("model.activation", spelled(serde_json::to_value(converted.activation))),
        row("model.padding", spelled(serde_json::to_value(converted.padding))),
        row("model.bn_epsilon", converted.bn_epsilon.to_string()),
        row("parameters", converted.parameters.to_string()),
        row("tensors with a mask, which was applied", masked),
        row("tensors of training left out", converted.left_out.to_string()),
        row("input", input),
    ];
    // What most files do not have is shown only where there is some.
    table(&["converted", ""], rows.into_iter().filter(|row| row.iter().all(|cell| !cell.is_empty())))
}

/// `export --to packed`.
pub(crate) fn packed(packed: &Packed) -> String {
    let row = |name: &str, [dense, packed]: [u64; 2], ratio: f64| {
        vec![name.to_owned(), dense.to_string(), packed.to_string(), format!("{ratio:.3}")]
    };
    let sizes = table(
        &[packed.to.as_str(), "bytes dense", "bytes packed", "ratio"],
        [
            row("packed tensors", packed.tensor_bytes, packed.tensor_ratio),
            row("whole file", packed.file_bytes, packed.file_ratio),
        ],
    );
    let zeroed = match packed.rounded_to_zero {
        0 => String::new(),
        count => format!(", {count} weights rounded to zero"),
    };
    format!(
        "{sizes}\n{} of {} tensors packed, sparsity {}; values {}, greatest relative rounding error {:.1e}{zeroed}",
        packed.packed_tensors,
        packed.tensors,
        percent(packed.sparsity),
        packed.values,
        packed.rounding_error,
    )
}

/// One evaluation during training.
pub(crate) fn evaluation(record: &EvaluationRecord) -> String {
    let mut header = vec!["epoch", "top-1", "top-5", "test loss", "sparsity, all", "prunable", "pointwise"];
    let mut row = vec![
        record.epoch.to_string(),
        percent(record.top1),
        percent(record.top5),
        format!("{:.4}", record.loss),
        percent(record.sparsity.all_parameters),
        percent(record.sparsity.prunable),
        percent(record.sparsity.pointwise),
    ];
    if let Some(ema) = record.ema {
        header.extend(["EMA top-1", "EMA top-5", "EMA loss"]);
        row.extend([percent(ema.top1), percent(ema.top5), format!("{:.4}", ema.loss)]);
    }
    table(&header, [row])
}

/// `inspect`: the layers, then threshold against sparsity.
pub(crate) fn inspection(inspection: &Inspection) -> String {
    let layers = inspection.layers.iter().map(|layer| {
        vec![
            if layer.int8 { format!("{} (int8)", layer.name) } else { layer.name.clone() },
            layer.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("×"),
            layer.zeros.to_string(),
            percent(layer.sparsity),
            format!("{:.3e}", layer.min),
            format!("{:.3e}", layer.median),
            format!("{:.3e}", layer.max),
        ]
    });
    let layers = table(&["tensor", "shape", "zeros", "sparsity", "min abs", "median abs", "max abs"], layers);
    let by_share = inspection.threshold_for_sparsity.iter();
    let mut rows: Vec<_> = by_share.chain(&inspection.sparsity_for_threshold).collect();
    rows.sort_by(|a, b| a.threshold.total_cmp(&b.threshold));
    let rows = rows.into_iter().map(|row| vec![format!("{:.4e}", row.threshold), percent(row.pruned)]);
    let mut rows: Vec<_> = rows.collect();
    // All shares below that of the zeros have the threshold 0.
    rows.dedup();
    let thresholds = table(&["--threshold", "sparsity, prunable"], rows);
    let sparsity = inspection.sparsity;
    format!(
        "{layers}\n{}: {} parameters; sparsity {} of all, {} of prunable, {} of pointwise\n{thresholds}",
        inspection.file,
        inspection.parameters,
        percent(sparsity.all_parameters),
        percent(sparsity.prunable),
        percent(sparsity.pointwise),
    )
}

/// A difference in points with its 95 % interval.
fn points(difference: &Difference) -> String {
    let [mean, low, high] = [difference.mean, difference.low, difference.high].map(|value| 100.0 * value);
    format!("{mean:+.2} [{low:+.2}, {high:+.2}]")
}

fn unknown(value: Option<String>) -> String {
    value.unwrap_or_else(|| "-".to_owned())
}

/// `compare`: a row per recipe.
pub(crate) fn comparison(comparison: &Comparison) -> String {
    let header = [
        "run",
        "sparsity, all",
        "prunable",
        "pointwise",
        "top-1",
        "test loss",
        "points to dense [95 %]",
        "verdict",
        "epochs",
        "images/s",
        "seeds",
    ];
    let row = |(row, name): (&Row, &str)| {
        vec![
            name.to_owned(),
            percent(row.sparsity.all_parameters),
            percent(row.sparsity.prunable),
            percent(row.sparsity.pointwise),
            percent(row.top1),
            format!("{:.4}", row.loss),
            unknown(row.difference.as_ref().map(points)),
            unknown(row.verdict.map(|verdict| verdict.name().to_owned())),
            unknown(row.epochs.map(|epochs| epochs.to_string())),
            unknown(row.images_per_second.map(|speed| format!("{speed:.0}"))),
            row.runs.len().to_string(),
        ]
    };
    format!(
        "{}\n\n{} test images; \"no loss\": the interval reaches 0 and ends at -{:.2} points or above",
        table(&header, comparison.rows.iter().zip(comparison.short_names()).map(row)),
        comparison.images,
        100.0 * comparison.margin
    )
}

/// `sweep`: a row per ratio, and what was found.
pub(crate) fn sweep(report: &SweepReport) -> String {
    let header = [
        "ratio",
        "sparsity, all",
        "prunable",
        "pointwise",
        "top-1",
        "test loss",
        "points to dense [95 %]",
        "within",
        "images/s",
    ];
    let rows = report.points.iter().map(|point| {
        vec![
            format!("{:.4}", point.ratio),
            percent(point.sparsity.all_parameters),
            percent(point.sparsity.prunable),
            percent(point.sparsity.pointwise),
            percent(point.top1),
            format!("{:.4}", point.loss),
            points(&point.difference),
            if report.allows(point.top1) { "yes" } else { "no" }.to_owned(),
            format!("{:.0}", point.images_per_second),
        ]
    });
    let table = table(&header, rows);
    let dense = report.dense.as_ref().map_or(0.0, |dense| dense.top1);
    let limit = 100.0 * report.loss;
    let found = match report.best {
        Some(ratio) => format!("highest ratio within {limit} points: {ratio:.4}"),
        None => format!("no ratio tried is within {limit} points"),
    };
    format!("{table}\n\ndense: {}; {found}", percent(dense))
}

/// `bench train`: a row per sparsity, then for each where the time of a step goes.
pub(crate) fn bench(reports: &[BenchReport], layers: bool) -> String {
    let Some(first) = reports.first() else { return String::new() };
    let dense = reports.iter().find(|report| report.sparsity == 0.0);
    let rows = reports.iter().map(|report| {
        let ratio = dense.map(|dense| report.images_per_second / dense.images_per_second);
        let mebibytes = report.peak_rss_bytes.map(|bytes| bytes as f64 / f64::from(1 << 20));
        vec![
            percent(report.sparsity),
            format!("{:.1}", report.images_per_second),
            optional(ratio, 2),
            format!("{:.1}", report.step_ms),
            format!("{:.1}", report.step_ms_min),
            format!("{:.1}", report.step_ms_max),
            optional(report.pruner_ms, 1),
            format!("{:.1}", report.gflops_per_second),
            format!("{:.2}", report.gflops_skipped_per_step),
            optional(mebibytes, 0),
        ]
    });
    let header = [
        "sparsity",
        "images/s",
        "to dense",
        "step ms",
        "min",
        "max",
        "pruner ms",
        "GFLOP/s",
        "GFLOP skipped",
        "peak MiB so far",
    ];
    let computing = match first.peak {
        None => format!("{}, {}", first.device, first.precision.name()),
        Some(peak) => format!(
            "threads: {}, {}; at most {:.1} GFLOP/s and {:.1} GB/s",
            first.threads,
            first.precision.name(),
            peak.gflops_per_second,
            peak.gbytes_per_second,
        ),
    };
    let computing = match first.processes {
        1 => computing,
        processes => format!(
            "processes: {processes}, which wait for each other in {} of a step; each with {computing}",
            percent(first.waiting_share)
        ),
    };
    let mut text = format!(
        "{}, {} images of {}×{}, {computing}\n{}",
        first.model,
        first.batch,
        first.size,
        first.size,
        table(&header, rows),
    );
    for report in reports {
        let sparsity = percent(report.sparsity);
        text += &format!("\n\nsparsity {sparsity}, by operation\n{}", operations(&report.parts));
        if layers {
            text += &format!("\n\nsparsity {sparsity}, by layer\n{}", bench_layers(&report.layers));
        }
    }
    text
}

fn operations(parts: &[Split]) -> String {
    let rows = parts.iter().map(|part| {
        vec![
            part.operation.to_owned(),
            format!("{:.2}", part.forward_ms),
            format!("{:.2}", part.backward_ms),
            optional(part.gflops_per_second, 1),
            percent(part.share),
        ]
    });
    table(&["operation", "forward ms", "backward ms", "GFLOP/s", "of the step"], rows)
}

fn bench_layers(layers: &[LayerBench]) -> String {
    let rows = layers.iter().map(|layer| {
        let paths = layer.sparse_paths.unwrap_or_default();
        let sparse = [
            (paths.forward, "forward"),
            (paths.input_gradient, "input gradient"),
            (paths.weight_gradient, "weight gradient"),
        ];
        let sparse: Vec<&str> = sparse.into_iter().filter_map(|(is, name)| is.then_some(name)).collect();
        vec![
            layer.name.clone(),
            format!("{:.2}", layer.forward_ms),
            format!("{:.2}", layer.backward_ms),
            format!("{:.1}", layer.gflops_per_second),
            format!("{:.1}", layer.gbytes_per_second),
            percent(layer.sparsity),
            if sparse.is_empty() { "-".to_owned() } else { sparse.join(", ") },
        ]
    });
    let header = ["layer", "forward ms", "backward ms", "GFLOP/s", "GB/s", "sparsity", "zeros left out"];
    table(&header, rows)
}

/// `bench data`: a row for each way to an image.
pub(crate) fn bench_data(report: &DataBenchReport) -> String {
    let rate = |images_per_second: f64| format!("{images_per_second:.1}");
    let rows = [
        ("training view", report.images_per_second_per_thread),
        ("training view, from the cache", report.cached_images_per_second_per_thread),
        ("test view", report.eval_images_per_second_per_thread),
        ("decoding alone, the whole image", report.decode_images_per_second_per_thread),
    ];
    let rows = rows.map(|(name, images)| vec![name.to_owned(), rate(images), rate(1e6 / images.max(1e-9))]);
    format!(
        "{} files of {:.0} kB ({} that cannot be used left out) to {}×{}, threads: {}\n{}",
        report.images,
        report.mean_file_bytes / 1e3,
        report.unusable,
        report.size,
        report.size,
        report.threads,
        table(&["work", "images/s per thread", "µs per image"], rows),
    )
}

/// A number with so many decimals, or a dash.
pub(crate) fn optional(number: Option<f64>, decimals: usize) -> String {
    number.map_or_else(|| "-".to_owned(), |number| format!("{number:.decimals$}"))
}
