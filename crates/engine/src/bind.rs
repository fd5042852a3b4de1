//! A network's graph with the values of its parameters, for images of one size.

use crate::error::{Error, Result};
use crate::graph::{Convolution, Graph, Node, Op, Window};
use sparse_network::{Bounds, Conv, Shape, Window as NetworkWindow};

/// The graph of a network for images of height and width `size`; `values` gives the tensor of a name, in C order.
///
/// # Errors
/// What `values` reports, [`Error::Network`] if the network takes no such images, and [`Error::TensorLength`] if a tensor has
/// another number of elements than the network asks for.
pub fn bind(
    network: &sparse_network::Graph,
    size: [usize; 2],
    values: &mut dyn FnMut(&str) -> Result<Vec<f32>>,
) -> Result<Graph> {
    let shapes = network.shapes(size)?;
    let mut tensor = |id: usize| {
        let parameter = &network.parameters[id];
        let (values, expected) = (values(&parameter.name)?, parameter.count());
        if values.len() == expected {
            Ok(values)
        } else {
            Err(Error::TensorLength { name: parameter.name.clone(), expected, got: values.len() })
        }
    };
    let mut nodes = Vec::with_capacity(network.nodes.len());
    for node in &network.nodes {
        let before = node.inputs.first().map_or(Shape::Image([0; 3]), |&input| shapes[input]);
        let op = match &node.op {
            sparse_network::Op::Conv(conv) => {
                let (shape, window) = geometry(network, conv, before);
                let bias = conv.bias.map_or_else(|| Ok(vec![0.0; conv.outputs]), &mut tensor)?;
                let (weight, groups) = (tensor(conv.weight)?, conv.groups);
                Op::Convolution(Convolution { weight, shape, bias, groups, window, scales: None })
            }
            sparse_network::Op::BatchNorm(norm) => {
                let statistics = [norm.scale, norm.offset, norm.mean, norm.variance];
                let [scale, offset, mean, variance] = statistics.map(&mut tensor);
                batch_norm([scale?, offset?, mean?, variance?], norm.epsilon)
            }
            &sparse_network::Op::Linear { weight, bias } => {
                let outputs = network.parameters[weight].shape[1];
                let bias = bias.map_or_else(|| Ok(vec![0.0; outputs]), &mut tensor)?;
                Op::Linear { weight: transposed(&tensor(weight)?, outputs), bias, scales: None }
            }
            op => plain(op, shapes[0], before),
        };
        nodes.push(Node { name: node.name.clone(), op, inputs: node.inputs.clone() });
    }
    Ok(Graph { nodes, output: network.output })
}

/// An operation without parameters; `image` is the shape of the images, `before` that of what it reads.
pub(crate) fn plain(op: &sparse_network::Op, image: Shape, before: Shape) -> Op {
    match op {
        sparse_network::Op::Input { .. } => {
            let [height, width] = image.size();
            Op::Input { shape: [image.channels(), height, width] }
        }
        sparse_network::Op::Clip(Bounds { low, high }) => Op::Clip { low: *low as f32, high: *high as f32 },
        sparse_network::Op::Add => Op::Add,
        sparse_network::Op::MaxPool(window) => Op::MaxPool(placed(window, before)),
        sparse_network::Op::AveragePool { window, counts_padding } => {
            let window = placed(window, before);
            Op::AveragePool { window, counted: if *counts_padding { window.padding } else { [0; 4] } }
        }
        sparse_network::Op::GlobalAveragePool => Op::GlobalAveragePool,
        sparse_network::Op::Flatten => Op::Flatten,
        // Those with parameters do not come here.
        _ => Op::Softmax,
    }
}

/// Shape of a convolution's weight, and where its kernel goes.
pub(crate) fn geometry(network: &sparse_network::Graph, conv: &Conv, before: Shape) -> ([usize; 4], Window) {
    let shape = &network.parameters[conv.weight].shape;
    ([shape[0], shape[1], shape[2], shape[3]], placed(&conv.window, before))
}

/// A window over an image of this shape.
fn placed(window: &NetworkWindow, before: Shape) -> Window {
    let size = before.size();
    let [top, bottom] = window.lines(0, size[0]);
    let [left, right] = window.lines(1, size[1]);
    let &NetworkWindow { kernel, stride, dilation, .. } = window;
    // What lies behind the last window is not seen.
    let seen = |axis: usize, before: usize, after: usize| {
        let last = (window.outputs(axis, size[axis]).saturating_sub(1)) * stride[axis] + window.span(axis);
        after.min(last.saturating_sub(size[axis] + before))
    };
    Window { kernel, stride, dilation, padding: [top, left, seen(0, top, bottom), seen(1, left, right)] }
}

/// Batch norm with fixed statistics: `(x − mean) / sqrt(variance + ε) · scale + offset`.
fn batch_norm([scale, offset, mean, variance]: [Vec<f32>; 4], epsilon: f64) -> Op {
    let gain: Vec<f64> = scale
        .iter()
        .zip(&variance)
        .map(|(&scale, &variance)| f64::from(scale) / (f64::from(variance) + epsilon).sqrt())
        .collect();
    let offset = offset
        .iter()
        .zip(&mean)
        .zip(&gain)
        .map(|((&offset, &mean), gain)| (f64::from(offset) - f64::from(mean) * gain) as f32)
        .collect();
    Op::Affine { scale: gain.into_iter().map(|gain| gain as f32).collect(), offset }
}

/// `[inputs, outputs]` as `[outputs, inputs]`.
fn transposed(weight: &[f32], outputs: usize) -> Vec<f32> {
    let inputs = weight.len() / outputs.max(1);
    (0..weight.len()).map(|at| weight[at % inputs * outputs + at / inputs]).collect()
}

impl Graph {
    /// A graph of nothing but its input.
    #[cfg(test)]
    pub(crate) fn new(shape: [usize; 3]) -> Self {
        let node = Node { name: "image".to_owned(), op: Op::Input { shape }, inputs: Vec::new() };
        Self { nodes: vec![node], output: 0 }
    }

    /// Adds a node that reads the output, which it becomes.
    pub(crate) fn append(&mut self, name: &str, op: Op) {
        let inputs = vec![self.output];
        self.output = self.nodes.len();
        self.nodes.push(Node { name: name.to_owned(), op, inputs });
    }
}
