//! All variables of a model on a device.

use crate::{Model, Result};
use candle_core::{DType, Tensor, Var};
use sparse_cuda::chunks::{Chunks, Member, Span, place};
use sparse_cuda::sgd::{self, Rule, Runs};
use sparse_cuda::{Memory, Queue, Slice, download, masks};
use std::collections::BTreeMap;

/// Parameters, gradients, momentum and masks, each kind in one run of memory, and the running statistics.
///
/// Tensors lie in the order of their names, so that ties in a ranking go as on the host.
pub struct DeviceParameters<M> {
    classes: usize,
    trainable: BTreeMap<String, Span>,
    statistics: BTreeMap<String, Span>,
    weights: M,
    gradients: M,
    velocities: M,
    words: M,
    running: M,
    /// All that the optimizer moves.
    chunks: Chunks<M>,
    /// What has a mask.
    masked: Chunks<M>,
    /// For gradient clipping: a partial sum of each chunk, and the factor.
    partial: M,
    scale: M,
}

impl<M: Memory> DeviceParameters<M> {
    /// The variables of a model; `masked` says which of them have a mask. All masks keep everything.
    ///
    /// # Errors
    /// The queue's, or candle's.
    pub fn new<Q: Queue<Memory = M>>(
        queue: &Q,
        model: &Model,
        masked: impl Fn(&str) -> bool,
    ) -> Result<Self> {
        let variables = model.trainable();
        let (trainable, end) = placed(variables.iter());
        let others = model.variables().iter().filter(|(name, _)| !variables.contains_key(*name));
        let (statistics, running) = placed(others);
        let member = |name: &String, &span: &Span| Member { span, group: 0, masked: masked(name) };
        let all: Vec<Member> = trainable.iter().map(|(name, span)| member(name, span)).collect();
        let with_mask: Vec<Member> = all.iter().copied().filter(|member| member.masked).collect();
        let chunks = Chunks::new(queue, &all)?;
        let parameters = Self {
            weights: queue.allocate(end * size_of::<f32>())?,
            gradients: queue.allocate(end * size_of::<f32>())?,
            velocities: queue.allocate(end * size_of::<f32>())?,
            words: queue.allocate(end / 8)?,
            running: queue.allocate(running * size_of::<f32>())?,
            partial: queue.allocate(chunks.len() * size_of::<f32>())?,
            scale: queue.allocate(size_of::<f32>())?,
            masked: Chunks::new(queue, &with_mask)?,
            chunks,
            classes: model.classes(),
            trainable,
            statistics,
        };
        queue.write(&vec![u8::MAX; end / 8], parameters.words.slice())?;
        parameters.take(queue, model)?;
        Ok(parameters)
    }

    /// Takes the values of a model's variables.
    ///
    /// # Errors
    /// The queue's, or candle's.
    pub fn take<Q: Queue<Memory = M>>(&self, queue: &Q, model: &Model) -> Result<()> {
        model.variables().iter().try_for_each(|(name, variable)| put(queue, variable, self.variable(name)))
    }

    /// Takes the momentum of the trainable variables.
    ///
    /// # Errors
    /// The queue's, or candle's.
    pub fn take_velocities<Q: Queue<Memory = M>>(
        &self,
        queue: &Q,
        velocities: &BTreeMap<String, Var>,
    ) -> Result<()> {
        velocities.iter().try_for_each(|(name, velocity)| put(queue, velocity, self.velocity(name)))
    }

    /// Gives the momentum of the trainable variables.
    ///
    /// # Errors
    /// The queue's, or candle's.
    pub fn give_velocities<Q: Queue<Memory = M>>(
        &self,
        queue: &Q,
        velocities: &BTreeMap<String, Var>,
    ) -> Result<()> {
        velocities
            .iter()
            .try_for_each(|(name, velocity)| set(velocity, download(queue, self.velocity(name))?))
    }

    /// Gives the values of some variables of a model.
    ///
    /// # Errors
    /// The queue's, or candle's.
    pub fn give_some<'a, Q: Queue<Memory = M>>(
        &self,
        queue: &Q,
        model: &Model,
        mut names: impl Iterator<Item = &'a String>,
    ) -> Result<()> {
        names.try_for_each(|name| set(&model.variables()[name], download(queue, self.variable(name))?))
    }

    /// Gives the values to a model's variables.
    ///
    /// # Errors
    /// The queue's, or candle's.
    pub fn give<Q: Queue<Memory = M>>(&self, queue: &Q, model: &Model) -> Result<()> {
        self.give_some(queue, model, model.variables().keys())
    }

    /// The gradients of the last backward pass, by name.
    ///
    /// # Errors
    /// The queue's, or candle's.
    pub fn gradients<Q: Queue<Memory = M>>(
        &self,
        queue: &Q,
        model: &Model,
    ) -> Result<BTreeMap<String, Tensor>> {
        let of = |(name, span): (&String, &Span)| {
            let values: Vec<f32> = download(queue, span.of(self.gradients.slice()))?;
            let variable = &model.variables()[name];
            Ok((name.clone(), Tensor::from_vec(values, variable.shape(), variable.device())?))
        };
        self.trainable.iter().map(of).collect()
    }

    /// Where each trainable variable lies.
    pub fn spans(&self) -> &BTreeMap<String, Span> {
        &self.trainable
    }

    /// The run of all weights, f32.
    pub fn weights(&self) -> Slice<'_> {
        self.weights.slice()
    }

    /// The run of all masks: bit i of a word belongs to weight i, 1 = kept.
    pub fn words(&self) -> Slice<'_> {
        self.words.slice()
    }

    /// Sets the pruned weights to zero.
    ///
    /// # Errors
    /// The queue's.
    pub fn enforce<Q: Queue<Memory = M>>(&self, queue: &Q) -> Result<()> {
        Ok(masks::apply(queue, [self.weights.slice(), self.words.slice()], &self.masked)?)
    }

    /// One step of the optimizer, with gradients that are together no longer than `clip_norm`.
    ///
    /// # Errors
    /// The queue's.
    pub fn step<Q: Queue<Memory = M>>(&self, queue: &Q, rule: Rule, clip_norm: Option<f64>) -> Result<()> {
        let runs = Runs {
            weights: self.weights.slice(),
            gradients: self.gradients.slice(),
            velocities: self.velocities.slice(),
            words: self.words.slice(),
        };
        if let Some(longest) = clip_norm {
            let scratch = [self.partial.slice(), self.scale.slice()];
            sgd::clip(queue, runs, rule.masked, longest, scratch, &self.chunks)?;
        }
        let scale = clip_norm.map(|_| self.scale.slice());
        Ok(sgd::step(queue, runs, rule, scale, &self.chunks)?)
    }

    /// The run of all gradients, f32.
    pub(super) fn all_gradients(&self) -> Slice<'_> {
        self.gradients.slice()
    }

    /// The run of all running statistics, f32.
    pub(super) fn all_running(&self) -> Slice<'_> {
        self.running.slice()
    }

    /// Where the first trainable variable from `element` on begins, elements.
    pub(super) fn first_from(&self, element: usize) -> Option<usize> {
        self.trainable.values().map(|span| span.start).filter(|&start| start >= element).min()
    }

    pub(super) fn weight(&self, name: &str) -> Slice<'_> {
        self.trainable[name].of(self.weights.slice())
    }

    pub(super) fn gradient(&self, name: &str) -> Slice<'_> {
        self.trainable[name].of(self.gradients.slice())
    }

    pub(super) fn running(&self, name: &str) -> Slice<'_> {
        self.statistics[name].of(self.running.slice())
    }

    fn velocity(&self, name: &str) -> Slice<'_> {
        self.trainable[name].of(self.velocities.slice())
    }

    fn variable(&self, name: &str) -> Slice<'_> {
        if self.trainable.contains_key(name) { self.weight(name) } else { self.running(name) }
    }

    /// Classes of the head.
    pub(super) fn classes(&self) -> usize {
        self.classes
    }
}

/// Spans of variables in the order of their names.
fn placed<'a>(
    variables: impl Iterator<Item = (&'a String, &'a Var)> + Clone,
) -> (BTreeMap<String, Span>, usize) {
    let (spans, end) = place(variables.clone().map(|(_, variable)| variable.elem_count()));
    (variables.map(|(name, _)| name.clone()).zip(spans).collect(), end)
}

fn put<Q: Queue>(queue: &Q, variable: &Var, to: Slice<'_>) -> Result<()> {
    let values = variable.as_tensor().flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?;
    Ok(queue.write(bytemuck::cast_slice(&values), to)?)
}

fn set(variable: &Var, values: Vec<f32>) -> Result<()> {
    let tensor = Tensor::from_vec(values, variable.shape(), variable.device())?;
    Ok(variable.set(&tensor.to_dtype(variable.dtype())?)?)
}
