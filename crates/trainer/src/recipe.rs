//! What of a config decides the weights: the part that goes into files and must agree on resume.

use crate::checkpoint::CheckpointError;
use crate::config::{Role, TrainConfig, known_key, known_keys};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Settings by `section.key`, in order; no path, thread count, period or device among them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Recipe(BTreeMap<String, Value>);

/// The checksum of the weights that the run learns from; not there without a teacher.
const TEACHER: &str = "train.teacher";

impl Recipe {
    /// The recipe of a config: each key as its declaration says (see [`Role`]).
    pub fn of(config: &TrainConfig) -> Self {
        let mut settings = BTreeMap::new();
        let sections = serde_json::to_value(config).unwrap_or_default();
        for key in known_keys().filter(|key| key.role != Role::Free) {
            let Some(value) = sections[key.section].get(key.name).filter(|value| !value.is_null()) else {
                continue;
            };
            let default =
                || key.default(config.data.data).and_then(|default| serde_json::to_value(default).ok());
            if !key.added_later || default().as_ref() != Some(value) {
                settings.insert(key.path(), value.clone());
            }
        }
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

    /// Checks what must agree but for the teacher, whose weights need not be read for this.
    ///
    /// # Errors
    /// [`CheckpointError::OtherRun`] naming the setting.
    pub(crate) fn check_agrees(&self, given: &Self, folder: &Path) -> Result<(), CheckpointError> {
        let mut keys = self.0.keys().chain(given.0.keys()).filter(|key| *key != TEACHER && must_agree(key));
        match keys.find(|&key| self.0.get(key) != given.0.get(key)) {
            Some(key) => Err(self.other_run(given, key, folder)),
            None => Ok(()),
        }
    }

    fn other_run(&self, given: &Self, key: &str, folder: &Path) -> CheckpointError {
        if key == TEACHER {
            let has = |recipe: &Self| recipe.0.contains_key(TEACHER);
            return CheckpointError::OtherTeacher {
                folder: folder.to_path_buf(),
                saved: has(self),
                given: has(given),
            };
        }
        let (saved, given) = (text(self.0.get(key)), text(given.0.get(key)));
        CheckpointError::OtherRun { folder: folder.to_path_buf(), key: key.to_owned(), saved, given }
    }

    /// Checks that a run with the recipe `given` may go on from a state saved with this one: refuses what must agree,
    /// warns of what else differs.
    ///
    /// # Errors
    /// [`CheckpointError::OtherRun`] naming the setting.
    pub(crate) fn check_resume(&self, given: &Self, folder: &Path) -> Result<(), CheckpointError> {
        let keys: std::collections::BTreeSet<&String> = self.0.keys().chain(given.0.keys()).collect();
        for key in keys {
            let (saved, now) = (self.0.get(key), given.0.get(key));
            if saved == now {
                continue;
            }
            if must_agree(key) {
                return Err(self.other_run(given, key, folder));
            }
            tracing::warn!("going on with {key} = {}, saved with {}", text(now), text(saved));
        }
        Ok(())
    }
}

/// Whether a saved state makes no sense under another value.
fn must_agree(path: &str) -> bool {
    path == TEACHER || known_key(path).is_some_and(|key| key.role == Role::MustAgree)
}

fn text(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".to_owned(), Value::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{CacheSetting, DataKind};

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
    }

    /// Weights files and checkpoints hold these names: a key that leaves or enters them does it by its declaration.
    #[test]
    fn the_recipe_of_the_defaults_has_these_settings() {
        let mut config = TrainConfig::defaults(DataKind::Imagenet);
        let names = |config: &TrainConfig, section: &str| {
            let recipe = Recipe::of(config);
            let of_section =
                recipe.settings().keys().filter_map(|key| key.strip_prefix(section)?.strip_prefix('.'));
            of_section.map(str::to_owned).collect::<Vec<_>>().join(" ")
        };
        let data = "augment bad_images bad_images_limit data image_size mean std";
        assert_eq!(names(&config, "data"), data);
        assert_eq!(names(&config, "model"), "activation bn_epsilon model num_classes padding scale");
        assert_eq!(
            names(&config, "train"),
            "batch_size bn_recal ce_test distill distill_temperature distill_weight gpu_sparse_from l2_decay \
             label_smoothing lr lr_strategy momentum_rate num_epochs precision seed step_epochs warmup_epochs"
        );
        assert_eq!(
            names(&config, "prune"),
            "exclude gradient include initial_ratio local_sparsity paddle_compat prune_params_type pruning_epochs \
             pruning_mode pruning_steps pruning_strategy ratio regrow sparse_block stable_epochs threshold \
             tunning_epochs"
        );
        assert_eq!(names(&config, "checkpoint"), "");
        (config.data.rotate, config.data.cache, config.data.crop) =
            (true, CacheSetting::File("a".into()), Some(192));
        config.data.classes = Some(vec![3, 5]);
        let data = "augment bad_images bad_images_limit cache classes crop data image_size mean rotate std";
        assert_eq!(names(&config, "data"), data);
        assert_eq!(Recipe::of(&config).settings()["data.cache"], Value::Bool(true));
        let agree: Vec<String> = Recipe::of(&config).0.into_keys().filter(|key| must_agree(key)).collect();
        assert_eq!(
            agree.join(" "),
            "data.classes data.data model.activation model.bn_epsilon model.model model.num_classes model.padding \
             model.scale train.batch_size train.seed"
        );
    }

    #[test]
    fn another_teacher_is_refused() {
        let config = TrainConfig::defaults(DataKind::Mnist);
        let recipe = |checksum| Recipe::with_teacher(&config, checksum);
        let folder = Path::new("step-00000001");
        assert!(recipe(Some(1)).check_resume(&recipe(Some(1)), folder).is_ok());
        for other in [None, Some(2)] {
            let error = recipe(Some(1)).check_resume(&recipe(other), folder).unwrap_err().to_string();
            assert!(error.contains("--teacher") && !error.contains("crc32"), "{error}");
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
