//! What lies on the device while a batch passes: values, how they are read, and the gradients to them.

use super::room::Room;
use crate::Result;
use sparse_cuda::depthwise::OutputGradient;
use sparse_cuda::{Coefficients, Element, Memory, Queue, Reading, Slice, batch_norm, pool, windows};
use sparse_network::{Norm, Plan, Shape, Step, StepOp, Window};
use std::sync::Arc;

/// The values of a plan on a device.
pub(super) struct Values<M> {
    pub(super) plan: Arc<Plan>,
    /// How activations are stored.
    pub(super) element: Element,
    /// Images in the batch.
    pub(super) batch: usize,
    /// Whether values stay for the way back.
    pub(super) is_training: bool,
    /// Shape of each value for one image.
    shapes: Vec<Shape>,
    /// Values, `[C, H, W, N]`: each in a piece of its own in training, else those of [`Plan::rooms`].
    memory: Vec<Room<M>>,
    /// Of the batch norm or bias of each value, if it has one.
    coefficients: Vec<Room<M>>,
    /// Gradients behind the bounds.
    slots: Vec<Room<M>>,
    /// Vectors, `[N, C]` f32, and the gradients to them, by value.
    flat: Vec<[Room<M>; 2]>,
}

impl<M: Memory> Values<M> {
    pub(super) fn new(plan: Arc<Plan>, element: Element) -> Self {
        let rooms = |count: usize| (0..count).map(|_| Room::default()).collect();
        let count = plan.values.len();
        Self {
            element,
            batch: 0,
            is_training: false,
            shapes: Vec::new(),
            memory: rooms(count),
            coefficients: rooms(count),
            slots: rooms(plan.slots),
            flat: (0..count).map(|_| Default::default()).collect(),
            plan,
        }
    }

    /// Begins with so many images of this height and width.
    pub(super) fn begin<Q: Queue<Memory = M>>(
        &mut self,
        queue: &Q,
        (batch, size): (usize, [usize; 2]),
        is_training: bool,
    ) -> Result<()> {
        let (plan, shapes) = (Arc::clone(&self.plan), self.plan.graph.shapes(size)?);
        self.shapes = plan.values.iter().map(|value| shapes[value.node]).collect();
        (self.batch, self.is_training) = (batch, is_training);
        for (index, value) in plan.values.iter().enumerate() {
            let channels = self.shapes[index].channels();
            if value.norm != Norm::None {
                self.coefficients[index].resize(queue, Coefficients::bytes(channels))?;
            }
            if value.is_flat {
                for room in &mut self.flat[index] {
                    room.resize(queue, batch * channels * size_of::<f32>())?;
                }
            }
        }
        self.write(queue, 0)
    }

    /// Makes room for a value.
    pub(super) fn write<Q: Queue<Memory = M>>(&mut self, queue: &Q, value: usize) -> Result<()> {
        if self.plan.values[value].is_flat {
            return Ok(());
        }
        let (room, bytes) = (self.room(value), self.bytes(value));
        self.memory[room].resize(queue, bytes)
    }

    /// Makes room for a gradient to a value.
    pub(super) fn write_slot<Q: Queue<Memory = M>>(
        &mut self,
        queue: &Q,
        slot: usize,
        value: usize,
    ) -> Result<()> {
        let bytes = self.bytes(value);
        self.slots[slot].resize(queue, bytes)
    }

    /// The piece of memory of a value.
    fn room(&self, value: usize) -> usize {
        if self.is_training { value } else { self.plan.rooms[value] }
    }

    /// Channels of a value.
    pub(super) fn channels(&self, value: usize) -> usize {
        self.shapes[value].channels()
    }

    /// The most channels of any value.
    pub(super) fn most_channels(&self) -> usize {
        self.shapes.iter().map(|shape| shape.channels()).max().unwrap_or(0)
    }

    /// Bytes of a value of all images.
    pub(super) fn bytes(&self, value: usize) -> usize {
        self.shapes[value].count() * self.batch * self.element.size()
    }

    /// A value as it lies in memory.
    pub(super) fn slice(&self, value: usize) -> Slice<'_> {
        self.memory[self.room(value)].slice()
    }

    /// A vector and the gradient to it.
    pub(super) fn flat(&self, value: usize) -> [Slice<'_>; 2] {
        self.flat[value].each_ref().map(Room::slice)
    }

    /// Those of the batch norm or bias of a value.
    pub(super) fn coefficients(&self, value: usize) -> Option<Coefficients<'_>> {
        let has_norm = self.plan.values[value].norm != Norm::None;
        has_norm.then(|| Coefficients::new(self.coefficients[value].slice(), self.channels(value)))
    }

    /// A value as its readers see it.
    pub(super) fn reading(&self, value: usize) -> Reading<'_> {
        let (coefficients, bounds) = (self.coefficients(value), self.plan.values[value].bounds);
        Reading { y: self.slice(value), coefficients, bounds }
    }

    /// A piece of memory for gradients.
    pub(super) fn slot(&self, slot: usize) -> Slice<'_> {
        self.slots[slot].slice()
    }

    /// The gradient to a value behind its bounds.
    pub(super) fn gradient(&self, value: usize) -> Slice<'_> {
        self.plan.values[value].gradient.map_or(Slice::EMPTY, |slot| self.slot(slot))
    }

    /// The gradient to a value before its norm.
    pub(super) fn output_gradient(&self, value: usize) -> OutputGradient<'_> {
        let through = matches!(self.plan.values[value].norm, Norm::Batch(_));
        let coefficients = self.coefficients(value).filter(|_| through);
        let behind = coefficients.map(|coefficients| (self.slice(value), coefficients));
        OutputGradient { g: self.gradient(value), behind }
    }

    /// Channels and pixels of a value.
    pub(super) fn dims(&self, value: usize) -> batch_norm::Dims {
        let [height, width] = self.shapes[value].size();
        let pixels = height * width * self.batch;
        batch_norm::Dims { channels: self.channels(value), pixels, element: self.element }
    }

    /// The value that a mean is taken of.
    pub(super) fn mean_dims(&self, value: usize) -> pool::Dims {
        let batch_norm::Dims { channels, pixels, element } = self.dims(value);
        pool::Dims { channels, plane: pixels / self.batch.max(1), batch: self.batch, element }
    }

    /// Sizes of a convolution or of a pooling of windows.
    pub(super) fn windows(&self, step: &Step) -> windows::Dims {
        let window = match step.op {
            StepOp::Conv(conv, _) => conv.window,
            StepOp::MaxPool(window) | StepOp::AveragePool { window, .. } => window,
            StepOp::Add | StepOp::Mean | StepOp::Linear { .. } => Window::POINT,
        };
        let (input, [height, width]) = (step.inputs[0], self.shapes[step.inputs[0]].size());
        let [inputs, outputs] = [input, step.output].map(|value| self.channels(value));
        windows::Dims { outputs, inputs, height, width, batch: self.batch, window }
    }
}
