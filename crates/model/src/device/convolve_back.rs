//! The gradients of one convolution.

use super::convolve::{Convolution, Kernels};
use super::gradients::Going;
use super::pass::DevicePass;
use super::{DeviceAcross, DeviceParameters};
use crate::Result;
use sparse_cuda::weight::WeightGradient;
use sparse_cuda::{Memory, Queue, Slice, batch_norm, depthwise, partial_sums, spatial, stem};
use sparse_network::Step;

impl<M: Memory> DevicePass<M> {
    pub(super) fn convolve_back<Q: Queue<Memory = M>>(
        &mut self,
        queue: &Q,
        parameters: &DeviceParameters<M>,
        step: (&Step, usize),
        across: Option<DeviceAcross<'_, Q>>,
    ) -> Result<()> {
        let Some(of) = self.convolution(step) else { return Ok(()) };
        let going = Going::of(of.step, 0);
        self.reserve(queue, &of)?;
        self.reserve_back(queue, &of, going)?;
        match of.kernels {
            Kernels::Stem => self.stem_back(queue, parameters, &of),
            Kernels::Depthwise => self.depthwise_back(queue, parameters, (&of, going), across),
            Kernels::Pointwise => self.pointwise_back(queue, parameters, (&of, going), across),
            Kernels::Spatial => self.spatial_back(queue, parameters, (&of, going), across),
        }
    }

    /// Room for the gradients of a convolution and their partial sums.
    fn reserve_back<Q: Queue<Memory = M>>(
        &mut self,
        queue: &Q,
        of: &Convolution<'_>,
        going: Option<Going>,
    ) -> Result<()> {
        let (dims, element) = (of.dims, self.values.element);
        going.map_or(Ok(()), |going| self.prepare(queue, going))?;
        let pattern = self.patterns[of.index].as_ref().map(|[by_output, _]| by_output);
        let partial = match of.kernels {
            Kernels::Stem => stem::gradient_partial(dims, element).bytes(dims.inputs * dims.outputs),
            Kernels::Depthwise => depthwise::backward_partial(dims, element).bytes(dims.inputs),
            Kernels::Pointwise => pattern.map_or(0, |pattern| pattern.partial_bytes(dims.plane())),
            Kernels::Spatial => {
                let columns = spatial::columns_at_once(dims, element);
                pattern.map_or(0, |pattern| pattern.partial_bytes(columns))
            }
        };
        self.scratch.partial.reserve(queue, partial)?;
        match of.kernels {
            Kernels::Stem => return Ok(()),
            // It has nowhere to go, but is written.
            Kernels::Depthwise if going.is_none() => {
                return self.scratch.part.reserve(queue, self.values.bytes(of.step.inputs[0]));
            }
            Kernels::Depthwise => return Ok(()),
            Kernels::Pointwise | Kernels::Spatial => {}
        }
        self.scratch.dy.reserve(queue, self.values.bytes(of.step.output))?;
        if of.kernels == Kernels::Spatial && going.is_some() {
            self.scratch.patches.reserve(queue, spatial::input_gradient_bytes(dims, element))?;
        }
        Ok(())
    }

    fn stem_back<Q: Queue<Memory = M>>(
        &self,
        queue: &Q,
        parameters: &DeviceParameters<M>,
        of: &Convolution<'_>,
    ) -> Result<()> {
        let into = [self.scratch.partial.slice(), parameters.gradient(self.name(of.conv.weight))];
        let (x, dy) = (self.values.slice(of.step.inputs[0]), self.values.output_gradient(of.step.output));
        Ok(stem::weight_gradient(queue, x, dy, into, of.dims, self.values.element)?)
    }

    fn depthwise_back<Q: Queue<Memory = M>>(
        &self,
        queue: &Q,
        parameters: &DeviceParameters<M>,
        (of, going): (&Convolution<'_>, Option<Going>),
        across: Option<DeviceAcross<'_, Q>>,
    ) -> Result<()> {
        let (values, element, name) = (&self.values, self.values.element, self.name(of.conv.weight));
        let (x, dy) = (values.reading(of.step.inputs[0]), values.output_gradient(of.step.output));
        let (partial, sums) = (self.scratch.partial.slice(), depthwise::backward_partial(of.dims, element));
        let part = going.map_or(self.scratch.part.slice(), |going| self.destination(going));
        depthwise::backward(queue, x, parameters.weight(name), dy, [part, partial], of.dims, element)?;
        partial_sums::fold(queue, (partial, sums), 9, of.dims.inputs, parameters.gradient(name))?;
        going.map_or(Ok(()), |going| self.arrive_shut(queue, parameters, (going, sums), across))
    }

    fn pointwise_back<Q: Queue<Memory = M>>(
        &self,
        queue: &Q,
        parameters: &DeviceParameters<M>,
        (of, going): (&Convolution<'_>, Option<Going>),
        across: Option<DeviceAcross<'_, Q>>,
    ) -> Result<()> {
        let (pixels, element) = (of.dims.plane(), self.values.element);
        let dy = of.pixels(self.product_gradient(queue, of.step.output)?);
        let x = of.pixels(self.product_input(queue, of.step.inputs[0])?);
        self.weight_gradient(parameters, of).add(queue, [dy, x], pixels, element, true)?;
        let Some(going) = going else { return Ok(()) };
        let part = self.destination(going);
        let (weight, rows) = (self.weight(parameters, of), 0..of.dims.inputs);
        weight.multiply_transposed(queue, rows, [dy, of.pixels(part)], pixels, element)?;
        self.arrive(queue, parameters, (going, part), across)
    }

    fn spatial_back<Q: Queue<Memory = M>>(
        &self,
        queue: &Q,
        parameters: &DeviceParameters<M>,
        (of, going): (&Convolution<'_>, Option<Going>),
        across: Option<DeviceAcross<'_, Q>>,
    ) -> Result<()> {
        let (dims, element) = (of.dims, self.values.element);
        let dy = self.product_gradient(queue, of.step.output)?;
        let (x, slices) = (self.values.reading(of.step.inputs[0]), [dy, self.patches(of)]);
        let into = self.weight_gradient(parameters, of);
        spatial::weight_gradient(queue, x, &into, slices, dims, element)?;
        let Some(going) = going else { return Ok(()) };
        let part = self.destination(going);
        let patches = self.scratch.patches.slice().part(0, spatial::input_gradient_bytes(dims, element));
        let weight = self.weight(parameters, of);
        spatial::input_gradient(queue, &weight, [dy, part, patches], dims, element)?;
        self.arrive(queue, parameters, (going, part), across)
    }

    /// The gradient to the raw output of a product.
    fn product_gradient<Q: Queue<Memory = M>>(&self, queue: &Q, value: usize) -> Result<Slice<'_>> {
        let depthwise::OutputGradient { g, behind } = self.values.output_gradient(value);
        let Some((y, coefficients)) = behind else { return Ok(g) };
        let dy = self.scratch.dy.slice();
        batch_norm::output_gradient(queue, [g, y], coefficients, dy, self.values.dims(value))?;
        Ok(dy)
    }

    /// Where the gradient to the weight of a convolution over all channels goes.
    fn weight_gradient<'a>(
        &'a self,
        parameters: &'a DeviceParameters<M>,
        of: &Convolution<'_>,
    ) -> WeightGradient<'a, M> {
        let patterns = self.patterns[of.index].as_ref().filter(|_| self.masked_gradient);
        let kept = patterns.map(|[by_output, _]| (by_output, self.scratch.partial.slice()));
        WeightGradient { sizes: of.sizes(), dw: parameters.gradient(self.name(of.conv.weight)), kept }
    }
}
