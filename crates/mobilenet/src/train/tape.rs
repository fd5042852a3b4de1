//! The chain of layers over raw buffers.

use super::across::Across;
use super::buffer::Buffer;
use super::layer::Layer;
use super::paths::{LayerPaths, Masks, Sparse};
use super::times::Times;
use super::{Loss, Ready, Targets};
use crate::model::Conv;
use crate::{ConvKind, Error, HEAD_BIAS, HEAD_WEIGHT, MobileNet, Mode, Result};
use candle_core::{Tensor, Var};
use rayon::prelude::*;
use sparse_kernels::Real;
use sparse_kernels::host::activation::Input;
use sparse_kernels::host::pointwise::{self, Gradients, WallClock};
use sparse_kernels::host::vector::Stored;
use sparse_kernels::host::{conv3x3, cross_entropy, depthwise, distillation, linear, pool, transpose};
use sparse_ops::{Element, with_values};
use std::time::Instant;

/// The buffers of a step, with activations stored as `E`.
pub(super) struct Tape<E: Stored> {
    batch: usize,
    /// By what the difference of features is multiplied on the way back, for each convolution; empty without a teacher's.
    pub(super) feature_scales: Vec<f64>,
    /// Height and width of the images.
    size: [usize; 2],
    /// `[C, H, W, N]`.
    images: Buffer<E>,
    pub(super) layers: Vec<Layer<E>>,
    sparse: Vec<Sparse>,
    masked_gradient: bool,
    /// Gated gradients, of the layer at work and of the one before.
    pub(super) gradients: [Buffer<E>; 2],
    /// `[N, features]`.
    features: Vec<E::Real>,
    logits: Vec<E::Real>,
    /// Gradient of the loss to the logits, `[N, classes]`.
    dlogits: Vec<E::Real>,
    pub(super) times: Times,
}

impl<E: Stored<Real: Element>> Tape<E> {
    pub(super) fn new(layers: usize) -> Self {
        Self {
            batch: 0,
            feature_scales: Vec::new(),
            size: [0; 2],
            images: Buffer::default(),
            layers: (0..layers).map(|_| Layer::default()).collect(),
            sparse: (0..layers).map(|_| Sparse::default()).collect(),
            masked_gradient: false,
            gradients: Default::default(),
            features: Vec::new(),
            logits: Vec::new(),
            dlogits: Vec::new(),
            times: Times::default(),
        }
    }

    pub(super) fn set_masks(&mut self, model: &MobileNet, masks: &Masks<'_>) {
        self.masked_gradient = masks.masked_gradient;
        let start = Instant::now();
        let layers = model.convolutions.iter().zip(&mut self.sparse);
        let mut pointwise: Vec<(&Conv, &mut Sparse)> =
            layers.filter(|(convolution, _)| convolution.layer.kind == ConvKind::Pointwise).collect();
        pointwise.par_iter_mut().for_each(|(convolution, sparse)| {
            let words = masks.words.get(convolution.weight_name().as_str()).copied();
            let sizes = [convolution.layer.outputs, convolution.layer.inputs];
            sparse.take(words, sizes, |kept| pointwise::fixed::<E>(kept, sizes));
        });
        for (convolution, sparse) in pointwise {
            let sizes = [convolution.layer.outputs, convolution.layer.inputs];
            sparse.choose(|pattern| pointwise::choose::<E>(pattern, sizes, &mut WallClock));
        }
        self.times.masks += start.elapsed();
    }

    pub(super) fn paths(&self, model: &MobileNet) -> Vec<LayerPaths> {
        let layers = model.convolutions.iter().map(|convolution| &convolution.layer).zip(&self.sparse);
        let pointwise = layers.filter(|(layer, _)| layer.kind == ConvKind::Pointwise);
        pointwise.map(|(layer, sparse)| sparse.shown(layer.name.clone())).collect()
    }

    pub(super) fn forward(
        &mut self,
        model: &MobileNet,
        images: &Tensor,
        targets: Targets<'_>,
        teaching: Option<(&Tape<E::Real>, f64)>,
        across: &mut Across<'_>,
    ) -> Result<Loss> {
        self.convolutions(model, images, Mode::Train, across)?;
        let start = Instant::now();
        let logits = self.classify(model)?;
        let loss = self.loss(targets, across.share())? + self.compare(model, teaching, across.share())?;
        self.times.head.forward += start.elapsed();
        Ok(Loss { loss, logits })
    }

    /// Class scores with running statistics; a backward pass cannot follow.
    pub(super) fn scores(&mut self, model: &MobileNet, images: &Tensor) -> Result<Tensor> {
        self.convolutions(model, images, Mode::Eval, &mut Across::alone())?;
        let logits = self.classify(model);
        self.batch = 0;
        logits
    }

    fn convolutions(
        &mut self,
        model: &MobileNet,
        images: &Tensor,
        mode: Mode,
        across: &mut Across<'_>,
    ) -> Result<()> {
        self.read_images(images)?;
        for (index, convolution) in model.convolutions.iter().enumerate() {
            let start = Instant::now();
            self.convolve(model, convolution, index, mode, across)?;
            self.times.convolution(index).forward += start.elapsed();
        }
        Ok(())
    }

    /// Takes a batch `[N, C, H, W]` and moves the images innermost.
    fn read_images(&mut self, images: &Tensor) -> Result<()> {
        let (batch, channels, height, width) = images.dims4()?;
        (self.batch, self.size) = (batch, [height, width]);
        self.images.resize(images.elem_count())?;
        let start = Instant::now();
        let target = self.images.as_mut_slice();
        with_values([&images.contiguous()?], |[images]: [&[E::Real]; 1]| {
            transpose::transpose(images, target, channels * height * width);
        })?;
        self.times.layout += start.elapsed();
        Ok(())
    }

    /// One convolution: raw output and the batch norm that follows from it.
    fn convolve(
        &mut self,
        model: &MobileNet,
        convolution: &Conv,
        index: usize,
        mode: Mode,
        across: &mut Across<'_>,
    ) -> Result<()> {
        let (layer, batch) = (&convolution.layer, self.batch);
        let (before, rest) = self.layers.split_at_mut(index);
        let this = &mut rest[0];
        let (x, [height, width]) = match before.last() {
            None => (Input::Plain(self.images.as_slice()), self.size),
            Some(before) => (before.output(), before.size),
        };
        let (stride, padding) = (layer.stride, model.config().padding);
        let size = [height.div_ceil(stride), width.div_ceil(stride)];
        this.resize(layer.outputs, size, batch)?;
        let running = [&convolution.running_mean, &convolution.running_variance].map(values::<E>);
        let [running_mean, running_variance] = running;
        let (mut running_mean, mut running_variance) = (running_mean?, running_variance?);
        let (y, statistics) = this.target(&running_mean);
        let statistics = (mode == Mode::Train).then_some(statistics);
        let sparse = self.sparse[index].forward();
        with_values([convolution.weight.as_tensor()], |[weight]: [&[E::Real]; 1]| match layer.kind {
            ConvKind::Stem => {
                let (outputs, inputs) = (layer.outputs, layer.inputs);
                let dims = conv3x3::Dims { outputs, inputs, height, width, batch, stride, padding };
                conv3x3::forward(x.values(), weight, y, statistics, dims);
            }
            ConvKind::Depthwise => {
                let channels = layer.outputs;
                let dims = depthwise::Dims { channels, height, width, batch, stride, padding };
                depthwise::forward(x, weight, y, statistics, dims);
            }
            ConvKind::Pointwise => {
                let pixels = height * width * batch;
                let dims = pointwise::Dims { outputs: layer.outputs, inputs: layer.inputs, pixels };
                pointwise::forward(weight, sparse, x, y, statistics, dims);
            }
        })?;
        let network = model.config();
        if mode == Mode::Train {
            across.moments(&running_mean, &mut this.mean, &mut this.variance)?;
            blend(&mut running_mean, &this.mean, network.bn_momentum);
            blend(&mut running_variance, &this.variance, network.bn_momentum);
            set(&convolution.running_mean, running_mean)?;
            set(&convolution.running_variance, running_variance)?;
        } else {
            (this.mean, this.variance) = (running_mean, running_variance);
        }
        let (scale, offset) = (values::<E>(&convolution.scale)?, values::<E>(&convolution.offset)?);
        this.normalise([&scale, &offset], network.bn_epsilon, network.activation);
        Ok(())
    }

    /// Global mean and head: the scores.
    fn classify(&mut self, model: &MobileNet) -> Result<Tensor> {
        let last = &self.layers[self.layers.len() - 1];
        let (batch, classes) = (self.batch, model.config().classes);
        let inputs = last.mean.len();
        let zero = E::Real::from_f64(0.0);
        self.features.resize(batch * inputs, zero);
        self.logits.resize(batch * classes, zero);
        pool::forward(last.output(), &mut self.features, last.size[0] * last.size[1], batch);
        let head = [model.head_weight.as_tensor(), model.head_bias.as_tensor()];
        with_values(head, |[weight, bias]: [&[E::Real]; 2]| {
            let dims = linear::Dims { batch, inputs, outputs: classes };
            linear::forward(&self.features, weight, bias, &mut self.logits, dims);
        })?;
        Ok(Tensor::from_slice(&self.logits, (batch, classes), &candle_core::Device::Cpu)?)
    }

    /// The loss, and the gradient to the scores of this `share` of the batch.
    fn loss(&mut self, targets: Targets<'_>, share: f64) -> Result<f64> {
        let Targets { labels, label_smoothing, soft, .. } = targets;
        let (logits, dlogits) = (&self.logits, &mut self.dlogits);
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

    pub(super) fn backward(
        &mut self,
        model: &MobileNet,
        teacher: Option<&Tape<E::Real>>,
        across: &mut Across<'_>,
        ready: &mut Ready<'_>,
    ) -> Result<()> {
        if self.batch == 0 {
            return Err(Error::NoForward);
        }
        let start = Instant::now();
        self.head_backward(model, ready)?;
        self.times.head.backward += start.elapsed();
        for (index, convolution) in model.convolutions.iter().enumerate().rev() {
            let start = Instant::now();
            self.add_feature_gradient(teacher, index)?;
            self.convolution_backward(model, convolution, index, across, ready)?;
            self.times.convolution(index).backward += start.elapsed();
        }
        Ok(())
    }

    /// From the scores to the gated gradient of the last convolution.
    fn head_backward(&mut self, model: &MobileNet, ready: &mut Ready<'_>) -> Result<()> {
        let index = self.layers.len() - 1;
        let last = &mut self.layers[index];
        let (batch, outputs) = (self.batch, model.config().classes);
        let inputs = last.mean.len();
        let dims = linear::Dims { batch, inputs, outputs };
        let zero = E::Real::from_f64(0.0);
        let mut dfeatures = vec![zero; batch * inputs];
        let (mut dweight, mut dbias) = (vec![zero; inputs * outputs], vec![zero; outputs]);
        with_values([model.head_weight.as_tensor()], |[weight]: [&[E::Real]; 1]| {
            linear::input_gradient(weight, &self.dlogits, &mut dfeatures, dims);
        })?;
        linear::weight_gradient(&self.features, &self.dlogits, &mut dweight, dims);
        linear::bias_gradient(&self.dlogits, &mut dbias);
        ready(HEAD_WEIGHT.to_owned(), like(&model.head_weight, dweight)?)?;
        ready(HEAD_BIAS.to_owned(), like(&model.head_bias, dbias)?)?;
        self.gradients[0].resize(last.y.as_slice().len())?;
        let plane = last.size[0] * last.size[1];
        let (x, sums) = last.output_and_sums();
        pool::backward(x, &dfeatures, self.gradients[0].as_mut_slice(), Some(sums), plane, batch);
        Ok(())
    }

    /// The gradients of one convolution, and the gated gradient of the one before.
    fn convolution_backward(
        &mut self,
        model: &MobileNet,
        convolution: &Conv,
        index: usize,
        across: &mut Across<'_>,
        ready: &mut Ready<'_>,
    ) -> Result<()> {
        let (layer, batch) = (&convolution.layer, self.batch);
        let (before, rest) = self.layers.split_at_mut(index);
        let this = &mut rest[0];
        let [dscale, doffset] = this.close_gradient(batch, across)?;
        let [g, dx] = &mut self.gradients;
        let dy = this.gradient(g.as_slice());
        let (stride, padding) = (layer.stride, model.config().padding);
        let mut dw = vec![E::Real::from_f64(0.0); convolution.weight.elem_count()];
        match before.last_mut() {
            None => {
                let [height, width] = self.size;
                let (outputs, inputs) = (layer.outputs, layer.inputs);
                let dims = conv3x3::Dims { outputs, inputs, height, width, batch, stride, padding };
                conv3x3::weight_gradient(self.images.as_slice(), dy, &mut dw, dims);
            }
            Some(before) => {
                let [height, width] = before.size;
                dx.resize(before.y.as_slice().len())?;
                let dx = dx.as_mut_slice();
                let kept = self.sparse[index].backward(self.masked_gradient);
                let (x, sums) = before.output_and_sums();
                let sums = Some(sums);
                with_values([convolution.weight.as_tensor()], |[weight]: [&[E::Real]; 1]| {
                    if layer.kind == ConvKind::Pointwise {
                        let pixels = height * width * batch;
                        let dims = pointwise::Dims { outputs: layer.outputs, inputs: layer.inputs, pixels };
                        pointwise::backward(weight, kept, x, dy, Gradients { dx, sums, dw: &mut dw }, dims);
                    } else {
                        let channels = layer.outputs;
                        let dims = depthwise::Dims { channels, height, width, batch, stride, padding };
                        depthwise::backward(x, weight, dy, dx, sums, &mut dw, dims);
                    }
                })?;
            }
        }
        self.gradients.swap(0, 1);
        ready(convolution.weight_name(), like(&convolution.weight, dw)?)?;
        ready(format!("{}_bn_scale", layer.name), like(&convolution.scale, dscale)?)?;
        ready(format!("{}_bn_offset", layer.name), like(&convolution.offset, doffset)?)
    }
}

/// `running = momentum·running + (1 − momentum)·batch`.
fn blend<T: Real>(running: &mut [T], batch: &[T], momentum: f64) {
    let (old, new) = (T::from_f64(momentum), T::from_f64(1.0 - momentum));
    running.iter_mut().zip(batch).for_each(|(running, &batch)| *running = *running * old + batch * new);
}

/// The values of a small variable.
fn values<E: Stored<Real: Element>>(variable: &Var) -> Result<Vec<E::Real>> {
    Ok(variable.as_detached_tensor().to_vec1()?)
}

/// Sets the values of a small variable.
fn set<T: Element>(variable: &Var, values: Vec<T>) -> Result<()> {
    Ok(variable.set(&Tensor::from_vec(values, variable.shape(), variable.device())?)?)
}

/// A tensor of the shape of a variable.
fn like<T: Element>(variable: &Var, values: Vec<T>) -> Result<Tensor> {
    Ok(Tensor::from_vec(values, variable.shape(), variable.device())?)
}
