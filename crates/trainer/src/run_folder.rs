//! The folder of one run and the files in it.

use crate::checkpoint::{CHECKPOINTS_FOLDER, Store};
use crate::config::TrainConfig;
use crate::ema::EMA_WEIGHTS_FILE;
use crate::error::{Error, Result};
use crate::outcome::Summary;
use crate::predictions::{OTHER_PREDICTIONS_FILE, PREDICTIONS_FILE, Prediction, to_csv};
use crate::run_file::read_if_there;
use crate::run_lock::RunLock;
use crate::weights::WEIGHTS_FILE;
use serde::{Deserialize, Serialize};
use sparse_formats::atomic;
use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) const CONFIG: &str = "config.toml";
const METRICS: &str = "metrics.jsonl";
pub(crate) const SUMMARY: &str = "summary.json";
/// What `--phase test` writes.
pub(crate) const TEST: &str = "test.json";
/// Earlier runs in the same folder are moved below this one.
const EARLIER: &str = "earlier";
/// The images that cannot be used.
pub(crate) const BAD_IMAGES: &str = "bad_images.txt";
const OUTPUTS: [&str; 10] = [
    WEIGHTS_FILE,
    EMA_WEIGHTS_FILE,
    CHECKPOINTS_FOLDER,
    CONFIG,
    METRICS,
    SUMMARY,
    TEST,
    BAD_IMAGES,
    PREDICTIONS_FILE,
    OTHER_PREDICTIONS_FILE,
];
/// What of them a finished run leaves at its end.
const RESULTS: [&str; 6] =
    [SUMMARY, TEST, WEIGHTS_FILE, EMA_WEIGHTS_FILE, PREDICTIONS_FILE, OTHER_PREDICTIONS_FILE];

/// The folder of the run to which a config belongs: the config's own, if it holds what only a run writes.
#[must_use]
pub fn run_beside(config: &Path) -> Option<PathBuf> {
    let is_config = config.is_file() && config.extension().is_some_and(|extension| extension == "toml");
    let folder = config.parent().filter(|_| is_config)?;
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let of_a_run = [METRICS, SUMMARY, CHECKPOINTS_FOLDER];
    of_a_run.iter().any(|name| folder.join(name).exists()).then(|| folder.to_path_buf())
}

/// The folder `train.model_path`, locked against other processes until every clone of it is dropped.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
    _lock: Arc<RunLock>,
}

impl RunFolder {
    /// Makes the folder if it is missing, locks it, and removes what an interrupted write left.
    ///
    /// # Errors
    /// [`Error::RunInUse`] if another process has it open, [`Error::Io`] if it cannot be made or written.
    pub fn open(path: &Path) -> Result<Self> {
        let lock = Arc::new(RunLock::take(path)?);
        atomic::remove_stale_temps(path)?;
        atomic::remove_stale_temps(path.join(CHECKPOINTS_FOLDER))?;
        Ok(Self { path: path.to_path_buf(), _lock: lock })
    }

    /// Refuses to replace a file of a run that another process works on.
    ///
    /// # Errors
    /// [`Error::RunInUse`].
    pub(crate) fn refuse_file_in_use(file: &Path) -> Result<()> {
        let is_output = OUTPUTS.iter().any(|name| file.file_name().is_some_and(|it| it == *name));
        match file.parent().filter(|_| is_output) {
            Some(folder) => RunLock::refuse_held(folder),
            None => Ok(()),
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of the final weights.
    pub fn weights(&self) -> PathBuf {
        self.path.join(WEIGHTS_FILE)
    }

    /// The path of the averaged weights.
    pub(crate) fn ema_weights(&self) -> PathBuf {
        self.path.join(EMA_WEIGHTS_FILE)
    }

    /// Moves all outputs of an earlier run into `earlier/N`, so that a fresh run loses nothing.
    ///
    /// # Errors
    /// If they cannot be moved.
    pub(crate) fn set_aside_earlier_run(&self) -> Result<()> {
        let outputs = OUTPUTS.map(|name| self.path.join(name));
        if let Some(target) = self.set_aside(&outputs)? {
            let (from, to) = (self.path.display(), target.display());
            tracing::warn!(
                "{from} holds an earlier run; moved it to {to} (to go on with a run give --resume auto)"
            );
        }
        Ok(())
    }

    /// Before going on from `step`: moves checkpoints of later steps and the results of a run that was finished into
    /// `earlier/N`, since they belong to what is given up, and drops their metrics.
    ///
    /// # Errors
    /// If they cannot be moved.
    pub(crate) fn go_back_to(&self, step: usize, store: &Store) -> Result<()> {
        let later = store.list()?.into_iter().filter(|found| found.step > step);
        let mut given_up: Vec<PathBuf> = later.map(|found| found.folder).collect();
        if self.path.join(SUMMARY).exists() {
            given_up.extend(RESULTS.map(|name| self.path.join(name)));
        }
        if let Some(target) = self.set_aside(&given_up)? {
            tracing::warn!("what lies after step {step} was moved to {}", target.display());
        }
        self.cut_metrics(step)
    }

    /// Moves what is there of `paths` into the next unused `earlier/N`; gives that folder if anything was moved.
    fn set_aside(&self, paths: &[PathBuf]) -> Result<Option<PathBuf>> {
        let there: Vec<&PathBuf> = paths.iter().filter(|path| path.exists()).collect();
        let mut unused = (1..).map(|number: u32| self.path.join(EARLIER).join(number.to_string()));
        let Some(target) = unused.find(|path| !path.exists()).filter(|_| !there.is_empty()) else {
            return Ok(None);
        };
        for from in there {
            let name = from.strip_prefix(&self.path).unwrap_or(from);
            let to = target.join(name);
            let parent = to.parent().unwrap_or(&target);
            std::fs::create_dir_all(parent).map_err(|source| Error::io("create", parent, source))?;
            std::fs::rename(from, &to).map_err(|source| Error::io("move", from, source))?;
        }
        Ok(Some(target))
    }

    /// Writes the resolved config.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn write_config(&self, config: &TrainConfig) -> Result<()> {
        Ok(atomic::write_file(self.path.join(CONFIG), config.to_toml()?.as_bytes())?)
    }

    /// Writes the summary of a finished run.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn write_summary(&self, summary: &impl Serialize) -> Result<()> {
        self.write_json(SUMMARY, summary)
    }

    /// The summary of a finished run, if both it and the weights are there.
    pub(crate) fn finished_summary(&self) -> Option<Summary> {
        let bytes = read_if_there(&self.path.join(SUMMARY)).ok()??;
        let summary = serde_json::from_slice(&bytes).ok()?;
        self.weights().is_file().then_some(summary)
    }

    /// Writes an object as indented JSON.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let mut json = serde_json::to_vec_pretty(value).map_err(|source| Error::Json { source })?;
        json.push(b'\n');
        Ok(atomic::write_file(self.path.join(name), &json)?)
    }

    /// Writes what a model says of each test image.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn write_predictions(&self, name: &str, predictions: &[Prediction]) -> Result<()> {
        Ok(atomic::write_file(self.path.join(name), to_csv(predictions).as_bytes())?)
    }

    /// Appends one object to `metrics.jsonl`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn append_metrics(&self, record: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(record).map_err(|source| Error::Json { source })?;
        line.push(b'\n');
        let path = self.path.join(METRICS);
        let write = || std::fs::File::options().create(true).append(true).open(&path)?.write_all(&line);
        write().map_err(|source| Error::io("write", &path, source))
    }

    /// Adds lines to `bad_images.txt`, those that are not in it yet.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub(crate) fn list_bad_images(&self, lines: &[String]) -> Result<()> {
        let path = self.path.join(BAD_IMAGES);
        let bytes = read_if_there(&path)?.unwrap_or_default();
        let listed = String::from_utf8_lossy(&bytes);
        let known: HashSet<&str> = listed.lines().collect();
        let new: Vec<&str> = lines.iter().map(String::as_str).filter(|line| !known.contains(line)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let text: String = listed.lines().chain(new).flat_map(|line| [line, "\n"]).collect();
        Ok(atomic::write_file(&path, text.as_bytes())?)
    }

    /// Drops the metrics after `step`, which a resumed run will write again, and a line cut by a kill.
    fn cut_metrics(&self, step: usize) -> Result<()> {
        let lines = self.metrics()?;
        if lines.is_empty() {
            return Ok(());
        }
        let kept = lines.iter().filter(|(record, _)| record.step <= step);
        let kept: String = kept.flat_map(|(_, line)| [line.as_str(), "\n"]).collect();
        Ok(atomic::write_file(self.path.join(METRICS), kept.as_bytes())?)
    }

    /// Whether the evaluation after `step` updates is recorded.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) fn has_evaluation(&self, step: usize) -> Result<bool> {
        Ok(self.metrics()?.iter().any(|(record, _)| record.step == step && record.images.is_some()))
    }

    /// The whole lines of `metrics.jsonl`; none if it is missing.
    fn metrics(&self) -> Result<Vec<(MetricsLine, String)>> {
        let bytes = read_if_there(&self.path.join(METRICS))?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let parsed =
            text.lines().filter_map(|line| Some((serde_json::from_str(line).ok()?, line.to_owned())));
        Ok(parsed.collect())
    }
}

/// What tells the records of `metrics.jsonl` apart.
#[derive(Deserialize)]
struct MetricsLine {
    step: usize,
    /// Only an evaluation counts images.
    images: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_after_the_step_and_a_cut_line_are_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::open(folder.path()).unwrap();
        run.cut_metrics(3).unwrap();
        for step in [1, 3, 4] {
            run.append_metrics(&serde_json::json!({ "step": step })).unwrap();
        }
        std::fs::File::options()
            .append(true)
            .open(folder.path().join(METRICS))
            .unwrap()
            .write_all(b"{\"st")
            .unwrap();
        run.cut_metrics(3).unwrap();
        let text = std::fs::read_to_string(folder.path().join(METRICS)).unwrap();
        assert_eq!(text, "{\"step\":1}\n{\"step\":3}\n");
    }

    #[test]
    fn a_bad_image_is_listed_once() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::open(folder.path()).unwrap();
        run.list_bad_images(&[]).unwrap();
        assert!(!folder.path().join(BAD_IMAGES).exists());
        run.list_bad_images(&["a".to_owned(), "b".to_owned()]).unwrap();
        run.list_bad_images(&["b".to_owned(), "c".to_owned()]).unwrap();
        assert_eq!(std::fs::read_to_string(folder.path().join(BAD_IMAGES)).unwrap(), "a\nb\nc\n");
    }

    #[test]
    fn earlier_runs_are_kept_apart() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::open(folder.path()).unwrap();
        for number in ["1", "2"] {
            run.write_json(SUMMARY, &number).unwrap();
            run.set_aside_earlier_run().unwrap();
            assert!(!folder.path().join(SUMMARY).exists());
            let kept = folder.path().join(EARLIER).join(number).join(SUMMARY);
            assert_eq!(std::fs::read_to_string(kept).unwrap(), format!("\"{number}\"\n"));
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let message = RunFolder::open(&file.join("run")).unwrap_err().to_string();
        assert!(message.contains("file/run") && message.contains("--model_path"), "{message}");
    }
}
