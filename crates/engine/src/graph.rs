//! A network as a list of nodes, each computed from earlier ones.
//!
//! One image at a time: shapes are `[C, H, W]`, or `[C]` after [`Op::Flatten`]; the batch enters when a session runs.

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
    /// The sum of two nodes of one shape.
    Add,
    /// The greatest value of each window; positions outside of the image do not count.
    MaxPool(Window),
    /// The mean of each window.
    AveragePool {
        /// Where.
        window: Window,
        /// Whether positions in the padding count as zeros.
        count_padding: bool,
    },
    /// The mean of each channel, `[C, 1, 1]`.
    GlobalAveragePool,
    /// `[C, H, W]` as `[C·H·W]`.
    Flatten,
    /// `weight · x + bias` of `[inputs]`.
    Linear {
        /// `[outputs, inputs]`.
        weight: Vec<f32>,
        /// `[outputs]`.
        bias: Vec<f32>,
    },
    /// Softmax over all of `[C]`.
    Softmax,
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
}

/// Windows over the rows and columns of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Height and width.
    pub kernel: [usize; 2],
    /// Steps down and to the right.
    pub stride: [usize; 2],
    /// Distance between neighbours in a window.
    pub dilation: [usize; 2],
    /// Lines around the image: top, left, bottom, right.
    pub padding: [usize; 4],
}

impl Window {
    /// Windows of `kernel × kernel`, `padding` lines on every side.
    pub const fn square(kernel: usize, stride: usize, padding: usize) -> Self {
        Self { kernel: [kernel; 2], stride: [stride; 2], dilation: [1; 2], padding: [padding; 4] }
    }

    /// Height and width of the result for an image of this height and width; `None` if no window fits.
    pub fn output(&self, size: [usize; 2]) -> Option<[usize; 2]> {
        let side = |axis: usize| {
            let reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1;
            let padded = size[axis] + self.padding[axis] + self.padding[axis + 2];
            Some(padded.checked_sub(reach)? / self.stride[axis] + 1)
        };
        Some([side(0)?, side(1)?])
    }
}
