//! How parts of a gradient come together at a value.

use super::pass::DevicePass;
use super::{DeviceAcross, DeviceParameters};
use crate::Result;
use sparse_cuda::batch_norm::{self, PartialSums, Parts};
use sparse_cuda::{Memory, Queue, Slice};
use sparse_network::{Norm, Step, Way};

/// The way of a gradient to a value that a step read.
#[derive(Clone, Copy)]
pub(super) struct Going {
    pub(super) value: usize,
    /// Where it goes.
    slot: usize,
    /// Where the parts of other readers lie, if there are some.
    others: Option<usize>,
    /// Whether nothing lies in `slot` that is needed.
    is_fresh: bool,
    /// Whether it is the last part.
    is_last: bool,
}

impl Going {
    /// To one of the values that a step read, unless it ends there.
    pub(super) fn of(step: &Step, which: usize) -> Option<Self> {
        let Way::To { slot, adds, is_last, copies } = step.ways[which] else { return None };
        let others = adds.then_some(copies.unwrap_or(slot));
        Some(Self { value: step.inputs[which], slot, others, is_fresh: others != Some(slot), is_last })
    }
}

impl<M: Memory> DevicePass<M> {
    /// Makes room for a gradient and its sums.
    pub(super) fn prepare<Q: Queue<Memory = M>>(&mut self, queue: &Q, going: Going) -> Result<()> {
        let (dims, bytes) = (self.values.dims(going.value), self.values.bytes(going.value));
        if going.is_fresh {
            self.values.write_slot(queue, going.slot, going.value)?;
        }
        if going.others.is_some() {
            self.scratch.part.reserve(queue, bytes)?;
        }
        self.scratch.partial.reserve(queue, dims.partial().bytes(dims.channels))
    }

    /// Where a step is to leave its part: where the gradient goes, or apart if it is to be added to others.
    pub(super) fn destination(&self, going: Going) -> Slice<'_> {
        match going.others {
            None => self.values.slot(going.slot),
            Some(_) => self.scratch.part.slice(),
        }
    }

    /// Takes the part of the gradient that lies in `part` to those of other readers. The last part shuts the gradient where the bounds were, and
    /// closes the norm of the value.
    pub(super) fn arrive<Q: Queue<Memory = M>>(
        &self,
        queue: &Q,
        parameters: &DeviceParameters<M>,
        (going, part): (Going, Slice<'_>),
        across: Option<DeviceAcross<'_, Q>>,
    ) -> Result<()> {
        let (values, value) = (&self.values, going.value);
        let (dims, sum) = (values.dims(value), values.slot(going.slot));
        let second = going.others.map(|slot| values.slot(slot));
        let has_norm = values.plan.values[value].norm != Norm::None;
        let is_shut = going.is_last && (has_norm || !values.plan.values[value].bounds.is_none());
        let stays = second.is_none() && part.address() == sum.address();
        if is_shut || !stays {
            let x = is_shut.then(|| values.reading(value));
            let partial = (is_shut && has_norm).then(|| self.scratch.partial.slice());
            batch_norm::gate(queue, Parts { first: part, second, sum }, x, partial, dims)?;
        }
        if !going.is_last {
            return Ok(());
        }
        self.close_norm(queue, parameters, (value, dims.partial()), across)
    }

    /// Takes on a part of a gradient that its kernel has shut where the bounds were, with its partial sums.
    pub(super) fn arrive_shut<Q: Queue<Memory = M>>(
        &self,
        queue: &Q,
        parameters: &DeviceParameters<M>,
        (going, sums): (Going, PartialSums),
        across: Option<DeviceAcross<'_, Q>>,
    ) -> Result<()> {
        match (going.others, going.is_last) {
            // A part that is shut early is shut all the same.
            (None, false) => Ok(()),
            (None, true) => self.close_norm(queue, parameters, (going.value, sums), across),
            (Some(_), _) => self.arrive(queue, parameters, (going, self.destination(going)), across),
        }
    }

    /// The gradients of a value's norm, from the partial sums of the gradient behind it.
    pub(super) fn close_norm<Q: Queue<Memory = M>>(
        &self,
        queue: &Q,
        parameters: &DeviceParameters<M>,
        (value, sums): (usize, PartialSums),
        across: Option<DeviceAcross<'_, Q>>,
    ) -> Result<()> {
        let Some(coefficients) = self.values.coefficients(value) else { return Ok(()) };
        let gradient = |id| parameters.gradient(self.name(id));
        let norm = self.values.plan.values[value].norm;
        let into = match norm {
            Norm::None => return Ok(()),
            Norm::Bias(bias) => [self.unread(value)[0], gradient(bias)],
            Norm::Batch(norm) => [gradient(norm.scale), gradient(norm.offset)],
        };
        let (partial, pixels) = ((self.scratch.partial.slice(), sums), self.values.dims(value).pixels);
        batch_norm::close_gradient(queue, partial, pixels, coefficients, into)?;
        match norm {
            Norm::Batch(_) => self.close_shared_gradient(queue, (value, sums), across),
            Norm::None | Norm::Bias(_) => Ok(()),
        }
    }

    /// Two numbers for each channel of a value that nobody reads.
    pub(super) fn unread(&self, value: usize) -> [Slice<'_>; 2] {
        let bytes = self.values.channels(value) * size_of::<f32>();
        [0, 1].map(|half| self.scratch.unread.slice().part(half * bytes, bytes))
    }
}
