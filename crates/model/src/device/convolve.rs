//! One convolution forward: raw output, its statistics, and the batch norm that follows from them.

use super::pass::DevicePass;
use super::{DeviceAcross, DeviceParameters};
use crate::{Mode, Result};
use sparse_cuda::batch_norm::{self, Form, Parameters, PartialSums};
use sparse_cuda::weight::{self, Weight};
use sparse_cuda::windows::Dims;
use sparse_cuda::{Matrix, Memory, Queue, Slice, depthwise, spatial, stem};
use sparse_network::{Conv, ConvKind, ConvLayer, Norm, Step, StepOp};

/// Which kernels compute a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kernels {
    /// 3×3 over the channels of the images.
    Stem,
    Depthwise,
    /// A product with the pixels.
    Pointwise,
    /// Products with the patches.
    Spatial,
}

impl Kernels {
    pub(super) fn of(step: &Step, conv: &Conv, kind: ConvKind) -> Self {
        match kind {
            ConvKind::Depthwise => Self::Depthwise,
            ConvKind::Pointwise => Self::Pointwise,
            ConvKind::Spatial if step.inputs == [0] && stem::fits(&conv.window) => Self::Stem,
            ConvKind::Spatial => Self::Spatial,
        }
    }

    /// Whether zeros of the weight can be left out.
    pub(super) fn can_be_sparse(self, layer: &ConvLayer) -> bool {
        match self {
            Self::Stem | Self::Depthwise => false,
            Self::Pointwise => true,
            Self::Spatial => sparse_kernels::spatial::can_be_sparse(layer.shape[1..].iter().product()),
        }
    }
}

/// A convolution of a plan.
#[derive(Clone, Copy)]
pub(super) struct Convolution<'a> {
    pub(super) step: &'a Step,
    /// The place of the step.
    pub(super) index: usize,
    pub(super) conv: Conv,
    pub(super) kernels: Kernels,
    pub(super) dims: Dims,
}

impl<M: Memory> DevicePass<M> {
    /// The convolution of a step, if it is one.
    pub(super) fn convolution<'a>(&self, (step, index): (&'a Step, usize)) -> Option<Convolution<'a>> {
        let StepOp::Conv(conv, kind) = step.op else { return None };
        let (kernels, dims) = (Kernels::of(step, &conv, kind), self.values.windows(step));
        Some(Convolution { step, index, conv, kernels, dims })
    }

    pub(super) fn convolve<Q: Queue<Memory = M>>(
        &mut self,
        queue: &Q,
        parameters: &DeviceParameters<M>,
        step: (&Step, usize),
        (mode, across): (Mode, Option<DeviceAcross<'_, Q>>),
    ) -> Result<()> {
        let Some(of) = self.convolution(step) else { return Ok(()) };
        let (input, output) = (of.step.inputs[0], of.step.output);
        let gathers = mode.is_training() && matches!(self.values.plan.values[output].norm, Norm::Batch(_));
        let sums = self.moments(&of);
        self.scratch.partial.reserve(queue, sums.bytes(of.dims.outputs))?;
        self.reserve(queue, &of)?;
        let (x, y, element) = (self.values.reading(input), self.values.slice(output), self.values.element);
        let weight = parameters.weight(self.name(of.conv.weight));
        let partial = self.scratch.partial.slice();
        let moments = gathers.then_some(partial);
        match of.kernels {
            Kernels::Stem => stem::forward(queue, [x.y, weight, y], moments, of.dims, element)?,
            Kernels::Depthwise => depthwise::forward(queue, x, weight, y, moments, of.dims, element)?,
            Kernels::Pointwise => {
                let matrices = [self.product_input(queue, input)?, y].map(|values| of.pixels(values));
                self.weight(parameters, &of).multiply(queue, matrices, of.dims.plane(), element)?;
            }
            Kernels::Spatial => {
                let into = [y, self.patches(&of)];
                spatial::forward(queue, x, &self.weight(parameters, &of), into, of.dims, element)?;
            }
        }
        if gathers && matches!(of.kernels, Kernels::Pointwise | Kernels::Spatial) {
            batch_norm::statistics(queue, y, partial, self.values.dims(output))?;
        }
        self.close_statistics(queue, parameters, (output, sums), (mode, across))
    }

    /// Room for what products of a convolution read.
    pub(super) fn reserve<Q: Queue<Memory = M>>(&mut self, queue: &Q, of: &Convolution<'_>) -> Result<()> {
        match of.kernels {
            Kernels::Stem | Kernels::Depthwise => Ok(()),
            Kernels::Pointwise => {
                self.scratch.normalised.reserve(queue, self.values.bytes(of.step.inputs[0]))
            }
            Kernels::Spatial => {
                let bytes = spatial::patches_bytes(of.dims, self.values.element);
                self.scratch.patches.reserve(queue, bytes)
            }
        }
    }

    /// Room for patches, of a size that follows from the convolution alone: it decides in which order gradients are added up.
    pub(super) fn patches(&self, of: &Convolution<'_>) -> Slice<'_> {
        self.scratch.patches.slice().part(0, spatial::patches_bytes(of.dims, self.values.element))
    }

    /// What the forward kernels leave of an output's statistics.
    fn moments(&self, of: &Convolution<'_>) -> PartialSums {
        let element = self.values.element;
        match of.kernels {
            Kernels::Stem => stem::moments_partial(of.dims, element),
            Kernels::Depthwise => depthwise::moments_partial(of.dims, element),
            Kernels::Pointwise | Kernels::Spatial => self.values.dims(of.step.output).moments(),
        }
    }

    /// A value as products read it, which cannot normalise.
    pub(super) fn product_input<Q: Queue<Memory = M>>(&self, queue: &Q, value: usize) -> Result<Slice<'_>> {
        let x = self.values.reading(value);
        if x.coefficients.is_none() {
            return Ok(x.y);
        }
        let z = self.scratch.normalised.slice();
        batch_norm::normalise(queue, x, z, self.values.dims(value))?;
        Ok(z)
    }

    /// The weight of a convolution over all channels.
    pub(super) fn weight<'a>(
        &'a self,
        parameters: &'a DeviceParameters<M>,
        of: &Convolution<'_>,
    ) -> Weight<'a, M> {
        let name = self.name(of.conv.weight);
        let values = match &self.patterns[of.index] {
            Some(patterns) => weight::Values::Sparse(parameters.weight(name), patterns),
            None => weight::Values::Dense(self.product_weight(parameters, name)),
        };
        Weight { sizes: of.sizes(), values }
    }

    /// How a value is read from here on: by the moments of the batch, or by running statistics.
    fn close_statistics<Q: Queue<Memory = M>>(
        &self,
        queue: &Q,
        parameters: &DeviceParameters<M>,
        (value, sums): (usize, PartialSums),
        (mode, across): (Mode, Option<DeviceAcross<'_, Q>>),
    ) -> Result<()> {
        let Some(coefficients) = self.values.coefficients(value) else { return Ok(()) };
        let norm = match self.values.plan.values[value].norm {
            Norm::None => return Ok(()),
            Norm::Bias(bias) => {
                let bias = parameters.weight(self.name(bias));
                return Ok(batch_norm::take_bias(queue, bias, coefficients)?);
            }
            Norm::Batch(norm) => norm,
        };
        let of = Parameters {
            running_mean: parameters.running(self.name(norm.mean)),
            running_variance: parameters.running(self.name(norm.variance)),
            scale: parameters.weight(self.name(norm.scale)),
            offset: parameters.weight(self.name(norm.offset)),
        };
        let (moments, momentum) = match mode {
            Mode::Train { momentum } => {
                let own = (self.scratch.partial.slice(), sums);
                (Some(self.share_moments(queue, own, value, across)?.unwrap_or(own)), momentum)
            }
            Mode::Eval => (None, 1.0),
        };
        let form = Form { momentum, epsilon: norm.epsilon };
        Ok(batch_norm::close_statistics(queue, moments, of, form, coefficients)?)
    }
}

impl Convolution<'_> {
    /// Outputs, and weights of each.
    pub(super) fn sizes(&self) -> [usize; 2] {
        [self.dims.outputs, self.dims.inputs * self.dims.taps()]
    }

    /// Values of a pointwise convolution as a matrix.
    pub(super) fn pixels<'a>(&self, values: Slice<'a>) -> Matrix<'a> {
        Matrix::new(values, self.dims.plane())
    }
}
