//! A network as a list of nodes, each computed from earlier ones, over named parameters.
//!
//! A graph holds no values and no image size: it says what is computed, and [`Graph::shapes`] what that is for images of
//! a size. Training lowers it to a [`crate::Plan`], the engine binds values to it.

use crate::{Bounds, Padding};

/// A network for classification: nodes in the order in which they are computed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// Every node reads nodes before it; the first is the only [`Op::Input`].
    pub nodes: Vec<Node>,
    /// The node whose result is the result of the network.
    pub output: usize,
    /// The tensors that nodes refer to by their place here, in canonical order.
    pub parameters: Vec<Parameter>,
}

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its name, for reports and errors: `conv2_1_dw`.
    pub name: String,
    /// What it does.
    pub op: Op,
    /// Indices of the nodes it reads.
    pub inputs: Vec<usize>,
}

/// What a node computes, for each image by itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// The normalised images, `[C, H, W]` each.
    Input {
        /// C.
        channels: usize,
    },
    /// A convolution.
    Conv(Conv),
    /// Batch norm: `(x − mean) / sqrt(variance + ε) · scale + offset` in each channel.
    BatchNorm(BatchNorm),
    /// `min(max(x, low), high)`.
    Clip(Bounds),
    /// The sum of two results of one shape.
    Add,
    /// The greatest value of each window; what lies outside of the image does not count.
    MaxPool(Window),
    /// The mean of each window.
    AveragePool {
        /// Where.
        window: Window,
        /// Whether the zeros of the padding count.
        counts_padding: bool,
    },
    /// The mean of each channel, `[C, 1, 1]`.
    GlobalAveragePool,
    /// `[C, H, W]` as `[C·H·W]`.
    Flatten,
    /// `x · weight + bias` of `[inputs]`.
    Linear {
        /// `[inputs, outputs]`.
        weight: ParameterId,
        /// `[outputs]`.
        bias: Option<ParameterId>,
    },
    /// Softmax over all of `[C]`; the loss is computed from what it reads.
    Softmax,
}

/// A place in [`Graph::parameters`].
pub type ParameterId = usize;

/// A convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// `[outputs, inputs / groups, kernel height, kernel width]`.
    pub weight: ParameterId,
    /// `[outputs]`.
    pub bias: Option<ParameterId>,
    /// Output channels.
    pub outputs: usize,
    /// Groups of channels that do not mix.
    pub groups: usize,
    /// Where the kernel goes.
    pub window: Window,
}

/// The tensors of a batch norm, `[C]` each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNorm {
    /// Trained.
    pub scale: ParameterId,
    /// Trained.
    pub offset: ParameterId,
    /// Running mean.
    pub mean: ParameterId,
    /// Running variance.
    pub variance: ParameterId,
    /// ε, added to the variance.
    pub epsilon: f64,
}

/// Where a window goes over an image; pairs are of height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its size.
    pub kernel: [usize; 2],
    /// Pixels from one window to the next.
    pub stride: [usize; 2],
    /// Pixels from one tap to the next.
    pub dilation: [usize; 2],
    /// Lines around the image.
    pub padding: Padding,
}

/// Initial value of a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Initial {
    /// Uniform in `[-bound, bound]`.
    Uniform {
        /// `sqrt(6 / fan_in)`.
        bound: f64,
    },
    /// The same value everywhere.
    Constant(f64),
}

/// One named tensor of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Canonical name.
    pub name: String,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// False for the running statistics of batch norm.
    pub trainable: bool,
    /// How it starts.
    pub initial: Initial,
}

impl Window {
    /// One pixel.
    pub const POINT: Self = Self::square(1, 1, Padding::NONE);

    /// A square one without dilation.
    pub const fn square(kernel: usize, stride: usize, padding: Padding) -> Self {
        Self { kernel: [kernel; 2], stride: [stride; 2], dilation: [1; 2], padding }
    }

    /// Pixels from the first to the last tap along an axis, both counted.
    pub const fn span(&self, axis: usize) -> usize {
        self.dilation[axis].saturating_mul(self.kernel[axis].saturating_sub(1)).saturating_add(1)
    }

    /// Lines before and after an image of `size` pixels along an axis.
    pub fn lines(&self, axis: usize, size: usize) -> [usize; 2] {
        self.padding.lines(axis, size, self.span(axis), self.stride[axis])
    }

    /// How many windows there are along an axis; none if the padded image is smaller than one.
    pub fn outputs(&self, axis: usize, size: usize) -> usize {
        let [before, after] = self.lines(axis, size);
        let padded = size.saturating_add(before).saturating_add(after);
        padded.checked_sub(self.span(axis)).map_or(0, |rest| rest / self.stride[axis].max(1) + 1)
    }
}

impl Parameter {
    /// How many numbers.
    pub fn count(&self) -> usize {
        self.shape.iter().fold(1, |product, &side| product.saturating_mul(side))
    }
}

impl Graph {
    /// A parameter by its name.
    pub fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|parameter| parameter.name == name)
    }

    /// Channels of the images.
    pub fn channels(&self) -> usize {
        match self.nodes.first() {
            Some(Node { op: Op::Input { channels }, .. }) => *channels,
            _ => 0,
        }
    }

    /// How many times each node is read; the output once more.
    pub fn readers(&self) -> Vec<usize> {
        let mut readers = vec![0; self.nodes.len()];
        let inputs = self.nodes.iter().flat_map(|node| &node.inputs);
        for &node in inputs.chain([&self.output]) {
            if let Some(count) = readers.get_mut(node) {
                *count += 1;
            }
        }
        readers
    }
}
