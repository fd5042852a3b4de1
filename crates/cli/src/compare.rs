//! `sparse-train compare DENSE RUN...`.

use crate::args::CompareArgs;
use crate::{run, tables};
use sparse_trainer::compare::{RunGroup, compare};
use sparse_trainer::plot;

/// Compares runs with dense ones over the same test images, and prints the rows.
///
/// # Errors
/// If a run is missing or malformed, or was tested on other images.
pub(crate) fn print(arguments: &CompareArgs) -> anyhow::Result<()> {
    let dense = RunGroup::named(&arguments.dense)?;
    let mut others = Vec::new();
    for text in &arguments.runs {
        others.push(RunGroup::named(text)?);
    }
    let comparison = compare(&dense, &others, arguments.margin)?;
    if let Some(path) = &arguments.svg {
        plot::accuracy_over_sparsity(path, &comparison.plot())?;
    }
    run::print(&comparison, arguments.json, tables::comparison)
}
