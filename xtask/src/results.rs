//! `cargo xtask results TABLE`: trains the rows of a table with the real binary, one after another, and records them.
//!
//! A table is a TOML file: rows with a config each, seeds, and which run or which pruned weights the others start from. Runs lie in
//! `FOLDER/ROW/seed-N`. Finished ones are skipped and an interrupted one is resumed, so that the command can be stopped and
//! repeated at will. At the end `docs/results/DATE-NAME/` holds the table, the plot, the configs and the metrics.

mod record;
mod runs;
mod table;

use anyhow::{Context, bail};
use cargo_metadata::Metadata;
use std::path::{Path, PathBuf};
use std::process::Command;
use table::Table;

/// Where results are recorded.
const RECORDS: &str = "docs/results";

/// Makes and records the table in `file`, with further settings that count for every run, as `--set` takes them.
///
/// # Errors
/// If the table is malformed, a run fails, or the record cannot be written.
pub(crate) fn run(metadata: &Metadata, file: &Path, set: &[String]) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut table = Table::parse(&text).with_context(|| format!("{} is not a table", file.display()))?;
    table.set.extend_from_slice(set);
    let root = metadata.workspace_root.as_std_path();
    std::env::set_current_dir(root).with_context(|| format!("cannot enter {}", root.display()))?;
    let binary = build(metadata)?;
    runs::all(&table, &binary)?;
    let folder = record::write(&table, file, &binary, Path::new(RECORDS))?;
    println!("{}", folder.display());
    Ok(())
}

/// The release build of the program.
fn build(metadata: &Metadata) -> anyhow::Result<PathBuf> {
    let status = Command::new("cargo").args(["build", "--release", "-p", "sparse-train"]).status()?;
    if !status.success() {
        bail!("the program does not build");
    }
    Ok(metadata.target_directory.as_std_path().join("release/sparse-train"))
}
