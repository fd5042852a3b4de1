//! `--phase test`: the accuracy and sparsity of given weights.

use crate::config::TrainConfig;
use crate::datasets::open_split;
use crate::error::Result;
use crate::evaluate::evaluate;
use crate::observer::Observer;
use crate::outcome::TestReport;
use crate::plan::{DataSize, TrainPlan};
use crate::run_folder::{RunFolder, TEST};
use crate::setup::load_model;
use crate::stop::StopFlag;
use crate::train::feed;
use sparse_data::Split;
use sparse_prune::{Mode, Pruner, PrunerConfig};
use std::path::Path;

/// Tests weights on the test images of the config's data set and writes `test.json` in `train.model_path`.
///
/// # Errors
/// If data or weights are missing or do not fit, or the report cannot be written.
pub fn test(
    config: &TrainConfig,
    weights: &Path,
    stop: &StopFlag,
    observer: &mut dyn Observer,
) -> Result<TestReport> {
    let dataset = open_split(config, Split::Test)?;
    let size = DataSize {
        train_len: config.train.batch_size,
        test_len: dataset.len(),
        classes: dataset.classes(),
        image_shape: dataset.image_shape(),
    };
    let plan = TrainPlan::resolve(&dense(config), &size)?;
    let (model, file) = load_model(&plan, weights)?;
    tracing::info!("testing {} on {} images", file.display(), size.test_len);
    let evaluation = evaluate(&model, dataset, feed(&plan), stop, observer)?;
    let pruner = Pruner::new(&model.var_map(), PrunerConfig::new(Mode::Threshold(0.0)))?;
    let report = TestReport {
        top1: evaluation.top1,
        top5: evaluation.top5,
        loss: evaluation.loss,
        sparsity: pruner.sparsity()?,
        images: evaluation.images,
        weights: file.display().to_string(),
    };
    RunFolder::open(&config.train.model_path)?.write_json(TEST, &report)?;
    Ok(report)
}

/// The config without pruning, whose settings do not matter for a test.
fn dense(config: &TrainConfig) -> TrainConfig {
    let mut config = config.clone();
    config.prune.pruning_mode = crate::config::PruningMode::Dense;
    config
}
