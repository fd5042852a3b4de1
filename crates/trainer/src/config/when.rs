//! Where a key has an effect.

use std::fmt;

use toml::{Table, Value};

use super::{Gpu, TrainConfig, known_key, values::alternatives};
use crate::plan::DeviceChoice;

/// A condition under which a key has an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Another key has one of these values, as they are typed.
    Is {
        /// That key, `section.name`.
        key: &'static str,
        /// The values.
        values: &'static [&'static str],
    },
    /// The run computes on a GPU.
    OnGpu,
}

impl When {
    const fn is(key: &'static str, values: &'static [&'static str]) -> Self {
        Self::Is { key, values }
    }

    /// Image files in folders or archives.
    pub(super) const IMAGENET: Self = Self::is("data.data", &["imagenet"]);
    /// Small colour images in memory.
    pub(super) const CIFAR: Self = Self::is("data.data", &["cifar10", "cifar100"]);
    /// Images whose classes are in groups.
    pub(super) const CIFAR100: Self = Self::is("data.data", &["cifar100"]);
    /// Layouts in shards.
    pub(super) const SHARDS: Self = Self::is("data.format", &["auto", "webdataset", "parquet"]);
    /// Bad images are passed over.
    pub(super) const SKIPS_BAD: Self = Self::is("data.bad_images", &["skip"]);
    /// Random views of images while training.
    pub(super) const AUGMENTS: Self = Self::is("data.augment", &["true"]);
    /// The learning rate falls in steps.
    pub(super) const PIECEWISE: Self = Self::is("train.lr_strategy", &["piecewise_decay"]);
    /// There is a teacher.
    pub(super) const DISTILLS: Self = Self::is("train.distill", &["true"]);
    /// Something is pruned.
    pub(super) const PRUNES: Self = Self::is("prune.pruning_mode", &["ratio", "threshold", "pattern"]);
    /// A share of the weights is pruned.
    pub(super) const BY_RATIO: Self = Self::is("prune.pruning_mode", &["ratio"]);
    /// n of every m inputs are kept.
    pub(super) const BY_PATTERN: Self = Self::is("prune.pruning_mode", &["pattern"]);
    /// Weights are ranked, over all or in groups.
    pub(super) const RANKED: Self = Self::is("prune.pruning_mode", &["ratio", "pattern"]);
    /// Each layer is ranked on its own.
    pub(super) const LAYER_WISE: Self = Self::is("prune.local_sparsity", &["true"]);
    /// Weights below a threshold are pruned.
    pub(super) const BY_THRESHOLD: Self = Self::is("prune.pruning_mode", &["threshold"]);
    /// Weights are chosen by what layers read.
    pub(super) const BY_DATA: Self = Self::is("prune.criterion", &["obs"]);
    /// The ratio rises gradually.
    pub(super) const GRADUALLY: Self = Self::is("prune.pruning_strategy", &["gmp"]);

    /// Training has phases.
    pub(super) const IN_PHASES: Self = Self::is("prune.pruning_strategy", &["gmp", "acdc"]);
    /// Dense and sparse phases take turns.
    pub(super) const ALTERNATES: Self = Self::is("prune.pruning_strategy", &["acdc"]);
    /// Masks move.
    pub(super) const MOVES: Self = Self::is("prune.pruning_strategy", &["rigl", "set"]);

    /// Training goes back.
    pub(super) const REWINDS: Self = Self::is("prune.pruning_strategy", &["rewind"]);

    /// What on a command line makes it hold.
    pub(super) fn remedy(&self) -> Option<String> {
        match self {
            Self::Is { key, values } => Some(known_key(key)?.given_as(values.first()?)),
            Self::OnGpu => Some("--device cuda".to_owned()),
        }
    }

    /// Whether it holds for a config; `table` is the same config.
    pub(super) fn holds(&self, config: &TrainConfig, table: &Table) -> bool {
        match self {
            Self::Is { key, values } => {
                value_at(table, key).is_some_and(|value| values.contains(&plain(value).as_str()))
            }
            Self::OnGpu => match DeviceChoice::for_config(&config.train) {
                Ok(device) => matches!(device, DeviceChoice::Cuda { .. }),
                // This build has none, and says so.
                Err(_) => config.train.gpu() != Some(Gpu::None),
            },
        }
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is { key, values } => {
                let toml = |&value: &&str| match value {
                    "true" | "false" => value.to_owned(),
                    name => format!("\"{name}\""),
                };
                write!(f, "{key} = {}", alternatives(values.iter().map(toml)))
            }
            Self::OnGpu => f.write_str("a GPU"),
        }
    }
}

/// The value of `section.name`.
pub(super) fn value_at<'a>(table: &'a Table, path: &str) -> Option<&'a Value> {
    let (section, name) = path.split_once('.')?;
    table.get(section)?.get(name)
}

/// A name without quotes, anything else in TOML notation.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
