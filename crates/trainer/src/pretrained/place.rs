//! Where weights are: a path, and in a checkpoint with several networks the one that is meant.

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
    /// The same path with a key, if one is given.
    #[must_use]
    pub fn under(self, key: Option<&'a str>) -> Self {
        Self { key, ..self }
    }
}

impl<'a, P: AsRef<Path> + ?Sized> From<&'a P> for WeightsAt<'a> {
    fn from(path: &'a P) -> Self {
        Self { path: path.as_ref(), key: None }
    }
}
