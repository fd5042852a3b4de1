//! The forward pass.

use super::feed::Fed;
use super::pass::{DevicePass, DeviceTargets};
use super::{DeviceAcross, DeviceParameters};
use crate::{ConvKind, Mode, Result};
use sparse_cuda::batch_norm::{self, Form, Parameters, Reading};
use sparse_cuda::pool::{self, Dims as PoolDims};
use sparse_cuda::{Element, Memory, Operand, Product, Queue, Slice, cross_entropy, depthwise, layout, stem};

impl<M: Memory> DevicePass<M> {
    /// Forward: scores, loss and counts of a batch, and in [`Mode::Train`] the gradient of the loss to the scores; running
    /// statistics are updated then. With other ranks all is that of this rank's part but what `across` says.
    ///
    /// # Errors
    /// The queue's.
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
        let pixels = self.config.channels * fed.size[0] * fed.size[1];
        assert_eq!(
            fed.images.bytes(),
            fed.count * pixels * size_of::<f32>(),
            "bytes of {} images",
            fed.count
        );
        assert!((fed.highest as usize) < parameters.classes(), "label {} is no class", fed.highest);
        self.resize(queue, parameters, fed.count, fed.size)?;
        self.resize_shared(queue, across)?;
        layout::batch_innermost(queue, [fed.images, self.x.slice()], [fed.count, pixels], self.element)?;
        self.narrow_weights(queue, parameters)?;
        let mut before = fed.size;
        for index in 0..self.layers.len() {
            self.convolve(queue, parameters, (index, before), mode, across)?;
            before = self.layers[index].size;
        }
        if let Some(across) = across.filter(|_| mode.is_training()) {
            across.begin_running(queue, parameters)?;
        }
        self.classify(queue, parameters)?;
        self.lose(queue, fed.labels, targets, mode)
    }

    /// One convolution, its statistics and its coefficients; `before` is the size of its input.
    fn convolve<Q: Queue<Memory = M>>(
        &self,
        queue: &Q,
        parameters: &DeviceParameters<M>,
        (index, before): (usize, [usize; 2]),
        mode: Mode,
        across: Option<DeviceAcross<'_, Q>>,
    ) -> Result<()> {
        let layer = &self.layers[index];
        let named = |suffix: &str| format!("{}_{suffix}", layer.layer.name);
        let norm = Parameters {
            running_mean: parameters.running(&named("bn_mean")),
            running_variance: parameters.running(&named("bn_variance")),
            scale: parameters.weight(&named("bn_scale")),
            offset: parameters.weight(&named("bn_offset")),
        };
        let training = mode.is_training();
        let partial = self.partial.slice();
        let moments = training.then_some(partial);
        let (y, weight) = (layer.y.slice(), parameters.weight(&named("weights")));
        match layer.layer.kind {
            ConvKind::Spatial => {
                let operands = [self.x.slice(), weight, y];
                stem::forward(queue, operands, moments, self.stem_dims(before), self.element)?;
            }
            ConvKind::Depthwise => {
                let (x, dims) = (self.reading(index - 1), self.depthwise_dims(index, before));
                depthwise::forward(queue, x, weight, y, moments, dims, self.element)?;
            }
            ConvKind::Pointwise => {
                self.normalise(queue, index - 1)?;
                self.product(queue, parameters, index)?;
                if training {
                    batch_norm::statistics(queue, y, partial, self.norm_dims(index))?;
                }
            }
        }
        let moments = match training.then(|| (partial, self.moments(index, before))) {
            Some(own) => self.share_moments(queue, own, index, across)?.or(Some(own)),
            None => None,
        };
        let momentum = if let Mode::Train { momentum } = mode { momentum } else { 1.0 };
        let form = Form { momentum, epsilon: self.config.bn_epsilon };
        Ok(batch_norm::close_statistics(queue, moments, norm, form, layer.coefficients())?)
    }

    /// A layer's output, normalised, where products read it.
    pub(super) fn normalise<Q: Queue<Memory = M>>(&self, queue: &Q, index: usize) -> Result<()> {
        let x: Reading<'_> = self.reading(index);
        Ok(batch_norm::normalise(queue, x, self.normalised.slice(), self.norm_dims(index))?)
    }

    /// The product of a pointwise layer.
    fn product<Q: Queue<Memory = M>>(
        &self,
        queue: &Q,
        parameters: &DeviceParameters<M>,
        index: usize,
    ) -> Result<()> {
        let layer = &self.layers[index];
        let (name, pixels) = (layer.weight_name(), self.norm_dims(index).pixels);
        let (x, y) = (self.normalised.slice(), layer.y.slice());
        if let Some([by_output, _]) = &layer.patterns {
            return Ok(by_output.multiply(queue, [parameters.weight(&name), x, y], pixels, self.element)?);
        }
        let weight = self.product_weight(parameters, &name);
        let sizes = [layer.layer.outputs, layer.layer.inputs, pixels];
        let (a, b) = (plain(weight), plain(x));
        Ok(queue.multiply(Product { a, b, c: y, sizes, element: self.element, result: self.element })?)
    }

    /// Global mean and head: the scores.
    fn classify<Q: Queue<Memory = M>>(&self, queue: &Q, parameters: &DeviceParameters<M>) -> Result<()> {
        let (features, logits) = (self.head.features.slice(), self.head.logits.slice());
        let dims = self.pool_dims();
        pool::forward(queue, self.reading(self.layers.len() - 1), features, dims)?;
        let (classes, weight) = (parameters.classes(), parameters.weight(&self.head_names[0]));
        let sizes = [self.batch, dims.channels, classes];
        let (a, b) = (plain(features), plain(weight));
        queue.multiply(Product { a, b, c: logits, sizes, element: Element::F32, result: Element::F32 })?;
        let bias = parameters.weight(&self.head_names[1]);
        Ok(cross_entropy::add_bias(queue, [logits, bias], [self.batch, classes])?)
    }

    fn lose<Q: Queue<Memory = M>>(
        &self,
        queue: &Q,
        labels: Slice<'_>,
        targets: DeviceTargets<'_>,
        mode: Mode,
    ) -> Result<()> {
        let head = &self.head;
        let logits = head.logits.slice();
        let classes = logits.bytes() / size_of::<f32>() / self.batch;
        let soft = targets.soft.map(|soft| (soft.logits, soft.temperature, soft.weight));
        let targets = cross_entropy::Targets { labels, smoothing: targets.label_smoothing, soft };
        let dlogits = mode.is_training().then(|| head.dlogits.slice());
        let into = [head.results.slice(), head.scalars.slice()];
        Ok(cross_entropy::forward(queue, logits, targets, dlogits, into, [self.batch, classes])?)
    }

    pub(super) fn pool_dims(&self) -> PoolDims {
        let (channels, plane) =
            self.layers.last().map_or((0, 0), |layer| (layer.layer.outputs, layer.size[0] * layer.size[1]));
        PoolDims { channels, plane, batch: self.batch, element: self.element }
    }
}

/// An operand as it is stored.
pub(super) fn plain(slice: Slice<'_>) -> Operand<'_> {
    Operand { slice, transposed: false }
}

/// An operand whose transpose is stored.
pub(super) fn transposed(slice: Slice<'_>) -> Operand<'_> {
    Operand { slice, transposed: true }
}
