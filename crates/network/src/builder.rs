//! Building a graph node by node.

use crate::{Activation, BatchNorm, Bounds, Conv, Graph, Initial, Node, Op, Parameter, ParameterId, Window};

/// A graph under construction, and the node that is read next.
///
/// ```
/// use sparse_network::{Builder, Bounds, Layer, Padding, Window};
///
/// // A network of one's own: two convolutions with a way around the second.
/// let mut net = Builder::new(3);
/// net.conv(Layer::new("first", 16, Window::square(3, 2, Padding::Symmetric)));
/// net.batch_norm("first_bn", 1e-5, 1.0).clip("first_relu", Bounds::RELU);
/// let around = net.at();
/// net.conv(Layer::new("second", 16, Window::square(3, 1, Padding::Symmetric)));
/// net.batch_norm("second_bn", 1e-5, 0.0).add("sum", around).clip("sum_relu", Bounds::RELU);
/// net.global_average_pool("pool").flatten("features").linear("head", ["head_weights", "head_offset"], 10);
/// let graph = net.finish();
/// assert_eq!(graph.shapes([32, 32])?.last().map(|shape| shape.count()), Some(10));
/// # Ok::<(), sparse_network::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Builder {
    graph: Graph,
    /// Channels of each node's result; numbers of a flat one whose size is known.
    channels: Vec<usize>,
}

/// A convolution to be added.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    /// Name of the node; the weight is `NAME_weights`.
    pub name: &'a str,
    /// Output channels.
    pub outputs: usize,
    /// Groups of channels that do not mix.
    pub groups: usize,
    /// Where the kernel goes.
    pub window: Window,
}

impl<'a> Layer<'a> {
    /// One that mixes all channels.
    pub const fn new(name: &'a str, outputs: usize, window: Window) -> Self {
        Self { name, outputs, groups: 1, window }
    }

    /// One that mixes none: a kernel for each of its `channels`.
    pub const fn depthwise(name: &'a str, channels: usize, window: Window) -> Self {
        Self { name, outputs: channels, groups: channels, window }
    }
}

impl Builder {
    /// A graph of nothing but its input.
    pub fn new(channels: usize) -> Self {
        let node = Node { name: "image".to_owned(), op: Op::Input { channels }, inputs: Vec::new() };
        Self { graph: Graph { nodes: vec![node], ..Graph::default() }, channels: vec![channels] }
    }

    /// The node that is read next.
    pub fn at(&self) -> usize {
        self.graph.output
    }

    /// Channels of what is read next.
    pub fn channels(&self) -> usize {
        self.channels[self.graph.output]
    }

    /// Reads another node next.
    pub fn go_to(&mut self, node: usize) -> &mut Self {
        self.graph.output = node;
        self
    }

    /// A convolution without a bias, its weight Kaiming uniform.
    pub fn conv(&mut self, layer: Layer<'_>) -> &mut Self {
        let Layer { name, outputs, groups, window } = layer;
        let inputs = self.channels() / groups.max(1);
        let shape = vec![outputs, inputs, window.kernel[0], window.kernel[1]];
        let fan_in = shape[1..].iter().product();
        let weight = self.parameter(format!("{name}_weights"), shape, true, kaiming(fan_in));
        let op = Op::Conv(Conv { weight, bias: None, outputs, groups, window });
        self.append(name, op, outputs)
    }

    /// Batch norm whose tensors are `NAME_scale`, `NAME_offset`, `NAME_mean` and `NAME_variance`; `scale` is where the first starts.
    pub fn batch_norm(&mut self, name: &str, epsilon: f64, scale: f64) -> &mut Self {
        let channels = self.channels();
        let mut tensor = |what: &str, trainable: bool, value: f64| {
            self.parameter(format!("{name}_{what}"), vec![channels], trainable, Initial::Constant(value))
        };
        let norm = BatchNorm {
            scale: tensor("scale", true, scale),
            offset: tensor("offset", true, 0.0),
            mean: tensor("mean", false, 0.0),
            variance: tensor("variance", false, 1.0),
            epsilon,
        };
        self.append(name, Op::BatchNorm(norm), channels)
    }

    /// Bounds.
    pub fn clip(&mut self, name: &str, bounds: Bounds) -> &mut Self {
        let channels = self.channels();
        self.append(name, Op::Clip(bounds), channels)
    }

    /// The sum with another node.
    pub fn add(&mut self, name: &str, other: usize) -> &mut Self {
        let (channels, at) = (self.channels(), self.at());
        self.push(name, Op::Add, vec![at, other], channels)
    }

    /// The greatest value of each window.
    pub fn max_pool(&mut self, name: &str, window: Window) -> &mut Self {
        let channels = self.channels();
        self.append(name, Op::MaxPool(window), channels)
    }

    /// The mean of each window.
    pub fn average_pool(&mut self, name: &str, window: Window, counts_padding: bool) -> &mut Self {
        let channels = self.channels();
        self.append(name, Op::AveragePool { window, counts_padding }, channels)
    }

    /// The mean of each channel.
    pub fn global_average_pool(&mut self, name: &str) -> &mut Self {
        let channels = self.channels();
        self.append(name, Op::GlobalAveragePool, channels)
    }

    /// Images of one pixel as vectors.
    pub fn flatten(&mut self, name: &str) -> &mut Self {
        let channels = self.channels();
        self.append(name, Op::Flatten, channels)
    }

    /// A linear layer with the tensors of these names, weight and bias.
    pub fn linear(&mut self, name: &str, tensors: [&str; 2], outputs: usize) -> &mut Self {
        let inputs = self.channels();
        let weight = self.parameter(tensors[0].to_owned(), vec![inputs, outputs], true, kaiming(inputs));
        let bias = self.parameter(tensors[1].to_owned(), vec![outputs], true, Initial::Constant(0.0));
        self.append(name, Op::Linear { weight, bias: Some(bias) }, outputs)
    }

    /// The graph; its output is the node that would be read next.
    pub fn finish(self) -> Graph {
        self.graph
    }

    fn append(&mut self, name: &str, op: Op, channels: usize) -> &mut Self {
        let inputs = vec![self.at()];
        self.push(name, op, inputs, channels)
    }

    fn push(&mut self, name: &str, op: Op, inputs: Vec<usize>, channels: usize) -> &mut Self {
        self.graph.output = self.graph.nodes.len();
        self.graph.nodes.push(Node { name: name.to_owned(), op, inputs });
        self.channels.push(channels);
        self
    }

    fn parameter(
        &mut self,
        name: String,
        shape: Vec<usize>,
        trainable: bool,
        initial: Initial,
    ) -> ParameterId {
        self.graph.parameters.push(Parameter { name, shape, trainable, initial });
        self.graph.parameters.len() - 1
    }

    /// Convolution, batch norm under the name `norm`, and bounds if there are any.
    pub(crate) fn conv_norm(
        &mut self,
        layer: Layer<'_>,
        norm: &str,
        epsilon: f64,
        activation: Option<Activation>,
    ) -> &mut Self {
        self.conv(layer).batch_norm(norm, epsilon, 1.0);
        if let Some(activation) = activation {
            self.clip(&format!("{}_relu", layer.name), activation.bounds());
        }
        self
    }
}

/// Kaiming uniform: He et al. 2015, arXiv:1502.01852, equation 10, gain √2.
fn kaiming(fan_in: usize) -> Initial {
    Initial::Uniform { bound: (6.0 / fan_in as f64).sqrt() }
}
