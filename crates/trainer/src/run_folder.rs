//! The folder of one run and the files in it.

use crate::checkpoint::CHECKPOINTS_FOLDER;
use crate::config::TrainConfig;
use crate::error::{Error, Result};
use crate::outcome::Summary;
use crate::weights::WEIGHTS_FILE;
use serde::Serialize;
use sparse_formats::atomic;
use std::io::Write;
use std::path::{Path, PathBuf};

const CONFIG: &str = "config.toml";
const METRICS: &str = "metrics.jsonl";
const SUMMARY: &str = "summary.json";
/// What `--phase test` writes.
pub(crate) const TEST: &str = "test.json";
/// Earlier runs in the same folder are moved below this one.
const EARLIER: &str = "earlier";
const OUTPUTS: [&str; 6] = [WEIGHTS_FILE, CHECKPOINTS_FOLDER, CONFIG, METRICS, SUMMARY, TEST];

/// The folder `train.model_path`.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Makes the folder if it is missing and removes what an interrupted write left.
    ///
    /// # Errors
    /// If it cannot be made or written.
    pub fn open(path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path).map_err(|source| Error::io("create", path, source))?;
        atomic::remove_stale_temps(path)?;
        atomic::remove_stale_temps(path.join(CHECKPOINTS_FOLDER))?;
        Ok(Self { path: path.to_path_buf() })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of the final weights.
    pub fn weights(&self) -> PathBuf {
        self.path.join(WEIGHTS_FILE)
    }

    /// Moves the outputs of an earlier run into `earlier/N`, so that a fresh run loses nothing.
    ///
    /// # Errors
    /// If they cannot be moved.
    pub(crate) fn set_aside_earlier_run(&self) -> Result<()> {
        let outputs: Vec<&str> = OUTPUTS.into_iter().filter(|name| self.path.join(name).exists()).collect();
        if outputs.is_empty() {
            return Ok(());
        }
        let unused = (1..).map(|number: u32| self.path.join(EARLIER).join(number.to_string()));
        let Some(target) = unused.into_iter().find(|path| !path.exists()) else { return Ok(()) };
        std::fs::create_dir_all(&target).map_err(|source| Error::io("create", &target, source))?;
        for name in outputs {
            let from = self.path.join(name);
            std::fs::rename(&from, target.join(name)).map_err(|source| Error::io("move", &from, source))?;
        }
        tracing::warn!(
            "{} holds an earlier run; moved it to {} (to go on with a run give --resume auto)",
            self.path.display(),
            target.display()
        );
        Ok(())
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
        let text = std::fs::read_to_string(self.path.join(SUMMARY)).ok()?;
        let summary = serde_json::from_str(&text).ok()?;
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

    /// Drops the metrics after `step`, which a resumed run will write again, and a line cut by a kill.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub(crate) fn cut_metrics(&self, step: usize) -> Result<()> {
        let path = self.path.join(METRICS);
        let text = match std::fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(Error::io("read", &path, source)),
        };
        let step_of =
            |line: &str| serde_json::from_str::<serde_json::Value>(line).ok()?.get("step")?.as_u64();
        let kept = text.lines().filter(|line| step_of(line).is_some_and(|at| at <= step as u64));
        let kept: String = kept.flat_map(|line| [line, "\n"]).collect();
        Ok(atomic::write_file(&path, kept.as_bytes())?)
    }
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
        assert!(message.contains("file/run") && message.contains("train.model_path"), "{message}");
    }
}
