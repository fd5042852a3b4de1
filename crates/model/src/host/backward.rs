//! The steps of a plan over raw buffers: backward.

use super::Ready;
use super::across::Across;
use super::pass::{ConvDims, Pass};
use super::values::{Back, BackOfSum, disjoint};
use crate::{Error, Model, Result};
use candle_core::Tensor;
use sparse_kernels::activation::{InputGradient, OutputGradient};
use sparse_kernels::pointwise::{self, Gradients};
use sparse_kernels::{depthwise, linear, pool, spatial, sum, window_pool};
use sparse_network::{Conv, ConvKind, Norm, ParameterId, Step, StepOp};
use sparse_ops::{Element, with_values};
use sparse_vectors::Real;
use sparse_vectors::vector::Stored;
use std::sync::Arc;
use std::time::Instant;

impl<E: Stored<Real: Element>> Pass<E> {
    pub(super) fn backward(
        &mut self,
        model: &Model,
        teacher: Option<&Pass<E::Real>>,
        across: &mut Across<'_>,
        ready: &mut Ready<'_>,
    ) -> Result<()> {
        if !self.is_open {
            return Err(Error::NoForward);
        }
        let plan = Arc::clone(&self.values.plan);
        for (index, step) in plan.steps.iter().enumerate().rev() {
            let start = Instant::now();
            self.add_feature_gradient(teacher, step.output)?;
            let norm_gradients = self.close_norm(step.output, across)?;
            match step.op {
                StepOp::Conv(conv, kind) => self.convolve_back(model, (step, index), (&conv, kind), ready)?,
                StepOp::Add => self.add_back(step)?,
                StepOp::MaxPool(_) | StepOp::AveragePool { .. } => self.pool_back(step)?,
                StepOp::Mean => self.mean_back(step)?,
                StepOp::Linear { weight, bias } => self.linear_back(model, step, (weight, bias), ready)?,
            }
            for (id, gradient) in norm_gradients {
                ready(model.name(id).to_owned(), like(model, id, gradient)?)?;
            }
            self.times.step(step).backward += start.elapsed();
        }
        Ok(())
    }

    /// The gradients to what normalises a value, and the way of its gradient through that.
    fn close_norm(
        &mut self,
        value: usize,
        across: &mut Across<'_>,
    ) -> Result<Vec<(ParameterId, Vec<E::Real>)>> {
        let (shape, batch) = (self.values.shapes[value], self.values.batch);
        let norm = self.values.plan.values[value].norm;
        let channels = &mut self.values.channels[value];
        Ok(match norm {
            Norm::None => Vec::new(),
            Norm::Bias(bias) => vec![(bias, channels.bias_gradient())],
            Norm::Batch(norm) => {
                let pixels = shape.count() / shape.channels() * batch;
                let [scale, offset] = channels.close_gradient(pixels, across)?;
                vec![(norm.scale, scale), (norm.offset, offset)]
            }
        })
    }

    /// The gradients of one convolution.
    fn convolve_back(
        &mut self,
        model: &Model,
        (step, index): (&Step, usize),
        (conv, kind): (&Conv, ConvKind),
        ready: &mut Ready<'_>,
    ) -> Result<()> {
        let weight = model.parameter(conv.weight);
        let mut dw = vec![E::Real::from_f64(0.0); weight.elem_count()];
        let dims = ConvDims::of(self.values.shapes[step.inputs[0]], conv, self.values.batch);
        let kept = self.sparse[index].backward(self.masked_gradient);
        let Back { x, dy, dx } = self.values.back(step)?;
        with_values([weight.as_tensor()], |[weight]: [&[E::Real]; 1]| match (kind, dx) {
            (ConvKind::Spatial, dx) => {
                spatial::weight_gradient(x, dy, kept.weight, &mut dw, dims.spatial());
                if let Some(dx) = dx {
                    spatial::input_gradient(weight, kept.input, x, dy, dx, dims.spatial());
                }
            }
            (ConvKind::Pointwise, Some(dx)) => {
                pointwise::backward(weight, kept, x, dy, Gradients { dx, dw: &mut dw }, dims.pointwise());
            }
            (ConvKind::Pointwise, None) => spatial::weight_gradient(x, dy, None, &mut dw, dims.spatial()),
            (ConvKind::Depthwise, Some(InputGradient { values, adds: false, sums, .. })) => {
                // A part that is shut early is shut all the same.
                depthwise::backward(x, weight, dy, values, sums, &mut dw, dims.depthwise());
            }
            (ConvKind::Depthwise, dx) => {
                let mut part = vec![E::default(); x.values().len()];
                depthwise::backward(x, weight, dy, &mut part, None, &mut dw, dims.depthwise());
                if let Some(dx) = dx {
                    sum::backward(Some(&part), x, dx, dims.depthwise().channels);
                }
            }
        })?;
        ready(model.name(conv.weight).to_owned(), like(model, conv.weight, dw)?)
    }

    /// The gradient to a sum, as that to its parts.
    fn add_back(&mut self, step: &Step) -> Result<()> {
        let channels = self.values.shapes[step.output].channels();
        for part in 0..step.inputs.len() {
            if let Some(BackOfSum { g, x, dx }) = self.values.back_of_sum(step, part)? {
                sum::backward(g, x, dx, channels);
            }
        }
        Ok(())
    }

    fn pool_back(&mut self, step: &Step) -> Result<()> {
        let dims = self.pool_dims(step);
        let Back { x, dy, dx } = self.values.back(step)?;
        if let (Some(dx), OutputGradient::Plain(dy)) = (dx, dy) {
            window_pool::backward(x, dy, dx, dims);
        }
        Ok(())
    }

    /// From the features to the value that they are the means of.
    fn mean_back(&mut self, step: &Step) -> Result<()> {
        let (shape, batch) = (self.values.shapes[step.inputs[0]], self.values.batch);
        let ([height, width], dfeatures) = (shape.size(), &self.flat[step.output][1]);
        match self.values.back_of_mean(step)? {
            None => {}
            Some((x, InputGradient { values, adds: false, sums, .. })) => {
                pool::backward(x, dfeatures, values, sums, height * width, batch);
            }
            Some((x, dx)) => {
                let mut part = vec![E::default(); x.values().len()];
                pool::backward(x, dfeatures, &mut part, None, height * width, batch);
                sum::backward(Some(&part), x, dx, shape.channels());
            }
        }
        Ok(())
    }

    fn linear_back(
        &mut self,
        model: &Model,
        step: &Step,
        (weight, bias): (ParameterId, Option<ParameterId>),
        ready: &mut Ready<'_>,
    ) -> Result<()> {
        let (inputs, outputs) =
            (self.values.shapes[step.inputs[0]].channels(), self.values.shapes[step.output].channels());
        let dims = linear::Dims { batch: self.values.batch, inputs, outputs };
        let [read, written] = disjoint(&mut self.flat, [step.inputs[0], step.output]);
        let ([x, dx], dy) = (read, &written[1]);
        let zero = E::Real::from_f64(0.0);
        dx.clear();
        dx.resize(x.len(), zero);
        let (mut dw, mut db) = (vec![zero; inputs * outputs], vec![zero; outputs]);
        with_values([model.parameter(weight).as_tensor()], |[weight]: [&[E::Real]; 1]| {
            linear::input_gradient(weight, dy, dx, dims);
        })?;
        linear::weight_gradient(x, dy, &mut dw, dims);
        ready(model.name(weight).to_owned(), like(model, weight, dw)?)?;
        if let Some(bias) = bias {
            linear::bias_gradient(dy, &mut db);
            ready(model.name(bias).to_owned(), like(model, bias, db)?)?;
        }
        Ok(())
    }
}

/// A tensor of the shape of a parameter.
fn like<T: Element>(model: &Model, id: ParameterId, values: Vec<T>) -> Result<Tensor> {
    let variable = model.parameter(id);
    Ok(Tensor::from_vec(values, variable.shape(), variable.device())?)
}
