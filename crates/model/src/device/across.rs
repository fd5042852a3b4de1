//! What passes on a device share with the devices of other ranks, each of which has an equal part of the batch.

use super::DeviceParameters;
use super::pass::DevicePass;
use crate::Result;
use sparse_cuda::batch_norm::{self, PartialSums};
use sparse_cuda::{AllReduce, Memory, Queue, Reduction, Slice, across};

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
    /// For each layer, where the gradients begin that are known once the pass is through it, bytes.
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

    /// Begins to average the gradients that are known when the pass is through the layer `index`, if they are enough for a message or the
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
        let known_from = self.layers.iter().map(|layer| {
            // Variables lie in the order of their names, which is that of the layers; were it another, less would be known early.
            let known_from = parameters.first_from(unknown_end).map_or(end, |start| start * size_of::<f32>());
            for suffix in ["weights", "bn_scale", "bn_offset"] {
                let span = parameters.spans()[&format!("{}_{suffix}", layer.layer.name)];
                unknown_end = unknown_end.max(span.start + span.len);
            }
            known_from
        });
        Sending { known_from: known_from.collect(), end }
    }

    /// Room for what batch norm shares.
    pub(super) fn resize_shared<Q: Queue<Memory = M>>(
        &mut self,
        queue: &Q,
        across: Option<DeviceAcross<'_, Q>>,
    ) -> Result<()> {
        let Some(all_reduce) = DeviceAcross::synchronised(across) else { return Ok(()) };
        let channels = self.layers.iter().map(|layer| layer.layer.outputs).max().unwrap_or(0);
        self.shared.resize(queue, across::shared_bytes(channels, all_reduce.ranks()))?;
        self.unshared.resize(queue, 2 * channels * size_of::<f32>())
    }

    /// The moments of the parts of all ranks, from those of this rank's chunks.
    pub(super) fn share_moments<Q: Queue<Memory = M>>(
        &self,
        queue: &Q,
        own: (Slice<'_>, PartialSums),
        index: usize,
        across: Option<DeviceAcross<'_, Q>>,
    ) -> Result<Option<(Slice<'_>, PartialSums)>> {
        let Some(all_reduce) = DeviceAcross::synchronised(across) else { return Ok(None) };
        let (channels, to) = (self.layers[index].layer.outputs, self.shared.slice());
        Ok(Some((to, across::share_moments(queue, all_reduce, own, channels, to)?)))
    }

    /// The way of the gradient back through the batch norm of a layer, by the sums of all ranks. The gradients to scale and offset stay those
    /// of this rank's part.
    pub(super) fn close_shared_gradient<Q: Queue<Memory = M>>(
        &self,
        queue: &Q,
        own: PartialSums,
        index: usize,
        across: Option<DeviceAcross<'_, Q>>,
    ) -> Result<()> {
        let Some(all_reduce) = DeviceAcross::synchronised(across) else { return Ok(()) };
        let (layer, shared) = (&self.layers[index], self.shared.slice());
        let channels = layer.layer.outputs;
        let partial = (self.partial.slice(), own);
        let sums = across::share_gradient_sums(queue, all_reduce, partial, channels, shared)?;
        let bytes = channels * size_of::<f32>();
        let unused = [0, 1].map(|half| self.unshared.slice().part(half * bytes, bytes));
        let pixels = self.norm_dims(index).pixels * all_reduce.ranks();
        let coefficients = layer.coefficients();
        Ok(batch_norm::close_gradient(queue, (shared, sums), pixels, coefficients, unused)?)
    }
}
