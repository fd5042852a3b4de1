//! Which run folders make up a row.

use super::Predicted;
use crate::config::TrainConfig;
use crate::error::{Error, Result};
use crate::outcome::{Summary, TestReport};
use crate::predictions::{PREDICTIONS_FILE, read_predictions};
use crate::run_folder::{CONFIG, SUMMARY, TEST, run_beside};
use sparse_prune::Sparsity;
use std::path::{Path, PathBuf};

/// The runs of one recipe, one per seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunGroup {
    /// Name of the recipe.
    pub name: String,
    /// Run folders, at least one.
    pub runs: Vec<PathBuf>,
}

/// What a run tells of itself beside its predictions.
pub(crate) struct Facts {
    pub(crate) sparsity: Sparsity,
    pub(crate) epochs: Option<usize>,
    pub(crate) images_per_second: Option<f64>,
    pub(crate) seed: Option<u64>,
}

impl RunGroup {
    /// The runs that `text` names: run folders (or their configs) with commas between them, or a folder whose subfolders are run folders (one
    /// per seed). The first path is the name.
    ///
    /// # Errors
    /// [`Error::NoPredictions`] if there is no run.
    pub fn named(text: &str) -> Result<Self> {
        let mut runs = Vec::new();
        for path in text.split(',').map(PathBuf::from) {
            let path = run_beside(&path).unwrap_or(path);
            runs.extend(if path.join(PREDICTIONS_FILE).is_file() { vec![path] } else { runs_below(&path)? });
        }
        let name = text.split(',').next().unwrap_or(text).trim_end_matches('/');
        Ok(Self { name: name.to_owned(), runs })
    }

    pub(crate) fn read(&self) -> Result<Vec<Predicted>> {
        self.runs.iter().map(|run| Ok((run.display().to_string(), read_predictions(run)?))).collect()
    }

    pub(crate) fn facts(&self) -> Result<Vec<Facts>> {
        self.runs.iter().map(|run| facts(run)).collect()
    }
}

/// The run folders in a folder, in order of their names.
fn runs_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let none = || Error::NoPredictions { path: folder.join(PREDICTIONS_FILE) };
    let entries = std::fs::read_dir(folder).map_err(|_| none())?;
    let mut runs: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join(PREDICTIONS_FILE).is_file())
        .collect();
    runs.sort();
    if runs.is_empty() { Err(none()) } else { Ok(runs) }
}

/// Reads `summary.json`, or `test.json` of a folder that only tested.
fn facts(run: &Path) -> Result<Facts> {
    let config = std::fs::read_to_string(run.join(CONFIG)).ok();
    let config = config.and_then(|text| TrainConfig::from_toml(&run.join(CONFIG), &text).ok());
    let seed = config.map(|config| config.train.seed);
    if let Ok(text) = std::fs::read_to_string(run.join(SUMMARY)) {
        let path = run.join(SUMMARY);
        let advice = "finish the run anew (--resume auto)";
        let summary: Summary =
            serde_json::from_str(&text).map_err(|source| Error::BadJson { path, source, advice })?;
        let speed = (summary.images_per_second > 0.0).then_some(summary.images_per_second);
        let epochs = Some(summary.epochs);
        return Ok(Facts { sparsity: summary.sparsity, epochs, images_per_second: speed, seed });
    }
    let path = run.join(TEST);
    let text = std::fs::read_to_string(&path).map_err(|source| Error::io("read", &path, source))?;
    let advice = "make it anew with --phase test --model_path FOLDER";
    let report: TestReport =
        serde_json::from_str(&text).map_err(|source| Error::BadJson { path, source, advice })?;
    Ok(Facts { sparsity: report.sparsity, epochs: None, images_per_second: None, seed })
}
