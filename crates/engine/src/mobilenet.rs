//! The graph of a MobileNetV1 from its weights.

use crate::error::{Error, Result};
use crate::graph::{Convolution, Graph, Node, Op, Window};
use sparse_network::{
    Activation, ConvKind, ConvLayer, HEAD_BIAS, HEAD_WEIGHT, MobileNetConfig, Padding, layers,
};

/// The graph for images of height and width `size`; `values` gives the tensor of a name, in C order.
///
/// Source: Howard et al. 2017, arXiv:1704.04861; layers and names of `sparse-network`.
///
/// # Errors
/// What `values` reports, [`Error::Network`] if the settings make no network, and [`Error::TensorLength`] if a tensor has
/// another number of elements than the network asks for.
pub fn mobilenet(
    network: &MobileNetConfig,
    size: [usize; 2],
    values: &mut dyn FnMut(&str) -> Result<Vec<f32>>,
) -> Result<Graph> {
    let mut tensor = |name: &str, len: usize| {
        let values = values(name)?;
        if values.len() == len {
            Ok(values)
        } else {
            Err(Error::TensorLength { name: name.to_owned(), expected: len, got: values.len() })
        }
    };
    let mut graph = Graph::new([network.channels, size[0], size[1]]);
    let mut features = network.channels;
    let mut size = size;
    for layer in layers(network)? {
        let (window, after) = frame(&layer, network.padding, size);
        size = after;
        let shape = layer.weight_shape();
        let convolution = Convolution {
            weight: tensor(&format!("{}_weights", layer.name), shape.iter().product())?,
            shape,
            bias: vec![0.0; layer.outputs],
            groups: if layer.kind == ConvKind::Depthwise { layer.inputs } else { 1 },
            window,
            scales: None,
        };
        graph.append(&layer.name, Op::Convolution(convolution));
        let mut norm = |what: &str| tensor(&format!("{}_bn_{what}", layer.name), layer.outputs);
        let statistics = [norm("scale")?, norm("offset")?, norm("mean")?, norm("variance")?];
        graph.append(&format!("{}_bn", layer.name), batch_norm(statistics, network.bn_epsilon));
        graph.append(&format!("{}_relu", layer.name), clip(network.activation));
        features = layer.outputs;
    }
    graph.append("pool", Op::GlobalAveragePool);
    graph.append("features", Op::Flatten);
    let weight = transposed(&tensor(HEAD_WEIGHT, features * network.classes)?, network.classes);
    graph.append("fc7", Op::Linear { weight, bias: tensor(HEAD_BIAS, network.classes)?, scales: None });
    Ok(graph)
}

/// What follows a batch norm.
pub(crate) fn clip(activation: Activation) -> Op {
    let high = match activation {
        Activation::Relu => f32::INFINITY,
        Activation::Relu6 => 6.0,
    };
    Op::Clip { low: 0.0, high }
}

/// Where the kernel of a layer goes in an image of a size, and the size of what it makes.
pub(crate) fn frame(layer: &ConvLayer, padding: Padding, size: [usize; 2]) -> (Window, [usize; 2]) {
    (window(layer, padding, size), size.map(|side| side.div_ceil(layer.stride)))
}

fn window(layer: &ConvLayer, padding: Padding, size: [usize; 2]) -> Window {
    if layer.kind == ConvKind::Pointwise {
        return Window::square(1, 1, 0);
    }
    let stride = layer.stride;
    let before = size.map(|side| padding.before(side, stride));
    // What the last window reaches beyond the image.
    let after = |axis: usize| {
        let outputs = size[axis].div_ceil(stride);
        ((outputs - 1) * stride + 3).saturating_sub(size[axis] + before[axis])
    };
    Window { padding: [before[0], before[1], after(0), after(1)], ..Window::square(3, stride, 0) }
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
    let inputs = weight.len() / outputs;
    (0..weight.len()).map(|at| weight[at % inputs * outputs + at / inputs]).collect()
}

impl Graph {
    /// A graph of nothing but its input.
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
