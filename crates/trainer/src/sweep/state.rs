//! What a sweep knows, in `sweep.json`.

use super::Search;
use crate::compare::Difference;
use crate::error::{Error, Result};
use crate::recipe::Recipe;
use crate::run_file::read_if_there;
use crate::run_folder::RunFolder;
use serde::{Deserialize, Serialize};
use sparse_data::Fingerprint;
use sparse_prune::Sparsity;
use std::path::PathBuf;

/// Name of the file.
pub(crate) const STATE: &str = "sweep.json";

/// The dense network that all else is measured against.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DensePoint {
    /// Its weights.
    pub weights: PathBuf,
    /// CRC-32 of its tensors.
    pub crc32: u32,
    /// Top-1 accuracy over the test images, fraction.
    pub top1: f64,
    /// Mean loss over the test images.
    pub loss: f64,
    /// Test images.
    pub images: u64,
}

/// A ratio that was tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The ratio, a fraction of the weights that the config prunes.
    pub ratio: f64,
    /// The run folder.
    pub run: PathBuf,
    /// The weights it began with.
    pub start: PathBuf,
    /// Fraction of zeros.
    pub sparsity: Sparsity,
    /// Top-1 accuracy over the test images, fraction.
    pub top1: f64,
    /// Mean loss over the test images.
    pub loss: f64,
    /// Top-1 less that of the dense network, over the same images.
    pub difference: Difference,
    /// Training images per second.
    pub images_per_second: f64,
}

/// The state of a sweep, and its result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepReport {
    /// Largest loss of top-1 that is allowed, a fraction.
    pub loss: f64,
    /// How ratios were chosen.
    pub search: Search,
    /// The settings of all points.
    pub(crate) recipe: Recipe,
    /// What tells the training images from others; earlier versions did not note it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<Fingerprint>,
    /// The dense network, once it is measured.
    pub dense: Option<DensePoint>,
    /// The ratios that were tried, in ascending order.
    pub points: Vec<Point>,
    /// The highest ratio tried whose top-1 is within the limit.
    pub best: Option<f64>,
}

impl SweepReport {
    /// Goes on with the sweep in `folder`, or begins one.
    ///
    /// # Errors
    /// [`Error::OtherSweep`] if there is one with other settings, [`Error::OtherSweepData`] if it is over other images.
    pub(super) fn open(
        folder: &RunFolder,
        loss: f64,
        search: &Search,
        recipe: Recipe,
        data: Fingerprint,
    ) -> Result<Self> {
        let (search, points) = (search.clone(), Vec::new());
        let fresh = Self { loss, search, recipe, data: Some(data), dense: None, points, best: None };
        let path = folder.path().join(STATE);
        let Some(bytes) = read_if_there(&path)? else { return Ok(fresh) };
        let advice = "move it away to begin the sweep anew";
        let saved: Self =
            serde_json::from_slice(&bytes).map_err(|source| Error::BadJson { path, source, advice })?;
        if let Some(key) = saved.recipe.difference(&fresh.recipe) {
            return Err(Error::OtherSweep { folder: folder.path().to_path_buf(), key });
        }
        if let Some(difference) = saved.data.and_then(|saved| saved.difference(&data)) {
            return Err(Error::OtherSweepData { folder: folder.path().to_path_buf(), difference });
        }
        Ok(Self { dense: saved.dense, points: saved.points, ..fresh })
    }

    /// Whether a top-1 is within the limit of the dense one.
    #[must_use]
    pub fn allows(&self, top1: f64) -> bool {
        const ROUNDING: f64 = 1e-9;
        self.dense.as_ref().is_some_and(|dense| top1 >= dense.top1 - self.loss - ROUNDING)
    }

    /// The point of a ratio, if it was tried.
    #[must_use]
    pub fn point(&self, ratio: f64) -> Option<&Point> {
        self.points.iter().find(|point| point.ratio == ratio)
    }

    /// The good point with the highest ratio below `ratio`.
    pub(super) fn last_good(&self, ratio: f64) -> Option<&Point> {
        self.points.iter().rev().find(|point| point.ratio < ratio && self.allows(point.top1))
    }

    pub(super) fn add(&mut self, point: Point) {
        self.forget(point.ratio);
        self.points.push(point);
        self.points.sort_by(|a, b| a.ratio.total_cmp(&b.ratio));
    }

    pub(super) fn forget(&mut self, ratio: f64) {
        self.points.retain(|point| point.ratio != ratio);
    }

    pub(super) fn save(&mut self, folder: &RunFolder) -> Result<()> {
        self.best = self.points.iter().rev().find(|point| self.allows(point.top1)).map(|point| point.ratio);
        folder.write_json(STATE, self)
    }
}
