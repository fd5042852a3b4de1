//! What the passes keep on the device.

use super::DeviceParameters;
use super::convolve::Kernels;
use super::room::Room;
use super::scratch::Scratch;
use super::values::Values;
use crate::{ConvLayer, Model, Precision, Result};
use sparse_cuda::sparse_pointwise::Pattern;
use sparse_cuda::{Element, Memory, Queue, Slice, cross_entropy, layout};
use sparse_network::{ParameterId, StepOp};
use std::sync::Arc;

/// Forward and backward passes of a model on a device, one after the other.
pub struct DevicePass<M> {
    pub(super) values: Values<M>,
    pub(super) scratch: Scratch<M>,
    /// Kept positions by output and by input, for each step that leaves zeros of its weight out.
    pub(super) patterns: Vec<Option<[Pattern<M>; 2]>>,
    /// Whether pruned weights need no gradient.
    pub(super) masked_gradient: bool,
    /// The weights as products of half precision read them.
    narrow: Room<M>,
    /// Of the loss: what is known of each image, and of all.
    pub(super) results: Room<M>,
    pub(super) scalars: Room<M>,
}

/// What a batch is to learn beside its labels.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeviceTargets<'a> {
    /// ε of label smoothing, fraction; 0 = off.
    pub label_smoothing: f64,
    /// A teacher's scores.
    pub soft: Option<DeviceSoftTargets<'a>>,
}

/// Scores of a teacher, on the device.
#[derive(Clone, Copy, Debug)]
pub struct DeviceSoftTargets<'a> {
    /// f32, `[N, classes]`.
    pub logits: Slice<'a>,
    /// Divides the scores of both.
    pub temperature: f64,
    /// Their share of the loss, fraction.
    pub weight: f64,
}

/// What was found of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchResults {
    /// Mean loss.
    pub loss: f64,
    /// Images whose label has the largest score; of equal scores the lower class comes first.
    pub first: u64,
    /// Images whose label is among the five largest.
    pub among_five: u64,
}

impl<M: Memory> DevicePass<M> {
    /// Passes for a model.
    pub fn new(model: &Model, precision: Precision) -> Self {
        let element = match precision {
            Precision::Full => Element::F32,
            Precision::Bf16 => Element::Bf16,
        };
        let plan = Arc::clone(model.plan());
        Self {
            patterns: plan.steps.iter().map(|_| None).collect(),
            values: Values::new(plan, element),
            scratch: Scratch::default(),
            masked_gradient: false,
            narrow: Room::default(),
            results: Room::default(),
            scalars: Room::default(),
        }
    }

    /// Leaves the zeros of these layers out where there are kernels for that, by the masks that the parameters hold now; the others are dense.
    /// The gradient to the weight leaves them out only if pruned weights need none (`masked_gradient`).
    ///
    /// # Errors
    /// The queue's.
    pub fn set_sparse<Q: Queue<Memory = M>>(
        &mut self,
        queue: &Q,
        parameters: &DeviceParameters<M>,
        sparse: impl Fn(&ConvLayer) -> bool,
        masked_gradient: bool,
    ) -> Result<()> {
        self.masked_gradient = masked_gradient;
        let plan = Arc::clone(&self.values.plan);
        let mut layers = plan.layers().into_iter();
        for (step, patterns) in plan.steps.iter().zip(&mut self.patterns) {
            let StepOp::Conv(conv, kind) = step.op else { continue };
            let Some(layer) = layers.next() else { break };
            if !Kernels::of(step, &conv, kind).can_be_sparse(&layer) || !sparse(&layer) {
                *patterns = None;
                continue;
            }
            let [outputs, inputs, height, width] = layer.shape;
            let sizes = [outputs, inputs * height * width];
            if patterns.is_none() {
                *patterns = Some([Pattern::new(queue, sizes, false)?, Pattern::new(queue, sizes, true)?]);
            }
            let span = parameters.spans()[&layer.weight];
            for pattern in patterns.iter().flatten() {
                pattern.take(queue, span.mask_of(parameters.words()))?;
            }
        }
        Ok(())
    }

    /// The scalars of the last forward pass; waits for the device.
    ///
    /// # Errors
    /// The queue's.
    pub fn results<Q: Queue<Memory = M>>(&self, queue: &Q) -> Result<BatchResults> {
        let mut scalars = [0.0f64; cross_entropy::SCALARS_BYTES / size_of::<f64>()];
        queue.read(self.scalars.slice(), bytemuck::cast_slice_mut(&mut scalars))?;
        let [loss, first, among_five] = scalars;
        Ok(BatchResults { loss, first: first as u64, among_five: among_five as u64 })
    }

    /// The scores of the last forward pass on the device, f32, `[N, classes]`.
    pub fn logits(&self) -> Slice<'_> {
        self.values.flat(self.values.plan.scores)[0]
    }

    /// The scores of the last forward pass, `[N, classes]`; waits for the device.
    ///
    /// # Errors
    /// The queue's.
    pub fn scores<Q: Queue<Memory = M>>(&self, queue: &Q) -> Result<Vec<f32>> {
        Ok(sparse_cuda::download(queue, self.logits())?)
    }

    /// Name of a parameter.
    pub(super) fn name(&self, id: ParameterId) -> &str {
        &self.values.plan.graph.parameters[id].name
    }

    /// A weight as dense products read it.
    pub(super) fn product_weight<'a>(&'a self, parameters: &'a DeviceParameters<M>, name: &str) -> Slice<'a> {
        let element = self.values.element;
        if element == Element::F32 {
            return parameters.weight(name);
        }
        let span = parameters.spans()[name];
        self.narrow.slice().part(span.start * element.size(), span.len * element.size())
    }

    /// Rounds all weights for the products of half precision.
    pub(super) fn narrow_weights<Q: Queue<Memory = M>>(
        &mut self,
        queue: &Q,
        parameters: &DeviceParameters<M>,
    ) -> Result<()> {
        let element = self.values.element;
        if element == Element::F32 {
            return Ok(());
        }
        let weights = parameters.weights();
        let len = weights.bytes() / size_of::<f32>();
        self.narrow.resize(queue, len * element.size())?;
        Ok(layout::narrow(queue, [weights, self.narrow.slice()], len, element)?)
    }
}
