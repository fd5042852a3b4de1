//! What ranks compare with each other, so that they share one run: where one has something else, all end and say what.

use crate::config::TrainConfig;
use crate::datasets::Datasets;
use crate::error::Result;
use crate::plan::TrainPlan;
use crate::ranks::Ranks;
#[cfg(doc)]
use crate::shared_error::SharedError;
use crate::state::State;
use crate::weights::{checksum, to_tensors};
use sparse_data::{Dataset, Fingerprint};

impl Ranks {
    /// Checks that all ranks are the same program and were started for the same, before anything else is asked of them.
    ///
    /// # Errors
    /// [`SharedError::Differ`] naming the first rank that was not.
    pub fn check_task(&self, task: &str) -> Result<()> {
        self.check_same("versions of the program", env!("CARGO_PKG_VERSION"))?;
        self.check_same("tasks", task)
    }
}

/// Checks that all ranks train with the same settings on the same images.
///
/// # Errors
/// [`SharedError::Differ`].
pub(crate) fn check_training(plan: &TrainPlan, datasets: &Datasets, ranks: &Ranks) -> Result<()> {
    check_settings(&plan.config, ranks)?;
    check_images("training images", &*datasets.train, ranks)?;
    check_images("test images", &*datasets.test, ranks)
}

/// Checks that all ranks test with the same settings on the same images.
///
/// # Errors
/// [`SharedError::Differ`].
pub(crate) fn check_testing(config: &TrainConfig, images: &dyn Dataset, ranks: &Ranks) -> Result<()> {
    check_settings(config, ranks)?;
    check_images("test images", images, ranks)
}

/// Checks that all ranks have the same weights after a step, and so the same masks.
///
/// # Errors
/// [`SharedError::Differ`].
pub(crate) fn check_weights(state: &State, step: usize, ranks: &Ranks) -> Result<()> {
    if ranks.is_alone() {
        return Ok(());
    }
    let crc32 = checksum(&to_tensors(state.model().variables())?);
    ranks.check_same("weights", &format!("crc32 {crc32:08x} after step {step}"))?;
    let Some(ema) = state.ema() else { return Ok(()) };
    let crc32 = checksum(&to_tensors(ema.model().variables())?);
    ranks.check_same("averages of the weights", &format!("crc32 {crc32:08x} after step {step}"))
}

fn check_settings(config: &TrainConfig, ranks: &Ranks) -> Result<()> {
    if ranks.is_alone() {
        return Ok(());
    }
    ranks.check_same("settings", &shared_settings(config).to_toml()?)
}

fn check_images(what: &'static str, images: &dyn Dataset, ranks: &Ranks) -> Result<()> {
    if ranks.is_alone() {
        return Ok(());
    }
    let Fingerprint { images, names, contents } = images.fingerprint();
    ranks.check_same(what, &format!("{images} images (names {names:08x}, contents {contents:08x})"))
}

/// The settings without those that each rank may have its own of: where things lie, threads, devices.
fn shared_settings(config: &TrainConfig) -> TrainConfig {
    let defaults = TrainConfig::defaults(config.data.data);
    let mut shared = config.clone();
    shared.data.path = defaults.data.path;
    shared.data.cache = defaults.data.cache;
    shared.data.num_workers = defaults.data.num_workers;
    shared.model.pretrained_model = defaults.model.pretrained_model;
    shared.train.teacher = defaults.train.teacher;
    shared.train.model_path = defaults.train.model_path;
    shared.train.threads = defaults.train.threads;
    shared.train.device = defaults.train.device;
    shared.train.use_gpu = defaults.train.use_gpu;
    shared
}
