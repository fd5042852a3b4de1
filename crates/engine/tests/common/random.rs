//! Random graphs of all operations.

use super::Growing;
use sparse_engine::Shape;
use sparse_engine::graph::{Function, Graph, Op, Window};

/// Functions that networks have between their layers.
pub(crate) const FUNCTIONS: [Function; 12] = [
    Function::Sigmoid,
    Function::HardSigmoid { alpha: 0.2, beta: 0.5 },
    Function::HardSwish,
    Function::Silu,
    Function::Tanh,
    Function::Elu { alpha: 0.7 },
    Function::Gelu,
    Function::GeluTanh,
    Function::Erf,
    Function::Exp,
    Function::Softplus,
    Function::Mish,
];

/// Most channels of a node.
const MOST_CHANNELS: usize = 40;

/// A network that a seed determines: steps that mostly read the newest node, sometimes older ones.
pub(crate) fn network(seed: u64) -> Graph {
    let mut net = Growing::new([3, 9, 14], 0.5, seed);
    let size = [net.random.below(14) + 3, net.random.below(20) + 3];
    let zeros = [0.0, 0.5, 0.8][net.random.below(3)];
    let mut net = Growing::new([1 + net.random.below(4), size[0], size[1]], zeros, seed + 1);
    for _ in 0..4 + net.random.below(12) {
        step(&mut net);
    }
    head(&mut net);
    net.graph
}

fn image(net: &Growing, node: usize) -> Option<[usize; 3]> {
    match net.shape(node) {
        Shape::Image(shape) => Some(shape),
        Shape::Flat(_) => None,
    }
}

/// A node whose shape fits, if there is one; any of them.
fn other(net: &mut Growing, fits: impl Fn([usize; 3]) -> bool) -> Option<usize> {
    let nodes = 0..net.graph.nodes.len();
    // Lines of −∞ are for a pool alone.
    let is_finite =
        |&node: &usize| !matches!(net.graph.nodes[node].op, Op::Pad { value, .. } if value.is_infinite());
    let fitting: Vec<usize> =
        nodes.filter(is_finite).filter(|&node| image(net, node).is_some_and(&fits)).collect();
    (!fitting.is_empty()).then(|| fitting[net.random.below(fitting.len())])
}

/// Adds an operation on the newest image, or on an older one.
fn step(net: &mut Growing) {
    if net.random.below(5) == 0
        && let Some(older) = other(net, |_| true)
    {
        net.graph.output = older;
    }
    let last = net.graph.output;
    let Some(shape @ [channels, ..]) = image(net, last) else { return };
    match net.random.below(16) {
        0..=3 => convolution(net, shape),
        4 => {
            let (scale, offset) = (net.random.numbers(channels), net.random.numbers(channels));
            net.next(Op::Affine { scale, offset });
        }
        5 => {
            let [low, high] = [[0.0, f32::INFINITY], [-0.5, 0.75]][net.random.below(2)];
            net.next(Op::Clip { low, high });
        }
        6 => {
            let function = FUNCTIONS[net.random.below(FUNCTIONS.len())];
            // What grows fast is kept small.
            net.next(Op::Clip { low: -3.0, high: 3.0 });
            net.next(Op::Function(function));
        }
        7 => {
            let slope = net.random.numbers(channels);
            net.next(Op::PRelu { slope });
        }
        8 => combine(net, shape),
        9 => gate(net, channels),
        10 | 11 => concat(net, shape),
        12 => choose(net, channels),
        13 | 14 => pool(net, shape),
        _ => turn(net, shape),
    }
}

fn window(net: &mut Growing, [_, height, width]: [usize; 3]) -> Window {
    let mut side = |size: usize| 1 + net.random.below(size.min(4));
    let kernel = [side(height), side(width)];
    let mut window = Window { kernel, ..Window::square(1, 1, 0) };
    for axis in 0..2 {
        window.stride[axis] = 1 + net.random.below(2);
        if 2 * kernel[axis] < [height, width][axis] {
            window.dilation[axis] = 1 + net.random.below(2);
        }
        window.padding[axis] = net.random.below(kernel[axis]);
        window.padding[axis + 2] = net.random.below(kernel[axis]);
    }
    window
}

fn convolution(net: &mut Growing, shape: [usize; 3]) {
    let channels = shape[0];
    let divisors: Vec<usize> = (1..=channels).filter(|groups| channels.is_multiple_of(*groups)).collect();
    let groups = divisors[net.random.below(divisors.len())];
    let window = match net.random.below(3) {
        0 => Window::square(1, 1, 0),
        1 if shape[1] > 2 && shape[2] > 2 => Window::square(3, 1 + net.random.below(2), 1),
        _ => window(net, shape),
    };
    let outputs = match net.random.below(3) {
        0 => channels,
        _ => (1 + net.random.below(MOST_CHANNELS / 2)).next_multiple_of(groups),
    };
    let outputs = if outputs > MOST_CHANNELS { channels } else { outputs };
    net.convolution(outputs, groups, window);
}

/// Two nodes of one shape, or of one that stands for the other.
fn combine(net: &mut Growing, [channels, height, width]: [usize; 3]) {
    let last = net.graph.output;
    let fits =
        |[c, h, w]: [usize; 3]| (c == channels || c == 1) && ([h, w] == [height, width] || [h, w] == [1, 1]);
    let Some(other) = other(net, fits) else { return };
    let inputs = if net.random.below(2) == 0 { vec![last, other] } else { vec![other, last] };
    let op = [Op::Add, Op::Sub, Op::Mul][net.random.below(3)].clone();
    net.add(op, inputs);
    // What is multiplied with itself again and again would leave the range of numbers.
    net.next(Op::Clip { low: -4.0, high: 4.0 });
}

/// Squeeze and excite; sometimes through linear layers, sometimes dividing.
fn gate(net: &mut Growing, channels: usize) {
    let image = net.graph.output;
    let squeeze = [Op::GlobalAveragePool, Op::GlobalMaxPool][net.random.below(2)].clone();
    net.next(squeeze);
    let inner = 1 + net.random.below(9);
    if net.random.below(2) == 0 {
        net.convolution(inner, 1, Window::square(1, 1, 0));
        net.next(Op::Clip { low: 0.0, high: f32::INFINITY });
        net.convolution(channels, 1, Window::square(1, 1, 0));
    } else {
        net.next(Op::Flatten);
        net.linear(inner);
        net.next(Op::Function(Function::Silu));
        net.linear(channels);
        net.next(Op::Reshape { shape: [channels, 1, 1] });
    }
    let gate = net.next(Op::Function(Function::Sigmoid));
    if net.random.below(3) == 0 {
        let gate = net.next(Op::Affine { scale: vec![1.0; channels], offset: vec![0.5; channels] });
        net.add(Op::Div, vec![image, gate]);
    } else {
        let inputs = if net.random.below(2) == 0 { vec![gate, image] } else { vec![image, gate] };
        net.add(Op::Mul, inputs);
    }
}

/// The newest image with others of its height and width.
fn concat(net: &mut Growing, [channels, height, width]: [usize; 3]) {
    let mut inputs = vec![net.graph.output];
    let mut sum = channels;
    for _ in 0..net.random.below(4) {
        let fits = |[c, h, w]: [usize; 3]| [h, w] == [height, width] && sum + c <= MOST_CHANNELS;
        let Some(other) = other(net, fits) else { break };
        sum += net.shape(other).channels();
        let at = net.random.below(inputs.len() + 1);
        inputs.insert(at, other);
    }
    net.add(Op::Concat, inputs);
}

fn choose(net: &mut Growing, channels: usize) {
    let op = match net.random.below(3) {
        0 => {
            let start = net.random.below(channels);
            Op::range(start, 1 + net.random.below(channels - start))
        }
        1 => {
            let divisors: Vec<usize> =
                (1..=channels).filter(|groups| channels.is_multiple_of(*groups)).collect();
            Op::shuffle(channels, divisors[net.random.below(divisors.len())])
        }
        _ => {
            let order = (0..1 + net.random.below(MOST_CHANNELS)).map(|_| net.random.below(channels));
            Op::Channels { order: order.collect() }
        }
    };
    net.next(op);
}

fn pool(net: &mut Growing, shape: [usize; 3]) {
    let mut pads = [0; 4].map(|_| net.random.below(3));
    if net.random.below(2) == 0 {
        pads = [0; 4];
    }
    let value = [0.0, 0.0, -0.25, f32::NEG_INFINITY][net.random.below(4)];
    let window = window(net, shape);
    let op = match net.random.below(4) {
        0 => {
            net.next(Op::Pad { lines: pads, value: if value.is_finite() { value } else { 1.0 } });
            return;
        }
        1 => Op::AveragePool { window, counted: window.padding.map(|lines| net.random.below(lines + 1)) },
        _ => Op::MaxPool(window),
    };
    let (last, count) = (net.graph.output, net.graph.nodes.len());
    let mut around = window;
    around.padding.iter_mut().zip(pads).for_each(|(padding, lines)| *padding += lines);
    if value.is_infinite() && matches!(op, Op::MaxPool(_)) {
        // No window may see nothing but −∞.
        net.next(Op::MaxPool(around));
        let sees = sparse_engine::shapes(&net.graph).is_ok();
        net.graph.nodes.pop();
        net.graph.output = last;
        pads = if sees { pads } else { [0; 4] };
    }
    if matches!(op, Op::MaxPool(_)) || value == 0.0 {
        net.next(Op::Pad { lines: pads, value });
    }
    net.next(op);
    if sparse_engine::shapes(&net.graph).is_err() {
        net.graph.nodes.truncate(count);
        net.graph.output = last;
    }
}

/// The same numbers in another shape.
fn turn(net: &mut Growing, [channels, height, width]: [usize; 3]) {
    if channels * height * width > 4000 {
        return;
    }
    let shape = [[width, channels, height], [height * width, channels, 1], [channels, height, width]];
    let shape = shape[net.random.below(3)];
    if net.random.below(2) == 0 {
        net.next(Op::Flatten);
    }
    if shape[0] <= MOST_CHANNELS {
        net.next(Op::Reshape { shape });
    }
    if image(net, net.graph.output).is_none() {
        net.next(Op::Reshape { shape: [channels, height, width] });
    }
}

/// One of the ways in which networks end.
fn head(net: &mut Growing) {
    match net.random.below(4) {
        0 => return,
        1 => {
            net.next(Op::GlobalAveragePool);
            net.next(Op::Flatten);
        }
        _ => drop(net.next(Op::Flatten)),
    }
    if net.shape(net.graph.output).count() > 20_000 {
        return;
    }
    let classes = 5 + net.random.below(20);
    net.linear(classes);
    match net.random.below(4) {
        0 => drop(net.next(Op::Function(Function::HardSwish))),
        1 => {
            net.next(Op::Clip { low: 0.0, high: 1.0 });
            net.next(Op::Function(Function::Tanh));
        }
        2 => {
            let count = net.shape(net.graph.output).channels();
            let (scale, offset) = (net.random.numbers(count), net.random.numbers(count));
            net.next(Op::Affine { scale, offset });
        }
        _ => return,
    }
    net.linear(7);
    match net.random.below(3) {
        0 => drop(net.next(Op::Softmax)),
        1 => drop(net.next(Op::LogSoftmax)),
        _ => {}
    }
}
