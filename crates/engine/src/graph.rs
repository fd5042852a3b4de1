//! A network as a list of nodes, each computed from earlier ones.
//!
//! One image at a time: shapes are `[C, H, W]`, or `[C]` after [`Op::Flatten`]; the batch enters when a session runs.

pub use sparse_inference::{Function, Quantization, Window};

/// A network for classification: nodes in the order in which they are computed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// Every node reads nodes before it.
    pub nodes: Vec<Node>,
    /// The node whose result is the result of the network.
    pub output: usize,
}

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its name where it comes from, for reports and errors.
    pub name: String,
    /// What it does.
    pub op: Op,
    /// Indices of the nodes it reads.
    pub inputs: Vec<usize>,
}

/// What a node computes.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// The normalised image, `[C, H, W]`; exactly one, the first node.
    Input {
        /// `[C, H, W]`.
        shape: [usize; 3],
    },
    /// A convolution with a bias.
    Convolution(Convolution),
    /// `x · scale + offset` for each channel: batch norm with fixed statistics.
    Affine {
        /// `[C]`.
        scale: Vec<f32>,
        /// `[C]`.
        offset: Vec<f32>,
    },
    /// `min(max(x, low), high)`; ReLU is `low = 0, high = ∞`.
    Clip {
        /// Least value.
        low: f32,
        /// Greatest value.
        high: f32,
    },
    /// A function of each number by itself.
    Function(Function),
    /// `x` where it is positive, else `x · slope`.
    PRelu {
        /// `[C]`.
        slope: Vec<f32>,
    },
    /// The sum of two nodes, number by number. They have one shape, or one of them is an image that stands for a larger one:
    /// `[C, 1, 1]` for the same number at each pixel, `[1, H, W]` for the same in each channel, `[1, 1, 1]` for both.
    Add,
    /// The first node less the second; shapes as of [`Op::Add`].
    Sub,
    /// The product of two nodes, number by number; shapes as of [`Op::Add`]. The gate of a squeeze-and-excite block is one.
    Mul,
    /// The first node divided by the second; shapes as of [`Op::Add`].
    Div,
    /// The inputs, one or more, one behind the other along their channels: images of one height and width, or vectors.
    Concat,
    /// Channels of an image or vector: channel `i` of the result is channel `order[i]` of what is read. A range of channels
    /// (see [`Op::range`]), a shuffle (see [`Op::shuffle`]), or any choice, in which a channel may come several times.
    Channels {
        /// Indices of channels that are read, one or more.
        order: Vec<usize>,
    },
    /// Lines of one value around the image.
    Pad {
        /// Top, left, bottom, right.
        lines: [usize; 4],
        /// What is in them; −∞ for what no maximum should see.
        value: f32,
    },
    /// The greatest value of each window; positions outside of the image do not count. Windows that rounding up adds
    /// (`ceil_mode`) are windows over more padding at the bottom and right.
    MaxPool(Window),
    /// The mean of each window.
    AveragePool {
        /// Where.
        window: Window,
        /// Lines of the padding whose positions count as zeros: top, left, bottom, right. All of `window.padding` if padding
        /// counts, none if it does not, and those of the padding alone if `window` has more of it for windows that rounding
        /// up adds, or for padding that does not count outside of one that does.
        counted: [usize; 4],
    },
    /// The mean of each channel, `[C, 1, 1]`.
    GlobalAveragePool,
    /// The greatest value of each channel, `[C, 1, 1]`.
    GlobalMaxPool,
    /// `[C, H, W]` as `[C·H·W]`.
    Flatten,
    /// An image or vector as an image of as many numbers, in C order.
    Reshape {
        /// `[C, H, W]`.
        shape: [usize; 3],
    },
    /// `weight · x + bias` of `[inputs]`.
    Linear {
        /// `[outputs, inputs]`.
        weight: Vec<f32>,
        /// `[outputs]`.
        bias: Vec<f32>,
        /// As [`Convolution::scales`].
        scales: Option<Vec<f32>>,
    },
    /// Softmax over all of `[C]`.
    Softmax,
    /// The logarithm of the softmax over all of `[C]`.
    LogSoftmax,
}

impl Op {
    /// Channels `start .. start + count`, as slices and splits have it.
    pub fn range(start: usize, count: usize) -> Self {
        Self::Channels { order: (start..start + count).collect() }
    }

    /// The channels seen as `[groups, channels / groups]`, as `[channels / groups, groups]`: the channel shuffle of
    /// Zhang et al. 2017, arXiv:1707.01083. `groups` must divide `channels`.
    pub fn shuffle(channels: usize, groups: usize) -> Self {
        let size = channels / groups.max(1);
        Self::Channels { order: (0..channels).map(|at| at % groups * size + at / groups).collect() }
    }
}

/// A convolution of any kernel, stride, padding, dilation and number of groups.
#[derive(Clone, Debug, PartialEq)]
pub struct Convolution {
    /// `[outputs, inputs / groups, kernel height, kernel width]`, in C order.
    pub weight: Vec<f32>,
    /// Shape of `weight`.
    pub shape: [usize; 4],
    /// `[outputs]`.
    pub bias: Vec<f32>,
    /// Groups of channels that do not mix.
    pub groups: usize,
    /// Where the kernel goes.
    pub window: Window,
    /// `[outputs]`: what the weights of each output are whole multiples of, from −128 to 127 times, if they are. Such a
    /// convolution is computed in integers where what it reads is quantised ([`Function::Quantize`]), and what it makes is too.
    pub scales: Option<Vec<f32>>,
}

impl Graph {
    /// How many times each node is read.
    pub(crate) fn uses(&self) -> Vec<usize> {
        let mut uses = vec![0; self.nodes.len()];
        for &input in self.nodes.iter().flat_map(|node| &node.inputs) {
            uses[input] += 1;
        }
        uses
    }
}
