//! The flags of `sparse-train compare`.

use clap::Args;
use sparse_trainer::compare::DEFAULT_MARGIN;
use std::path::PathBuf;

/// `sparse-train compare`.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct CompareArgs {
    /// Dense runs: a run folder, a folder of run folders (one per seed), or several with commas between
    pub(crate) dense: String,
    /// Runs to compare with it, in the same form
    #[arg(required = true)]
    pub(crate) runs: Vec<String>,
    /// Largest loss of top-1 that counts as none if the 95 % interval ends above it, a fraction
    #[arg(long, value_name = "FRACTION", default_value_t = DEFAULT_MARGIN)]
    pub(crate) margin: f64,
    /// Draw top-1 over sparsity into this file as well
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}
