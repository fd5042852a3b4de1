//! From the bytes of a file to a graph.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use prost::Message;

use super::OnnxError;
use super::call::{Call, is_standard};
use super::finish::finish;
use super::operators::reader;
use super::proto::{
    BFLOAT16, DOUBLE, DimensionProto, FLOAT, FLOAT16, GraphProto, ModelProto, NodeProto,
    StringStringEntryProto, ValueInfoProto,
};
use super::scope::{Scope, Value};
use crate::graph::{Graph, Op};
use crate::shape::shapes;

/// Oldest version of the operators that is read.
const LEAST_OPSET: i64 = 7;
/// Newest version of the operators that is read.
const MOST_OPSET: i64 = 22;

/// What a file may leave open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// Height and width of the image, in place of those in the file.
    pub size: Option<[usize; 2]>,
}

/// Reads the graph of a model that takes images of the height and width in the file.
///
/// # Errors
/// As [`read_with`].
pub fn read(bytes: &[u8]) -> Result<Graph, OnnxError> {
    read_with(bytes, ReadOptions::default())
}

/// Reads a file like [`read_with`].
///
/// # Errors
/// [`OnnxError::Io`] if the file cannot be read, otherwise as [`read_with`].
pub fn read_file(path: impl AsRef<Path>, options: ReadOptions) -> Result<Graph, OnnxError> {
    read_with(&read_bytes(path.as_ref())?, options)
}

/// The bytes of a file.
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>, OnnxError> {
    std::fs::read(path).map_err(|source| OnnxError::Io { path: path.to_owned(), source })
}

/// The `metadata_props` of a model: the last value of each key.
///
/// # Errors
/// [`OnnxError::NotOnnx`] if the bytes are no model.
pub fn metadata(bytes: &[u8]) -> Result<BTreeMap<String, String>, OnnxError> {
    let entry = |entry: StringStringEntryProto| Some((entry.key?, entry.value.unwrap_or_default()));
    Ok(decode(bytes)?.metadata_props.into_iter().filter_map(entry).collect())
}

fn decode(bytes: &[u8]) -> Result<ModelProto, OnnxError> {
    ModelProto::decode(bytes).map_err(|error| OnnxError::NotOnnx { reason: error.to_string() })
}

/// Reads the graph of a model: from its one input that is no constant, an image, to the first of its outputs. What only
/// further outputs need is left out.
///
/// # Errors
/// [`OnnxError::Unsupported`] with all operators that the graph has no node for; otherwise the first thing that does not
/// fit, with the name of its node or tensor.
pub fn read_with(bytes: &[u8], options: ReadOptions) -> Result<Graph, OnnxError> {
    let model = decode(bytes)?;
    let Some(proto) = &model.graph else {
        return Err(OnnxError::NotOnnx { reason: "it holds no graph".to_owned() });
    };
    let opset = opset(&model)?;
    let output = proto.output.first().and_then(|output| output.name.as_deref());
    let output = output.filter(|name| !name.is_empty()).ok_or(OnnxError::NoOutput)?;
    let input = image(proto)?;
    let (batch, shape) = image_shape(input, options)?;
    let mut scope = Scope::new(batch);
    define_constants(&mut scope, proto)?;
    let name = input.name.as_deref().unwrap_or_default();
    let value = scope.push(name, Op::Input { shape }, vec![])?;
    scope.define(name, value)?;
    let needed = needed(&proto.node, output);
    for node in proto.node.iter().zip(needed).filter_map(|(node, needed)| needed.then_some(node)) {
        let call = Call { node, opset };
        let value = compute(&mut scope, &call)?;
        if let Some(name) = node.output.first().filter(|name| !name.is_empty()) {
            scope.define(name, value)?;
        }
    }
    scope.refuse_unsupported()?;
    let Some(&Value::Node(output)) = scope.values.get(output) else { return Err(OnnxError::NoOutput) };
    let graph = finish(scope.nodes, output);
    shapes(&graph)?;
    Ok(graph)
}

/// What a node's first output stands for. Behind an operator that is not supported everything is unknown; of operators
/// that read constants or sizes alone, those that read images there are named too.
fn compute<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Result<Value<'a>, OnnxError> {
    let Some(reader) = reader(call.operator()).filter(|_| call.is_standard()) else {
        return Ok(scope.unsupported(call));
    };
    let mut unknown = 0;
    let mut known_sizes = false;
    for index in 0..call.node.input.len() {
        match scope.optional(call, index)? {
            Some(Value::Unknown) => unknown += 1,
            Some(value) => known_sizes |= value.sizes()?.is_some(),
            None => {}
        }
    }
    let joins_images = match call.operator() {
        "Concat" => !known_sizes,
        "Mul" | "Div" | "Sub" => unknown > 1,
        _ => false,
    };
    match unknown {
        0 => reader(scope, call),
        _ if joins_images => Ok(scope.unsupported(call)),
        _ => Ok(Value::Unknown),
    }
}

fn opset(model: &ModelProto) -> Result<i64, OnnxError> {
    let import = model.opset_import.iter().find(|import| is_standard(import.domain.as_deref()));
    let got = import.and_then(|import| import.version).unwrap_or_default();
    if (LEAST_OPSET..=MOST_OPSET).contains(&got) {
        return Ok(got);
    }
    Err(OnnxError::OperatorSet { got, least: LEAST_OPSET, most: MOST_OPSET })
}

/// Which nodes the output needs, by names.
fn needed(nodes: &[NodeProto], output: &str) -> Vec<bool> {
    let mut names = HashSet::from([output]);
    let mut needed: Vec<bool> = Vec::with_capacity(nodes.len());
    for node in nodes.iter().rev() {
        let is_needed = node.output.iter().any(|name| names.contains(name.as_str()));
        if is_needed {
            names.extend(node.input.iter().map(String::as_str));
        }
        needed.push(is_needed);
    }
    needed.reverse();
    needed
}

fn define_constants<'a>(scope: &mut Scope<'a>, graph: &'a GraphProto) -> Result<(), OnnxError> {
    for tensor in &graph.initializer {
        scope.define(tensor.label(), Value::Tensor(tensor))?;
    }
    for tensor in &graph.sparse_initializer {
        scope.define(tensor.label(), Value::Sparse(tensor))?;
    }
    Ok(())
}

/// The one input that is no constant. Before version 4 of the format, constants were listed as inputs too.
fn image(graph: &GraphProto) -> Result<&ValueInfoProto, OnnxError> {
    let dense = graph.initializer.iter().map(|tensor| tensor.label());
    let constants: HashSet<&str> =
        dense.chain(graph.sparse_initializer.iter().map(|tensor| tensor.label())).collect();
    let label = |input: &ValueInfoProto| input.name.clone().unwrap_or_default();
    let inputs: Vec<&ValueInfoProto> =
        graph.input.iter().filter(|input| !constants.contains(label(input).as_str())).collect();
    match inputs[..] {
        [input] => Ok(input),
        _ => {
            let names: Vec<String> = inputs.iter().map(|input| label(input)).collect();
            Err(OnnxError::Inputs { names: names.join(", ") })
        }
    }
}

/// The number of images, if the file fixes it, and the shape of one.
fn image_shape(input: &ValueInfoProto, options: ReadOptions) -> Result<(Option<i64>, [usize; 3]), OnnxError> {
    let name = || input.name.clone().unwrap_or_default();
    let wrong = |got: String| OnnxError::Input { name: name(), got };
    let tensor = input.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref());
    let tensor = tensor.ok_or_else(|| wrong("no tensor".to_owned()))?;
    let element = tensor.elem_type.unwrap_or_default();
    if ![FLOAT, FLOAT16, DOUBLE, BFLOAT16].contains(&element) {
        return Err(wrong(format!("of element type {element}")));
    }
    let dims = tensor.shape.as_ref().map_or(&[][..], |shape| &shape.dim);
    let [batch, channels, height, width] = dims else {
        return Err(wrong(format!("of {} axes", dims.len())));
    };
    let side = |dim: &DimensionProto| dim.dim_value.and_then(|side| usize::try_from(side).ok());
    let channels = side(channels).ok_or_else(|| wrong("without a fixed number of channels".to_owned()))?;
    let size = options.size.or_else(|| Some([side(height)?, side(width)?]));
    let [height, width] = size.ok_or_else(|| OnnxError::NeedsSize { name: name() })?;
    Ok((batch.dim_value, [channels, height, width]))
}
