//! What lies in memory while a batch passes: values, how they are read, and the gradients to them.

use super::buffer::Buffer;
use super::norm::ChannelState;
use crate::{Mode, Result};
use sparse_kernels::activation::{GateSums, Input, InputGradient, OutputGradient};
use sparse_network::{Plan, Shape, Step, Way};
use sparse_vectors::vector::Stored;
use std::sync::Arc;

/// The values of a plan, with activations stored as `E`.
pub(super) struct Values<E: Stored> {
    pub(super) plan: Arc<Plan>,
    /// Images in the batch.
    pub(super) batch: usize,
    /// Whether values stay when no gradients are computed, to be compared with a student's.
    pub(super) keeps: bool,
    /// Shape of each value for one image.
    pub(super) shapes: Vec<Shape>,
    /// Values, `[C, H, W, N]`: each in a piece of its own in training, else those of [`Plan::rooms`].
    memory: Vec<Buffer<E>>,
    /// How each value is read.
    pub(super) channels: Vec<ChannelState<E::Real>>,
    /// Gated gradients.
    pub(super) slots: Vec<Buffer<E>>,
}

/// What a convolution or pool reads and writes.
pub(super) struct Forward<'a, E: Stored> {
    pub(super) x: Input<'a, E>,
    pub(super) y: &'a mut [E],
    /// How `y` will be read.
    pub(super) channels: &'a mut ChannelState<E::Real>,
}

/// What a step with one input reads on the way back, and where its gradient goes.
pub(super) struct Back<'a, E: Stored> {
    pub(super) x: Input<'a, E>,
    pub(super) dy: OutputGradient<'a, E>,
    pub(super) dx: Option<InputGradient<'a, E>>,
}

/// The gradient to a sum and where that to one of its parts goes.
pub(super) struct BackOfSum<'a, E: Stored> {
    /// Nothing where the gradient to the sum lies where that to the part goes.
    pub(super) g: Option<&'a [E]>,
    pub(super) x: Input<'a, E>,
    pub(super) dx: InputGradient<'a, E>,
}

impl<E: Stored> Values<E> {
    pub(super) fn new(plan: Arc<Plan>) -> Self {
        Self {
            batch: 0,
            keeps: false,
            shapes: Vec::new(),
            memory: plan.values.iter().map(|_| Buffer::default()).collect(),
            channels: plan.values.iter().map(|_| ChannelState::default()).collect(),
            slots: (0..plan.slots).map(|_| Buffer::default()).collect(),
            plan,
        }
    }

    /// The piece of memory of a value.
    fn room(&self, value: usize, mode: Mode) -> usize {
        room(&self.plan, self.keeps, value, mode)
    }

    /// Numbers of a value, of all images.
    fn len(&self, value: usize) -> usize {
        self.shapes[value].count() * self.batch
    }

    /// The piece of memory of a value, with room for it.
    pub(super) fn written(&mut self, value: usize, mode: Mode) -> Result<&mut [E]> {
        let (room, len) = (self.room(value, mode), self.len(value));
        self.memory[room].resize(len)?;
        Ok(self.memory[room].as_mut_slice())
    }

    /// A value as its readers see it.
    pub(super) fn input(&self, value: usize, mode: Mode) -> Input<'_, E> {
        let values = self.memory[self.room(value, mode)].as_slice();
        self.channels[value].input(values, self.plan.values[value].bounds)
    }

    /// A value that stayed, as its readers see it.
    pub(super) fn kept(&self, value: usize) -> Input<'_, E> {
        self.channels[value].input(self.memory[value].as_slice(), self.plan.values[value].bounds)
    }

    /// A value as its readers see it, its gradient, and where the sums of that lie.
    #[expect(clippy::type_complexity, reason = "three things of one value")]
    pub(super) fn kept_and_gradient(
        &mut self,
        value: usize,
    ) -> Option<(Input<'_, E>, &mut [E], Option<GateSums<'_, E::Real>>)> {
        let (slot, bounds) = (self.plan.values[value].gradient?, self.plan.values[value].bounds);
        let (x, sums) = self.channels[value].input_and_sums(self.memory[value].as_slice(), bounds);
        Some((x, self.slots[slot].as_mut_slice(), sums))
    }

    /// Two values that are added, and where their sum goes.
    pub(super) fn sum(&mut self, step: &Step, mode: Mode) -> Result<([Input<'_, E>; 2], &mut [E])> {
        self.written(step.output, mode)?;
        let places = [step.inputs[0], step.inputs[1], step.output];
        let [a, b, z] =
            disjoint(&mut self.memory, places.map(|value| room(&self.plan, self.keeps, value, mode)));
        let part = |which: usize, values| {
            let input = step.inputs[which];
            self.channels[input].input(values, self.plan.values[input].bounds)
        };
        Ok(([part(0, a.as_slice()), part(1, b.as_slice())], z.as_mut_slice()))
    }

    /// What a step with one input reads, and where it writes.
    pub(super) fn forward(&mut self, step: &Step, mode: Mode) -> Result<Forward<'_, E>> {
        self.written(step.output, mode)?;
        let places = [step.inputs[0], step.output];
        let [x, y] =
            disjoint(&mut self.memory, places.map(|value| room(&self.plan, self.keeps, value, mode)));
        let [before, channels] = disjoint(&mut self.channels, places);
        let x = before.input(x.as_slice(), self.plan.values[step.inputs[0]].bounds);
        Ok(Forward { x, y: y.as_mut_slice(), channels })
    }

    /// What a step with one input reads on the way back, and where its gradient goes.
    pub(super) fn back(&mut self, step: &Step) -> Result<Back<'_, E>> {
        let (input, output, way) = (step.inputs[0], step.output, step.ways[0]);
        self.prepare(way, input)?;
        let (bounds, from) = (self.plan.values[input].bounds, self.plan.values[output].gradient);
        let [before, this] = disjoint(&mut self.channels, [input, output]);
        let (raw, from) = (self.memory[output].as_slice(), from.unwrap_or_default());
        let Way::To { slot, adds, is_last, .. } = way else {
            let x = before.input(self.memory[input].as_slice(), bounds);
            return Ok(Back { x, dy: this.gradient(self.slots[from].as_slice(), raw), dx: None });
        };
        let [g, to] = disjoint(&mut self.slots, [from, slot]);
        let (x, sums) = before.input_and_sums(self.memory[input].as_slice(), bounds);
        let sums = sums.filter(|_| is_last);
        let dx = Some(InputGradient { values: to.as_mut_slice(), adds, gated: is_last, sums });
        Ok(Back { x, dy: this.gradient(g.as_slice(), raw), dx })
    }

    /// From a sum to one of its parts; nothing is to be done if the gradient stays as it is.
    pub(super) fn back_of_sum(&mut self, step: &Step, part: usize) -> Result<Option<BackOfSum<'_, E>>> {
        let (input, way) = (step.inputs[part], step.ways[part]);
        let (Some(from), Way::To { slot, adds, is_last, .. }) = (self.plan.values[step.output].gradient, way)
        else {
            return Ok(None);
        };
        if slot != from {
            self.prepare(way, input)?;
        }
        let bounds = self.plan.values[input].bounds;
        let (x, sums) = self.channels[input].input_and_sums(self.memory[input].as_slice(), bounds);
        let sums = sums.filter(|_| is_last);
        if slot == from {
            if sums.is_none() {
                return Ok(None);
            }
            let values = self.slots[slot].as_mut_slice();
            let dx = InputGradient { values, adds: false, gated: true, sums };
            return Ok(Some(BackOfSum { g: None, x, dx }));
        }
        let [from, to] = disjoint(&mut self.slots, [from, slot]);
        let dx = InputGradient { values: to.as_mut_slice(), adds, gated: is_last, sums };
        Ok(Some(BackOfSum { g: Some(from.as_slice()), x, dx }))
    }

    /// From the means of a value: what it is, and where the gradient to it goes.
    pub(super) fn back_of_mean(
        &mut self,
        step: &Step,
    ) -> Result<Option<(Input<'_, E>, InputGradient<'_, E>)>> {
        let (input, way) = (step.inputs[0], step.ways[0]);
        let Way::To { slot, adds, is_last, .. } = way else { return Ok(None) };
        self.prepare(way, input)?;
        let bounds = self.plan.values[input].bounds;
        let (x, sums) = self.channels[input].input_and_sums(self.memory[input].as_slice(), bounds);
        let sums = sums.filter(|_| is_last);
        let values = self.slots[slot].as_mut_slice();
        Ok(Some((x, InputGradient { values, adds, gated: is_last, sums })))
    }

    /// Makes room where the gradient to `input` goes, with the parts there that it is added to.
    fn prepare(&mut self, way: Way, input: usize) -> Result<()> {
        let Way::To { slot, adds, copies, .. } = way else { return Ok(()) };
        let len = self.len(input);
        if !adds || copies.is_some() {
            self.slots[slot].resize(len)?;
        }
        if let Some(copies) = copies {
            let [from, to] = disjoint(&mut self.slots, [copies, slot]);
            to.as_mut_slice().copy_from_slice(from.as_slice());
        }
        Ok(())
    }
}

fn room(plan: &Plan, keeps: bool, value: usize, mode: Mode) -> usize {
    if mode.is_training() || keeps { value } else { plan.rooms[value] }
}

/// Several elements that are not the same.
///
/// # Panics
/// If two are: a plan has them apart.
#[expect(clippy::expect_used, reason = "a fault of the plan")]
pub(super) fn disjoint<T, const K: usize>(of: &mut [T], places: [usize; K]) -> [&mut T; K] {
    of.get_disjoint_mut(places).expect("values of one step lie apart")
}
