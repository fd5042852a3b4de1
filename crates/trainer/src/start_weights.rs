//! The weights that a run which goes on began with: a checkpoint takes their place, whatever is given now.

use crate::checkpoint::Store;
use crate::config::TrainConfig;
use crate::run_file::text_if_there;
use crate::run_folder::CONFIG;
use crate::setup::Start;
use std::path::{Path, PathBuf};

/// The config to record of a run that goes on from a checkpoint: the weights it began with are those that the config of the
/// run that saved the checkpoint names. Warns if others are given now.
pub(crate) fn recorded(config: &TrainConfig, start: &Start) -> TrainConfig {
    let mut recorded = config.clone();
    // As a teacher the weights given now count, and a checkpoint says whether they are the same.
    let teaches = config.train.distill && config.train.teacher.is_none();
    let Some(saved) = saved(config, start).filter(|_| !teaches) else { return recorded };
    if let Some(given) = &config.model.pretrained_model
        && !is_same(given, saved.model.pretrained_model.as_deref())
    {
        let began = match &saved.model.pretrained_model {
            Some(path) => format!("the weights of {}", path.display()),
            None => "initial weights".to_owned(),
        };
        tracing::warn!(
            "model.pretrained_model = {} has no effect: the run goes on from its checkpoint and began with {began}; to train \
             from the weights given, leave --resume out and choose another run folder (--model_path)",
            given.display()
        );
    }
    recorded.model.pretrained_model = saved.model.pretrained_model;
    recorded.model.pretrained_key = saved.model.pretrained_key;
    recorded
}

/// The config of the run that saved the checkpoint, if it lies where a run leaves it.
fn saved(config: &TrainConfig, start: &Start) -> Option<TrainConfig> {
    let store = match &start.checkpoint {
        Some(path) => Store::named(path),
        None => Store::of_run(&config.train.model_path),
    };
    let path = store.folder().parent()?.join(CONFIG);
    TrainConfig::from_toml(&path, &text_if_there(&path).ok()??).ok()
}

fn is_same(given: &Path, saved: Option<&Path>) -> bool {
    let place = |path: &Path| -> PathBuf { path.canonicalize().unwrap_or_else(|_| path.to_owned()) };
    saved.is_some_and(|saved| place(given) == place(saved))
}
