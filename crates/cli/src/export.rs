//! `sparse-train export WEIGHTS --to FORMAT -o FILE`.

use crate::args::{ExportArgs, Target};
use crate::{run, tables};

/// Writes weights in another format and prints what became of them.
///
/// # Errors
/// If they cannot be read or written.
pub(crate) fn export(arguments: &ExportArgs) -> anyhow::Result<()> {
    match arguments.to {
        Target::Packed => packed(arguments),
    }
}

fn packed(arguments: &ExportArgs) -> anyhow::Result<()> {
    let values = arguments.values.unwrap_or_default().into();
    let packed = sparse_trainer::export_packed(&arguments.weights, &arguments.output, values)?;
    run::print(&packed, arguments.json, tables::packed)
}
