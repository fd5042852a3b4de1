//! `sparse-train inspect WEIGHTS`.

use crate::args::InspectArgs;
use crate::{run, tables};
use sparse_trainer::WeightsAt;

/// Prints what is in a weights file.
///
/// # Errors
/// If the file cannot be read.
pub(crate) fn inspect(arguments: &InspectArgs) -> anyhow::Result<()> {
    let weights = WeightsAt::from(&arguments.weights).under(arguments.key.as_deref());
    let inspection = sparse_trainer::inspect(weights)?;
    run::print(&inspection, arguments.json, tables::inspection)
}
