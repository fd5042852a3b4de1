//! From a graph to the bytes of a file.

use prost::Message;

use super::OnnxError;
use super::emit::{Emitter, value_info};
use super::finish::needed;
use super::proto::{DimensionProto, ModelProto, OperatorSetIdProto, StringStringEntryProto};
use crate::graph::{Convolution, Graph, Node, Op, Window};
use crate::shape::{Shape, shapes};

/// Version of the operators that is written.
const OPSET: i64 = 13;
/// Version of the format that is written.
const IR_VERSION: i64 = 8;
/// Longest file that programs with protobuf read, in bytes.
const MOST_BYTES: usize = i32::MAX as usize;

/// What a file is to hold besides the graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Store weights that are at least half zeros as `sparse_initializer`: each non-zero takes 12 bytes, so that the file is
    /// smaller from two thirds of zeros on. By default zeros are stored, which every program reads. ONNX Runtime reads sparse
    /// initializers and fills the zeros in again, so this says nothing about speed; the type inference of the `onnx` package
    /// refuses them (its `full_check`), and so do other programs.
    pub sparse_initializer: bool,
    /// Keys and values of the file's `metadata_props`, in this order.
    pub metadata: Vec<(String, String)>,
}

/// The bytes of a model with operator set 13: from `input`, `[N, C, H, W]`, to `logits`, `[N, classes]`, with N left open.
/// Nodes are called as in the graph, with a number behind a name that several have; weights after their nodes. Nodes that
/// the output does not need are left out. The same graph and options give the same bytes.
///
/// # Errors
/// [`OnnxError::Graph`] if the graph cannot be computed, [`OnnxError::Node`] for a mean over dilated windows, which this
/// operator set does not have, [`OnnxError::TooLarge`] for more than 2 GiB.
pub fn write(graph: &Graph, options: &WriteOptions) -> Result<Vec<u8>, OnnxError> {
    let shapes = shapes(graph)?;
    let mut emitter = Emitter::new(options.sparse_initializer);
    let mut tensors = vec![String::new(); graph.nodes.len()];
    let needed = needed(graph);
    for (position, node) in graph.nodes.iter().enumerate().filter(|(position, _)| needed[*position]) {
        let inputs = node.inputs.iter().map(|&input| tensors[input].clone()).collect();
        tensors[position] = emit(&mut emitter, node, inputs, position == graph.output)?;
    }
    emitter.graph.name = Some("sparse-train".to_owned());
    emitter.graph.input.push(value_info(Emitter::INPUT, dimensions(shapes[0])));
    emitter.graph.output.push(value_info(Emitter::OUTPUT, dimensions(shapes[graph.output])));
    let entry = |(key, value): &(String, String)| StringStringEntryProto {
        key: Some(key.clone()),
        value: Some(value.clone()),
    };
    let model = ModelProto {
        ir_version: Some(IR_VERSION),
        producer_name: Some("sparse-train".to_owned()),
        producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        graph: Some(emitter.graph),
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(OPSET) }],
        metadata_props: options.metadata.iter().map(entry).collect(),
        functions: vec![],
    };
    if model.encoded_len() > MOST_BYTES {
        return Err(OnnxError::TooLarge { what: "bytes in a file", limit: MOST_BYTES });
    }
    Ok(model.encode_to_vec())
}

/// `[N, …]`.
fn dimensions(shape: Shape) -> Vec<DimensionProto> {
    let sides = match shape {
        Shape::Image(sides) => sides.to_vec(),
        Shape::Flat(channels) => vec![channels],
    };
    let images = DimensionProto { dim_param: Some("N".to_owned()), dim_value: None };
    let known = |side| DimensionProto { dim_value: Some(side as i64), dim_param: None };
    std::iter::once(images).chain(sides.into_iter().map(known)).collect()
}

/// Adds a node, and returns the name of its result.
fn emit(
    emitter: &mut Emitter,
    node: &Node,
    mut inputs: Vec<String>,
    is_output: bool,
) -> Result<String, OnnxError> {
    if matches!(node.op, Op::Input { .. }) {
        if is_output {
            emitter.node("Identity", "identity", vec![Emitter::INPUT.to_owned()], true);
        }
        return Ok(Emitter::INPUT.to_owned());
    }
    let name = emitter.unique_node(&node.name);
    let (operator, attributes) = match &node.op {
        Op::Input { .. } | Op::Add => ("Add", Attributes::default()),
        Op::Convolution(convolution) => {
            inputs.extend(weights(emitter, &name, convolution));
            ("Conv", Attributes { groups: Some(convolution.groups), ..windows(&convolution.window) })
        }
        Op::Affine { scale, offset } => {
            let channels = [scale.len()];
            let (mean, variance) = (vec![0.0; scale.len()], vec![1.0; scale.len()]);
            inputs.push(emitter.constant(&format!("{name}.weight"), &channels, scale));
            inputs.push(emitter.constant(&format!("{name}.bias"), &channels, offset));
            inputs.push(emitter.constant(&format!("{name}.running_mean"), &channels, &mean));
            inputs.push(emitter.constant(&format!("{name}.running_var"), &channels, &variance));
            ("BatchNormalization", Attributes { epsilon: Some(0.0), ..Attributes::default() })
        }
        &Op::Clip { low: 0.0, high: f32::INFINITY } => ("Relu", Attributes::default()),
        &Op::Clip { low, high } => {
            inputs.extend(bounds(emitter, &name, low, high));
            ("Clip", Attributes::default())
        }
        Op::MaxPool(window) => ("MaxPool", windows(window)),
        Op::AveragePool { window, counted } => {
            if window.dilation != [1; 2] {
                let reason = "operator set 13 has no mean over dilated windows".to_owned();
                return Err(OnnxError::Node { node: name, operator: "AveragePool".to_owned(), reason });
            }
            if *counted != [0; 4] && *counted != window.padding {
                return Err(unwritten(&name, "AveragePool"));
            }
            let count = Some(usize::from(*counted == window.padding));
            ("AveragePool", Attributes { count_include_pad: count, dilation: None, ..windows(window) })
        }
        Op::GlobalAveragePool => ("GlobalAveragePool", Attributes::default()),
        Op::Flatten => ("Flatten", Attributes { axis: Some(1), ..Attributes::default() }),
        Op::Linear { weight, bias } => {
            let shape = [bias.len(), weight.len() / bias.len().max(1)];
            inputs.push(emitter.weight(&format!("{name}.weight"), &shape, weight));
            inputs.push(emitter.constant(&format!("{name}.bias"), &shape[..1], bias));
            ("Gemm", Attributes { transposed: Some(1), ..Attributes::default() })
        }
        Op::Softmax => ("Softmax", Attributes { axis: Some(1), ..Attributes::default() }),
        Op::LogSoftmax => ("LogSoftmax", Attributes { axis: Some(1), ..Attributes::default() }),
        Op::GlobalMaxPool => ("GlobalMaxPool", Attributes::default()),
        Op::Sub => ("Sub", Attributes::default()),
        Op::Mul => ("Mul", Attributes::default()),
        Op::Div => ("Div", Attributes::default()),
        Op::Concat => ("Concat", Attributes { axis: Some(1), ..Attributes::default() }),
        Op::Function(_) | Op::PRelu { .. } | Op::Channels { .. } | Op::Pad { .. } | Op::Reshape { .. } => {
            return Err(unwritten(&name, ""));
        }
    };
    let result = emitter.node(operator, &name, inputs, is_output);
    attributes.add_to(emitter);
    Ok(result)
}

fn unwritten(name: &str, operator: &str) -> OnnxError {
    let (node, operator) = (name.to_owned(), operator.to_owned());
    OnnxError::Node { node, operator, reason: "it is not written yet".to_owned() }
}

/// Names of the weight and bias of a convolution.
fn weights(emitter: &mut Emitter, name: &str, convolution: &Convolution) -> [String; 2] {
    let weight = emitter.weight(&format!("{name}.weight"), &convolution.shape, &convolution.weight);
    [weight, emitter.constant(&format!("{name}.bias"), &convolution.shape[..1], &convolution.bias)]
}

/// Names of the bounds of a clip; empty for one that is infinite.
fn bounds(emitter: &mut Emitter, name: &str, low: f32, high: f32) -> Vec<String> {
    let mut bound = |what: &str, value: f32, open: f32| {
        if value == open { String::new() } else { emitter.constant(&format!("{name}.{what}"), &[], &[value]) }
    };
    let mut names = vec![bound("min", low, f32::NEG_INFINITY), bound("max", high, f32::INFINITY)];
    while names.last().is_some_and(String::is_empty) {
        names.pop();
    }
    names
}

fn windows(window: &Window) -> Attributes {
    Attributes {
        dilation: Some(window.dilation),
        kernel: Some(window.kernel),
        padding: Some(window.padding),
        stride: Some(window.stride),
        ..Attributes::default()
    }
}

/// The attributes that are written.
#[derive(Default)]
struct Attributes {
    axis: Option<usize>,
    count_include_pad: Option<usize>,
    dilation: Option<[usize; 2]>,
    epsilon: Option<f32>,
    groups: Option<usize>,
    kernel: Option<[usize; 2]>,
    padding: Option<[usize; 4]>,
    stride: Option<[usize; 2]>,
    transposed: Option<usize>,
}

impl Attributes {
    /// Adds those that are set to the node added last, in order of their names.
    fn add_to(&self, emitter: &mut Emitter) {
        let list = |numbers: &Option<[usize; 2]>| numbers.map(|numbers| numbers.to_vec());
        emitter.int("axis", self.axis);
        emitter.int("count_include_pad", self.count_include_pad);
        emitter.ints("dilations", list(&self.dilation));
        emitter.float("epsilon", self.epsilon);
        emitter.int("group", self.groups);
        emitter.ints("kernel_shape", list(&self.kernel));
        emitter.ints("pads", self.padding.map(|padding| padding.to_vec()));
        emitter.ints("strides", list(&self.stride));
        emitter.int("transB", self.transposed);
    }
}
