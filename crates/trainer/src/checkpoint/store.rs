//! The checkpoints of one run.

use super::{Checkpoint, CheckpointError};
use crate::config::TrainConfig;
use crate::error::{Error, Result};
use crate::learner::Learner;
use crate::run_folder::run_beside;
use sparse_data::Fingerprint;
use std::path::{Path, PathBuf};

/// Name of the folder of checkpoints in a run folder.
pub const CHECKPOINTS_FOLDER: &str = "checkpoints";
const PREFIX: &str = "step-";

/// The folder that holds a run's checkpoints.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

/// A checkpoint on disk, not read yet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// Optimizer updates done, from its name.
    pub step: usize,
    /// Its folder.
    pub folder: PathBuf,
}

impl Store {
    /// The store of a run folder.
    pub fn of_run(run_folder: &Path) -> Self {
        Self { folder: run_folder.join(CHECKPOINTS_FOLDER) }
    }

    /// The store that a path given by a user means: a run folder or the config in one, or a folder of checkpoints.
    pub fn named(path: &Path) -> Self {
        let run = run_beside(path);
        let path = run.as_deref().unwrap_or(path);
        let in_run = path.join(CHECKPOINTS_FOLDER);
        Self { folder: if in_run.is_dir() { in_run } else { path.to_path_buf() } }
    }

    /// Where the checkpoints lie.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether both are the same folder on disk.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let place = |store: &Self| store.folder.canonicalize().ok();
        place(self).is_some_and(|here| place(other) == Some(here))
    }

    /// All checkpoints, oldest first; none if the folder is missing.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be listed.
    pub fn list(&self) -> Result<Vec<Found>> {
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(Error::io("list", &self.folder, source)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|source| Error::io("list", &self.folder, source))?;
            let name = entry.file_name();
            let step =
                name.to_str().and_then(|name| name.strip_prefix(PREFIX)).and_then(|step| step.parse().ok());
            if let Some(step) = step {
                found.push(Found { step, folder: entry.path() });
            }
        }
        found.sort();
        Ok(found)
    }

    /// The newest checkpoint that reads well, with a warning for each damaged one that is passed over; none if there are no
    /// checkpoints.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be listed; [`CheckpointError::NoneGood`] if all are damaged, and what else
    /// [`Checkpoint::read`] reports: another time it may read well.
    pub fn newest(&self) -> Result<Option<(PathBuf, Checkpoint)>> {
        let all = self.list()?;
        let count = all.len();
        for found in all.into_iter().rev() {
            match read(&found) {
                Ok(checkpoint) => return Ok(Some((found.folder, checkpoint))),
                Err(error @ CheckpointError::Damaged { .. }) => {
                    tracing::warn!("{error}; trying the one before it");
                }
                Err(error) => return Err(error.into()),
            }
        }
        let folder = self.folder.clone();
        if count > 0 { Err(CheckpointError::NoneGood { folder, count }.into()) } else { Ok(None) }
    }

    /// The checkpoint after exactly `step` updates, if there is one.
    ///
    /// # Errors
    /// If it is damaged or the folder cannot be listed.
    pub fn at(&self, step: usize) -> Result<Option<(PathBuf, Checkpoint)>> {
        match self.list()?.into_iter().find(|found| found.step == step) {
            Some(found) => {
                let checkpoint = read(&found)?;
                Ok(Some((found.folder, checkpoint)))
            }
            None => Ok(None),
        }
    }

    /// Saves the state after `step` updates and removes all but the newest `keep`.
    ///
    /// A checkpoint of that step that is there already is left if it reads well, since it holds the same state.
    ///
    /// # Errors
    /// If a file cannot be written; the checkpoints before it stay.
    pub(crate) fn save(
        &self,
        learner: &mut Learner,
        config: &TrainConfig,
        data: Fingerprint,
        step: usize,
    ) -> Result<()> {
        std::fs::create_dir_all(&self.folder).map_err(|source| Error::io("create", &self.folder, source))?;
        let folder = self.folder.join(format!("{PREFIX}{step:08}"));
        if folder.is_dir() {
            if Checkpoint::read(&folder).is_ok() {
                return Ok(());
            }
            std::fs::remove_dir_all(&folder).map_err(|source| Error::io("remove", &folder, source))?;
        }
        sparse_formats::atomic::write_dir(&folder, &Checkpoint::files(learner, config, data, step)?)?;
        self.keep_newest(config.checkpoint.keep)
    }

    fn keep_newest(&self, keep: usize) -> Result<()> {
        let found = self.list()?;
        for Found { folder, .. } in &found[..found.len().saturating_sub(keep)] {
            std::fs::remove_dir_all(folder).map_err(|source| Error::io("remove", folder, source))?;
        }
        Ok(())
    }

    /// The error for an epoch that has no checkpoint here.
    pub(crate) fn no_epoch(&self, epoch: usize, steps_per_epoch: usize) -> Result<CheckpointError> {
        let epoch_of = |step: usize| step.is_multiple_of(steps_per_epoch).then_some(step / steps_per_epoch);
        let available = self.list()?.into_iter().map(|found| (found.step, epoch_of(found.step))).collect();
        Ok(CheckpointError::NoEpoch { epoch, folder: self.folder.clone(), available })
    }
}

/// Reads a checkpoint, which has to be of the step that its name says.
fn read(found: &Found) -> Result<Checkpoint, CheckpointError> {
    let checkpoint = Checkpoint::read(&found.folder)?;
    if checkpoint.step == found.step {
        return Ok(checkpoint);
    }
    let reason =
        format!("its state is of step {}, its name is another: it was copied or renamed", checkpoint.step);
    Err(CheckpointError::Damaged { folder: found.folder.clone(), reason })
}
