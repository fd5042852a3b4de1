//! What the passes keep on the device.

use super::DeviceParameters;
use super::room::Room;
use crate::{ConvKind, ConvLayer, Error, NetworkConfig, Precision, Result};
use sparse_cuda::batch_norm::{self, Coefficients, PartialSums, Reading};
use sparse_cuda::sparse_pointwise::Pattern;
use sparse_cuda::{Element, Memory, Queue, Slice, cross_entropy, layout};
use sparse_kernels::{depthwise, spatial};
use sparse_network::{Bounds, Norm, Plan, StepOp, Window};

/// Forward and backward passes of a model on a device, one after the other.
pub struct DevicePass<M> {
    pub(super) config: NetworkConfig,
    /// Names of the weight and the bias of the head.
    pub(super) head_names: [String; 2],
    pub(super) element: Element,
    pub(super) layers: Vec<DeviceLayer<M>>,
    pub(super) batch: usize,
    /// Whether pruned weights need no gradient.
    pub(super) masked_gradient: bool,
    /// Height and width of the images.
    pub(super) size: [usize; 2],
    /// The images with the batch innermost.
    pub(super) x: Room<M>,
    /// Input of a product, normalised; gradient to its output.
    pub(super) normalised: Room<M>,
    pub(super) dy: Room<M>,
    /// Gradients behind the ReLU, of the layer at hand and of the one before.
    pub(super) gradients: [Room<M>; 2],
    pub(super) partial: Room<M>,
    /// The weights as products of half precision read them.
    pub(super) narrow: Room<M>,
    pub(super) head: Head<M>,
    /// What batch norm shares with other ranks, and a place for results that nobody reads.
    pub(super) shared: Room<M>,
    pub(super) unshared: Room<M>,
}

/// What the head keeps; all f32.
pub(super) struct Head<M> {
    pub(super) features: Room<M>,
    pub(super) logits: Room<M>,
    pub(super) dlogits: Room<M>,
    pub(super) dfeatures: Room<M>,
    pub(super) results: Room<M>,
    pub(super) scalars: Room<M>,
}

/// A convolution and the batch norm behind it.
pub(super) struct DeviceLayer<M> {
    pub(super) layer: ConvLayer,
    /// Raw output, `[C, H, W, N]`.
    pub(super) y: Room<M>,
    pub(super) coefficients: Room<M>,
    /// Height and width of the output.
    pub(super) size: [usize; 2],
    /// Kept positions by output and by input, for a pointwise layer that leaves its zeros out.
    pub(super) patterns: Option<[Pattern<M>; 2]>,
}

/// What a batch is to learn beside its labels.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeviceTargets<'a> {
    /// ε of label smoothing, fraction; 0 = off.
    pub label_smoothing: f64,
    /// A teacher's scores.
    pub soft: Option<DeviceSoftTargets<'a>>,
}

/// Scores of a teacher, on the device.
#[derive(Clone, Copy, Debug)]
pub struct DeviceSoftTargets<'a> {
    /// f32, `[N, classes]`.
    pub logits: Slice<'a>,
    /// Divides the scores of both.
    pub temperature: f64,
    /// Their share of the loss, fraction.
    pub weight: f64,
}

/// What was found of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchResults {
    /// Mean loss.
    pub loss: f64,
    /// Images whose label has the largest score; of equal scores the lower class comes first.
    pub first: u64,
    /// Images whose label is among the five largest.
    pub among_five: u64,
}

impl<M: Memory> DevicePass<M> {
    /// Passes for models of this configuration.
    ///
    /// # Errors
    /// [`Error::NoKernels`] for a network that only the CPU trains, and as [`NetworkConfig::graph`].
    pub fn new(config: NetworkConfig, precision: Precision) -> Result<Self> {
        let element = match precision {
            Precision::Full => Element::F32,
            Precision::Bf16 => Element::Bf16,
        };
        let plan = Plan::new(config.graph()?)?;
        check(&plan)?;
        let (weight, bias) =
            plan.graph.head().ok_or(Error::NoKernels { step: config.kind.name().to_owned() })?;
        let head_names = [weight.name.clone(), bias.map_or_else(String::new, |bias| bias.name.clone())];
        let layers = plan.layers().into_iter().map(DeviceLayer::new).collect();
        let head = Head {
            features: Room::default(),
            logits: Room::default(),
            dlogits: Room::default(),
            dfeatures: Room::default(),
            results: Room::default(),
            scalars: Room::default(),
        };
        Ok(Self {
            config,
            head_names,
            element,
            layers,
            batch: 0,
            masked_gradient: false,
            size: [0; 2],
            x: Room::default(),
            normalised: Room::default(),
            dy: Room::default(),
            gradients: [Room::default(), Room::default()],
            partial: Room::default(),
            narrow: Room::default(),
            head,
            shared: Room::default(),
            unshared: Room::default(),
        })
    }

    /// Leaves the zeros of these pointwise layers out, by the masks that the parameters hold now; the others are dense. The gradient to the
    /// weight leaves them out only if pruned weights need none (`masked_gradient`).
    ///
    /// # Errors
    /// The queue's.
    pub fn set_sparse<Q: Queue<Memory = M>>(
        &mut self,
        queue: &Q,
        parameters: &DeviceParameters<M>,
        sparse: impl Fn(&ConvLayer) -> bool,
        masked_gradient: bool,
    ) -> Result<()> {
        self.masked_gradient = masked_gradient;
        for layer in self.layers.iter_mut().filter(|layer| layer.layer.kind == ConvKind::Pointwise) {
            if !sparse(&layer.layer) {
                layer.patterns = None;
                continue;
            }
            let sizes = [layer.layer.outputs, layer.layer.inputs];
            if layer.patterns.is_none() {
                layer.patterns =
                    Some([Pattern::new(queue, sizes, false)?, Pattern::new(queue, sizes, true)?]);
            }
            let span = parameters.spans()[&layer.weight_name()];
            for pattern in layer.patterns.iter().flatten() {
                pattern.take(queue, span.mask_of(parameters.words()))?;
            }
        }
        Ok(())
    }

    /// The scalars of the last forward pass; waits for the device.
    ///
    /// # Errors
    /// The queue's.
    pub fn results<Q: Queue<Memory = M>>(&self, queue: &Q) -> Result<BatchResults> {
        let mut scalars = [0.0f64; cross_entropy::SCALARS_BYTES / size_of::<f64>()];
        queue.read(self.head.scalars.slice(), bytemuck::cast_slice_mut(&mut scalars))?;
        let [loss, first, among_five] = scalars;
        Ok(BatchResults { loss, first: first as u64, among_five: among_five as u64 })
    }

    /// The scores of the last forward pass on the device, f32, `[N, classes]`.
    pub fn logits(&self) -> Slice<'_> {
        self.head.logits.slice()
    }

    /// The scores of the last forward pass, `[N, classes]`; waits for the device.
    ///
    /// # Errors
    /// The queue's.
    pub fn scores<Q: Queue<Memory = M>>(&self, queue: &Q) -> Result<Vec<f32>> {
        Ok(sparse_cuda::download(queue, self.head.logits.slice())?)
    }

    /// Makes room for a batch of images of this size.
    pub(super) fn resize<Q: Queue<Memory = M>>(
        &mut self,
        queue: &Q,
        parameters: &DeviceParameters<M>,
        batch: usize,
        size: [usize; 2],
    ) -> Result<()> {
        let element = self.element.size();
        let image = self.config.channels * size[0] * size[1];
        (self.batch, self.size) = (batch, size);
        self.x.resize(queue, batch * image * element)?;
        let (mut before, mut largest, mut inputs, mut outputs) = (size, 0, 0, 0);
        for layer in &mut self.layers {
            layer.size = before.map(|side| side.div_ceil(layer.layer.stride));
            let pixels = layer.size[0] * layer.size[1] * batch;
            layer.y.resize(queue, layer.layer.outputs * pixels * element)?;
            layer.coefficients.resize(queue, Coefficients::bytes(layer.layer.outputs))?;
            largest = largest.max(layer.layer.outputs * pixels);
            if layer.layer.kind == ConvKind::Pointwise {
                inputs = inputs.max(layer.layer.inputs * pixels);
                outputs = outputs.max(layer.layer.outputs * pixels);
            }
            before = layer.size;
        }
        self.normalised.resize(queue, inputs * element)?;
        self.dy.resize(queue, outputs * element)?;
        self.gradients.iter_mut().try_for_each(|room| room.resize(queue, largest * element))?;
        if self.element != Element::F32 {
            self.narrow.resize(queue, parameters.weights().bytes() / size_of::<f32>() * element)?;
        }
        self.resize_partial(queue, size)?;
        let features = self.layers.last().map_or(0, |layer| layer.layer.outputs);
        self.head.resize(queue, batch, features, parameters.classes())
    }

    /// Room for the most partial sums that any kernel leaves.
    fn resize_partial<Q: Queue<Memory = M>>(&mut self, queue: &Q, size: [usize; 2]) -> Result<()> {
        let mut bytes = 0;
        let mut before = size;
        for index in 0..self.layers.len() {
            let layer = &self.layers[index];
            let outputs = layer.layer.outputs;
            let pixels = layer.size[0] * layer.size[1] * self.batch;
            bytes = bytes.max(self.moments(index, before).bytes(outputs));
            bytes = bytes.max(self.norm_dims(index).partial().bytes(outputs));
            match layer.layer.kind {
                ConvKind::Spatial => {
                    let dims = self.stem_dims(before);
                    let sums = sparse_cuda::stem::gradient_partial(dims, self.element);
                    bytes = bytes.max(sums.bytes(outputs * layer.layer.inputs));
                }
                ConvKind::Depthwise => {
                    let dims = self.depthwise_dims(index, before);
                    let sums = sparse_cuda::depthwise::backward_partial(dims, self.element);
                    bytes = bytes.max(sums.bytes(outputs));
                }
                ConvKind::Pointwise => {
                    let patterns = layer.patterns.iter().flatten();
                    bytes = patterns.map(|pattern| pattern.partial_bytes(pixels)).fold(bytes, usize::max);
                }
            }
            before = layer.size;
        }
        // Pooling leaves two sums of each channel and 128 images.
        let last = self.layers.last().map_or(0, |layer| layer.layer.outputs);
        bytes = bytes.max(self.batch.div_ceil(128) * 2 * last * size_of::<f32>());
        self.partial.resize(queue, bytes)
    }

    /// What the forward kernel of a layer leaves of its output's statistics.
    pub(super) fn moments(&self, index: usize, before: [usize; 2]) -> PartialSums {
        match self.layers[index].layer.kind {
            ConvKind::Spatial => sparse_cuda::stem::moments_partial(self.stem_dims(before), self.element),
            ConvKind::Depthwise => {
                let dims = self.depthwise_dims(index, before);
                sparse_cuda::depthwise::moments_partial(dims, self.element)
            }
            ConvKind::Pointwise => self.norm_dims(index).moments(),
        }
    }

    pub(super) fn norm_dims(&self, index: usize) -> batch_norm::Dims {
        let layer = &self.layers[index];
        let pixels = layer.size[0] * layer.size[1] * self.batch;
        batch_norm::Dims { channels: layer.layer.outputs, pixels, element: self.element }
    }

    pub(super) fn stem_dims(&self, [height, width]: [usize; 2]) -> spatial::Dims {
        let ConvLayer { outputs, inputs, stride, .. } = self.layers[0].layer;
        let (batch, window) = (self.batch, Window::square(3, stride, self.config.padding));
        spatial::Dims { outputs, inputs, height, width, batch, window }
    }

    pub(super) fn depthwise_dims(&self, index: usize, [height, width]: [usize; 2]) -> depthwise::Dims {
        let ConvLayer { outputs: channels, stride, .. } = self.layers[index].layer;
        depthwise::Dims { channels, height, width, batch: self.batch, stride, padding: self.config.padding }
    }

    /// A layer's output as the next one reads it.
    pub(super) fn reading(&self, index: usize) -> Reading<'_> {
        let layer = &self.layers[index];
        let coefficients = Some(layer.coefficients());
        Reading { y: layer.y.slice(), coefficients, bounds: self.config.activation.bounds() }
    }

    /// A pointwise weight as products read it.
    pub(super) fn product_weight<'a>(&'a self, parameters: &'a DeviceParameters<M>, name: &str) -> Slice<'a> {
        if self.element == Element::F32 {
            return parameters.weight(name);
        }
        let span = parameters.spans()[name];
        self.narrow.slice().part(span.start * self.element.size(), span.len * self.element.size())
    }

    /// Rounds all weights for the products of half precision.
    pub(super) fn narrow_weights<Q: Queue<Memory = M>>(
        &self,
        queue: &Q,
        parameters: &DeviceParameters<M>,
    ) -> Result<()> {
        if self.element != Element::F32 {
            let weights = parameters.weights();
            let len = weights.bytes() / size_of::<f32>();
            layout::narrow(queue, [weights, self.narrow.slice()], len, self.element)?;
        }
        Ok(())
    }
}

/// Refuses what there are no kernels for: all but a chain that begins with a 3×3 convolution, goes on with depthwise and pointwise ones, each
/// with a batch norm and bounds from 0 on, and ends with a mean and a linear layer.
fn check(plan: &Plan) -> Result<()> {
    for (index, step) in plan.steps.iter().enumerate() {
        let value = &plan.values[step.output];
        let fits = match step.op {
            StepOp::Conv(conv, kind) => {
                let kernel = (kind == ConvKind::Spatial) == (index == 0)
                    && (index > 0 || conv.window.kernel == [3; 2]);
                kernel && matches!(value.norm, Norm::Batch(_)) && value.bounds.low == Bounds::RELU.low
            }
            StepOp::Mean | StepOp::Linear { bias: Some(_), .. } => true,
            StepOp::Add | StepOp::MaxPool(_) | StepOp::AveragePool { .. } | StepOp::Linear { .. } => false,
        };
        if !fits || step.inputs != [index] {
            return Err(Error::NoKernels { step: step.name.clone() });
        }
    }
    Ok(())
}

impl<M: Memory> Head<M> {
    fn resize<Q: Queue<Memory = M>>(
        &mut self,
        queue: &Q,
        batch: usize,
        features: usize,
        classes: usize,
    ) -> Result<()> {
        for room in [&mut self.features, &mut self.dfeatures] {
            room.resize(queue, batch * features * size_of::<f32>())?;
        }
        for room in [&mut self.logits, &mut self.dlogits] {
            room.resize(queue, batch * classes * size_of::<f32>())?;
        }
        self.results.resize(queue, cross_entropy::results_bytes(batch))?;
        self.scalars.resize(queue, cross_entropy::SCALARS_BYTES)
    }
}

impl<M: Memory> DeviceLayer<M> {
    fn new(layer: ConvLayer) -> Self {
        Self { layer, y: Room::default(), coefficients: Room::default(), size: [0; 2], patterns: None }
    }

    pub(super) fn coefficients(&self) -> Coefficients<'_> {
        Coefficients::new(self.coefficients.slice(), self.layer.outputs)
    }

    pub(super) fn weight_name(&self) -> String {
        self.layer.weight.clone()
    }
}
