//! The shape of every node's result, and whether a graph is one that can be computed at all.

use std::fmt;

use crate::graph::{Convolution, Graph, Node, Op, Window};

/// Most numbers in the result of one node for one image, 1 GiB of `f32`: a file cannot ask for more memory than this.
const MOST_NUMBERS: usize = 1 << 28;

/// Shape of one node's result for one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `[C, H, W]`.
    Image([usize; 3]),
    /// `[C]`, after a flatten.
    Flat(usize),
}

impl Shape {
    /// How many numbers.
    pub const fn count(self) -> usize {
        match self {
            Self::Image([channels, height, width]) => channels * height * width,
            Self::Flat(channels) => channels,
        }
    }

    /// `C`.
    pub const fn channels(self) -> usize {
        match self {
            Self::Image([channels, ..]) | Self::Flat(channels) => channels,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(shape) => write!(f, "{shape:?}"),
            Self::Flat(channels) => write!(f, "[{channels}]"),
        }
    }
}

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
    /// The two nodes of a sum differ in shape.
    #[error("node {node} adds {left} and {right}; both must have one shape")]
    Sum {
        /// Its name.
        node: String,
        /// Shape of the first.
        left: Shape,
        /// Shape of the second.
        right: Shape,
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

/// The shape of each node's result, in the order of the nodes. What passes is safe to compute: inputs come before their
/// readers, every tensor has the length that its node needs, and no result has more than 2^28 numbers for an image.
///
/// # Errors
/// The first node that does not fit, and why.
pub fn shapes(graph: &Graph) -> Result<Vec<Shape>, GraphError> {
    if graph.nodes.is_empty() {
        return Err(GraphError::Empty);
    }
    let mut shapes = Vec::with_capacity(graph.nodes.len());
    for (position, node) in graph.nodes.iter().enumerate() {
        if matches!(node.op, Op::Input { .. }) != (position == 0) {
            return Err(GraphError::MisplacedInput { node: node.name.clone() });
        }
        if let Some(&input) = node.inputs.iter().find(|&&input| input >= position) {
            return Err(GraphError::Order { node: node.name.clone(), position, input });
        }
        let inputs: Vec<Shape> = node.inputs.iter().map(|&input| shapes[input]).collect();
        shapes.push(node_shape(node, &inputs)?);
    }
    if graph.output >= shapes.len() {
        return Err(GraphError::NoOutput { output: graph.output, nodes: shapes.len() });
    }
    Ok(shapes)
}

/// The shape of a node's result, given those of the nodes it reads.
///
/// # Errors
/// Why the node does not fit.
pub(crate) fn node_shape(node: &Node, inputs: &[Shape]) -> Result<Shape, GraphError> {
    bounded(node, shape(node, inputs)?)
}

fn shape(node: &Node, inputs: &[Shape]) -> Result<Shape, GraphError> {
    let expected = match node.op {
        Op::Input { .. } => 0,
        Op::Add => 2,
        _ => 1,
    };
    if inputs.len() != expected {
        return Err(GraphError::InputCount { node: node.name.clone(), expected, got: inputs.len() });
    }
    let Some(&x) = inputs.first() else { return source(node) };
    match &node.op {
        Op::Convolution(convolution) => convolved(node, convolution, image(node, x)?),
        Op::Affine { scale, offset } => {
            length(node, "scale", x.channels(), scale.len())?;
            length(node, "offset", x.channels(), offset.len())?;
            Ok(x)
        }
        &Op::Clip { low, high } if low.is_nan() || high.is_nan() => {
            Err(GraphError::Bounds { node: node.name.clone(), low, high })
        }
        Op::Add if inputs[1] != x => {
            Err(GraphError::Sum { node: node.name.clone(), left: x, right: inputs[1] })
        }
        Op::MaxPool(window) | Op::AveragePool { window, count_padding: false } => {
            pooled(node, window, image(node, x)?, true)
        }
        Op::AveragePool { window, count_padding: true } => pooled(node, window, image(node, x)?, false),
        Op::GlobalAveragePool => Ok(Shape::Image([image(node, x)?[0], 1, 1])),
        Op::Flatten => Ok(Shape::Flat(image(node, x)?.iter().product())),
        Op::Linear { weight, bias } => {
            let Some(expected) = flat(node, x)?.checked_mul(bias.len()) else { return Err(too_large(node)) };
            length(node, "weight", expected, weight.len())?;
            Ok(Shape::Flat(bias.len()))
        }
        Op::Softmax => flat(node, x).map(Shape::Flat),
        Op::Clip { .. } | Op::Add => Ok(x),
        Op::Input { .. } => source(node),
    }
}

fn source(node: &Node) -> Result<Shape, GraphError> {
    match node.op {
        Op::Input { shape } => Ok(Shape::Image(shape)),
        _ => Err(GraphError::MisplacedInput { node: node.name.clone() }),
    }
}

fn convolved(node: &Node, convolution: &Convolution, x: [usize; 3]) -> Result<Shape, GraphError> {
    let &Convolution { shape, groups, window, .. } = convolution;
    let fits = groups > 0
        && shape[0].checked_rem(groups) == Some(0)
        && shape[1].checked_mul(groups) == Some(x[0])
        && shape[2..] == window.kernel;
    if !fits {
        return Err(GraphError::Groups { node: node.name.clone(), groups, weight: shape, inputs: x[0] });
    }
    let numbers = shape.iter().try_fold(1, |product: usize, &side| product.checked_mul(side));
    length(node, "weight", numbers.ok_or_else(|| too_large(node))?, convolution.weight.len())?;
    length(node, "bias", shape[0], convolution.bias.len())?;
    let [height, width] = windows(node, &window, [x[1], x[2]])?;
    Ok(Shape::Image([shape[0], height, width]))
}

fn pooled(node: &Node, window: &Window, x: [usize; 3], needs_image: bool) -> Result<Shape, GraphError> {
    let size = [x[1], x[2]];
    let result @ [height, width] = windows(node, window, size)?;
    bounded(node, Shape::Image([x[0], height, width]))?;
    if needs_image && (0..2).any(|axis| has_empty_window(window, axis, size[axis], result[axis])) {
        return Err(GraphError::OnlyPadding { node: node.name.clone(), window: Box::new(*window), size });
    }
    Ok(Shape::Image([x[0], height, width]))
}

/// Whether one of `count` windows along an axis touches none of the `size` lines.
fn has_empty_window(window: &Window, axis: usize, size: usize, count: usize) -> bool {
    let (stride, before) = (window.stride[axis], window.padding[axis]);
    let is_empty = |index: usize| {
        let start = index * stride;
        let outside = before.saturating_sub(start).div_ceil(window.dilation[axis]);
        outside >= window.kernel[axis] || start + outside * window.dilation[axis] >= before + size
    };
    // Windows that start inside or behind the image are empty from some index on.
    (0..count.min(before.div_ceil(stride))).any(is_empty) || is_empty(count - 1)
}

/// Rows and columns of windows; refuses what [`Window::output`] cannot count.
fn windows(node: &Node, window: &Window, size: [usize; 2]) -> Result<[usize; 2], GraphError> {
    let countable = (0..2).all(|axis| {
        let reach = window.dilation[axis].checked_mul(window.kernel[axis]);
        let padded = size[axis].checked_add(window.padding[axis]);
        let padded = padded.and_then(|lines| lines.checked_add(window.padding[axis + 2]));
        window.stride[axis] > 0 && reach.is_some_and(|reach| reach > 0) && padded.is_some()
    });
    let result = if countable { window.output(size) } else { None };
    result.ok_or_else(|| GraphError::Window { node: node.name.clone(), window: Box::new(*window), size })
}

fn image(node: &Node, shape: Shape) -> Result<[usize; 3], GraphError> {
    match shape {
        Shape::Image(image) => Ok(image),
        Shape::Flat(_) => {
            Err(GraphError::Kind { node: node.name.clone(), expected: "an image [C, H, W]", got: shape })
        }
    }
}

fn flat(node: &Node, shape: Shape) -> Result<usize, GraphError> {
    match shape {
        Shape::Flat(channels) => Ok(channels),
        Shape::Image(_) => Err(GraphError::Kind {
            node: node.name.clone(),
            expected: "[C]; flatten the image first",
            got: shape,
        }),
    }
}

fn length(node: &Node, what: &'static str, expected: usize, got: usize) -> Result<(), GraphError> {
    if expected == got {
        return Ok(());
    }
    Err(GraphError::Length { node: node.name.clone(), what, expected, got })
}

fn bounded(node: &Node, shape: Shape) -> Result<Shape, GraphError> {
    let sides: &[usize] = match &shape {
        Shape::Image(sides) => sides,
        Shape::Flat(channels) => std::slice::from_ref(channels),
    };
    let count = sides.iter().try_fold(1, |product: usize, &side| product.checked_mul(side));
    match count {
        Some(1..=MOST_NUMBERS) => Ok(shape),
        _ => Err(too_large(node)),
    }
}

fn too_large(node: &Node) -> GraphError {
    GraphError::Size { node: node.name.clone(), most: MOST_NUMBERS }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(ops: Vec<(Op, Vec<usize>)>) -> Graph {
        let nodes = ops.into_iter().enumerate();
        let nodes: Vec<Node> =
            nodes.map(|(i, (op, inputs))| Node { name: format!("n{i}"), op, inputs }).collect();
        Graph { output: nodes.len() - 1, nodes }
    }

    fn input() -> (Op, Vec<usize>) {
        (Op::Input { shape: [4, 7, 6] }, vec![])
    }

    fn convolution(shape: [usize; 4], groups: usize, window: Window) -> Op {
        let weight = vec![0.5; shape.iter().product()];
        Op::Convolution(Convolution { weight, shape, bias: vec![0.0; shape[0]], groups, window })
    }

    /// The error of a graph that has this node behind its input.
    fn refused(op: Op) -> GraphError {
        shapes(&graph(vec![input(), (op, vec![0])])).unwrap_err()
    }

    #[test]
    fn shapes_follow_from_the_operations() {
        let strided = Window { stride: [2, 1], padding: [1, 0, 1, 2], ..Window::square(3, 1, 0) };
        let graph = graph(vec![
            input(),
            (convolution([6, 2, 3, 3], 2, strided), vec![0]),
            (Op::MaxPool(Window::square(2, 1, 0)), vec![1]),
            (Op::Add, vec![2, 2]),
            (Op::GlobalAveragePool, vec![3]),
            (Op::Flatten, vec![4]),
            (Op::Linear { weight: vec![0.0; 30], bias: vec![0.0; 5] }, vec![5]),
            (Op::Softmax, vec![6]),
        ]);
        let image = |c, h, w| Shape::Image([c, h, w]);
        let expected =
            [image(4, 7, 6), image(6, 4, 6), image(6, 3, 5), image(6, 3, 5), image(6, 1, 1)].into_iter();
        let expected: Vec<Shape> = expected.chain([6, 5, 5].map(Shape::Flat)).collect();
        assert_eq!(shapes(&graph), Ok(expected));
    }

    #[test]
    fn order_and_places_are_checked() {
        let clip = || Op::Clip { low: 0.0, high: 1.0 };
        let error = |ops| shapes(&graph(ops)).unwrap_err();
        assert_eq!(
            error(vec![input(), (clip(), vec![1])]),
            GraphError::Order { node: "n1".into(), position: 1, input: 1 }
        );
        assert_eq!(error(vec![(clip(), vec![0])]), GraphError::MisplacedInput { node: "n0".into() });
        assert_eq!(error(vec![input(), input()]), GraphError::MisplacedInput { node: "n1".into() });
        assert_eq!(
            error(vec![input(), (Op::Add, vec![0])]),
            GraphError::InputCount { node: "n1".into(), expected: 2, got: 1 }
        );
        assert_eq!(shapes(&Graph::default()), Err(GraphError::Empty));
        let no_output = Graph { output: 1, ..graph(vec![input()]) };
        assert_eq!(shapes(&no_output), Err(GraphError::NoOutput { output: 1, nodes: 1 }));
    }

    #[test]
    fn tensors_and_groups_must_fit() {
        let square = Window::square(3, 1, 1);
        assert!(matches!(refused(convolution([6, 2, 3, 3], 4, square)), GraphError::Groups { .. }));
        assert!(matches!(refused(convolution([5, 2, 3, 3], 2, square)), GraphError::Groups { .. }));
        assert!(matches!(refused(convolution([4, 4, 3, 1], 1, square)), GraphError::Groups { .. }));
        assert!(matches!(refused(convolution([4, 4, 3, 3], 0, square)), GraphError::Groups { .. }));
        let short = Op::Affine { scale: vec![1.0; 4], offset: vec![1.0; 3] };
        assert_eq!(
            refused(short),
            GraphError::Length { node: "n1".into(), what: "offset", expected: 4, got: 3 }
        );
        let linear = Op::Linear { weight: vec![], bias: vec![] };
        assert!(matches!(refused(linear), GraphError::Kind { .. }));
        assert!(matches!(refused(Op::Clip { low: f32::NAN, high: 1.0 }), GraphError::Bounds { .. }));
    }

    #[test]
    fn windows_that_do_not_fit_or_see_only_padding_are_refused() {
        let zero_stride = Window::square(3, 0, 1);
        let huge = Window { padding: [usize::MAX; 4], ..Window::square(3, 1, 0) };
        let zero_kernel = Window::square(0, 1, 0);
        for window in [Window::square(9, 1, 0), zero_stride, huge, zero_kernel] {
            assert!(matches!(refused(Op::MaxPool(window)), GraphError::Window { .. }), "{window:?}");
        }
        let beside = Window::square(2, 1, 2);
        assert!(matches!(refused(Op::MaxPool(beside)), GraphError::OnlyPadding { .. }));
        let behind = Window { padding: [0, 0, 2, 0], ..Window::square(2, 1, 0) };
        assert!(matches!(refused(Op::MaxPool(behind)), GraphError::OnlyPadding { .. }));
        let counted = Op::AveragePool { window: beside, count_padding: true };
        assert!(shapes(&graph(vec![input(), (counted, vec![0])])).is_ok());
        let between = Window { dilation: [9, 1], ..Window::square(2, 1, 0) };
        let between = Window { padding: [2, 0, 1, 0], ..between };
        assert!(matches!(refused(Op::MaxPool(between)), GraphError::OnlyPadding { .. }));
    }

    #[test]
    fn a_result_that_is_too_large_is_refused_before_it_is_allocated() {
        let window = Window { padding: [1 << 20; 4], ..Window::square(1, 1, 0) };
        let pool = Op::AveragePool { window, count_padding: true };
        assert!(matches!(refused(pool), GraphError::Size { .. }));
        let empty = graph(vec![(Op::Input { shape: [3, 0, 2] }, vec![])]);
        assert!(matches!(shapes(&empty), Err(GraphError::Size { .. })));
    }
}
