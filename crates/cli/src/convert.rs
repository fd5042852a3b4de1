//! `sparse-train convert IN OUT`.

use crate::args::ConvertArgs;
use crate::{run, tables};
use sparse_trainer::WeightsAt;

/// Converts weights and prints what they are.
///
/// # Errors
/// If they cannot be read or written.
pub(crate) fn convert(arguments: &ConvertArgs) -> anyhow::Result<()> {
    let from = WeightsAt::from(&arguments.from).under(arguments.key.as_deref());
    let converted = sparse_trainer::convert(from, &arguments.to)?;
    run::print(&converted, arguments.json, tables::converted)
}
