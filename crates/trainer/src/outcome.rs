//! What a run leaves behind.

use crate::config::TrainConfig;
use crate::error::{Error, Result};
use crate::learner::Learner;
use crate::observer::EmaRecord;
use crate::recipe::Recipe;
use crate::run_folder::RunFolder;
use crate::weights::to_tensors;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sparse_model::Model;
use sparse_network::Architecture;
use sparse_prune::Sparsity;
use std::path::Path;

/// `summary.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Top-1 accuracy over all test images, fraction.
    pub top1: f64,
    /// Top-5 accuracy over all test images, fraction.
    pub top5: f64,
    /// Mean loss over all test images.
    pub loss: f64,
    /// Test images.
    pub images: u64,
    /// Fraction of zeros in the weights.
    pub sparsity: Sparsity,
    /// The smallest magnitude kept, if one threshold holds for all layers.
    pub threshold: Option<f64>,
    /// Epochs done.
    pub epochs: usize,
    /// Optimizer updates done.
    pub steps: usize,
    /// Training images per second in this process, evaluation and checkpoints left out.
    pub images_per_second: f64,
    /// Seconds from start to end of this process's part of the run.
    pub wall_seconds: f64,
    /// Name of the weights file in the run folder.
    pub weights: String,
    /// What the test found of the averaged weights, if they are kept (`train.ema`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema: Option<EmaRecord>,
    /// Name of the file of averaged weights in the run folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema_weights: Option<String>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// All epochs are done.
    Finished(Summary),
    /// A signal asked to stop; the state was saved.
    Stopped {
        /// Updates done and saved.
        step: usize,
        /// Number of the signal.
        signal: usize,
    },
}

/// `test.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TestReport {
    /// Top-1 accuracy over all test images, fraction.
    pub top1: f64,
    /// Top-5 accuracy over all test images, fraction.
    pub top5: f64,
    /// Mean loss over all test images.
    pub loss: f64,
    /// Fraction of zeros in the weights.
    pub sparsity: Sparsity,
    /// Test images.
    pub images: u64,
    /// The weights file.
    pub weights: String,
}

/// Writes the weights of a learner, masks applied, and their averages if it keeps some; the bytes are a function of the training alone.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn write_weights(learner: &mut Learner, config: &TrainConfig, folder: &RunFolder) -> Result<()> {
    let recipe = learner.recipe(config);
    let state = learner.state()?;
    state.enforce()?;
    write(state.model(), state.pruner().sparsity()?, &recipe, &folder.weights())?;
    match state.ema() {
        Some(ema) => write(ema.model(), ema.sparsity()?, &recipe, &folder.ema_weights()),
        None => Ok(()),
    }
}

fn write(model: &Model, sparsity: Sparsity, recipe: &Recipe, path: &Path) -> Result<()> {
    let metadata = json!({
        "architecture": Architecture::of(&model.config()),
        "recipe": recipe,
        "sparsity": sparsity,
    });
    let text = serde_json::to_string(&metadata).map_err(|source| Error::Json { source })?;
    Ok(sparse_formats::write(path, &to_tensors(model.variables())?, Some(&text))?)
}
