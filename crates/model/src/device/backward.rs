//! The backward pass: the steps of a plan in reverse.

use super::forward::{multiply, pool_of};
use super::gradients::Going;
use super::pass::DevicePass;
use super::{DeviceAcross, DeviceParameters};
use crate::{Error, Result};
use sparse_cuda::{Matrix, Memory, Operand, Queue, cross_entropy, pool, window_pool};
use sparse_network::{ParameterId, Step, StepOp};
use std::sync::Arc;

impl<M: Memory> DevicePass<M> {
    /// Backward: the gradient of the last forward's loss to every trainable variable, in the parameters' run of gradients. With other ranks,
    /// of the mean loss of all; sums over ranks go on beside the pass.
    ///
    /// # Errors
    /// [`Error::NoForward`] without a forward pass in training before it, or the queue's.
    pub fn backward<Q: Queue<Memory = M>>(
        &mut self,
        queue: &Q,
        parameters: &DeviceParameters<M>,
        across: Option<DeviceAcross<'_, Q>>,
    ) -> Result<()> {
        if !self.values.is_training {
            return Err(Error::NoForward);
        }
        let plan = Arc::clone(&self.values.plan);
        let mut sending = across.map(|across| (across, self.sending(parameters)));
        for (index, step) in plan.steps.iter().enumerate().rev() {
            match step.op {
                StepOp::Conv(..) => self.convolve_back(queue, parameters, (step, index), across)?,
                StepOp::Add => self.add_back(queue, parameters, step, across)?,
                StepOp::MaxPool(_) | StepOp::AveragePool { .. } => {
                    self.pool_back(queue, parameters, step, across)?;
                }
                StepOp::Mean => self.mean_back(queue, parameters, step, across)?,
                StepOp::Linear { weight, bias } => {
                    self.linear_back(queue, parameters, step, (weight, bias))?;
                }
            }
            if let Some((across, sending)) = &mut sending {
                across.begin_gradients(queue, parameters.all_gradients(), sending, index)?;
            }
        }
        across.map_or(Ok(()), |across| Ok(across.all_reduce.join(queue)?))
    }

    /// The gradient to a sum, as that to its parts.
    fn add_back<Q: Queue<Memory = M>>(
        &mut self,
        queue: &Q,
        parameters: &DeviceParameters<M>,
        step: &Step,
        across: Option<DeviceAcross<'_, Q>>,
    ) -> Result<()> {
        for going in [0, 1].into_iter().filter_map(|part| Going::of(step, part)) {
            self.prepare(queue, going)?;
            let g = self.values.gradient(step.output);
            self.arrive(queue, parameters, (going, g), across)?;
        }
        Ok(())
    }

    fn pool_back<Q: Queue<Memory = M>>(
        &mut self,
        queue: &Q,
        parameters: &DeviceParameters<M>,
        step: &Step,
        across: Option<DeviceAcross<'_, Q>>,
    ) -> Result<()> {
        let Some(going) = Going::of(step, 0) else { return Ok(()) };
        self.prepare(queue, going)?;
        let (values, part) = (&self.values, self.destination(going));
        let (x, slices) = (values.reading(going.value), [values.gradient(step.output), part]);
        window_pool::backward(queue, x, slices, pool_of(step), (values.windows(step), values.element))?;
        self.arrive(queue, parameters, (going, part), across)
    }

    /// From the features to the value that they are the means of.
    fn mean_back<Q: Queue<Memory = M>>(
        &mut self,
        queue: &Q,
        parameters: &DeviceParameters<M>,
        step: &Step,
        across: Option<DeviceAcross<'_, Q>>,
    ) -> Result<()> {
        let Some(going) = Going::of(step, 0) else { return Ok(()) };
        let dims = self.values.mean_dims(going.value);
        self.prepare(queue, going)?;
        self.scratch.partial.reserve(queue, dims.partial().bytes(dims.channels))?;
        let (part, [_, dfeatures]) = (self.destination(going), self.values.flat(step.output));
        let into = [part, self.scratch.partial.slice()];
        pool::backward(queue, self.values.reading(going.value), dfeatures, into, dims)?;
        self.arrive_shut(queue, parameters, (going, dims.partial()), across)
    }

    fn linear_back<Q: Queue<Memory = M>>(
        &self,
        queue: &Q,
        parameters: &DeviceParameters<M>,
        step: &Step,
        (weight, bias): (ParameterId, Option<ParameterId>),
    ) -> Result<()> {
        let values = &self.values;
        let [[x, dx], [_, dy]] = [step.inputs[0], step.output].map(|value| values.flat(value));
        let [inputs, outputs] = [step.inputs[0], step.output].map(|value| values.channels(value));
        let name = self.name(weight);
        let (dy_matrix, weight) = (Matrix::new(dy, outputs), Matrix::new(parameters.weight(name), outputs));
        let operands = [Operand::plain(dy_matrix), Operand::transposed(weight)];
        multiply(queue, operands, dx, [values.batch, outputs, inputs])?;
        let operands = [Operand::transposed(Matrix::new(x, inputs)), Operand::plain(dy_matrix)];
        multiply(queue, operands, parameters.gradient(name), [inputs, values.batch, outputs])?;
        if let Some(bias) = bias {
            let gradient = parameters.gradient(self.name(bias));
            cross_entropy::bias_gradient(queue, [dy, gradient], [values.batch, outputs])?;
        }
        Ok(())
    }
}
