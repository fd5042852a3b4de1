//! `sparse-train inspect WEIGHTS`.

use crate::args::InspectArgs;
use crate::{run, tables};

/// Prints what is in a weights file.
///
/// # Errors
/// If the file cannot be read.
pub(crate) fn inspect(arguments: &InspectArgs) -> anyhow::Result<()> {
    let inspection = sparse_trainer::inspect(&arguments.weights)?;
    run::print(&inspection, arguments.json, tables::inspection)
}
