//! One training step: masks, forward, backward, optimizer, pruner, in the order of PaddleSlim's demo.

use crate::buckets::Buckets;
use crate::config::TrainConfig;
use crate::ema::Ema;
use crate::error::{Error, Result};
use crate::evaluate::scores_of;
use crate::metrics::Accuracy;
use crate::not_on_device::{self, NotOnDevice};
use crate::on_device::{DeviceLearner, DeviceRule, HostBatch, HostState, OnDevice, Sharing};
use crate::oneshot::ByData;
use crate::ranks::Ranks;
use crate::recipe::Recipe;
use crate::rewind::Rewind;
use crate::state::State;
use crate::teacher::Teacher;
use crate::through_host::ThroughHost;
use candle_core::{Storage, Tensor};
use sparse_collectives::Slice;
use sparse_cuda::{AllReduce, Queue};
use sparse_model::{
    Across, BN_MOMENTUM, LayerPaths, Loss, Masks, Mode, Model, Precision, Targets, Times, TrainPass,
};
use sparse_ops::{GradientMask, Sgd, SgdConfig};
use sparse_prune::{Pruner, PrunerConfig, Strategy};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The model with its optimizer and its pruner.
pub struct Learner {
    state: State,
    pass: TrainPass,
    label_smoothing: f64,
    teacher: Option<Teacher>,
    by_data: Option<ByData>,
    times: StepTimes,
    last: Option<LastStep>,
    precision: Precision,
    ranks: Ranks,
    /// Whether batch norm takes its statistics from the whole batch of all ranks.
    sync_bn: bool,
    device: Option<Box<dyn OnDevice>>,
    /// Whether the device went on from the state of the host.
    stale: bool,
}

/// What the last step on the host found.
struct LastStep {
    loss: f64,
    logits: Tensor,
    labels: Vec<u32>,
}

/// Where the time of steps goes, summed over them.
#[derive(Clone, Debug, Default)]
pub struct StepTimes {
    /// The teacher's forward pass.
    pub teacher: Duration,
    /// Forward and backward, layer by layer.
    pub passes: Times,
    /// Setting pruned weights to zero.
    pub enforce: Duration,
    /// The optimizer.
    pub optimizer: Duration,
    /// The pruner's step.
    pub pruner: Duration,
    /// Waiting for what other ranks have, in parts of the above.
    pub others: Duration,
}

/// How a [`Learner`] is to learn.
#[derive(Clone, Debug)]
pub struct LearnerConfig {
    /// Momentum, L2 decay, clipping.
    pub sgd: SgdConfig,
    /// ε of label smoothing, fraction; 0 = off.
    pub label_smoothing: f64,
    /// How activations are stored.
    pub precision: Precision,
    /// What to prune; `None` trains densely.
    pub pruner: Option<PrunerConfig>,
}

/// What a step found of its batch, before the update.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepResults {
    /// Mean loss.
    pub loss: f64,
    /// Fraction whose label ranks first.
    pub top1: f64,
    /// Fraction whose label ranks among the first five.
    pub top5: f64,
}

impl LearnerConfig {
    /// For a network that only gives scores.
    pub(crate) fn dense(precision: Precision) -> Self {
        let sgd = SgdConfig { momentum: 0.0, l2_decay: 0.0, clip_norm: None };
        Self { sgd, label_smoothing: 0.0, precision, pruner: None }
    }
}

impl Learner {
    /// A learner at step 0 of a run.
    ///
    /// # Errors
    /// What the pruner refuses, or candle's on allocation.
    pub fn new(model: Model, config: LearnerConfig) -> Result<Self> {
        let optimizer = Sgd::new(model.trainable(), config.sgd)?;
        let prunes = config.pruner.is_some();
        let measure_only = || PrunerConfig::new(sparse_prune::Mode::Threshold(0.0));
        let pruner = Pruner::new(&model.var_map(), config.pruner.unwrap_or_else(measure_only))?;
        let pass = TrainPass::new(&model, config.precision)?;
        let times = StepTimes::default();
        let label_smoothing = config.label_smoothing;
        let rewind = if prunes { Rewind::of(&pruner, &model)? } else { None };
        Ok(Self {
            state: State { model, optimizer, pruner, prunes, ema: None, rewind },
            pass,
            label_smoothing,
            teacher: None,
            by_data: None,
            times,
            last: None,
            precision: config.precision,
            ranks: Ranks::alone(),
            sync_bn: false,
            device: None,
            stale: false,
        })
    }

    /// The same learner, which learns from a teacher as well; `None` takes the teacher away.
    #[must_use]
    pub fn with_teacher(self, teacher: Option<Teacher>) -> Self {
        Self { teacher, ..self }
    }

    /// The same learner, which chooses weights by data when masks are updated; `None` leaves that to the pruner.
    #[must_use]
    pub(crate) fn with_data(self, by_data: Option<ByData>) -> Self {
        Self { by_data, ..self }
    }

    /// The same learner, which keeps averages of its weights with this decay, a fraction; without with 0.
    ///
    /// # Errors
    /// Candle's, on allocation.
    pub fn with_ema(mut self, decay: f64) -> Result<Self> {
        self.state.ema = if decay > 0.0 { Some(Ema::new(&self.state.model, decay)?) } else { None };
        Ok(self)
    }

    /// What the run holds, brought from a device if one went on from it.
    ///
    /// # Errors
    /// What the device reports, [`sparse_cuda::Error::NotANumber`] if a weight is NaN among it.
    pub fn state(&mut self) -> Result<&State> {
        if let Some(device) = self.device.as_ref().filter(|_| self.stale) {
            let State { model, optimizer, pruner, .. } = &mut self.state;
            device.fetch(HostState { model, optimizer, pruner })?;
            self.stale = false;
        }
        Ok(&self.state)
    }

    /// What the run begins with, to be changed before the first step and before a device takes it.
    pub fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    /// The same learner, which has an equal part of each batch and shares what it finds with the other ranks. With `sync_bn`
    /// batch norm takes the statistics of the whole batch, else each rank those of its part; running averages are those of all.
    #[must_use]
    pub fn with_ranks(self, ranks: Ranks, sync_bn: bool) -> Self {
        Self { sync_bn: sync_bn && !ranks.is_alone(), ranks, ..self }
    }

    /// The ranks that share its batches.
    pub(crate) fn ranks(&self) -> &Ranks {
        &self.ranks
    }

    /// What of a run with this learner decides the weights.
    pub(crate) fn recipe(&self, config: &TrainConfig) -> Recipe {
        Recipe::with_teacher(config, self.teacher.as_ref().map(Teacher::checksum))
    }

    /// The teacher, if there is one.
    pub fn teacher(&self) -> Option<&Teacher> {
        self.teacher.as_ref()
    }

    /// How the passes store activations.
    #[cfg(feature = "cuda")]
    pub(crate) fn precision(&self) -> Precision {
        self.precision
    }

    /// Computes on a device from here on, with what the host holds now; `sparse_from` is the share of pruned weights from which pointwise
    /// layers leave their zeros out there, a fraction. What other ranks share goes through the hosts.
    ///
    /// # Errors
    /// [`Error::NotOnDevice`] if the pruner looks at gradients, and what the device reports.
    pub fn move_to<Q: Queue + 'static>(&mut self, queue: Q, sparse_from: f64) -> Result<()> {
        self.move_to_share(queue, sparse_from, Box::new(ThroughHost(self.ranks.clone())))
    }

    /// As [`Learner::move_to`], with a way between the devices of all ranks.
    ///
    /// # Errors
    /// [`Error::NotOnDevice`] if the pruner looks at gradients, and what the device reports.
    pub fn move_to_share<Q: Queue + 'static>(
        &mut self,
        queue: Q,
        sparse_from: f64,
        all_reduce: Box<dyn AllReduce<Q>>,
    ) -> Result<()> {
        let State { model, optimizer, pruner, prunes, ema, rewind } = &mut self.state;
        if let Some(ema) = ema {
            return Err(NotOnDevice { key: "train.ema", value: ema.decay().to_string() }.into());
        }
        if let Strategy::DropGrow(config) = &pruner.config().strategy {
            return Err(not_on_device::drop_and_grow(config.growth).into());
        }
        if rewind.is_some() {
            return Err(not_on_device::rewinding().into());
        }
        if *prunes && pruner.watches() {
            let value = "one that looks at gradients".to_owned();
            return Err(NotOnDevice { key: "prune.criterion", value }.into());
        }
        if let Some(features) = self.teacher.as_ref().and_then(Teacher::features) {
            let value = features.weight.to_string();
            return Err(NotOnDevice { key: "train.distill_features", value }.into());
        }
        let host = HostState { model, optimizer, pruner };
        let teacher = self.teacher.as_ref().map(Teacher::for_device);
        let (ranks, sync_bn) = (self.ranks.clone(), self.sync_bn);
        let sharing = (!ranks.is_alone()).then_some(Sharing { all_reduce, ranks, sync_bn });
        let learner = DeviceLearner::new(queue, host, self.precision, (teacher, sharing), sparse_from)?;
        self.device = Some(Box::new(learner));
        Ok(())
    }

    /// One update on one batch: weights × mask → forward → backward → momentum SGD → masks anew.
    ///
    /// Shapes: `images: [N, C, H, W]`, `labels: [N]`.
    ///
    /// # Errors
    /// [`Error::LossNotFinite`] before the weights are touched, or what an operation reports.
    pub fn step(&mut self, images: &Tensor, labels: &[u32], learning_rate: f64) -> Result<()> {
        if self.device.is_some() {
            return self.device_step(images, labels, learning_rate);
        }
        let start = Instant::now();
        self.state.enforce()?;
        self.times.enforce += start.elapsed();
        let start = Instant::now();
        let soft = self.teacher.as_mut().map(|teacher| teacher.targets(images)).transpose()?;
        self.times.teacher += start.elapsed();
        self.tell_masks();
        let features = self.teacher.as_ref().and_then(Teacher::features);
        let (label_smoothing, soft) = (self.label_smoothing, soft.as_ref());
        let targets = Targets { labels, label_smoothing, soft, features };
        let (loss, logits, gradients) =
            passes(&mut self.pass, &self.state.model, images, targets, &self.ranks, self.sync_bn)?;
        let (masked, hold_pruned) = (self.state.masks_gradient(), !self.state.pruner.regrow());
        let start = Instant::now();
        if self.state.prunes {
            self.state.pruner.observe(&gradients)?;
        }
        self.times.pruner += start.elapsed();
        let pruner = &self.state.pruner;
        let start = Instant::now();
        self.state.optimizer.step(&gradients, learning_rate, |name| {
            let mask = if masked { pruner.masks().get(name) } else { None };
            mask.map(|mask| GradientMask { words: mask.words(), hold_pruned })
        })?;
        self.times.optimizer += start.elapsed();
        let start = Instant::now();
        if self.state.prunes {
            match &mut self.by_data {
                Some(by_data) => by_data.step(&self.state.model, &mut self.state.pruner)?,
                None => self.state.pruner.step().map(|_| ())?,
            }
        }
        self.times.pruner += start.elapsed();
        if let Some(ema) = &mut self.state.ema {
            ema.update(&self.state.model, self.state.prunes.then(|| self.state.pruner.masks()))?;
        }
        if let (Some(rewind), Some(steps)) = (&mut self.state.rewind, self.state.pruner.steps())
            && rewind.after(steps, &self.state.model, &self.state.optimizer, &self.state.pruner)?
            && let Some(ema) = &mut self.state.ema
        {
            ema.restart(&self.state.model)?;
        }
        self.last = Some(LastStep { loss, logits, labels: labels.to_vec() });
        Ok(())
    }

    fn device_step(&mut self, images: &Tensor, labels: &[u32], learning_rate: f64) -> Result<()> {
        let rule = DeviceRule {
            learning_rate,
            sgd: self.state.optimizer.config(),
            label_smoothing: self.label_smoothing,
            masked: self.state.masks_gradient(),
            hold_pruned: !self.state.pruner.regrow(),
        };
        self.stale = true;
        let State { model, pruner, prunes, .. } = &mut self.state;
        let pruner = prunes.then_some(pruner);
        let Some(device) = &mut self.device else { return Ok(()) };
        with_batch(images, labels, |batch| device.step(batch, rule, model, pruner))
    }

    /// Waits until what was begun on a device is done.
    ///
    /// # Errors
    /// What the device reports.
    pub fn wait(&self) -> Result<()> {
        self.device.as_ref().map_or(Ok(()), |device| device.wait())
    }

    /// Whether the steps run on a device.
    pub(crate) fn is_on_device(&self) -> bool {
        self.device.is_some()
    }

    /// What the last step found; on a device, waits for it. Nothing before the first step.
    ///
    /// # Errors
    /// [`Error::LossNotFinite`] where only a device knew, or what it reports.
    pub fn results(&self) -> Result<StepResults> {
        if let Some(device) = &self.device {
            return device.results();
        }
        let Some(LastStep { loss, logits, labels }) = &self.last else { return Ok(StepResults::default()) };
        let mut accuracy = Accuracy::default();
        accuracy.add(&scores_of(logits)?, labels);
        let mut counts = [accuracy.samples, accuracy.hits1, accuracy.hits5];
        self.ranks.sum(Slice::U64(&mut counts))?;
        let [samples, hits1, hits5] = counts;
        let accuracy = Accuracy { samples, hits1, hits5 };
        Ok(StepResults { loss: *loss, top1: accuracy.top1(), top5: accuracy.top5() })
    }

    /// Class scores of images by the running statistics, `[N, classes]`; pruned weights count as zero.
    ///
    /// Shapes: `images: [N, C, H, W]`.
    ///
    /// # Errors
    /// What an operation reports.
    pub fn scores(&mut self, images: &Tensor) -> Result<Tensor> {
        let Some(device) = &mut self.device else {
            self.state.enforce()?;
            return Ok(self.state.model.forward(images, Mode::Eval)?);
        };
        let labels = vec![0; images.dim(0)?];
        let scores = with_batch(images, &labels, |batch| device.scores(batch))?;
        Ok(Tensor::from_vec(scores, (labels.len(), self.state.model.config().classes), images.device())?)
    }

    /// Tells the passes which weights are zero.
    fn tell_masks(&mut self) {
        if self.state.prunes {
            let masks = self.state.pruner.masks().iter();
            let words = masks.map(|(name, mask)| (name.as_str(), mask.words())).collect();
            let masked_gradient = self.state.masks_gradient() && !self.state.pruner.needs_dense_gradient();
            self.pass.set_masks(&self.state.model, &Masks { words, masked_gradient });
        }
    }

    /// Takes the batch statistics of one more batch into the averages that batch norm holds, as an exact mean over
    /// `seen` batches before it and this one; no weight changes. The averages of the weights have statistics of their own. With `seen` 0 what was there is forgotten.
    ///
    /// Shapes: `images: [N, C, H, W]`, `labels: [N]`.
    ///
    /// # Errors
    /// What an operation reports.
    pub fn average_statistics(&mut self, images: &Tensor, labels: &[u32], seen: usize) -> Result<()> {
        let keep = seen as f64 / (seen + 1) as f64;
        if let Some(device) = &mut self.device {
            self.stale = true;
            return with_batch(images, labels, |batch| device.average_statistics(batch, keep));
        }
        self.state.enforce()?;
        self.tell_masks();
        let targets = Targets { labels, label_smoothing: 0.0, soft: None, features: None };
        let averaged = self.state.ema.as_mut().map(Ema::model_mut);
        for model in std::iter::once(&mut self.state.model).chain(averaged) {
            forward(&mut self.pass, model, images, (targets, keep), &self.ranks, self.sync_bn)?;
            if !self.ranks.is_alone() && !self.sync_bn {
                let mut buckets = Buckets::new(&self.ranks);
                add_running_averages(model, &self.ranks, &mut buckets)?;
                set_running_averages(model, &mut buckets.sums()?)?;
            }
        }
        Ok(())
    }

    /// Time by part since the last call.
    pub fn take_times(&mut self) -> StepTimes {
        let passes = self.pass.take_times();
        StepTimes { passes, others: self.ranks.take_waited(), ..std::mem::take(&mut self.times) }
    }

    /// How each pointwise layer is computed.
    pub fn paths(&self) -> Vec<LayerPaths> {
        self.pass.paths(&self.state.model)
    }
}

/// The loss of the whole batch, the scores of this rank's part, and the gradient of that loss, on every rank the same.
fn passes(
    pass: &mut TrainPass,
    model: &Model,
    images: &Tensor,
    targets: Targets<'_>,
    ranks: &Ranks,
    sync_bn: bool,
) -> Result<(f64, Tensor, BTreeMap<String, Tensor>)> {
    let features = targets.features;
    let Loss { loss, logits } = forward(pass, model, images, (targets, BN_MOMENTUM), ranks, sync_bn)?;
    // Not finite on one rank is not finite on all, so that all end here.
    let loss = if ranks.is_alone() { loss } else { ranks.mean(loss)? };
    if !loss.is_finite() {
        return Err(Error::LossNotFinite { loss });
    }
    if ranks.is_alone() {
        let mut gradients = BTreeMap::new();
        pass.backward_to(model, features, &mut Across::alone(), &mut |name, gradient| {
            gradients.insert(name, gradient);
            Ok(())
        })?;
        return Ok((loss, logits, gradients));
    }
    let mut buckets = Buckets::new(ranks);
    let mut add_up = add_up(ranks);
    let mut across =
        Across { ranks: ranks.place().ranks, statistics: if sync_bn { Some(&mut add_up) } else { None } };
    pass.backward_to(model, features, &mut across, &mut |name, gradient| {
        buckets.add(name, &gradient).map_err(|error| sparse_model::Error::Across(error.into()))
    })?;
    if sync_bn {
        return Ok((loss, logits, buckets.sums()?));
    }
    add_running_averages(model, ranks, &mut buckets)?;
    let mut sums = buckets.sums()?;
    set_running_averages(model, &mut sums)?;
    Ok((loss, logits, sums))
}

/// A forward pass of this rank's part of a batch; running averages keep `momentum` of what they were.
fn forward(
    pass: &mut TrainPass,
    model: &Model,
    images: &Tensor,
    (targets, momentum): (Targets<'_>, f64),
    ranks: &Ranks,
    sync_bn: bool,
) -> Result<Loss> {
    let mut add_up = add_up(ranks);
    let mut across =
        Across { ranks: ranks.place().ranks, statistics: if sync_bn { Some(&mut add_up) } else { None } };
    Ok(pass.forward_to(model, images, targets, momentum, &mut across)?)
}

/// How a pass adds up statistics over ranks.
fn add_up(ranks: &Ranks) -> impl FnMut(&mut [f64]) -> sparse_model::Result<()> {
    |values| ranks.sum(Slice::F64(values)).map_err(|error| sparse_model::Error::Across(error.into()))
}

/// The running averages of batch norm, by name.
fn running_averages(model: &Model) -> Result<impl Iterator<Item = (&String, &candle_core::Var)>> {
    let trainable = model.trainable();
    Ok(model.variables().iter().filter(move |(name, _)| !trainable.contains_key(*name)))
}

/// This rank's share of the running averages of all.
fn add_running_averages(model: &Model, ranks: &Ranks, buckets: &mut Buckets<'_>) -> Result<()> {
    let share = 1.0 / ranks.place().ranks as f64;
    for (name, variable) in running_averages(model)? {
        buckets.add(name.clone(), &(variable.as_tensor() * share)?)?;
    }
    Ok(())
}

/// Takes the running averages of all out of the sums.
fn set_running_averages(model: &Model, sums: &mut BTreeMap<String, Tensor>) -> Result<()> {
    for (name, variable) in running_averages(model)? {
        if let Some(average) = sums.remove(name) {
            variable.set(&average)?;
        }
    }
    Ok(())
}

/// Images on the host as numbers in a row.
fn with_batch<T>(
    images: &Tensor,
    labels: &[u32],
    work: impl FnOnce(HostBatch<'_>) -> Result<T>,
) -> Result<T> {
    let (_, _, height, width) = images.dims4()?;
    let images = images.contiguous()?;
    let (storage, layout) = images.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else {
        return Err(candle_core::Error::msg("images on the host").into());
    };
    let images = &storage.as_slice::<f32>()?[layout.start_offset()..][..layout.shape().elem_count()];
    work(HostBatch { images, labels, size: [height, width] })
}
