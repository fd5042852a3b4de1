//! `sparse-train convert IN OUT`.

use crate::args::ConvertArgs;
use crate::{run, tables};

/// Converts weights and prints what they are.
///
/// # Errors
/// If they cannot be read or written.
pub(crate) fn convert(arguments: &ConvertArgs) -> anyhow::Result<()> {
    let converted = sparse_trainer::convert(&arguments.from, &arguments.to)?;
    run::print(&converted, arguments.json, tables::converted)
}
