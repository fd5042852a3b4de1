//! What of a config decides the weights: the part that goes into files and must agree on resume.

use crate::checkpoint::CheckpointError;
use crate::config::TrainConfig;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Settings by `section.key`, in order; no path, thread count, period or device among them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Recipe(BTreeMap<String, Value>);

/// Settings that do not change the weights.
const NOT_IN_RECIPE: [&str; 16] = [
    "data.path",
    "data.format",
    "data.train_files",
    "data.val_files",
    "data.num_workers",
    "model.pretrained_model",
    "train.batch_size_for_validation",
    "train.log_period",
    "train.test_period",
    "train.model_path",
    "train.model_period",
    "train.teacher",
    "train.use_gpu",
    "train.device",
    "train.threads",
    "checkpoint",
];

/// Settings without which a saved state makes no sense.
const MUST_AGREE: [&str; 11] = [
    "data.data",
    "data.classes",
    "model.model",
    "model.scale",
    "model.num_classes",
    "model.activation",
    "model.padding",
    "model.bn_epsilon",
    "train.batch_size",
    "train.seed",
    TEACHER,
];
/// The checksum of the weights that the run learns from; not there without a teacher.
const TEACHER: &str = "train.teacher";

impl Recipe {
    /// The recipe of a config.
    pub fn of(config: &TrainConfig) -> Self {
        let mut settings = BTreeMap::new();
        if let Ok(Value::Object(sections)) = serde_json::to_value(config) {
            for (section, keys) in sections {
                let Value::Object(keys) = keys else { continue };
                settings.extend(keys.into_iter().map(|(key, value)| (format!("{section}.{key}"), value)));
            }
        }
        settings.retain(|key, _| !NOT_IN_RECIPE.iter().any(|&left_out| key.starts_with(left_out)));
        // Decoded images are seen a little otherwise, wherever they lie.
        settings.entry("data.cache".to_owned()).and_modify(|value| *value = Value::Bool(true));
        Self(settings)
    }

    /// The recipe of a run with this config and a teacher with this checksum.
    pub(crate) fn with_teacher(config: &TrainConfig, teacher: Option<u32>) -> Self {
        let mut recipe = Self::of(config);
        let checksum = teacher.map(|checksum| Value::String(format!("crc32 {checksum:08x}")));
        recipe.0.extend(checksum.map(|checksum| (TEACHER.to_owned(), checksum)));
        recipe
    }

    /// The first setting in which two recipes differ.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        let mut keys = self.0.keys().chain(other.0.keys());
        keys.find(|key| self.0.get(*key) != other.0.get(*key)).cloned()
    }

    /// The settings.
    pub fn settings(&self) -> &BTreeMap<String, Value> {
        &self.0
    }

    /// Checks that a run with the recipe `given` may go on from a state saved with this one: refuses what must agree,
    /// warns of what else differs.
    ///
    /// # Errors
    /// [`CheckpointError::OtherRun`] naming the setting.
    pub(crate) fn check_resume(&self, given: &Self, folder: &Path) -> Result<(), CheckpointError> {
        let text = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
        let keys: std::collections::BTreeSet<&String> = self.0.keys().chain(given.0.keys()).collect();
        for key in keys {
            let (saved, now) = (self.0.get(key), given.0.get(key));
            if saved == now {
                continue;
            }
            if MUST_AGREE.contains(&key.as_str()) {
                let folder = folder.to_path_buf();
                return Err(CheckpointError::OtherRun {
                    folder,
                    key: key.clone(),
                    saved: text(saved),
                    given: text(now),
                });
            }
            tracing::warn!("going on with {key} = {}, saved with {}", text(now), text(saved));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DataKind;

    #[test]
    fn what_cannot_change_the_weights_is_left_out() {
        let config = TrainConfig::defaults(DataKind::Mnist);
        let mut elsewhere = config.clone();
        elsewhere.train.model_path = "elsewhere".into();
        elsewhere.train.threads = Some(7);
        elsewhere.train.log_period = 3;
        elsewhere.data.path = "there".into();
        elsewhere.checkpoint.every_steps = Some(5);
        assert_eq!(Recipe::of(&config), Recipe::of(&elsewhere));
        elsewhere.train.lr = 0.5;
        assert_ne!(Recipe::of(&config), Recipe::of(&elsewhere));
        let mut config = TrainConfig::defaults(DataKind::Imagenet);
        config.data.classes = Some(vec![3, 5]);
        for key in MUST_AGREE.into_iter().filter(|&key| key != TEACHER) {
            assert!(Recipe::of(&config).settings().contains_key(key), "{key}");
        }
    }

    #[test]
    fn another_teacher_is_refused() {
        let config = TrainConfig::defaults(DataKind::Mnist);
        let recipe = |checksum| Recipe::with_teacher(&config, checksum);
        let folder = Path::new("step-00000001");
        assert!(recipe(Some(1)).check_resume(&recipe(Some(1)), folder).is_ok());
        for other in [None, Some(2)] {
            let error = recipe(Some(1)).check_resume(&recipe(other), folder).unwrap_err().to_string();
            assert!(error.contains("train.teacher = \"crc32 00000001\""), "{error}");
        }
    }

    #[test]
    fn another_batch_size_is_refused_and_another_rate_is_not() {
        let config = TrainConfig::defaults(DataKind::Mnist);
        let mut other = config.clone();
        other.train.lr = 0.5;
        let folder = Path::new("step-00000001");
        assert!(Recipe::of(&config).check_resume(&Recipe::of(&other), folder).is_ok());
        other.train.batch_size = 17;
        let error = Recipe::of(&config).check_resume(&Recipe::of(&other), folder).unwrap_err().to_string();
        assert!(error.contains("train.batch_size = 512") && error.contains("17"), "{error}");
    }
}
