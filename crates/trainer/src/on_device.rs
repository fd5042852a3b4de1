//! The steps of a learner on a device.
//!
//! Weights, momentum and masks lie there and are ahead of the host's; [`OnDevice::fetch`] brings them back where somebody looks at them: at a
//! line of the log, a checkpoint, the end of an epoch.

use crate::error::{Error, Result};
use crate::learner::StepResults;
use crate::ranks::Ranks;
use sparse_collectives::Slice as Counts;
use sparse_cuda::chunks::{Chunks, Member, Span};
use sparse_cuda::select::Selector;
use sparse_cuda::sgd::Rule;
use sparse_cuda::{AllReduce, Memory, Queue, Slice, download, masks};
use sparse_model::device::{
    BatchResults, DeviceAcross, DeviceParameters, DevicePass, DeviceSoftTargets, DeviceTargets, Feed,
};
use sparse_model::{ConvLayer, Mode, Model, Precision};
use sparse_ops::{Sgd, SgdConfig};
use sparse_prune::{Pruner, Task};
use sparse_sparsity::Mask;
use std::collections::BTreeMap;
use std::time::Duration;

/// Between two looks at a queue that waits for other ranks.
const LOOK: Duration = Duration::from_micros(50);

/// Images as the loader gives them.
#[derive(Clone, Copy)]
pub(crate) struct HostBatch<'a> {
    /// `[N, C, H, W]`.
    pub(crate) images: &'a [f32],
    /// `[N]`.
    pub(crate) labels: &'a [u32],
    /// Height and width.
    pub(crate) size: [usize; 2],
}

/// How a step on a device is to learn.
#[derive(Clone, Copy)]
pub(crate) struct DeviceRule {
    pub(crate) learning_rate: f64,
    pub(crate) sgd: SgdConfig,
    pub(crate) label_smoothing: f64,
    /// Whether pruned weights get no gradient, and also no momentum.
    pub(crate) masked: bool,
    pub(crate) hold_pruned: bool,
}

/// Whom a learner on a device learns from.
pub(crate) struct DeviceTeacher<'a> {
    pub(crate) model: &'a Model,
    pub(crate) temperature: f64,
    pub(crate) weight: f64,
}

/// What of a learner lies on the host.
pub(crate) struct HostState<'a> {
    pub(crate) model: &'a Model,
    pub(crate) optimizer: &'a Sgd,
    pub(crate) pruner: &'a mut Pruner,
}

/// A learner's counterpart on a device.
pub(crate) trait OnDevice {
    /// One update on one batch, in the order of `Learner::step`. Nothing is waited for; without a pruner no mask changes.
    fn step(
        &mut self,
        batch: HostBatch<'_>,
        rule: DeviceRule,
        model: &Model,
        pruner: Option<&mut Pruner>,
    ) -> Result<()>;

    /// Waits for the last step.
    fn wait(&self) -> Result<()>;

    /// What the last step found of its batch; waits for it.
    fn results(&self) -> Result<StepResults>;

    /// Takes the statistics of a batch into batch norm's averages, which keep `momentum` of what they were.
    fn average_statistics(&mut self, batch: HostBatch<'_>, momentum: f64) -> Result<()>;

    /// Class scores, `[N, classes]`, by the running statistics.
    fn scores(&mut self, batch: HostBatch<'_>) -> Result<Vec<f32>>;

    /// Brings everything to the host.
    fn fetch(&self, host: HostState<'_>) -> Result<()>;
}

/// How the devices of all ranks share the steps.
pub(crate) struct Sharing<Q> {
    pub(crate) all_reduce: Box<dyn AllReduce<Q>>,
    pub(crate) ranks: Ranks,
    /// Whether batch norm takes the statistics of the whole batch.
    pub(crate) sync_bn: bool,
}

/// A learner on a queue.
pub(crate) struct DeviceLearner<Q: Queue> {
    /// Goes before the queue, which waits for what is under way: a sum with a rank that is gone would never end.
    sharing: Option<Sharing<Q>>,
    queue: Q,
    feed: Feed<Q::Memory>,
    parameters: DeviceParameters<Q::Memory>,
    pass: DevicePass<Q::Memory>,
    masks: DeviceMasks<Q::Memory>,
    teacher: Option<Teaching<Q::Memory>>,
    /// Share of pruned weights from which convolutions over all channels leave their zeros out.
    sparse_from: f64,
    /// Whether there are as many zeros.
    sparse: bool,
    /// Whether masks changed since the passes were told of them.
    untold: bool,
    /// Whether pruned weights need no gradient.
    masked_gradient: bool,
}

/// The masks of a pruner, and what computes them.
struct DeviceMasks<M> {
    /// Where each prunable variable lies.
    spans: BTreeMap<String, Span>,
    chunks: Chunks<M>,
    selector: Selector<M>,
    /// Raised by a weight that is NaN.
    nan: M,
    /// The last task that computed masks.
    last: Task,
}

/// A dense network on the device.
struct Teaching<M> {
    parameters: DeviceParameters<M>,
    pass: DevicePass<M>,
    temperature: f64,
    weight: f64,
}

impl<Q: Queue> DeviceLearner<Q> {
    /// A learner that goes on from what the host holds.
    pub(crate) fn new(
        queue: Q,
        host: HostState<'_>,
        precision: Precision,
        (teacher, sharing): (Option<DeviceTeacher<'_>>, Option<Sharing<Q>>),
        sparse_from: f64,
    ) -> Result<Self> {
        let HostState { model, optimizer, pruner } = host;
        let parameters = DeviceParameters::new(&queue, model, |name| pruner.masks().contains_key(name))?;
        parameters.take_velocities(&queue, optimizer.velocities())?;
        let masks = DeviceMasks::new(&queue, &parameters, pruner)?;
        masks.send(&queue, parameters.words(), pruner)?;
        let teacher = teacher.map(|teacher| Teaching::new(&queue, &teacher)).transpose()?;
        let mut learner = Self {
            pass: DevicePass::new(model, precision),
            feed: Feed::default(),
            sharing,
            queue,
            parameters,
            masks,
            teacher,
            sparse_from,
            sparse: false,
            untold: false,
            masked_gradient: false,
        };
        learner.masks_changed(pruner);
        Ok(learner)
    }

    /// The passes are to be told of new masks. With a threshold the host does not know how many weights they prune.
    fn masks_changed(&mut self, pruner: &Pruner) {
        let known = !matches!(pruner.config().mode, sparse_prune::Mode::Threshold(_));
        self.sparse = known && pruner.ratio() >= self.sparse_from;
        self.untold = true;
    }

    /// Lets the pruner do its step.
    fn prune(&mut self, model: &Model, pruner: &mut Pruner) -> Result<()> {
        if !pruner.can_be_told() {
            // What the kernels cannot rank is ranked on the host.
            self.parameters.give_some(&self.queue, model, self.masks.spans.keys())?;
            if pruner.step()?.masks_recomputed {
                self.masks.send(&self.queue, self.parameters.words(), pruner)?;
                self.masks_changed(pruner);
            }
            return Ok(());
        }
        let (weights, words) = (self.parameters.weights(), self.parameters.words());
        let task = pruner.tell_step();
        match &task {
            Task::Keep => return Ok(()),
            Task::Threshold(threshold) => {
                let (nan, chunks) = (self.masks.nan.slice(), &self.masks.chunks);
                masks::from_threshold(&self.queue, [weights, words, nan], *threshold as f32, chunks)?;
            }
            Task::Smallest(counts) => {
                let open = (!pruner.regrow()).then_some(words);
                self.masks.selector.select(&self.queue, [weights, words], open, counts)?;
            }
        }
        self.masks.last = task;
        self.masks_changed(pruner);
        Ok(())
    }

    /// With other ranks: waits for what was queued, and gives up when one of them is gone, whose part of a sum would never come.
    fn wait_for_ranks(&self) -> Result<()> {
        let Some(Sharing { all_reduce, ranks, .. }) = &self.sharing else { return Ok(()) };
        while !all_reduce.is_done(&self.queue)? {
            ranks.idle()?;
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Sets pruned weights to zero, and tells the passes of new masks.
    fn enforce(&mut self) -> Result<()> {
        self.parameters.enforce(&self.queue)?;
        if std::mem::take(&mut self.untold) {
            let (sparse, spans) = (self.sparse, &self.masks.spans);
            let leaves_out = |layer: &ConvLayer| sparse && spans.contains_key(&layer.weight);
            self.pass.set_sparse(&self.queue, &self.parameters, leaves_out, self.masked_gradient)?;
        }
        Ok(())
    }
}

impl<Q> Sharing<Q> {
    fn across(&self) -> DeviceAcross<'_, Q> {
        DeviceAcross { all_reduce: &*self.all_reduce, sync_bn: self.sync_bn }
    }
}

impl<Q: Queue> OnDevice for DeviceLearner<Q> {
    fn step(
        &mut self,
        batch: HostBatch<'_>,
        rule: DeviceRule,
        model: &Model,
        pruner: Option<&mut Pruner>,
    ) -> Result<()> {
        self.feed.put(&self.queue, batch.images, batch.labels, batch.size)?;
        self.wait_for_ranks()?;
        self.untold |= self.masked_gradient != rule.masked;
        self.masked_gradient = rule.masked;
        self.enforce()?;
        let soft = match &mut self.teacher {
            Some(teacher) => Some(teacher.targets(&self.queue, &self.feed)?),
            None => None,
        };
        let targets = DeviceTargets { label_smoothing: rule.label_smoothing, soft };
        let across = self.sharing.as_ref().map(Sharing::across);
        let (queue, parameters) = (&self.queue, &self.parameters);
        self.pass.forward(queue, parameters, self.feed.batch(), targets, Mode::TRAIN, across)?;
        self.pass.backward(queue, parameters, across)?;
        let update = Rule {
            learning_rate: rule.learning_rate,
            momentum: rule.sgd.momentum,
            l2_decay: rule.sgd.l2_decay,
            masked: rule.masked,
            hold_pruned: rule.hold_pruned,
        };
        self.parameters.step(&self.queue, update, rule.sgd.clip_norm)?;
        pruner.map_or(Ok(()), |pruner| self.prune(model, pruner))
    }

    fn wait(&self) -> Result<()> {
        self.wait_for_ranks()?;
        self.pass.results(&self.queue)?;
        Ok(())
    }

    fn results(&self) -> Result<StepResults> {
        self.wait_for_ranks()?;
        let BatchResults { mut loss, first, among_five } = self.pass.results(&self.queue)?;
        let mut counts = [self.feed.images() as u64, first, among_five];
        if let Some(Sharing { ranks, .. }) = &self.sharing {
            loss = ranks.mean(loss)?;
            ranks.sum(Counts::U64(&mut counts))?;
        }
        if !loss.is_finite() {
            return Err(Error::LossNotFinite { loss });
        }
        let share = |count: u64| count as f64 / counts[0].max(1) as f64;
        Ok(StepResults { loss, top1: share(counts[1]), top5: share(counts[2]) })
    }

    fn average_statistics(&mut self, batch: HostBatch<'_>, momentum: f64) -> Result<()> {
        self.feed.put(&self.queue, batch.images, batch.labels, batch.size)?;
        self.enforce()?;
        let (fed, targets) = (self.feed.batch(), DeviceTargets::default());
        let across = self.sharing.as_ref().map(Sharing::across);
        self.pass.forward(&self.queue, &self.parameters, fed, targets, Mode::Train { momentum }, across)?;
        across.map_or(Ok(()), |across| Ok(across.all_reduce.join(&self.queue)?))
    }

    fn scores(&mut self, batch: HostBatch<'_>) -> Result<Vec<f32>> {
        self.feed.put(&self.queue, batch.images, batch.labels, batch.size)?;
        self.enforce()?;
        let (fed, targets) = (self.feed.batch(), DeviceTargets::default());
        self.pass.forward(&self.queue, &self.parameters, fed, targets, Mode::Eval, None)?;
        self.wait_for_ranks()?;
        Ok(self.pass.scores(&self.queue)?)
    }

    fn fetch(&self, host: HostState<'_>) -> Result<()> {
        let HostState { model, optimizer, pruner } = host;
        self.wait_for_ranks()?;
        self.parameters.give(&self.queue, model)?;
        self.parameters.give_velocities(&self.queue, optimizer.velocities())?;
        self.masks.fetch(&self.queue, self.parameters.words(), pruner)
    }
}

impl<M: Memory> DeviceMasks<M> {
    fn new<Q: Queue<Memory = M>>(
        queue: &Q,
        parameters: &DeviceParameters<M>,
        pruner: &Pruner,
    ) -> Result<Self> {
        let groups = pruner.groups();
        let of_group = |(group, names): (usize, &Vec<&str>)| {
            let member = |&name: &&str| Member { span: parameters.spans()[name], group, masked: true };
            names.iter().map(member).collect::<Vec<_>>()
        };
        let members: Vec<Member> = groups.iter().enumerate().flat_map(of_group).collect();
        let spans = groups.iter().flatten().map(|&name| (name.to_owned(), parameters.spans()[name]));
        Ok(Self {
            spans: spans.collect(),
            chunks: Chunks::new(queue, &members)?,
            selector: Selector::new(queue, Chunks::new(queue, &members)?)?,
            nan: queue.allocate(size_of::<u32>())?,
            last: Task::Keep,
        })
    }

    /// Sends the pruner's masks.
    fn send<Q: Queue<Memory = M>>(&self, queue: &Q, words: Slice<'_>, pruner: &Pruner) -> Result<()> {
        for (name, mask) in pruner.masks() {
            queue.write(bytemuck::cast_slice(mask.words()), self.spans[name].mask_of(words))?;
        }
        Ok(())
    }

    /// Gives the masks, and the thresholds that they follow from, to the pruner.
    fn fetch<Q: Queue<Memory = M>>(&self, queue: &Q, words: Slice<'_>, pruner: &mut Pruner) -> Result<()> {
        let thresholds = match &self.last {
            // As before, or computed on the host.
            Task::Keep => return Ok(()),
            Task::Threshold(threshold) => {
                if download::<_, u32>(queue, self.nan.slice())? != [0] {
                    return Err(sparse_cuda::Error::NotANumber.into());
                }
                vec![*threshold; pruner.groups().len()]
            }
            Task::Smallest(_) => self.selector.thresholds(queue)?.into_iter().map(f64::from).collect(),
        };
        let mask = |(name, span): (&String, &Span)| {
            let words: Vec<u64> = download(queue, span.mask_of(words))?;
            let mut mask = Mask::all_kept(span.len);
            // Bits behind the last weight are none.
            mask.words_mut().iter_mut().zip(words).for_each(|(kept, word)| *kept &= word);
            Ok((name.clone(), mask))
        };
        let masks = self.spans.iter().map(mask).collect::<Result<_>>()?;
        Ok(pruner.take_masks(masks, Some(thresholds))?)
    }
}

impl<M: Memory> Teaching<M> {
    fn new<Q: Queue<Memory = M>>(queue: &Q, teacher: &DeviceTeacher<'_>) -> Result<Self> {
        Ok(Self {
            parameters: DeviceParameters::new(queue, teacher.model, |_| false)?,
            pass: DevicePass::new(teacher.model, Precision::Full),
            temperature: teacher.temperature,
            weight: teacher.weight,
        })
    }

    fn targets<Q: Queue<Memory = M>>(&mut self, queue: &Q, feed: &Feed<M>) -> Result<DeviceSoftTargets<'_>> {
        let (fed, targets) = (feed.batch(), DeviceTargets::default());
        self.pass.forward(queue, &self.parameters, fed, targets, Mode::Eval, None)?;
        let (logits, temperature, weight) = (self.pass.logits(), self.temperature, self.weight);
        Ok(DeviceSoftTargets { logits, temperature, weight })
    }
}
