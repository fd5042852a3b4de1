//! The steps of a plan over raw buffers: forward.

use super::across::Across;
use super::paths::{LayerPaths, Masks, Sparse};
use super::times::Times;
use super::values::{Forward, Values, disjoint};
use super::{Loss, Targets};
use crate::{Mode, Model, Result};
use candle_core::{Tensor, Var};
use rayon::prelude::*;
use sparse_kernels::pointwise::{self, WallClock};
use sparse_kernels::window_pool::{self, Pool};
use sparse_kernels::{cross_entropy, depthwise, distillation, linear, pool, spatial, sum, transpose};
use sparse_network::{Conv, ConvKind, Norm, ParameterId, Plan, Shape, Step, StepOp, Window};
use sparse_ops::{Element, with_values};
use sparse_vectors::Real;
use sparse_vectors::vector::Stored;
use std::sync::Arc;
use std::time::Instant;

/// The buffers of a step, with activations stored as `E`.
pub(super) struct Pass<E: Stored> {
    pub(super) values: Values<E>,
    /// Whether there is a forward pass to go back from.
    pub(super) is_open: bool,
    /// Vectors, `[N, C]`, and the gradients to them, by value.
    pub(super) flat: Vec<[Vec<E::Real>; 2]>,
    /// By what the difference of features is multiplied on the way back, and the teacher's value, by value; empty without a teacher's.
    pub(super) feature_scales: Vec<(f64, usize)>,
    /// Of each step.
    pub(super) sparse: Vec<Sparse>,
    pub(super) masked_gradient: bool,
    pub(super) times: Times,
}

impl<E: Stored<Real: Element>> Pass<E> {
    pub(super) fn new(plan: Arc<Plan>) -> Self {
        Self {
            is_open: false,
            flat: vec![Default::default(); plan.values.len()],
            feature_scales: Vec::new(),
            sparse: plan.steps.iter().map(|_| Sparse::default()).collect(),
            masked_gradient: false,
            times: Times::default(),
            values: Values::new(plan),
        }
    }

    pub(super) fn set_masks(&mut self, model: &Model, masks: &Masks<'_>) {
        self.masked_gradient = masks.masked_gradient;
        let start = Instant::now();
        let plan = Arc::clone(&self.values.plan);
        let mut layers: Vec<(&Conv, ConvKind, &mut Sparse)> = (plan.steps.iter().zip(&mut self.sparse))
            .filter_map(|(step, sparse)| match &step.op {
                StepOp::Conv(conv, kind) if can_be_sparse(&plan, conv, *kind) => Some((conv, *kind, sparse)),
                _ => None,
            })
            .collect();
        let sizes = |conv: &Conv| {
            let shape = &model.plan().graph.parameters[conv.weight].shape;
            [shape[0], shape[1], shape[2] * shape[3]]
        };
        layers.par_iter_mut().for_each(|(conv, kind, sparse)| {
            let words = masks.words.get(model.name(conv.weight)).copied();
            let (sizes, classes) = (sizes(conv), spatial::tap_classes(conv.window));
            let product = [sizes[0], sizes[1] * sizes[2]];
            sparse.take(words, (sizes, &classes), |kept| match kind {
                ConvKind::Pointwise => pointwise::fixed::<E>(kept, product),
                _ => spatial::fixed(kept, product),
            });
        });
        for (conv, kind, sparse) in layers {
            let sizes = sizes(conv);
            let product = [sizes[0], sizes[1] * sizes[2]];
            sparse.choose(|pattern| match kind {
                ConvKind::Pointwise => pointwise::choose::<E>(pattern, product, &mut WallClock),
                _ => Default::default(),
            });
        }
        self.times.masks += start.elapsed();
    }

    pub(super) fn paths(&self, model: &Model) -> Vec<LayerPaths> {
        let plan = &self.values.plan;
        let layers = model.convolutions().filter(|(_, conv, kind)| can_be_sparse(plan, conv, *kind));
        layers
            .map(|(index, ..)| self.sparse[index].shown(self.values.plan.steps[index].name.clone()))
            .collect()
    }

    pub(super) fn forward(
        &mut self,
        model: &Model,
        images: &Tensor,
        targets: Targets<'_>,
        teaching: Option<(&Pass<E::Real>, f64)>,
        (momentum, across): (f64, &mut Across<'_>),
    ) -> Result<Loss> {
        let logits = self.steps(model, images, Mode::Train { momentum }, across)?;
        let start = Instant::now();
        let loss = self.loss(targets, across.share())? + self.compare(teaching, across.share())?;
        self.times.head.forward += start.elapsed();
        Ok(Loss { loss, logits })
    }

    /// Class scores with running statistics; a backward pass cannot follow.
    pub(super) fn scores(&mut self, model: &Model, images: &Tensor) -> Result<Tensor> {
        self.steps(model, images, Mode::Eval, &mut Across::alone())
    }

    /// All steps; gives the scores.
    fn steps(
        &mut self,
        model: &Model,
        images: &Tensor,
        mode: Mode,
        across: &mut Across<'_>,
    ) -> Result<Tensor> {
        let (shapes, plan) = (model.shapes(images)?, Arc::clone(&self.values.plan));
        self.values.shapes = plan.values.iter().map(|value| shapes[value.node]).collect();
        self.values.batch = images.dims()[0];
        self.is_open = mode.is_training();
        self.read_images(images, mode)?;
        for (index, step) in plan.steps.iter().enumerate() {
            let start = Instant::now();
            match step.op {
                StepOp::Conv(conv, kind) => {
                    self.convolve(model, (step, index), (&conv, kind), mode, across)?
                }
                StepOp::Add => {
                    let value = plan.values[step.output];
                    let channels = self.values.shapes[step.output].channels();
                    let ([a, b], z) = self.values.sum(step, mode)?;
                    sum::forward(a, b, z, value.bounds, channels);
                }
                StepOp::MaxPool(_) | StepOp::AveragePool { .. } => {
                    let (dims, bounds) = (self.pool_dims(step), plan.values[step.output].bounds);
                    let Forward { x, y, .. } = self.values.forward(step, mode)?;
                    window_pool::forward(x, y, bounds, dims);
                }
                StepOp::Mean => self.average(step, mode),
                StepOp::Linear { weight, bias } => self.multiply(model, step, (weight, bias))?,
            }
            self.times.step(step).forward += start.elapsed();
        }
        let scores = &self.flat[plan.scores][0];
        Ok(Tensor::from_slice(scores, (self.values.batch, model.classes()), &candle_core::Device::Cpu)?)
    }

    /// Takes a batch `[N, C, H, W]` and moves the images innermost.
    fn read_images(&mut self, images: &Tensor, mode: Mode) -> Result<()> {
        let pixels = images.elem_count() / self.values.batch.max(1);
        let target = self.values.written(0, mode)?;
        let start = Instant::now();
        with_values([&images.contiguous()?], |[images]: [&[E::Real]; 1]| {
            transpose::transpose(images, target, pixels);
        })?;
        self.times.layout += start.elapsed();
        Ok(())
    }

    /// Sizes of a pooling of windows.
    pub(super) fn pool_dims(&self, step: &Step) -> window_pool::Dims {
        let shape = self.values.shapes[step.inputs[0]];
        let ([height, width], channels, batch) = (shape.size(), shape.channels(), self.values.batch);
        let (window, pool) = match step.op {
            StepOp::AveragePool { window, counts_padding } => (window, Pool::Mean { counts_padding }),
            StepOp::MaxPool(window) => (window, Pool::Max),
            _ => (Window::POINT, Pool::Max),
        };
        window_pool::Dims { channels, height, width, batch, window, pool }
    }

    /// One convolution: raw output and the batch norm that follows from it.
    fn convolve(
        &mut self,
        model: &Model,
        (step, index): (&Step, usize),
        (conv, kind): (&Conv, ConvKind),
        mode: Mode,
        across: &mut Across<'_>,
    ) -> Result<()> {
        let norm = self.values.plan.values[step.output].norm;
        let dims = ConvDims::of(self.values.shapes[step.inputs[0]], conv, self.values.batch);
        let Forward { x, y, channels: this } = self.values.forward(step, mode)?;
        let mut running = [Vec::new(), Vec::new()];
        if let Norm::Batch(batch) = &norm {
            running =
                [values::<E>(model.parameter(batch.mean))?, values::<E>(model.parameter(batch.variance))?];
        }
        if norm != Norm::None {
            this.resize(conv.outputs);
        }
        let [mut running_mean, mut running_variance] = running;
        let gathers = mode.is_training() && matches!(norm, Norm::Batch(_));
        let statistics = gathers.then(|| this.statistics(&running_mean));
        let kept = self.sparse[index].forward();
        with_values([model.parameter(conv.weight).as_tensor()], |[weight]: [&[E::Real]; 1]| match kind {
            ConvKind::Spatial => spatial::forward(x, weight, kept, y, statistics, dims.spatial()),
            ConvKind::Depthwise => depthwise::forward(x, weight, y, statistics, dims.depthwise()),
            ConvKind::Pointwise => pointwise::forward(weight, kept, x, y, statistics, dims.pointwise()),
        })?;
        match norm {
            Norm::None => {}
            Norm::Bias(bias) => this.shift(&values::<E>(model.parameter(bias))?),
            Norm::Batch(norm) => {
                if let Mode::Train { momentum } = mode {
                    across.moments(&running_mean, &mut this.mean, &mut this.variance)?;
                    blend(&mut running_mean, &this.mean, momentum);
                    blend(&mut running_variance, &this.variance, momentum);
                    set(model.parameter(norm.mean), running_mean)?;
                    set(model.parameter(norm.variance), running_variance)?;
                } else {
                    (this.mean, this.variance) = (running_mean, running_variance);
                }
                let scale = values::<E>(model.parameter(norm.scale))?;
                let offset = values::<E>(model.parameter(norm.offset))?;
                this.normalise(&scale, &offset, norm.epsilon);
            }
        }
        Ok(())
    }

    /// The mean of each channel.
    fn average(&mut self, step: &Step, mode: Mode) {
        let (shape, batch) = (self.values.shapes[step.inputs[0]], self.values.batch);
        let [height, width] = shape.size();
        let y = &mut self.flat[step.output][0];
        y.resize(batch * shape.channels(), E::Real::from_f64(0.0));
        pool::forward(self.values.input(step.inputs[0], mode), y, height * width, batch);
    }

    /// A linear layer.
    fn multiply(
        &mut self,
        model: &Model,
        step: &Step,
        (weight, bias): (ParameterId, Option<ParameterId>),
    ) -> Result<()> {
        let (inputs, outputs) =
            (self.values.shapes[step.inputs[0]].channels(), self.values.shapes[step.output].channels());
        let dims = linear::Dims { batch: self.values.batch, inputs, outputs };
        let zero = E::Real::from_f64(0.0);
        let bias = match bias {
            Some(bias) => values::<E>(model.parameter(bias))?,
            None => vec![zero; outputs],
        };
        let [[x, _], [y, _]] = disjoint(&mut self.flat, [step.inputs[0], step.output]);
        y.resize(dims.batch * outputs, zero);
        with_values([model.parameter(weight).as_tensor()], |[weight]: [&[E::Real]; 1]| {
            linear::forward(x, weight, &bias, y, dims);
        })?;
        Ok(())
    }

    /// The loss, and the gradient to the scores of this `share` of the batch.
    fn loss(&mut self, targets: Targets<'_>, share: f64) -> Result<f64> {
        let Targets { labels, label_smoothing, soft, .. } = targets;
        let [logits, dlogits] = &mut self.flat[self.values.plan.scores];
        dlogits.resize(logits.len(), E::Real::from_f64(0.0));
        let hard = soft.map_or(1.0, |soft| 1.0 - soft.weight);
        let mut loss = hard * cross_entropy::forward(logits, labels, label_smoothing).widen();
        cross_entropy::input_gradient(
            logits,
            labels,
            label_smoothing,
            E::Real::from_f64(hard * share),
            dlogits,
        );
        if let Some(soft) = soft {
            let (classes, temperature) = (logits.len() / labels.len(), soft.temperature);
            with_values([&soft.logits.contiguous()?], |[teacher]: [&[E::Real]; 1]| {
                let divergence = distillation::forward(logits, teacher, classes, temperature).widen();
                loss += soft.weight * divergence;
                let weight = soft.weight * share;
                distillation::add_input_gradient(logits, teacher, classes, temperature, weight, dlogits);
            })?;
        }
        Ok(loss)
    }
}

/// Whether zeros of a convolution's weight can be left out.
fn can_be_sparse(plan: &Plan, conv: &Conv, kind: ConvKind) -> bool {
    match kind {
        ConvKind::Depthwise => false,
        ConvKind::Pointwise => true,
        ConvKind::Spatial => {
            spatial::can_be_sparse(plan.graph.parameters[conv.weight].shape[1..].iter().product())
        }
    }
}

/// The sizes of a convolution, as each kernel takes them.
#[derive(Clone, Copy)]
pub(super) struct ConvDims {
    inputs: usize,
    outputs: usize,
    size: [usize; 2],
    batch: usize,
    window: Window,
}

impl ConvDims {
    /// Of a convolution that reads a value of this shape.
    pub(super) fn of(x: Shape, conv: &Conv, batch: usize) -> Self {
        let (inputs, outputs, window) = (x.channels(), conv.outputs, conv.window);
        Self { inputs, outputs, size: x.size(), batch, window }
    }

    pub(super) fn spatial(self) -> spatial::Dims {
        let Self { inputs, outputs, size: [height, width], batch, window } = self;
        spatial::Dims { outputs, inputs, height, width, batch, window }
    }

    pub(super) fn depthwise(self) -> depthwise::Dims {
        let Self { outputs: channels, size: [height, width], batch, window, .. } = self;
        let (stride, padding) = (window.stride[0], window.padding);
        depthwise::Dims { channels, height, width, batch, stride, padding }
    }

    pub(super) fn pointwise(self) -> pointwise::Dims {
        let pixels = self.size[0] * self.size[1] * self.batch;
        pointwise::Dims { outputs: self.outputs, inputs: self.inputs, pixels }
    }
}

/// `running = momentum·running + (1 − momentum)·batch`.
fn blend<T: Real>(running: &mut [T], batch: &[T], momentum: f64) {
    let (old, new) = (T::from_f64(momentum), T::from_f64(1.0 - momentum));
    running.iter_mut().zip(batch).for_each(|(running, &batch)| *running = *running * old + batch * new);
}

/// The values of a small variable.
pub(super) fn values<E: Stored<Real: Element>>(variable: &Var) -> Result<Vec<E::Real>> {
    Ok(variable.as_detached_tensor().to_vec1()?)
}

/// Sets the values of a small variable.
fn set<T: Element>(variable: &Var, values: Vec<T>) -> Result<()> {
    Ok(variable.set(&Tensor::from_vec(values, variable.shape(), variable.device())?)?)
}
