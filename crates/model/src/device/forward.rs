//! The forward pass: the steps of a plan in order.

use super::feed::Fed;
use super::pass::{DevicePass, DeviceTargets};
use super::{DeviceAcross, DeviceParameters};
use crate::{Mode, Result};
use sparse_cuda::window_pool::{self, Pool};
use sparse_cuda::{
    Element, Matrix, Memory, Operand, Product, Queue, Slice, cross_entropy, layout, pool, sum,
};
use sparse_network::{ParameterId, Step, StepOp};
use std::sync::Arc;

impl<M: Memory> DevicePass<M> {
    /// Forward: scores, loss and counts of a batch, and in [`Mode::Train`] the gradient of the loss to the scores; running
    /// statistics are updated then. With other ranks all is that of this rank's part but what `across` says.
    ///
    /// # Errors
    /// [`crate::Error::Network`] if the images are too small for the network, or the queue's.
    ///
    /// # Panics
    /// If the images have not so many channels, or a label is no class: a fault of the caller.
    pub fn forward<Q: Queue<Memory = M>>(
        &mut self,
        queue: &Q,
        parameters: &DeviceParameters<M>,
        fed: Fed<'_>,
        targets: DeviceTargets<'_>,
        mode: Mode,
        across: Option<DeviceAcross<'_, Q>>,
    ) -> Result<()> {
        let plan = Arc::clone(&self.values.plan);
        let pixels = plan.graph.channels() * fed.size[0] * fed.size[1];
        let bytes = fed.count * pixels * size_of::<f32>();
        assert_eq!(fed.images.bytes(), bytes, "bytes of {} images", fed.count);
        assert!((fed.highest as usize) < parameters.classes(), "label {} is no class", fed.highest);
        self.values.begin(queue, (fed.count, fed.size), mode.is_training())?;
        self.resize_shared(queue, across)?;
        let (x, element) = (self.values.slice(0), self.values.element);
        layout::batch_innermost(queue, [fed.images, x], [fed.count, pixels], element)?;
        self.narrow_weights(queue, parameters)?;
        for (index, step) in plan.steps.iter().enumerate() {
            self.values.write(queue, step.output)?;
            match step.op {
                StepOp::Conv(..) => self.convolve(queue, parameters, (step, index), (mode, across))?,
                StepOp::Add => self.add(queue, step)?,
                StepOp::MaxPool(_) | StepOp::AveragePool { .. } => self.pool(queue, step)?,
                StepOp::Mean => self.average(queue, step)?,
                StepOp::Linear { weight, bias } => self.multiply(queue, parameters, step, (weight, bias))?,
            }
        }
        if let Some(across) = across.filter(|_| mode.is_training()) {
            across.begin_running(queue, parameters)?;
        }
        self.lose(queue, fed.labels, targets, parameters.classes())
    }

    fn add<Q: Queue<Memory = M>>(&self, queue: &Q, step: &Step) -> Result<()> {
        let (values, output) = (&self.values, step.output);
        let parts = [0, 1].map(|part| values.reading(step.inputs[part]));
        let (z, bounds) = (values.slice(output), values.plan.values[output].bounds);
        Ok(sum::forward(queue, parts, z, bounds, values.dims(output))?)
    }

    fn pool<Q: Queue<Memory = M>>(&self, queue: &Q, step: &Step) -> Result<()> {
        let (values, output) = (&self.values, step.output);
        let into = (values.slice(output), values.plan.values[output].bounds);
        let dims = (values.windows(step), values.element);
        Ok(window_pool::forward(queue, values.reading(step.inputs[0]), into, pool_of(step), dims)?)
    }

    /// The mean of each channel.
    fn average<Q: Queue<Memory = M>>(&self, queue: &Q, step: &Step) -> Result<()> {
        let (values, input) = (&self.values, step.inputs[0]);
        let [features, _] = values.flat(step.output);
        Ok(pool::forward(queue, values.reading(input), features, values.mean_dims(input))?)
    }

    /// A linear layer.
    fn multiply<Q: Queue<Memory = M>>(
        &self,
        queue: &Q,
        parameters: &DeviceParameters<M>,
        step: &Step,
        (weight, bias): (ParameterId, Option<ParameterId>),
    ) -> Result<()> {
        let values = &self.values;
        let [[x, _], [y, _]] = [step.inputs[0], step.output].map(|value| values.flat(value));
        let [inputs, outputs] = [step.inputs[0], step.output].map(|value| values.channels(value));
        let weight = Matrix::new(parameters.weight(self.name(weight)), outputs);
        let (a, b) = (Operand::plain(Matrix::new(x, inputs)), Operand::plain(weight));
        multiply(queue, [a, b], y, [values.batch, inputs, outputs])?;
        if let Some(bias) = bias {
            let bias = parameters.weight(self.name(bias));
            cross_entropy::add_bias(queue, [y, bias], [values.batch, outputs])?;
        }
        Ok(())
    }

    fn lose<Q: Queue<Memory = M>>(
        &mut self,
        queue: &Q,
        labels: Slice<'_>,
        targets: DeviceTargets<'_>,
        classes: usize,
    ) -> Result<()> {
        let batch = self.values.batch;
        self.results.resize(queue, cross_entropy::results_bytes(batch))?;
        self.scalars.resize(queue, cross_entropy::SCALARS_BYTES)?;
        let [logits, dlogits] = self.values.flat(self.values.plan.scores);
        let soft = targets.soft.map(|soft| (soft.logits, soft.temperature, soft.weight));
        let targets = cross_entropy::Targets { labels, smoothing: targets.label_smoothing, soft };
        let dlogits = self.values.is_training.then_some(dlogits);
        let into = [self.results.slice(), self.scalars.slice()];
        Ok(cross_entropy::forward(queue, logits, targets, dlogits, into, [batch, classes])?)
    }
}

/// What a pooling takes of its windows.
pub(super) fn pool_of(step: &Step) -> Pool {
    match step.op {
        StepOp::AveragePool { counts_padding, .. } => Pool::Mean { counts_padding },
        _ => Pool::Max,
    }
}

/// A product of the head: f32, the rows of its result behind each other.
pub(super) fn multiply<Q: Queue>(
    queue: &Q,
    [a, b]: [Operand<'_>; 2],
    c: Slice<'_>,
    sizes: [usize; 3],
) -> Result<()> {
    let (c, element) = (Matrix::new(c, sizes[2]), Element::F32);
    Ok(queue.multiply(Product { a, b, c, adds: false, sizes, element, result: element })?)
}
