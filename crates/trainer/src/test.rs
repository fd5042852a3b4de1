//! `--phase test`: the accuracy and sparsity of given weights.

use crate::bad_images;
use crate::config::TrainConfig;
use crate::datasets::open_split;
use crate::error::{Error, Result};
use crate::evaluate::evaluate;
use crate::learner::{Learner, LearnerConfig};
use crate::observer::Observer;
use crate::outcome::TestReport;
use crate::plan::{DeviceChoice, check_test_memory};
use crate::predictions::{OTHER_PREDICTIONS_FILE, PREDICTIONS_FILE};
use crate::pretrained::{Head, Pretrained, WeightsAt};
use crate::ranks::Ranks;
use crate::run_folder::{RunFolder, TEST};
use crate::same_run;
use crate::setup::{build_model, place, storage};
use crate::stop::StopFlag;
use crate::train::feed;
use crate::weights::share;
use candle_core::Tensor;
use sparse_data::Split;
use sparse_model::Model;
use sparse_prune::{Mode, Pruner, PrunerConfig};
use std::path::{Path, PathBuf};

/// Tests weights on the test images of the config's data set; writes `test.json` and `predictions.csv` in
/// `train.model_path`, or `test-predictions.csv` if that is the folder of a run with other weights.
///
/// # Errors
/// If data or weights are missing or do not fit, or the report cannot be written.
pub fn test<'a>(
    config: &TrainConfig,
    weights: impl Into<WeightsAt<'a>>,
    stop: &StopFlag,
    observer: &mut dyn Observer,
) -> Result<TestReport> {
    test_shared(config, weights, &Ranks::alone(), stop, observer)
}

/// As [`test()`], by several processes of which each tests its part of the images. The first alone reads the weights and writes.
///
/// # Errors
/// As [`test()`].
pub fn test_shared<'a>(
    config: &TrainConfig,
    weights: impl Into<WeightsAt<'a>>,
    ranks: &Ranks,
    stop: &StopFlag,
    observer: &mut dyn Observer,
) -> Result<TestReport> {
    let dataset = open_split(config, Split::Test)?;
    check_test_memory(config, dataset.image_shape())?;
    same_run::check_testing(config, &*dataset, ranks)?;
    let model = build_model(config, dataset.image_shape()[0])?;
    let (file, head) = ranks.of_first(|| load(config, weights.into(), &model))?;
    share(&model, ranks)?;
    let folder = ranks.place().is_first().then(|| RunFolder::open(&config.train.model_path)).transpose()?;
    tracing::info!("testing {} on {} images, {head}", file.display(), dataset.len());
    let mut learner = Learner::new(model, LearnerConfig::dense(storage(config.train.precision)))?;
    place(&mut learner, DeviceChoice::for_config(&config.train)?, config.train.gpu_sparse_from)?;
    let scores = |images: &Tensor| learner.scores(images);
    let evaluation = evaluate(scores, dataset.clone(), feed(config), ranks, stop, observer);
    // An error of one rank is not known to the others, which would not answer.
    if evaluation.is_ok() || ranks.place().ranks == 1 {
        bad_images::list_and_warn(folder.as_ref(), "test", &*dataset, "left out", ranks)?;
    }
    let (evaluation, predictions) = evaluation?;
    let pruner = Pruner::new(&learner.state()?.model().var_map(), PrunerConfig::new(Mode::Threshold(0.0)))?;
    let report = TestReport {
        top1: evaluation.top1,
        top5: evaluation.top5,
        loss: evaluation.loss,
        sparsity: pruner.sparsity()?,
        images: evaluation.images,
        weights: file.display().to_string(),
    };
    if let Some(folder) = folder {
        folder.write_predictions(predictions_file(&folder, &file), &predictions)?;
        folder.write_json(TEST, &report)?;
    }
    Ok(report)
}

/// Puts weights into a model; gives the file they were read from, and how the head came out of it.
fn load(config: &TrainConfig, weights: WeightsAt<'_>, model: &Model) -> Result<(PathBuf, String)> {
    let pretrained = Pretrained::read(weights)?;
    let path = pretrained.path.clone();
    match pretrained.load(model, config.data.classes.as_deref())? {
        Head::New { classes, of } => Err(Error::OtherHead { path, classes: of, num_classes: classes }),
        head => Ok((path, head.to_string())),
    }
}

/// Where the predictions of the weights in `tested` go: a finished run keeps those of its own weights.
fn predictions_file(folder: &RunFolder, tested: &Path) -> &'static str {
    let own =
        folder.weights().canonicalize().is_ok_and(|own| tested.canonicalize().is_ok_and(|it| it == own));
    if own || folder.finished_summary().is_none() { PREDICTIONS_FILE } else { OTHER_PREDICTIONS_FILE }
}
