//! Which run folders make up a row.

use super::Predicted;
use crate::config::TrainConfig;
use crate::error::{Error, Result};
use crate::outcome::{Summary, TestReport};
use crate::predictions::{PREDICTIONS_FILE, read_predictions};
use crate::run_file::text_if_there;
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
    /// per seed). The name is the path, and for several the folder they lie in and their own names.
    ///
    /// # Errors
    /// [`Error::NoPredictions`] if there is no run.
    pub fn named(text: &str) -> Result<Self> {
        let paths = text.split(',').map(PathBuf::from);
        let paths: Vec<PathBuf> = paths.map(|path| run_beside(&path).unwrap_or(path)).collect();
        let mut runs = Vec::new();
        for path in &paths {
            match path.join(PREDICTIONS_FILE).exists() {
                true => runs.push(path.clone()),
                false => runs.extend(runs_below(path)?),
            }
        }
        Ok(Self { name: name_of(&paths), runs })
    }

    pub(crate) fn read(&self) -> Result<Vec<Predicted>> {
        self.runs.iter().map(|run| Ok((run.display().to_string(), read_predictions(run)?))).collect()
    }

    pub(crate) fn facts(&self) -> Result<Vec<Facts>> {
        self.runs.iter().map(|run| facts(run)).collect()
    }
}

/// `pr/a` for `pr/a`, `pr/a,b` for `pr/a` and `pr/b`, and for paths in several folders all of them.
fn name_of(paths: &[PathBuf]) -> String {
    let paths: Vec<String> =
        paths.iter().map(|path| path.display().to_string().trim_end_matches('/').to_owned()).collect();
    let parts: Option<Vec<(&str, &str)>> = paths.iter().map(|path| path.rsplit_once('/')).collect();
    match parts.as_deref() {
        Some([(folder, first), others @ ..]) if others.iter().all(|(other, _)| other == folder) => {
            let names: Vec<&str> =
                std::iter::once(*first).chain(others.iter().map(|(_, name)| *name)).collect();
            format!("{folder}/{}", names.join(","))
        }
        _ => paths.join(","),
    }
}

/// The run folders in a folder, in order of their names.
fn runs_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let none = || Error::NoPredictions { path: folder.join(PREDICTIONS_FILE) };
    let entries = std::fs::read_dir(folder).map_err(|_| none())?;
    let mut runs: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join(PREDICTIONS_FILE).exists())
        .collect();
    runs.sort();
    if runs.is_empty() { Err(none()) } else { Ok(runs) }
}

/// Reads `summary.json`, or `test.json` of a folder that only tested.
fn facts(run: &Path) -> Result<Facts> {
    let config = text_if_there(&run.join(CONFIG)).ok().flatten();
    let config = config.and_then(|text| TrainConfig::from_toml(&run.join(CONFIG), &text).ok());
    let seed = config.map(|config| config.train.seed);
    let path = run.join(SUMMARY);
    if let Some(text) = text_if_there(&path)? {
        let advice = "finish the run anew (--resume auto)";
        let summary: Summary =
            serde_json::from_str(&text).map_err(|source| Error::BadJson { path, source, advice })?;
        let speed = (summary.images_per_second > 0.0).then_some(summary.images_per_second);
        let epochs = Some(summary.epochs);
        return Ok(Facts { sparsity: summary.sparsity, epochs, images_per_second: speed, seed });
    }
    let path = run.join(TEST);
    let Some(text) = text_if_there(&path)? else { return Err(Error::NoPredictions { path }) };
    let advice = "make it anew with --phase test --model_path FOLDER";
    let report: TestReport =
        serde_json::from_str(&text).map_err(|source| Error::BadJson { path, source, advice })?;
    Ok(Facts { sparsity: report.sparsity, epochs: None, images_per_second: None, seed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_named_after_all_its_runs() {
        let name = |paths: &[&str]| name_of(&paths.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(name(&["runs/pr/"]), "runs/pr");
        assert_eq!(name(&["runs/pr/1", "runs/pr/2"]), "runs/pr/1,2");
        assert_eq!(name(&["a/seed-0", "a/seed-1/"]), "a/seed-0,seed-1");
        assert_eq!(name(&["a/x", "b/x"]), "a/x,b/x");
        assert_eq!(name(&["x", "y"]), "x,y");
    }
}
