//! From a graph to the bytes of a file.

use prost::Message;

use super::OnnxError;
use super::emit::{Emitter, value_info};
use super::finish::needed;
use super::proto::{DimensionProto, ModelProto, OperatorSetIdProto, StringStringEntryProto};
use super::{forms, steps};
use crate::graph::{Convolution, Function, Graph, Node, Op, Window};
use crate::shape::{Shape, shapes};

/// Version of the operators that is written, and from which on there are those that some networks need.
const OPSETS: [i64; 2] = [13, 17];
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
    /// refuses them (its `full_check`), and so do other programs. Weights with scales are bytes in any case, zeros too.
    pub sparse_initializer: bool,
    /// Keys and values of the file's `metadata_props`, in this order.
    pub metadata: Vec<(String, String)>,
}

/// The bytes of a model with operator set 13, or 17 for a network with [`Function::HardSwish`]: from `input`,
/// `[N, C, H, W]`, to `logits`, `[N, classes]`, with N left open. What ONNX has no operator for is written as several nodes.
/// Nodes are called as in the graph, with a number behind a name that several have; weights after their nodes. Nodes that
/// the output does not need are left out. The same graph and options give the same bytes.
///
/// [`Function::Quantize`] is `QuantizeLinear` and `DequantizeLinear`. Weights with scales are `INT8`, dequantised per channel, and
/// biases of theirs `INT32` where they are whole multiples of the steps of what is read times those scales: ONNX Runtime
/// computes such layers in integers.
///
/// # Errors
/// [`OnnxError::Graph`] if the graph cannot be computed, [`OnnxError::Node`] for a mean over dilated windows, which this
/// operator set does not have, and for weights that are no whole multiples of their scales, [`OnnxError::TooLarge`] for more than 2 GiB.
pub fn write(graph: &Graph, options: &WriteOptions) -> Result<Vec<u8>, OnnxError> {
    let shapes = shapes(graph)?;
    let mut emitter = Emitter::new(options.sparse_initializer);
    let mut tensors = vec![String::new(); graph.nodes.len()];
    let needed = needed(graph);
    for (position, node) in graph.nodes.iter().enumerate().filter(|(position, _)| needed[*position]) {
        let inputs = node.inputs.iter().map(|&input| tensors[input].clone()).collect();
        let read = node.inputs.first().map_or(shapes[0], |&input| shapes[input]);
        let operation = Operation {
            node,
            read,
            steps: steps::steps_read(graph, position),
            is_output: position == graph.output,
        };
        tensors[position] = operation.emit(&mut emitter, inputs)?;
    }
    emitter.graph.name = Some("sparse-train".to_owned());
    emitter.graph.input.push(value_info(Emitter::INPUT, dimensions(shapes[0])));
    emitter.graph.output.push(value_info(Emitter::OUTPUT, dimensions(shapes[graph.output])));
    let entry = |(key, value): &(String, String)| StringStringEntryProto {
        key: Some(key.clone()),
        value: Some(value.clone()),
    };
    let is_newer = |node: &Node| node.op == Op::Function(Function::HardSwish);
    let opset =
        OPSETS[usize::from(graph.nodes.iter().zip(&needed).any(|(node, needed)| *needed && is_newer(node)))];
    let model = ModelProto {
        ir_version: Some(IR_VERSION),
        producer_name: Some("sparse-train".to_owned()),
        producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        graph: Some(emitter.graph),
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(opset) }],
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

/// A node to be written.
pub(super) struct Operation<'a> {
    node: &'a Node,
    /// Shape of its first input.
    pub(super) read: Shape,
    /// The steps to which that was rounded, if it was.
    steps: Option<f32>,
    is_output: bool,
}

impl Operation<'_> {
    /// Adds the node, and returns the name of its result.
    fn emit(&self, emitter: &mut Emitter, mut inputs: Vec<String>) -> Result<String, OnnxError> {
        if matches!(self.node.op, Op::Input { .. }) {
            if self.is_output {
                emitter.node("Identity", "identity", vec![Emitter::INPUT.to_owned()], true);
            }
            return Ok(Emitter::INPUT.to_owned());
        }
        let name = emitter.unique_node(&self.node.name);
        let (operator, attributes) = match &self.node.op {
            &Op::Function(Function::Quantize(quantization)) => {
                return Ok(steps::rounding(emitter, self, &name, quantization, inputs));
            }
            Op::Convolution(convolution) => {
                let Convolution { weight, bias, scales, shape, .. } = convolution;
                let scales = scales.as_deref();
                inputs.push(steps::weight(emitter, &name, shape, weight, scales)?);
                inputs.push(steps::bias(emitter, &name, bias, scales, self.steps));
                let windows = windows(&convolution.window);
                ("Conv", Attributes { groups: Some(convolution.groups), ..windows })
            }
            Op::Linear { weight, bias, scales } => {
                let (shape, scales) = ([bias.len(), weight.len() / bias.len().max(1)], scales.as_deref());
                inputs.push(steps::weight(emitter, &name, &shape, weight, scales)?);
                inputs.push(steps::bias(emitter, &name, bias, scales, self.steps));
                ("Gemm", Attributes { transposed: Some(1), ..Attributes::default() })
            }
            Op::Function(function) => match forms::function(*function) {
                Some(form) => form,
                None => return Ok(forms::several(emitter, self, &name, *function, &inputs[0])),
            },
            Op::Channels { order } => match forms::channels(emitter, self, &name, order, &mut inputs) {
                Some(form) => form,
                None => return Ok(forms::shuffle(emitter, self, &name, order, &inputs[0])),
            },
            Op::AveragePool { window, counted } => mean(emitter, &name, window, *counted, &mut inputs)?,
            op => operator(emitter, op, self.read, &name, &mut inputs),
        };
        Ok(self.last(emitter, operator, &name, inputs, &attributes))
    }

    /// Adds the node that makes the result.
    pub(super) fn last(
        &self,
        emitter: &mut Emitter,
        operator: &str,
        name: &str,
        inputs: Vec<String>,
        attributes: &Attributes,
    ) -> String {
        let result = emitter.node(operator, name, inputs, self.is_output);
        attributes.add_to(emitter);
        result
    }
}

/// The operator of a node that is one in the file too, its attributes, and what it reads besides its inputs.
fn operator(
    emitter: &mut Emitter,
    op: &Op,
    read: Shape,
    name: &str,
    inputs: &mut Vec<String>,
) -> (&'static str, Attributes) {
    let plain = Attributes::default;
    let along_channels = || Attributes { axis: Some(1), ..plain() };
    match op {
        Op::Input { .. } => ("Identity", plain()),
        Op::Add => ("Add", plain()),
        Op::Sub => ("Sub", plain()),
        Op::Mul => ("Mul", plain()),
        Op::Div => ("Div", plain()),
        Op::Concat => ("Concat", along_channels()),
        Op::Affine { scale, offset } => {
            let channels = [scale.len()];
            let (mean, variance) = (vec![0.0; scale.len()], vec![1.0; scale.len()]);
            inputs.push(emitter.constant(&format!("{name}.weight"), &channels, scale));
            inputs.push(emitter.constant(&format!("{name}.bias"), &channels, offset));
            inputs.push(emitter.constant(&format!("{name}.running_mean"), &channels, &mean));
            inputs.push(emitter.constant(&format!("{name}.running_var"), &channels, &variance));
            ("BatchNormalization", Attributes { epsilon: Some(0.0), ..plain() })
        }
        &Op::Clip { low: 0.0, high: f32::INFINITY } => ("Relu", plain()),
        &Op::Clip { low, high } => {
            inputs.extend(bounds(emitter, name, low, high));
            ("Clip", plain())
        }
        Op::PRelu { slope } => {
            let sides = [slope.len(), 1, 1];
            let sides = if matches!(read, Shape::Image(_)) { &sides[..] } else { &sides[..1] };
            inputs.push(emitter.constant(&format!("{name}.weight"), sides, slope));
            ("PRelu", plain())
        }
        &Op::Pad { lines, value } => {
            inputs.extend(pads(emitter, name, lines, value));
            ("Pad", plain())
        }
        Op::MaxPool(window) => ("MaxPool", windows(window)),
        Op::GlobalAveragePool => ("GlobalAveragePool", plain()),
        Op::GlobalMaxPool => ("GlobalMaxPool", plain()),
        Op::Flatten => ("Flatten", along_channels()),
        Op::Reshape { shape } => {
            // The first 0 is the number of images as it is.
            let shape: Vec<i64> = std::iter::once(0).chain(shape.map(|side| side as i64)).collect();
            inputs.push(emitter.integers(&format!("{name}.shape"), &shape));
            ("Reshape", plain())
        }
        Op::Softmax => ("Softmax", along_channels()),
        Op::LogSoftmax => ("LogSoftmax", along_channels()),
        // These have forms of their own.
        Op::Convolution(_)
        | Op::Linear { .. }
        | Op::Function(_)
        | Op::Channels { .. }
        | Op::AveragePool { .. } => ("Identity", plain()),
    }
}

/// A mean over windows. Lines that count where others do not are written as a pad before it.
fn mean(
    emitter: &mut Emitter,
    name: &str,
    window: &Window,
    counted: [usize; 4],
    inputs: &mut Vec<String>,
) -> Result<(&'static str, Attributes), OnnxError> {
    if window.dilation != [1; 2] {
        let reason = "operator set 13 has no mean over dilated windows".to_owned();
        let (node, operator) = (name.to_owned(), "AveragePool".to_owned());
        return Err(OnnxError::Node { node, operator, reason });
    }
    let mut window = *window;
    let all = counted == window.padding;
    if !all && counted != [0; 4] {
        window.padding.iter_mut().zip(counted).for_each(|(padding, counted)| *padding -= counted);
        let pad = emitter.unique_node(&format!("{name}/pad"));
        inputs.extend(pads(emitter, &pad, counted, 0.0));
        *inputs = vec![emitter.node("Pad", &pad, std::mem::take(inputs), false)];
    }
    let count_include_pad = Some(usize::from(all));
    Ok(("AveragePool", Attributes { count_include_pad, dilation: None, ..windows(&window) }))
}

/// Names of the lines and the value of a pad.
fn pads(emitter: &mut Emitter, name: &str, lines: [usize; 4], value: f32) -> [String; 2] {
    let [top, left, bottom, right] = lines.map(|lines| lines as i64);
    let pads = emitter.integers(&format!("{name}.pads"), &[0, 0, top, left, 0, 0, bottom, right]);
    [pads, emitter.constant(&format!("{name}.value"), &[], &[value])]
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
#[derive(Clone, Default)]
pub(super) struct Attributes {
    pub(super) alpha: Option<f32>,
    pub(super) axis: Option<usize>,
    pub(super) beta: Option<f32>,
    pub(super) count_include_pad: Option<usize>,
    pub(super) dilation: Option<[usize; 2]>,
    pub(super) epsilon: Option<f32>,
    pub(super) groups: Option<usize>,
    pub(super) kernel: Option<[usize; 2]>,
    pub(super) padding: Option<[usize; 4]>,
    pub(super) permutation: Option<Vec<usize>>,
    pub(super) stride: Option<[usize; 2]>,
    pub(super) transposed: Option<usize>,
}

impl Attributes {
    /// Adds those that are set to the node added last, in order of their names.
    pub(super) fn add_to(&self, emitter: &mut Emitter) {
        let list = |numbers: &Option<[usize; 2]>| numbers.map(|numbers| numbers.to_vec());
        emitter.float("alpha", self.alpha);
        emitter.int("axis", self.axis);
        emitter.float("beta", self.beta);
        emitter.int("count_include_pad", self.count_include_pad);
        emitter.ints("dilations", list(&self.dilation));
        emitter.float("epsilon", self.epsilon);
        emitter.int("group", self.groups);
        emitter.ints("kernel_shape", list(&self.kernel));
        emitter.ints("pads", self.padding.map(|padding| padding.to_vec()));
        emitter.ints("perm", self.permutation.clone());
        emitter.ints("strides", list(&self.stride));
        emitter.int("transB", self.transposed);
    }
}
