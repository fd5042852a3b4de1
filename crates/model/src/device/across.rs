//! What passes on a device share with the devices of other ranks, each of which has an equal part of the batch.

use super::DeviceParameters;
use super::pass::DevicePass;
use crate::Result;
use sparse_cuda::batch_norm::{self, PartialSums};
use sparse_cuda::{AllReduce, Memory, Queue, Reduction, Slice, across};
use sparse_network::{Norm, ParameterId, Step, StepOp};

/// Gradients that are sent together, at least: 4 MB, so that MobileNetV1 goes out in five messages.
const BUCKET: usize = 4 << 20;

/// The other ranks, and what they share beside gradients.
pub struct DeviceAcross<'a, Q> {
    /// How numbers of all ranks are added up.
    pub all_reduce: &'a dyn AllReduce<Q>,
    /// Whether batch norm takes the statistics of the whole batch. Otherwise each rank takes those of its part, and the running
    /// statistics become the mean of all.
    pub sync_bn: bool,
}

impl<Q> Clone for DeviceAcross<'_, Q> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Q> Copy for DeviceAcross<'_, Q> {}

/// Gradients on their way: the backward pass fills the run of all gradients from its end, and what it has filled is sent piece by piece.
pub(super) struct Sending {
    /// For each step, where the gradients begin that are known once the pass is through it, bytes.
    known_from: Vec<usize>,
    /// What lies behind is sent, bytes.
    end: usize,
}

impl<'a, Q: Queue> DeviceAcross<'a, Q> {
    /// If batch norm is to take the statistics of the whole batch.
    pub(super) fn synchronised(across: Option<Self>) -> Option<&'a dyn AllReduce<Q>> {
        across.filter(|across| across.sync_bn).map(|across| across.all_reduce)
    }

    /// Begins to average the running statistics, unless they are those of the whole batch already.
    pub(super) fn begin_running<M: Memory>(&self, queue: &Q, parameters: &DeviceParameters<M>) -> Result<()> {
        if !self.sync_bn {
            self.all_reduce.begin(queue, parameters.all_running(), Reduction::Mean)?;
        }
        Ok(())
    }

    /// Begins to average the gradients that are known when the pass is through the step `index`, if they are enough for a message or the
    /// last.
    pub(super) fn begin_gradients(
        &self,
        queue: &Q,
        gradients: Slice<'_>,
        sending: &mut Sending,
        index: usize,
    ) -> Result<()> {
        let start = if index == 0 { 0 } else { sending.known_from[index] };
        let bytes = sending.end.saturating_sub(start);
        if bytes >= BUCKET || index == 0 {
            self.all_reduce.begin(queue, gradients.part(start, bytes), Reduction::Mean)?;
            sending.end = start;
        }
        Ok(())
    }
}

impl<M: Memory> DevicePass<M> {
    /// Nothing is sent yet.
    pub(super) fn sending(&self, parameters: &DeviceParameters<M>) -> Sending {
        let end = parameters.all_gradients().bytes();
        let mut unknown_end = 0;
        let known_from = self.values.plan.steps.iter().map(|step| {
            // Variables lie in the order of their names, which is that of many networks' layers; where it is another, less is known early.
            let known_from = parameters.first_from(unknown_end).map_or(end, |start| start * size_of::<f32>());
            for id in self.learned(step) {
                let span = parameters.spans()[self.name(id)];
                unknown_end = unknown_end.max(span.start + span.len);
            }
            known_from
        });
        Sending { known_from: known_from.collect(), end }
    }

    /// The trainable parameters whose gradients are known when the way back is through a step, if not before.
    fn learned(&self, step: &Step) -> Vec<ParameterId> {
        let mut learned = match step.op {
            StepOp::Conv(conv, _) => vec![conv.weight],
            StepOp::Linear { weight, bias } => std::iter::once(weight).chain(bias).collect(),
            StepOp::Add | StepOp::MaxPool(_) | StepOp::AveragePool { .. } | StepOp::Mean => Vec::new(),
        };
        match self.values.plan.values[step.output].norm {
            Norm::None => {}
            Norm::Bias(bias) => learned.push(bias),
            Norm::Batch(norm) => learned.extend([norm.scale, norm.offset]),
        }
        learned
    }

    /// Room for what batch norm shares, and for what nobody reads.
    pub(super) fn resize_shared<Q: Queue<Memory = M>>(
        &mut self,
        queue: &Q,
        across: Option<DeviceAcross<'_, Q>>,
    ) -> Result<()> {
        let channels = self.values.most_channels();
        self.scratch.unread.reserve(queue, 2 * channels * size_of::<f32>())?;
        let Some(all_reduce) = DeviceAcross::synchronised(across) else { return Ok(()) };
        self.scratch.shared.reserve(queue, across::shared_bytes(channels, all_reduce.ranks()))
    }

    /// The moments of the parts of all ranks, from those of this rank's chunks.
    pub(super) fn share_moments<Q: Queue<Memory = M>>(
        &self,
        queue: &Q,
        own: (Slice<'_>, PartialSums),
        value: usize,
        across: Option<DeviceAcross<'_, Q>>,
    ) -> Result<Option<(Slice<'_>, PartialSums)>> {
        let Some(all_reduce) = DeviceAcross::synchronised(across) else { return Ok(None) };
        let (channels, to) = (self.values.channels(value), self.scratch.shared.slice());
        Ok(Some((to, across::share_moments(queue, all_reduce, own, channels, to)?)))
    }

    /// The way of the gradient back through the batch norm of a value, by the sums of all ranks. The gradients to scale and offset stay those
    /// of this rank's part.
    pub(super) fn close_shared_gradient<Q: Queue<Memory = M>>(
        &self,
        queue: &Q,
        (value, own): (usize, PartialSums),
        across: Option<DeviceAcross<'_, Q>>,
    ) -> Result<()> {
        let Some(all_reduce) = DeviceAcross::synchronised(across) else { return Ok(()) };
        let Some(coefficients) = self.values.coefficients(value) else { return Ok(()) };
        let (partial, shared) = ((self.scratch.partial.slice(), own), self.scratch.shared.slice());
        let channels = self.values.channels(value);
        let sums = across::share_gradient_sums(queue, all_reduce, partial, channels, shared)?;
        let pixels = self.values.dims(value).pixels * all_reduce.ranks();
        Ok(batch_norm::close_gradient(queue, (shared, sums), pixels, coefficients, self.unread(value))?)
    }
}
