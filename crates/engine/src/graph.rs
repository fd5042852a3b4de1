//! A network as a list of nodes, each computed from earlier ones.
//!
//! One image at a time: shapes are `[C, H, W]`, or `[C]` after [`Op::Flatten`]; the batch enters when a session runs.

pub use sparse_kernels::host::inference::Window;

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
