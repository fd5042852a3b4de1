//! Where weights are: a path, and in a checkpoint with several networks the one that is meant.

use crate::config::TrainConfig;
use std::fmt;
use std::path::Path;

/// A path to weights, and which of its dictionaries holds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightsAt<'a> {
    /// A file, a run folder, a folder with one file of weights, or a folder of Paddle variables.
    pub path: &'a Path,
    /// The keys that lead to the network, with dots between them, such as "model_ema.module"; `.` is the top. `None` if there
    /// is only one.
    pub key: Option<&'a str>,
}

impl<'a> WeightsAt<'a> {
    /// Those that a run with this config starts from, if there are any.
    #[must_use]
    pub fn start(config: &'a TrainConfig) -> Option<Self> {
        let model = &config.model;
        Some(Self::from(model.pretrained_model.as_ref()?).under(model.pretrained_key.as_deref()))
    }

    /// The same path with a key, if one is given.
    #[must_use]
    pub fn under(self, key: Option<&'a str>) -> Self {
        Self { key, ..self }
    }
}

impl fmt::Display for WeightsAt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.key {
            None => write!(f, "{path}"),
            Some(key) => write!(f, "{path} (under {key})"),
        }
    }
}

impl<'a, P: AsRef<Path> + ?Sized> From<&'a P> for WeightsAt<'a> {
    fn from(path: &'a P) -> Self {
        Self { path: path.as_ref(), key: None }
    }
}
