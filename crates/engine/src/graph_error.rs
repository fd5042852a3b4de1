//! Why a graph cannot be computed.

use crate::graph::Window;
use crate::shape::Shape;

/// Why a graph cannot be computed. Shapes are those for one image; every variant but the first two names the node.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// There is nothing to compute.
    #[error("the network has no nodes; it needs at least its input")]
    Empty,
    /// The result of the network is a node that is not there.
    #[error("the output is node {output}, but there are {nodes}; name one of them, counted from 0")]
    NoOutput {
        /// The index given.
        output: usize,
        /// Nodes there are.
        nodes: usize,
    },
    /// The input is not the first node, or not the only one.
    #[error("node {node} is out of place: the first node, and no other, is the input")]
    MisplacedInput {
        /// Its name.
        node: String,
    },
    /// A node reads more or fewer nodes than its operation takes.
    #[error("node {node} reads {got} nodes, expected {expected}")]
    InputCount {
        /// Its name.
        node: String,
        /// How many its operation takes.
        expected: usize,
        /// How many it names.
        got: usize,
    },
    /// A node reads itself or a node after it.
    #[error(
        "node {node} is number {position} and reads number {input}; sort the nodes so that each reads earlier ones"
    )]
    Order {
        /// Its name.
        node: String,
        /// Its index.
        position: usize,
        /// The index that it reads.
        input: usize,
    },
    /// An operation on images has a flat input, or the other way round.
    #[error("node {node} reads {got}, expected {expected}")]
    Kind {
        /// Its name.
        node: String,
        /// What it takes.
        expected: &'static str,
        /// The shape it reads.
        got: Shape,
    },
    /// A weight, bias, scale or offset has another length than the shapes ask for.
    #[error("the {what} of node {node} has {got} numbers, expected {expected}")]
    Length {
        /// The node's name.
        node: String,
        /// Which of its tensors.
        what: &'static str,
        /// Numbers needed.
        expected: usize,
        /// Numbers there are.
        got: usize,
    },
    /// The groups of a convolution do not fit its channels.
    #[error(
        "node {node} has {groups} groups and a weight of shape {weight:?}; it reads {inputs} channels, which must be \
         groups times the second, and groups must divide the first"
    )]
    Groups {
        /// Its name.
        node: String,
        /// Groups.
        groups: usize,
        /// `[outputs, inputs / groups, kernel height, kernel width]`.
        weight: [usize; 4],
        /// Channels it reads.
        inputs: usize,
    },
    /// No window fits into the image, or the window has a side of zero.
    #[error("no window of {window:?} fits into the {size:?} rows and columns that node {node} reads")]
    Window {
        /// The node's name.
        node: String,
        /// Where it puts windows.
        window: Box<Window>,
        /// Height and width that it reads.
        size: [usize; 2],
    },
    /// A window of a pooling has only padding in it, so that there is nothing to pool.
    #[error(
        "{window:?} of node {node} puts a window beside the {size:?} rows and columns it reads; use less padding"
    )]
    OnlyPadding {
        /// The node's name.
        node: String,
        /// Where it puts windows.
        window: Box<Window>,
        /// Height and width that it reads.
        size: [usize; 2],
    },
    /// Two nodes that are combined number by number do not fit.
    #[error(
        "node {node} combines {left} and {right}, number by number; both must have one shape, or one of them one number \
         for each channel ([C, 1, 1]) or each pixel ([1, H, W]) of the other"
    )]
    Combined {
        /// Its name.
        node: String,
        /// Shape of the first.
        left: Shape,
        /// Shape of the second.
        right: Shape,
    },
    /// What is put one behind the other differs in height, width or kind.
    #[error(
        "node {node} puts {right} behind {left} along the channels; all must be images of one height and width, or \
         all vectors"
    )]
    Concat {
        /// Its name.
        node: String,
        /// Shape of what comes before.
        left: Shape,
        /// Shape of what does not fit behind it.
        right: Shape,
    },
    /// A channel is asked for that is not there.
    #[error("node {node} takes channel {channel}, counted from 0, of the {channels} that it reads")]
    Channel {
        /// Its name.
        node: String,
        /// The channel.
        channel: usize,
        /// Channels there are.
        channels: usize,
    },
    /// Another shape has another count of numbers.
    #[error("node {node} sees {from} as {to:?}; both must have as many numbers")]
    Reshape {
        /// Its name.
        node: String,
        /// The shape it reads.
        from: Shape,
        /// `[C, H, W]`.
        to: [usize; 3],
    },
    /// A mean counts more lines as zeros than there are around the image.
    #[error(
        "node {node} counts {counted:?} lines (top, left, bottom, right) of a padding of {padding:?} as zeros"
    )]
    Counted {
        /// Its name.
        node: String,
        /// Lines that count.
        counted: [usize; 4],
        /// Lines there are.
        padding: [usize; 4],
    },
    /// A parameter is not a number.
    #[error("a parameter of node {node} is NaN; it must be a number")]
    NotANumber {
        /// Its name.
        node: String,
    },
    /// What numbers are to be whole multiples of is no number above 0.
    #[error("node {node} has the scale {scale}; it must be a number above 0")]
    Scale {
        /// Its name.
        node: String,
        /// The scale.
        scale: f32,
    },
    /// A bound is not a number.
    #[error("node {node} clips to {low} … {high}; bounds must be numbers")]
    Bounds {
        /// Its name.
        node: String,
        /// Least value.
        low: f32,
        /// Greatest value.
        high: f32,
    },
    /// A result is empty, or would take too much memory.
    #[error(
        "the result of node {node} must have from 1 to {most} numbers for an image; use a smaller image or network"
    )]
    Size {
        /// The node's name.
        node: String,
        /// Most numbers there may be.
        most: usize,
    },
}
