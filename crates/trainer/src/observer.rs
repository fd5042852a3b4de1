//! What a run tells while it goes on.

use crate::evaluate::Evaluation;
use serde::{Deserialize, Serialize};
use sparse_prune::Sparsity;

/// One line of the log, every `train.log_period` steps and at step 0; also one object of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LogRecord {
    /// Steps done.
    pub step: usize,
    /// Epoch the step belongs to, from 0.
    pub epoch: usize,
    /// Loss of the step's batch.
    pub loss: f64,
    /// Learning rate of the step.
    pub lr: f64,
    /// Top-1 accuracy on the batch, fraction.
    pub top1: f64,
    /// Top-5 accuracy on the batch, fraction.
    pub top5: f64,
    /// Fraction of zeros with the masks of this step applied.
    pub sparsity: Sparsity,
    /// Fraction of zeros over all parameters as the optimizer left them, before the masks were applied.
    pub sparsity_before: f64,
    /// The smallest magnitude kept, if one threshold holds for all layers.
    pub threshold: Option<f64>,
    /// Images per second since the last record, evaluation and checkpoints left out.
    pub images_per_second: f64,
    /// Seconds since the last record that the training step waited for data.
    pub data_wait_seconds: f64,
}

/// One evaluation during training.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EvaluationRecord {
    /// Steps done.
    pub step: usize,
    /// Epochs done.
    pub epoch: usize,
    /// Top-1 accuracy over the test images, fraction.
    pub top1: f64,
    /// Top-5 accuracy over the test images, fraction.
    pub top5: f64,
    /// Mean loss over the test images.
    pub loss: f64,
    /// Test images.
    pub images: u64,
    /// Fraction of zeros.
    pub sparsity: Sparsity,
    /// The same of the averaged weights, if they are kept (`train.ema`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema: Option<EmaRecord>,
}

/// What a test found of the averaged weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EmaRecord {
    /// Top-1 accuracy over the test images, fraction.
    pub top1: f64,
    /// Top-5 accuracy over the test images, fraction.
    pub top5: f64,
    /// Mean loss over the test images.
    pub loss: f64,
}

impl From<Evaluation> for EmaRecord {
    fn from(Evaluation { top1, top5, loss, .. }: Evaluation) -> Self {
        Self { top1, top5, loss }
    }
}

impl EvaluationRecord {
    pub(crate) fn new(step: usize, epoch: usize, evaluation: Evaluation, sparsity: Sparsity) -> Self {
        let Evaluation { images, top1, top5, loss } = evaluation;
        Self { step, epoch, top1, top5, loss, images, sparsity, ema: None }
    }
}

/// Listens to a run. Every method has an empty default.
pub trait Observer {
    /// A step is done.
    fn step(&mut self, _done: usize, _total: usize) {}
    /// A log line is due.
    fn log(&mut self, _record: &LogRecord) {}
    /// A batch of an evaluation is done.
    fn evaluating(&mut self, _done: usize, _total: usize) {}
    /// An evaluation is done.
    fn evaluated(&mut self, _record: &EvaluationRecord) {}
}

/// Listens to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}
