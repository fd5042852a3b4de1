//! `sparse-train export WEIGHTS --to FORMAT -o FILE`.

use crate::args::{ExportArgs, Target};
use crate::{run, tables};
use sparse_trainer::ExportedOnnx;

/// Writes weights in another format and prints what became of them.
///
/// # Errors
/// If a flag does not belong to the format, or they cannot be read or written.
pub(crate) fn export(arguments: &ExportArgs) -> anyhow::Result<()> {
    arguments.check()?;
    match arguments.to {
        Target::Packed => packed(arguments),
        Target::Onnx => onnx(arguments),
    }
}

fn packed(arguments: &ExportArgs) -> anyhow::Result<()> {
    let values = arguments.values.unwrap_or_default().into();
    let packed = sparse_trainer::export_packed(arguments.from(), &arguments.output, values)?;
    run::print(&packed, arguments.json, tables::packed)
}

fn onnx(arguments: &ExportArgs) -> anyhow::Result<()> {
    let exported = sparse_trainer::export_onnx(arguments.from(), &arguments.output, arguments.onnx())?;
    if arguments.sparse_initializer {
        tracing::info!(
            "most engines fill the zeros in again: --sparse_initializer makes the file smaller, not faster"
        );
    }
    run::print(&exported, arguments.json, rows)
}

fn rows(exported: &ExportedOnnx) -> String {
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let [channels, height, width] = exported.input_shape;
    tables::table(
        &[exported.to.as_str(), ""],
        [
            row("from", exported.from.clone()),
            row("format", exported.format.clone()),
            row("bytes", exported.bytes.to_string()),
            row("nodes", exported.nodes.to_string()),
            row("parameters, batch norm folded in", exported.parameters.to_string()),
            row("sparsity of the weights", tables::percent(exported.sparsity)),
            row("input", format!("N×{channels}×{height}×{width}")),
            row("logits", format!("N×{}", exported.classes)),
        ],
    )
}
