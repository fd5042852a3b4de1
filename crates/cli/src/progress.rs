//! What a run shows: a bar and a table per epoch on a terminal, plain lines elsewhere.

use crate::tables;
use crate::talk::Talk;
use indicatif::ProgressBar;
use sparse_trainer::{EvaluationRecord, LogRecord, Observer};

const TEMPLATE: &str = "{bar:30} step {pos}/{len}, {eta} left{msg}";

/// Shows a run.
pub(crate) struct Progress {
    talk: Talk,
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(crate) fn new(talk: Talk) -> Self {
        Self { talk, bar: None }
    }

    /// The bar for training steps, made at the first of them.
    fn bar(&mut self, done: usize) -> &ProgressBar {
        let talk = &self.talk;
        // A resumed run begins where it stopped, so that the time left is not guessed from steps done before.
        self.bar.get_or_insert_with(|| talk.bar(TEMPLATE).with_position(done.saturating_sub(1) as u64))
    }
}

impl Observer for Progress {
    fn step(&mut self, done: usize, total: usize) {
        if self.talk.is_terminal() {
            let bar = self.bar(done);
            // The next run of several has a bar of its own length.
            bar.set_length(total as u64);
            bar.set_position(done as u64);
        }
    }

    fn log(&mut self, record: &LogRecord) {
        let sparsity = record.sparsity.all_parameters;
        if self.talk.is_terminal()
            && let Some(bar) = &self.bar
        {
            bar.set_message(format!(
                ", {:.0} images/s, loss {:.4}, top-1 {:.4}, sparsity {sparsity:.4}",
                record.images_per_second, record.loss, record.top1
            ));
            return;
        }
        let threshold = record.threshold.map_or_else(String::new, |value| format!(", threshold {value:.3e}"));
        tracing::info!(
            "epoch[{}]-step[{}] lr: {:.6}, loss: {:.5}, top1: {:.4}, top5: {:.4}, sparsity: {:.4} -> {sparsity:.4}{threshold}, \
             {:.0} images/s",
            record.epoch,
            record.step,
            record.lr,
            record.loss,
            record.top1,
            record.top5,
            record.sparsity_before,
            record.images_per_second,
        );
    }

    fn evaluated(&mut self, record: &EvaluationRecord) {
        if self.talk.is_terminal() {
            self.talk.say(&tables::evaluation(record));
        } else {
            let ema = record.ema.map_or_else(String::new, |ema| {
                format!(
                    "; averaged weights (EMA): top1: {:.4}, top5: {:.4}, loss: {:.5}",
                    ema.top1, ema.top5, ema.loss
                )
            });
            tracing::info!(
                "test after epoch {} (step {}): top1: {:.4}, top5: {:.4}, loss: {:.5}, sparsity: {:.4} of all, {:.4} of \
                 prunable, {:.4} of pointwise{ema}",
                record.epoch,
                record.step,
                record.top1,
                record.top5,
                record.loss,
                record.sparsity.all_parameters,
                record.sparsity.prunable,
                record.sparsity.pointwise,
            );
        }
    }
}
