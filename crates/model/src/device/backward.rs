//! The backward pass.

use super::forward::{plain, transposed};
use super::pass::DevicePass;
use super::{DeviceAcross, DeviceParameters};
use crate::{ConvKind, Result};
use sparse_cuda::batch_norm::{self, PartialSums};
use sparse_cuda::depthwise::{self, OutputGradient};
use sparse_cuda::{Element, Memory, Product, Queue, cross_entropy, partial_sums, pool, stem};

impl<M: Memory> DevicePass<M> {
    /// Backward: the gradient of the last forward's loss to every trainable variable, in the parameters' run of gradients. With other ranks,
    /// of the mean loss of all; sums over ranks go on beside the pass.
    ///
    /// # Errors
    /// The queue's.
    pub fn backward<Q: Queue<Memory = M>>(
        &mut self,
        queue: &Q,
        parameters: &DeviceParameters<M>,
        across: Option<DeviceAcross<'_, Q>>,
    ) -> Result<()> {
        let mut sending = across.map(|across| (across, self.sending(parameters)));
        self.head_backward(queue, parameters, across)?;
        for index in (0..self.layers.len()).rev() {
            let before = if index == 0 { self.size } else { self.layers[index - 1].size };
            match self.layers[index].layer.kind {
                ConvKind::Spatial => self.stem_backward(queue, parameters, before)?,
                ConvKind::Depthwise => self.depthwise_backward(queue, parameters, (index, before), across)?,
                ConvKind::Pointwise => self.pointwise_backward(queue, parameters, index, across)?,
            }
            self.gradients.swap(0, 1);
            if let Some((across, sending)) = &mut sending {
                across.begin_gradients(queue, parameters.all_gradients(), sending, index)?;
            }
        }
        across.map_or(Ok(()), |across| Ok(across.all_reduce.join(queue)?))
    }

    /// From the scores to the gated gradient of the last convolution.
    fn head_backward<Q: Queue<Memory = M>>(
        &self,
        queue: &Q,
        parameters: &DeviceParameters<M>,
        across: Option<DeviceAcross<'_, Q>>,
    ) -> Result<()> {
        let (head, dims, classes) = (&self.head, self.pool_dims(), parameters.classes());
        let (dlogits, features) = (head.dlogits.slice(), dims.channels);
        let multiply = |a, b, c, sizes| {
            queue.multiply(Product { a, b, c, sizes, element: Element::F32, result: Element::F32 })
        };
        let (weight, dweight) =
            (parameters.weight(&self.head_names[0]), parameters.gradient(&self.head_names[0]));
        let dfeatures = head.dfeatures.slice();
        multiply(plain(dlogits), transposed(weight), dfeatures, [self.batch, classes, features])?;
        let sizes = [features, self.batch, classes];
        multiply(transposed(head.features.slice()), plain(dlogits), dweight, sizes)?;
        let dbias = parameters.gradient(&self.head_names[1]);
        cross_entropy::bias_gradient(queue, [dlogits, dbias], [self.batch, classes])?;
        let last = self.layers.len() - 1;
        let into = [self.gradients[0].slice(), self.partial.slice()];
        pool::backward(queue, self.reading(last), dfeatures, into, dims)?;
        self.close_gradient(queue, parameters, last, dims.partial(), across)
    }

    /// The gradients of a layer's batch norm, from the partial sums of the gradient behind it.
    fn close_gradient<Q: Queue<Memory = M>>(
        &self,
        queue: &Q,
        parameters: &DeviceParameters<M>,
        index: usize,
        sums: PartialSums,
        across: Option<DeviceAcross<'_, Q>>,
    ) -> Result<()> {
        let layer = &self.layers[index];
        let into = ["bn_scale", "bn_offset"]
            .map(|suffix| parameters.gradient(&format!("{}_{suffix}", layer.layer.name)));
        let (partial, pixels) = ((self.partial.slice(), sums), self.norm_dims(index).pixels);
        batch_norm::close_gradient(queue, partial, pixels, layer.coefficients(), into)?;
        self.close_shared_gradient(queue, sums, index, across)
    }

    fn stem_backward<Q: Queue<Memory = M>>(
        &self,
        queue: &Q,
        parameters: &DeviceParameters<M>,
        before: [usize; 2],
    ) -> Result<()> {
        let into = [self.partial.slice(), parameters.gradient(&self.layers[0].weight_name())];
        let dims = self.stem_dims(before);
        Ok(stem::weight_gradient(queue, self.x.slice(), self.output_gradient(0), into, dims, self.element)?)
    }

    fn depthwise_backward<Q: Queue<Memory = M>>(
        &self,
        queue: &Q,
        parameters: &DeviceParameters<M>,
        (index, before): (usize, [usize; 2]),
        across: Option<DeviceAcross<'_, Q>>,
    ) -> Result<()> {
        let (name, dims) = (self.layers[index].weight_name(), self.depthwise_dims(index, before));
        let (x, weight, partial) = (self.reading(index - 1), parameters.weight(&name), self.partial.slice());
        let into = [self.gradients[1].slice(), partial];
        depthwise::backward(queue, x, weight, self.output_gradient(index), into, dims, self.element)?;
        let sums = depthwise::backward_partial(dims, self.element);
        partial_sums::fold(queue, (partial, sums), 9, dims.channels, parameters.gradient(&name))?;
        self.close_gradient(queue, parameters, index - 1, sums, across)
    }

    fn pointwise_backward<Q: Queue<Memory = M>>(
        &self,
        queue: &Q,
        parameters: &DeviceParameters<M>,
        index: usize,
        across: Option<DeviceAcross<'_, Q>>,
    ) -> Result<()> {
        let layer = &self.layers[index];
        let (name, norm, before) = (layer.weight_name(), self.norm_dims(index), self.norm_dims(index - 1));
        let [g, dx] = [0, 1].map(|i| self.gradients[i].slice());
        let (x, dy, pixels) = (self.normalised.slice(), self.dy.slice(), norm.pixels);
        batch_norm::output_gradient(queue, [g, layer.y.slice()], layer.coefficients(), dy, norm)?;
        self.normalise(queue, index - 1)?;
        let (element, dweight) = (self.element, parameters.gradient(&name));
        let [outputs, inputs] = [layer.layer.outputs, layer.layer.inputs];
        match &layer.patterns {
            Some([by_output, _]) if self.masked_gradient => {
                by_output.gradient(queue, [dy, x, self.partial.slice(), dweight], pixels, element)?;
            }
            _ => {
                let (a, b, sizes) = (plain(dy), transposed(x), [outputs, pixels, inputs]);
                queue.multiply(Product { a, b, c: dweight, sizes, element, result: Element::F32 })?;
            }
        }
        match &layer.patterns {
            Some([_, by_input]) => {
                by_input.multiply(queue, [parameters.weight(&name), dy, dx], pixels, element)?;
            }
            None => {
                let weight = self.product_weight(parameters, &name);
                let (a, b, sizes) = (transposed(weight), plain(dy), [inputs, outputs, pixels]);
                queue.multiply(Product { a, b, c: dx, sizes, element, result: element })?;
            }
        }
        batch_norm::gate(queue, dx, self.reading(index - 1), self.partial.slice(), before)?;
        self.close_gradient(queue, parameters, index - 1, before.partial(), across)
    }

    /// The gradient to a layer's output: through its batch norm.
    fn output_gradient(&self, index: usize) -> OutputGradient<'_> {
        let layer = &self.layers[index];
        OutputGradient { g: self.gradients[0].slice(), behind: Some((layer.y.slice(), layer.coefficients())) }
    }
}
