//! The typed configuration: what a run is asked to do, before any file is looked at.
//!
//! [`TrainConfig`] has five sections (`data`, `model`, `train`, `prune`, `checkpoint`) whose keys carry the names of
//! PaddleSlim's flags. [`Layers`] stacks the sources of values: flag over `--set` over config file over default. A
//! `TrainConfig` that `Layers` returns has passed [`TrainConfig::validate`], and every default in it is written
//! out, so that [`TrainConfig::to_toml`] reads back as the same config.
//!
//! A key is declared once, in the file of its section: a doc comment, `name: Type = default,` and a [`Key`] that says
//! which values it takes. The check of its values, its flag with `--help`, the warning where it has no effect, the
//! JSON schema, `docs/keys.md` and its place in the recipe follow from that. To add one:
//!
//! 1. Declare it: `.flag("VALUE")` for a flag, `.only(..)` where it counts only under a condition, `.in_tests()` if
//!    it counts in a test of weights, `.free()` if it does not change the weights, else `.added_later()`.
//! 2. Use its field; a rule that ties it to other keys goes into the section's `check`.
//! 3. Write the tables anew: `cargo run --release -p sparse-train -- --print_keys > docs/keys.md`, and
//!    `--print_schema > docs/config.schema.json`.

mod checkpoint;
mod data;
mod declare;
mod error;
mod file;
mod key;
mod keys;
mod layers;
mod mode;
mod model;
mod prune;
mod run;
mod schema;
mod set;
mod show;
mod threads;
mod train;
mod validate;
mod values;
mod when;
mod without_effect;

pub use checkpoint::CheckpointSection;
pub use data::{BadImagePolicy, CacheSetting, DataFormat, DataKind, DataSection, InterpolationKind};
pub use error::{ConfigError, Origin};
pub use key::{Key, Role};
pub use keys::{known_key, known_keys};
pub use layers::Layers;
pub use model::{Activation, Architecture, ModelSection, Padding};
pub(crate) use prune::parse_pattern;
pub use prune::{
    Allocation, Criterion, Gradient, ParamsType, PruneSection, PruningMode, PruningStrategy, Rewinds,
};
pub use run::{Phase, Resume};
pub use schema::schema;
pub use threads::{core_count, crowded, most_threads, too_many_threads};
pub use toml::Value;
pub use train::{Gpu, LrStrategy, Precision, TrainSection};
pub use values::Values;
pub use when::When;

use serde::{Deserialize, Serialize};

/// A complete configuration, every default written out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Which images, where they lie and how they are normalised.
    pub data: DataSection,
    /// Which network.
    pub model: ModelSection,
    /// The optimizer, its schedule, and what is logged, tested and saved when.
    pub train: TrainSection,
    /// What is pruned, how far and when.
    pub prune: PruneSection,
    /// When full training states are saved and how many are kept.
    pub checkpoint: CheckpointSection,
}

impl TrainConfig {
    /// The defaults for one data set: `data.path`, normalisation, image size and `model.num_classes` depend on it.
    ///
    /// Source: the flag defaults of PaddleSlim's unstructured pruning demo.
    #[must_use]
    pub fn defaults(data: DataKind) -> Self {
        Self {
            data: DataSection::defaults(data),
            model: ModelSection::defaults(data),
            train: TrainSection::default(),
            prune: PruneSection::default(),
            checkpoint: CheckpointSection::default(),
        }
    }

    /// Reads one TOML text over the defaults; `name` is the file name that error messages show.
    ///
    /// # Errors
    /// [`ConfigError`] for a syntax error, an unknown key or a value out of its range.
    pub fn from_toml(name: &std::path::Path, text: &str) -> Result<Self, ConfigError> {
        let mut layers = Layers::new();
        layers.text(name, text)?;
        layers.resolve()
    }

    /// The configuration as TOML that [`TrainConfig::from_toml`] reads back as the same value.
    ///
    /// # Errors
    /// [`ConfigError::NotToml`] when a value has no TOML form, such as a path that is not UTF-8.
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        toml::to_string(self).map_err(ConfigError::NotToml)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn defaults_are_those_of_the_seed() {
        let config = TrainConfig::defaults(DataKind::Mnist);
        assert_eq!(config.train.batch_size, 512);
        assert_eq!(config.train.batch_size_for_validation, 64);
        assert_eq!(config.train.lr, 0.1);
        assert_eq!(config.train.lr_strategy, LrStrategy::PiecewiseDecay);
        assert_eq!(config.train.step_epochs, [30, 60, 90]);
        assert_eq!(config.train.l2_decay, 3e-5);
        assert_eq!(config.train.momentum_rate, 0.9);
        assert_eq!(config.train.num_epochs, 120);
        assert_eq!(config.train.model_path, Path::new("./models"));
        assert_eq!(config.prune.pruning_mode, PruningMode::Threshold);
        assert_eq!(config.prune.threshold, 1e-5);
        assert_eq!(config.prune.ratio, 0.55);
        assert_eq!(config.model.pretrained_model, None);
        assert_eq!(config.model.num_classes, 10);
        assert_eq!(TrainConfig::defaults(DataKind::Imagenet).model.num_classes, 1000);
    }

    #[test]
    fn written_defaults_read_back_as_the_same_config() {
        for data in DataKind::ALL {
            let config = TrainConfig::defaults(data);
            let text = config.to_toml().unwrap();
            assert_eq!(TrainConfig::from_toml(Path::new("config.toml"), &text).unwrap(), config, "{text}");
        }
    }

    #[test]
    fn every_optional_key_survives_the_round_trip() {
        let mut config = TrainConfig::defaults(DataKind::Imagenet);
        config.data.num_workers = Some(3);
        config.data.train_files = Some("train-{00..99}.tar".to_owned());
        config.data.val_files = Some("*val*.tar".to_owned());
        config.data.classes = Some(vec![701, 0]);
        config.model.pretrained_model = Some("a folder/with \"quotes\"".into());
        config.train.clip_norm = Some(1.0);
        config.train.use_gpu = Some(false);
        config.train.device = Some("cpu".to_owned());
        config.train.threads = Some(2);
        config.train.teacher = Some("a teacher".into());
        config.train.seed = i64::MAX as u64;
        config.checkpoint.every_steps = Some(100);
        config.prune.include = vec!["^conv\\d".to_owned()];
        config.prune.layers = [("^conv5_.*\"_sep".to_owned(), 0.9), ("fc7".to_owned(), 0.5)].into();
        config.prune.pruning_mode = PruningMode::Dense;
        config.prune.prune_params_type = ParamsType::Conv1x1Only;
        let text = config.to_toml().unwrap();
        assert_eq!(TrainConfig::from_toml(Path::new("config.toml"), &text).unwrap(), config, "{text}");
    }

    #[cfg(unix)]
    #[test]
    fn a_value_without_a_toml_form_is_an_error() {
        use std::os::unix::ffi::OsStrExt;
        let mut config = TrainConfig::defaults(DataKind::Mnist);
        config.data.path = std::ffi::OsStr::from_bytes(b"\xff").into();
        assert!(matches!(config.to_toml(), Err(ConfigError::NotToml(_))));
    }

    proptest! {
        #[test]
        fn any_numbers_survive_the_round_trip(
            lr in 1e-300..1e300_f64,
            ratio in 0.0..1.0_f64,
            threshold in 0.0..1e30_f64,
            seed in 0..=i64::MAX as u64,
            step_epochs in proptest::collection::btree_set(0..1000_usize, 0..5),
        ) {
            let mut config = TrainConfig::defaults(DataKind::Cifar10);
            (config.train.lr, config.prune.ratio, config.prune.threshold) = (lr, ratio, threshold);
            config.train.seed = seed;
            config.train.step_epochs = step_epochs.into_iter().collect();
            let text = config.to_toml().unwrap();
            prop_assert_eq!(TrainConfig::from_toml(Path::new("config.toml"), &text).unwrap(), config);
        }
    }
}
