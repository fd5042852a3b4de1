//! The training loop.

use crate::bad_images;
use crate::checkpoint::Store;
use crate::config::{PruneSection, PruningMode, TrainConfig};
use crate::datasets::Datasets;
use crate::ema::{EMA_WEIGHTS_FILE, Ema};
use crate::emptied::{self, Emptied};
use crate::error::{Error, Result};
use crate::evaluate::{Evaluation, Feed, evaluate, images_of};
use crate::learner::{Learner, StepResults};
use crate::observer::{EmaRecord, EvaluationRecord, LogRecord, Observer};
use crate::oneshot::{ByData, OneshotError};
use crate::outcome::{Outcome, Summary, write_weights};
use crate::plan::TrainPlan;
use crate::predictions::{PREDICTIONS_FILE, Prediction};
use crate::ranks::Ranks;
use crate::recalibrate::recalibrate;
use crate::run_folder::RunFolder;
use crate::same_run;
use crate::setup::{Start, Started, start_shared};
#[cfg(doc)]
use crate::shared_error::SharedError;
use crate::start_weights;
use crate::state::State;
use crate::stop::StopFlag;
use crate::weights::WEIGHTS_FILE;
use candle_core::Tensor;
use sparse_data::{Fingerprint, Loader, LoaderConfig, Order};
use std::time::{Duration, Instant};

/// Below this fraction of zeros a threshold is taken to be a mistake.
const LEAST_SPARSITY: f64 = 0.01;

/// Runs a plan: trains, prunes, tests, and leaves everything in the run folder.
///
/// # Errors
/// What data, model, pruner or files report; [`Error::NotEnoughMemory`] and [`Error::RunInUse`] before anything is written;
/// [`Error::Diverged`] if the loss is not finite. What was saved stays.
pub fn train(
    plan: &TrainPlan,
    datasets: &Datasets,
    start: &Start,
    stop: &StopFlag,
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    train_shared(plan, datasets, start, &Ranks::alone(), stop, observer)
}

/// As [`train`], by several processes: each has its part of every batch, the first alone reads and writes the run folder.
///
/// # Errors
/// As [`train`]; [`SharedError::Differ`] if they do not have the same config or data, [`SharedError::Ranks`] if one is gone.
pub fn train_shared(
    plan: &TrainPlan,
    datasets: &Datasets,
    start: &Start,
    ranks: &Ranks,
    stop: &StopFlag,
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    plan.check_memory()?;
    let data = datasets.train.fingerprint();
    same_run::check_training(plan, datasets, ranks)?;
    let folder =
        ranks.place().is_first().then(|| RunFolder::open(&plan.config.train.model_path)).transpose()?;
    let Started { learner, step, resumed } = start_shared(plan, start, &data, ranks)?;
    let mut learner = learner.with_data(ByData::of_plan(plan, &datasets.train));
    let store = Store::of_run(&plan.config.train.model_path);
    let done = ranks.of_first(|| match &folder {
        Some(folder) => enter(folder, plan, start, &store, resumed.then_some(step)),
        None => Ok(None),
    })?;
    if let Some(summary) = done {
        tracing::info!(
            "the run in {} is complete; nothing is left to do",
            plan.config.train.model_path.display()
        );
        return Ok(Outcome::Finished(summary));
    }
    emptied::warn_of_large_blocks(learner.state()?, &plan.config.prune);
    let clock = Clock::default();
    let mut run = Run {
        plan,
        datasets,
        data,
        learner,
        folder,
        store,
        ranks: ranks.clone(),
        step,
        clock,
        stop,
        tested: None,
        recalibrated: false,
        emptied: Emptied::default(),
    };
    let result = run.finish(resumed, observer);
    let outcome = match result {
        Err(Error::Stopped { signal }) => {
            // Estimated anew, batch norm is no state to go on from; that of the last step was saved before.
            if !run.recalibrated {
                run.save_checkpoint()?;
            }
            Ok(Outcome::Stopped { step: run.step, signal })
        }
        result => result.map(Outcome::Finished),
    };
    // Where the run ends early for a reason of its own, that is what is reported; other ranks do not know of it and would not
    // answer.
    let early = match &outcome {
        Ok(Outcome::Finished(_)) => false,
        Ok(Outcome::Stopped { .. }) => true,
        Err(_) => ranks.place().ranks == 1,
    };
    if early && let Err(error) = run.list_bad_images() {
        tracing::warn!("bad images are not listed: {error}");
    }
    outcome
}

/// Makes the folder that of a run from `resumed` on, or from the beginning; gives the summary of a run that was finished in it.
fn enter(
    folder: &RunFolder,
    plan: &TrainPlan,
    start: &Start,
    store: &Store,
    resumed: Option<usize>,
) -> Result<Option<Summary>> {
    let elsewhere = start.checkpoint.as_deref().is_some_and(|path| !Store::named(path).is(store));
    let goes_on = resumed.filter(|_| !elsewhere);
    let recorded = resumed.map(|_| start_weights::recorded(&plan.config, start));
    if let Some(summary) = goes_on.and_then(|step| finished_before(plan, folder, step)) {
        return Ok(Some(summary));
    }
    if goes_on.is_none() {
        folder.set_aside_earlier_run()?;
    }
    folder.write_config(recorded.as_ref().unwrap_or(&plan.config))?;
    if let Some(step) = goes_on {
        folder.go_back_to(step, store)?;
    }
    Ok(None)
}

/// The summary of a run that was finished before in this folder and stands at its last step.
fn finished_before(plan: &TrainPlan, folder: &RunFolder, step: usize) -> Option<Summary> {
    folder.finished_summary().filter(|summary| step == plan.total_steps && summary.steps == step)
}

/// Time spent on training steps, in this process and since the last log line.
#[derive(Default)]
struct Clock {
    total: Duration,
    steps: usize,
    window: Duration,
    window_steps: usize,
    window_wait: Duration,
}

impl Clock {
    fn add(&mut self, spent: Duration, waited: Duration) {
        self.total += spent;
        self.steps += 1;
        self.window += spent;
        self.window_steps += 1;
        self.window_wait += waited;
    }

    fn close_window(&mut self) {
        (self.window, self.window_steps, self.window_wait) = Default::default();
    }
}

/// Units per second; 0 if no time has passed.
fn rate(units: usize, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { units as f64 / time.as_secs_f64() }
}

/// A run in progress.
struct Run<'a> {
    plan: &'a TrainPlan,
    datasets: &'a Datasets,
    /// What tells the training images from others.
    data: Fingerprint,
    learner: Learner,
    /// Only the first rank has it.
    folder: Option<RunFolder>,
    store: Store,
    ranks: Ranks,
    /// Updates done.
    step: usize,
    clock: Clock,
    stop: &'a StopFlag,
    /// The last evaluation.
    tested: Option<Tested>,
    /// Whether batch norm was estimated anew, at least in part.
    recalibrated: bool,
    /// The layers that are known to have no weights left.
    emptied: Emptied,
}

/// An evaluation, and after how many updates it was made.
struct Tested {
    step: usize,
    evaluation: Evaluation,
    /// Of the averaged weights.
    ema: Option<EmaRecord>,
    predictions: Vec<Prediction>,
}

impl Run<'_> {
    fn finish(&mut self, resumed: bool, observer: &mut dyn Observer) -> Result<Summary> {
        let begin = Instant::now();
        if self.step == self.plan.total_steps {
            self.recalibrate()?;
        }
        if resumed && self.step.is_multiple_of(self.plan.steps_per_epoch) {
            // A kill may have come between the checkpoint of that epoch and its test.
            self.test_if_due(observer)?;
        }
        while self.step < self.plan.total_steps {
            self.epoch(observer)?;
            self.end_of_epoch(observer)?;
        }
        self.write_weights()?;
        let tested = self.test(observer)?;
        self.emptied.warn_of_new(self.learner.state()?, &self.plan.config.prune);
        let predictions = self.tested.iter().flat_map(|tested| tested.predictions.as_slice());
        let predictions: Vec<Prediction> = predictions.copied().collect();
        let summary = self.summary(tested, begin.elapsed())?;
        if let Some(folder) = &self.folder {
            folder.write_predictions(PREDICTIONS_FILE, &predictions)?;
            folder.write_summary(&summary)?;
        }
        Ok(summary)
    }

    /// Steps to the end of the epoch.
    fn epoch(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let mut loader = train_loader(self.plan, self.datasets, self.step)?;
        loop {
            let (begin, waited) = (Instant::now(), loader.waited());
            let Some(batch) = loader.next() else { return Ok(()) };
            let batch = batch?;
            let images = images_of(&batch)?;
            let lr = self.plan.lr.at(self.step);
            self.learner.step(&images, &batch.labels, lr).map_err(|error| self.diverged(error))?;
            self.step += 1;
            // What a device does is over when its results are there.
            let results = self.is_log_due().then(|| self.learner.results()).transpose();
            self.clock.add(begin.elapsed(), loader.waited() - waited);
            if let Some(results) = results.map_err(|error| self.diverged(error))? {
                self.log(results, lr, observer)?;
            }
            observer.step(self.step, self.plan.total_steps);
            if let Some(signal) = self.ranks.signal(self.stop.signal())? {
                return Err(Error::Stopped { signal });
            }
            if self.plan.config.checkpoint.is_due(self.step) {
                self.save_checkpoint()?;
            }
        }
    }

    /// Saves and tests if the epoch that just ended is one to do so.
    fn end_of_epoch(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let train = &*self.datasets.train;
        bad_images::list_and_warn(
            self.folder.as_ref(),
            "training",
            train,
            "replaced by others",
            &self.ranks,
        )?;
        let (epoch, last) = (self.plan.epoch(self.step), self.step == self.plan.total_steps);
        if last || epoch.is_multiple_of(self.plan.config.train.model_period) {
            self.save_checkpoint()?;
            if last {
                self.recalibrate()?;
            }
            self.write_weights()?;
        }
        self.test_if_due(observer)
    }

    /// Tests after an epoch that is one to test after, unless that is on record.
    fn test_if_due(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let due = self.plan.epoch(self.step).is_multiple_of(self.plan.config.train.test_period);
        if due && !self.has_evaluation()? {
            self.test(observer)?;
        }
        Ok(())
    }

    /// Estimates batch norm anew if that is wanted and was not done.
    fn recalibrate(&mut self) -> Result<()> {
        if self.plan.config.train.bn_recal == 0 || self.recalibrated {
            return Ok(());
        }
        self.recalibrated = true;
        recalibrate(&mut self.learner, self.plan, self.datasets, &self.ranks, self.stop)
    }

    /// What was found before a run ends early.
    fn list_bad_images(&self) -> Result<()> {
        let folder = self.folder.as_ref();
        bad_images::list(folder, "training", &*self.datasets.train, &self.ranks)?;
        bad_images::list(folder, "test", &*self.datasets.test, &self.ranks)?;
        Ok(())
    }

    /// Writes the weights as they are, masks applied.
    fn write_weights(&mut self) -> Result<()> {
        self.state()?;
        match &self.folder {
            Some(folder) => write_weights(&mut self.learner, &self.plan.config, folder),
            None => Ok(()),
        }
    }

    /// Whether the evaluation after this step is on record.
    fn has_evaluation(&self) -> Result<bool> {
        let recorded = || self.folder.as_ref().map_or(Ok(false), |folder| folder.has_evaluation(self.step));
        self.ranks.of_first(recorded)
    }

    /// What the learner holds; weights that are not finite end the run.
    fn state(&mut self) -> Result<&State> {
        let brought = self.learner.state().map(|_| ());
        brought.map_err(|error| self.diverged(error))?;
        self.learner.state()
    }

    fn save_checkpoint(&mut self) -> Result<()> {
        let state = self.state()?;
        state.enforce()?;
        let finite = state.check_finite();
        finite.map_err(|error| self.diverged(error))?;
        same_run::check_weights(self.learner.state()?, self.step, &self.ranks)?;
        match self.ranks.place().is_first() {
            true => self.store.save(&mut self.learner, &self.plan.config, self.data, self.step),
            false => Ok(()),
        }
    }

    /// Evaluates with the masks applied, unless that was done at this step already.
    fn test(&mut self, observer: &mut dyn Observer) -> Result<Evaluation> {
        if let Some(tested) = self.tested.as_ref().filter(|tested| tested.step == self.step) {
            return Ok(tested.evaluation);
        }
        self.state()?.enforce()?;
        let (feed, dataset) = (feed(&self.plan.config), self.datasets.test.clone());
        let scores = |images: &Tensor| self.learner.scores(images);
        let (evaluation, predictions) =
            evaluate(scores, dataset.clone(), feed, &self.ranks, self.stop, observer)?;
        let averaged = |ema: &Ema| {
            evaluate(|images: &Tensor| ema.scores(images), dataset, feed, &self.ranks, self.stop, observer)
        };
        let state = self.learner.state()?;
        let ema = state.ema().map(averaged).transpose()?.map(|(averaged, _)| averaged.into());
        let folder = self.folder.as_ref();
        bad_images::list_and_warn(folder, "test", &*self.datasets.test, "left out", &self.ranks)?;
        let sparsity = state.pruner().sparsity()?;
        let epoch = self.plan.epoch(self.step);
        let record =
            EvaluationRecord { ema, ..EvaluationRecord::new(self.step, epoch, evaluation, sparsity) };
        if let Some(folder) = folder
            && !folder.has_evaluation(self.step)?
        {
            folder.append_metrics(&record)?;
        }
        observer.evaluated(&record);
        self.tested = Some(Tested { step: self.step, evaluation, ema, predictions });
        Ok(evaluation)
    }

    fn is_log_due(&self) -> bool {
        let edge = self.step == 1 || self.step == self.plan.total_steps;
        edge || self.step.is_multiple_of(self.plan.config.train.log_period)
    }

    fn log(&mut self, results: StepResults, lr: f64, observer: &mut dyn Observer) -> Result<()> {
        let StepResults { loss, top1, top5 } = results;
        self.state()?;
        let state = self.learner.state()?;
        let sparsity_before = state.pruner().total_sparse()?;
        state.enforce()?;
        same_run::check_weights(state, self.step, &self.ranks)?;
        let (sparsity, threshold) = (state.pruner().sparsity()?, state.pruner().threshold());
        if self.step == 1 {
            warn_of_a_low_threshold(state, &self.plan.config.prune)?;
        }
        self.emptied.warn_at_first(state, &self.plan.config.prune);
        let record = LogRecord {
            step: self.step,
            epoch: self.plan.epoch(self.step - 1),
            loss,
            lr,
            top1,
            top5,
            sparsity,
            sparsity_before,
            threshold,
            images_per_second: rate(
                self.clock.window_steps * self.plan.config.train.batch_size,
                self.clock.window,
            ),
            data_wait_seconds: self.clock.window_wait.as_secs_f64(),
        };
        self.clock.close_window();
        if let Some(folder) = &self.folder {
            folder.append_metrics(&record)?;
        }
        observer.log(&record);
        Ok(())
    }

    /// Numbers that are not finite mean a run out of bounds; other errors stay what they are.
    fn diverged(&self, error: Error) -> Error {
        let not_finite = matches!(
            error,
            Error::LossNotFinite { .. }
                | Error::WeightNotFinite { .. }
                | Error::Prune(sparse_prune::Error::NotANumber { .. })
                | Error::Oneshot(OneshotError::Layer { source: sparse_oneshot::Error::NotFinite, .. })
                | Error::Device { source: sparse_cuda::Error::NotANumber }
        );
        if !not_finite {
            return error;
        }
        let newest = self.store.list().ok().and_then(|mut found| found.pop());
        let checkpoint = newest.map(|found| found.folder);
        // The pruner advises to go back, and here it is known whether there is a checkpoint.
        let what = match error {
            Error::Prune(sparse_prune::Error::NotANumber { name, index }) => {
                format!("weight {index} of {name} is NaN")
            }
            other => other.to_string(),
        };
        Error::Diverged { step: self.step, what, checkpoint }
    }

    fn summary(&mut self, tested: Evaluation, wall: Duration) -> Result<Summary> {
        let images = self.clock.steps * self.plan.config.train.batch_size;
        let state = self.learner.state()?;
        Ok(Summary {
            top1: tested.top1,
            top5: tested.top5,
            loss: tested.loss,
            images: tested.images,
            sparsity: state.pruner().sparsity()?,
            threshold: last_threshold(state),
            epochs: self.plan.epoch(self.step),
            steps: self.step,
            images_per_second: rate(images, self.clock.total),
            wall_seconds: wall.as_secs_f64(),
            weights: WEIGHTS_FILE.to_owned(),
            ema: self.tested.as_ref().and_then(|tested| tested.ema),
            ema_weights: state.ema().map(|_| EMA_WEIGHTS_FILE.to_owned()),
        })
    }
}

/// The pruner's threshold, if it is one for all layers.
fn last_threshold(state: &State) -> Option<f64> {
    let mut thresholds = state.pruner().thresholds().values();
    let first = *thresholds.next()?;
    thresholds.all(|&other| other == first).then_some(first)
}

/// A threshold that prunes almost nothing of these weights is probably not meant.
fn warn_of_a_low_threshold(state: &State, prune: &PruneSection) -> Result<()> {
    let pruned = state.pruner().ratio();
    if prune.pruning_mode != PruningMode::Threshold || pruned >= LEAST_SPARSITY {
        return Ok(());
    }
    let (threshold, share) = (prune.threshold, prune.ratio);
    let wanted = state.pruner().threshold_for(share)?;
    tracing::warn!(
        "threshold {threshold:e} prunes only {:.3} % of the prunable weights now; --threshold {wanted:.3e} would \
         prune {:.0} % of them (or give the share itself: --pruning_mode ratio --ratio {share})",
        100.0 * pruned,
        100.0 * share,
    );
    Ok(())
}

/// The training batches from the one that comes after `step` updates to the end of its epoch.
///
/// # Errors
/// What the loader reports.
pub(crate) fn train_loader(plan: &TrainPlan, datasets: &Datasets, step: usize) -> Result<Loader> {
    let train = &plan.config.train;
    let mut config = LoaderConfig::train(plan.part_of_batch(), train.seed, plan.epoch(step) as u64);
    (config.rank, config.ranks) = (plan.place.rank, plan.place.ranks);
    config.first_batch = step % plan.steps_per_epoch;
    config.workers = plan.config.data.worker_count();
    config.prefetch = 2 * config.workers;
    if train.ce_test {
        config.order = Order::Sequential;
    }
    Ok(Loader::new(datasets.train.clone(), config)?)
}

/// How test images are fed.
pub(crate) fn feed(config: &TrainConfig) -> Feed {
    Feed { batch_size: config.train.batch_size_for_validation, workers: config.data.worker_count() }
}
