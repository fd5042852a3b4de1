//! The shape of every node's result, and whether a graph is one that can be computed at all.

use std::fmt;

use crate::graph::{Convolution, Function, Graph, Node, Op, Window};
pub use crate::graph_error::GraphError;
use crate::multiples::is_scale;

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
        Op::Add | Op::Sub | Op::Mul | Op::Div => 2,
        Op::Concat => inputs.len().max(1),
        _ => 1,
    };
    if inputs.len() != expected {
        return Err(GraphError::InputCount { node: node.name.clone(), expected, got: inputs.len() });
    }
    let Some(&x) = inputs.first() else { return source(node) };
    match &node.op {
        Op::Input { .. } => source(node),
        Op::Convolution(convolution) => convolved(node, convolution, image(node, x)?),
        Op::Affine { scale, offset } => {
            length(node, "scale", x.channels(), scale.len())?;
            length(node, "offset", x.channels(), offset.len())?;
            Ok(x)
        }
        &Op::Clip { low, high } if low.is_nan() || high.is_nan() => {
            Err(GraphError::Bounds { node: node.name.clone(), low, high })
        }
        Op::Clip { .. } => Ok(x),
        Op::Function(function) => {
            numbers(node, &function.parameters())?;
            match function {
                Function::Quantize(quantization) => positive(node, &[quantization.scale]).map(|()| x),
                _ => Ok(x),
            }
        }
        Op::PRelu { slope } => length(node, "slope", x.channels(), slope.len()).map(|()| x),
        Op::Add | Op::Sub | Op::Mul | Op::Div => combined(node, x, inputs[1]),
        Op::Concat => concatenated(node, inputs),
        Op::Channels { order } => chosen(node, order, x),
        &Op::Pad { lines, value } => {
            numbers(node, &[value])?;
            padded(node, image(node, x)?, lines).map(Shape::Image)
        }
        Op::MaxPool(window) => pooled(node, window, image(node, x)?, [0; 4]),
        Op::AveragePool { window, counted } => pooled(node, window, image(node, x)?, *counted),
        Op::GlobalAveragePool | Op::GlobalMaxPool => Ok(Shape::Image([image(node, x)?[0], 1, 1])),
        Op::Flatten => Ok(Shape::Flat(image(node, x)?.iter().product())),
        &Op::Reshape { shape } => {
            let count = bounded(node, Shape::Image(shape))?.count();
            let differs = || GraphError::Reshape { node: node.name.clone(), from: x, to: shape };
            (count == x.count()).then_some(Shape::Image(shape)).ok_or_else(differs)
        }
        Op::Linear { weight, bias, scales } => {
            let Some(expected) = flat(node, x)?.checked_mul(bias.len()) else { return Err(too_large(node)) };
            length(node, "weight", expected, weight.len())?;
            steps(node, scales.as_deref(), bias.len())?;
            Ok(Shape::Flat(bias.len()))
        }
        Op::Softmax | Op::LogSoftmax => flat(node, x).map(Shape::Flat),
    }
}

/// The shape of two nodes number by number: that of one of them, which the other has too or stands for.
fn combined(node: &Node, left: Shape, right: Shape) -> Result<Shape, GraphError> {
    match (left, right) {
        _ if left == right || stands_for(right, left) => Ok(left),
        _ if stands_for(left, right) => Ok(right),
        _ => Err(GraphError::Combined { node: node.name.clone(), left, right }),
    }
}

/// Whether an image has one number for all pixels or all channels of another.
fn stands_for(small: Shape, large: Shape) -> bool {
    match (small, large) {
        (Shape::Image([channels, size @ ..]), Shape::Image([all, pixels @ ..])) => {
            (channels == all || channels == 1) && (size == pixels || size == [1; 2])
        }
        _ => false,
    }
}

fn concatenated(node: &Node, inputs: &[Shape]) -> Result<Shape, GraphError> {
    let mut whole = inputs[0];
    for &next in &inputs[1..] {
        let sum = match (whole, next) {
            (Shape::Image([channels, size @ ..]), Shape::Image([more, pixels @ ..])) if size == pixels => {
                channels.checked_add(more).map(|channels| Shape::Image([channels, size[0], size[1]]))
            }
            (Shape::Flat(channels), Shape::Flat(more)) => channels.checked_add(more).map(Shape::Flat),
            _ => return Err(GraphError::Concat { node: node.name.clone(), left: whole, right: next }),
        };
        whole = sum.ok_or_else(|| too_large(node))?;
    }
    Ok(whole)
}

fn chosen(node: &Node, order: &[usize], x: Shape) -> Result<Shape, GraphError> {
    if let Some(&channel) = order.iter().find(|&&channel| channel >= x.channels()) {
        return Err(GraphError::Channel { node: node.name.clone(), channel, channels: x.channels() });
    }
    Ok(match x {
        Shape::Image([_, height, width]) => Shape::Image([order.len(), height, width]),
        Shape::Flat(_) => Shape::Flat(order.len()),
    })
}

/// The shape of an image with lines around it.
fn padded(
    node: &Node,
    [channels, height, width]: [usize; 3],
    lines: [usize; 4],
) -> Result<[usize; 3], GraphError> {
    let side = |size: usize, axis: usize| size.checked_add(lines[axis])?.checked_add(lines[axis + 2]);
    match (side(height, 0), side(width, 1)) {
        (Some(height), Some(width)) => Ok([channels, height, width]),
        _ => Err(too_large(node)),
    }
}

/// Refuses parameters that are not numbers.
fn numbers(node: &Node, parameters: &[f32]) -> Result<(), GraphError> {
    match parameters.iter().any(|parameter| parameter.is_nan()) {
        true => Err(GraphError::NotANumber { node: node.name.clone() }),
        false => Ok(()),
    }
}

/// Refuses scales that are not one number above 0 for each output.
fn steps(node: &Node, scales: Option<&[f32]>, outputs: usize) -> Result<(), GraphError> {
    let Some(scales) = scales else { return Ok(()) };
    length(node, "scales", outputs, scales.len())?;
    positive(node, scales)
}

fn positive(node: &Node, scales: &[f32]) -> Result<(), GraphError> {
    match scales.iter().find(|&&scale| !is_scale(scale)) {
        Some(&scale) => Err(GraphError::Scale { node: node.name.clone(), scale }),
        None => Ok(()),
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
    steps(node, convolution.scales.as_deref(), shape[0])?;
    let [height, width] = windows(node, &window, [x[1], x[2]])?;
    Ok(Shape::Image([shape[0], height, width]))
}

/// The shape of a pool that counts zeros in `counted` lines around the image, and nothing outside of them.
fn pooled(node: &Node, window: &Window, x: [usize; 3], counted: [usize; 4]) -> Result<Shape, GraphError> {
    let size = [x[1], x[2]];
    let result @ [height, width] = windows(node, window, size)?;
    bounded(node, Shape::Image([x[0], height, width]))?;
    if counted.iter().zip(&window.padding).any(|(counted, padding)| counted > padding) {
        return Err(GraphError::Counted { node: node.name.clone(), counted, padding: window.padding });
    }
    let [_, seen @ ..] = padded(node, x, counted)?;
    let mut outside = *window;
    outside.padding.iter_mut().zip(counted).for_each(|(padding, counted)| *padding -= counted);
    if (0..2).any(|axis| has_empty_window(&outside, axis, seen[axis], result[axis])) {
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
    use crate::graph::Quantization;

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
        Op::Convolution(Convolution {
            weight,
            shape,
            bias: vec![0.0; shape[0]],
            groups,
            window,
            scales: None,
        })
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
            (Op::Linear { weight: vec![0.0; 30], bias: vec![0.0; 5], scales: None }, vec![5]),
            (Op::Softmax, vec![6]),
        ]);
        let image = |c, h, w| Shape::Image([c, h, w]);
        let expected =
            [image(4, 7, 6), image(6, 4, 6), image(6, 3, 5), image(6, 3, 5), image(6, 1, 1)].into_iter();
        let expected: Vec<Shape> = expected.chain([6, 5, 5].map(Shape::Flat)).collect();
        assert_eq!(shapes(&graph), Ok(expected));
    }

    #[test]
    fn channels_and_images_are_put_together() {
        let gate = Op::Function(Function::HardSigmoid { alpha: 0.2, beta: 0.5 });
        let graph = graph(vec![
            input(),
            (Op::range(1, 2), vec![0]),
            (Op::Concat, vec![0, 1, 0]),
            (Op::shuffle(10, 5), vec![2]),
            (Op::GlobalMaxPool, vec![3]),
            (gate, vec![4]),
            (Op::Mul, vec![5, 3]),
            (Op::Pad { lines: [1, 0, 2, 3], value: -1.0 }, vec![6]),
            (Op::Flatten, vec![5]),
            (Op::Concat, vec![8, 8]),
            (Op::Reshape { shape: [5, 4, 1] }, vec![9]),
            (Op::range(0, 1), vec![3]),
            (Op::Sub, vec![3, 11]),
        ]);
        let image = |c, h, w| Shape::Image([c, h, w]);
        let expected = [
            image(4, 7, 6),
            image(2, 7, 6),
            image(10, 7, 6),
            image(10, 7, 6),
            image(10, 1, 1),
            image(10, 1, 1),
            image(10, 7, 6),
            image(10, 10, 9),
            Shape::Flat(10),
            Shape::Flat(20),
            image(5, 4, 1),
            image(1, 7, 6),
            image(10, 7, 6),
        ];
        assert_eq!(shapes(&graph), Ok(expected.to_vec()));
    }

    #[test]
    fn what_cannot_be_put_together_is_refused() {
        let pair = |first: Op, op: Op, inputs| {
            shapes(&graph(vec![input(), (first, vec![0]), (op, inputs)])).unwrap_err()
        };
        let strip = || Op::Pad { lines: [0, 0, 1, 0], value: 0.0 };
        assert!(matches!(pair(strip(), Op::Mul, vec![0, 1]), GraphError::Combined { .. }));
        assert!(matches!(pair(Op::Flatten, Op::Add, vec![0, 1]), GraphError::Combined { .. }));
        assert!(matches!(pair(strip(), Op::Concat, vec![0, 1]), GraphError::Concat { .. }));
        assert!(matches!(pair(Op::Flatten, Op::Concat, vec![0, 1]), GraphError::Concat { .. }));
        assert!(matches!(
            pair(strip(), Op::Concat, vec![]),
            GraphError::InputCount { expected: 1, got: 0, .. }
        ));
        assert!(matches!(refused(Op::range(2, 3)), GraphError::Channel { channel: 4, channels: 4, .. }));
        assert!(matches!(refused(Op::range(2, 0)), GraphError::Size { .. }));
        assert!(matches!(refused(Op::Reshape { shape: [4, 7, 7] }), GraphError::Reshape { .. }));
        assert!(matches!(refused(Op::Reshape { shape: [usize::MAX; 3] }), GraphError::Size { .. }));
        assert!(matches!(refused(Op::PRelu { slope: vec![0.5] }), GraphError::Length { .. }));
        let nan = Op::Function(Function::Elu { alpha: f32::NAN });
        assert!(matches!(refused(nan), GraphError::NotANumber { .. }));
        assert!(matches!(refused(Op::Pad { lines: [usize::MAX; 4], value: 0.0 }), GraphError::Size { .. }));
        let more = Op::AveragePool { window: Window::square(3, 1, 1), counted: [0, 0, 2, 0] };
        assert!(matches!(refused(more), GraphError::Counted { .. }));
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
        let linear = Op::Linear { weight: vec![], bias: vec![], scales: None };
        assert!(matches!(refused(linear), GraphError::Kind { .. }));
        assert!(matches!(refused(Op::Clip { low: f32::NAN, high: 1.0 }), GraphError::Bounds { .. }));
    }

    #[test]
    fn scales_are_numbers_above_zero_one_for_each_output() {
        let scaled = |scales: &[f32]| match convolution([2, 4, 1, 1], 1, Window::square(1, 1, 0)) {
            Op::Convolution(plain) => Op::Convolution(Convolution { scales: Some(scales.to_vec()), ..plain }),
            other => other,
        };
        assert!(shapes(&graph(vec![input(), (scaled(&[0.5, 0.25]), vec![0])])).is_ok());
        assert!(matches!(
            refused(scaled(&[0.5])),
            GraphError::Length { what: "scales", expected: 2, got: 1, .. }
        ));
        for scale in [0.0, -0.5, f32::NAN, f32::INFINITY] {
            assert!(matches!(refused(scaled(&[0.5, scale])), GraphError::Scale { .. }), "{scale}");
            let linear = Op::Linear { weight: vec![1.0; 168], bias: vec![0.0], scales: Some(vec![scale]) };
            let nodes = vec![input(), (Op::Flatten, vec![0]), (linear, vec![1])];
            assert!(matches!(shapes(&graph(nodes)), Err(GraphError::Scale { .. })), "{scale}");
        }
        for scale in [0.0, -0.5, f32::INFINITY] {
            let quantize = Op::Function(Function::Quantize(Quantization { scale, zero: 3 }));
            assert!(matches!(refused(quantize), GraphError::Scale { .. }), "{scale}");
        }
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
        let counted = Op::AveragePool { window: beside, counted: beside.padding };
        assert!(shapes(&graph(vec![input(), (counted, vec![0])])).is_ok());
        let between = Window { dilation: [9, 1], ..Window::square(2, 1, 0) };
        let between = Window { padding: [2, 0, 1, 0], ..between };
        assert!(matches!(refused(Op::MaxPool(between)), GraphError::OnlyPadding { .. }));
    }

    #[test]
    fn a_result_that_is_too_large_is_refused_before_it_is_allocated() {
        let window = Window { padding: [1 << 20; 4], ..Window::square(1, 1, 0) };
        let pool = Op::AveragePool { window, counted: window.padding };
        assert!(matches!(refused(pool), GraphError::Size { .. }));
        let empty = graph(vec![(Op::Input { shape: [3, 0, 2] }, vec![])]);
        assert!(matches!(shapes(&empty), Err(GraphError::Size { .. })));
    }
}
