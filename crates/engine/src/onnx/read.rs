//! From the bytes of a file to a graph.

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use prost::Message;

use super::call::{Call, is_standard};
use super::check::faults;
use super::external::Files;
use super::findings::Findings;
use super::finish::finish;
use super::inputs::{Input, image, output};
use super::operators::operator;
use super::order::Makers;
use super::proto::{GraphProto, ModelProto, NodeProto, StringStringEntryProto};
use super::quantised::{moved_bytes, moved_steps};
use super::scope::{Scope, Value};
use super::settle::text;
use super::view::View;
use super::{OnnxError, kind};
use crate::graph::{Graph, Op};
use crate::shape::shapes;

/// Oldest version of the operators that is read.
const LEAST_OPSET: i64 = 7;
/// Newest version of the operators that is read.
const MOST_OPSET: i64 = 26;
/// Newest version of the format that is read.
const MOST_VERSION: i64 = 13;
/// Outputs whose shapes are found out for a message.
const TRIED_OUTPUTS: usize = 8;
/// Longest file that programs with protobuf write, in bytes.
const MOST_BYTES: u64 = 1 << 31;

/// What a file may leave open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// Height and width of the image, in place of those in the file.
    pub size: Option<[usize; 2]>,
    /// Name of the output that holds the scores; needed for a file with several.
    pub output: Option<String>,
}

/// Reads the graph of a model that takes images of the height and width in the file.
///
/// # Errors
/// As [`read_with`].
pub fn read(bytes: &[u8]) -> Result<Graph, OnnxError> {
    read_with(bytes, &ReadOptions::default())
}

/// Reads a file like [`read_with`], with constants that lie in other files of its folder.
///
/// # Errors
/// [`OnnxError::Io`] if the file cannot be read, [`OnnxError::External`] if one beside it cannot, otherwise as
/// [`read_with`].
pub fn read_file(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Graph, OnnxError> {
    read_beside(path.as_ref(), &read_bytes(path.as_ref())?, options)
}

/// Reads a model from its bytes, and constants that lie beside its file.
pub(crate) fn read_beside(path: &Path, bytes: &[u8], options: &ReadOptions) -> Result<Graph, OnnxError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    model_graph(bytes, options, Files::beside(folder))
}

/// The bytes of a file.
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>, OnnxError> {
    let refused = |source| OnnxError::Io { path: path.to_owned(), source };
    let metadata = std::fs::metadata(path).map_err(refused)?;
    // A pipe would make the opening wait.
    if !metadata.is_file() {
        return Err(refused(std::io::Error::other("it is no regular file; write it to one first")));
    }
    if metadata.len() > MOST_BYTES {
        let reason = format!(
            "it has {} bytes, and a model has at most 2 GiB beside its external data; check that it is an \
                              .onnx file",
            metadata.len()
        );
        return Err(OnnxError::NotOnnx { reason });
    }
    std::fs::read(path).map_err(refused)
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
    let not_onnx = |reason: String| OnnxError::NotOnnx { reason };
    let model = ModelProto::decode(bytes);
    match (model, kind::other(bytes)) {
        (Ok(model), _) if model.graph.is_some() => Ok(model),
        (_, Some(what)) => Err(not_onnx(format!("it is {what}"))),
        (Ok(_), None) => Err(not_onnx("it holds no graph; export the network again".to_owned())),
        (Err(error), None) => Err(not_onnx(format!("{error}; copy or export it again"))),
    }
}

/// Reads the graph of a model: from its one input that is no constant, an image, to its output, or to the one that
/// `options` name. What only other outputs need is left out. Channels may come last, if all that reads the image moves them
/// first: the graph takes `[C, H, W]` in any case.
///
/// # Errors
/// [`OnnxError::Unsupported`] with all operators that the graph has no node for and with all nodes that are malformed or not
/// supported; [`OnnxError::Outputs`] if there are several and none is named; otherwise the first thing that does not fit, with
/// the name of its node or tensor.
pub fn read_with(bytes: &[u8], options: &ReadOptions) -> Result<Graph, OnnxError> {
    model_graph(bytes, options, Files::default())
}

fn model_graph(bytes: &[u8], options: &ReadOptions, files: Files) -> Result<Graph, OnnxError> {
    let model = decode(bytes)?;
    graph_of(&model, bytes.len(), options, files)
}

/// The graph of a model of so many bytes.
fn graph_of(
    model: &ModelProto,
    bytes: usize,
    options: &ReadOptions,
    files: Files,
) -> Result<Graph, OnnxError> {
    let Some(proto) = &model.graph else { return Err(OnnxError::NoOutput) };
    let opset = opset(model)?;
    let makers = Makers::of(proto)?;
    let tried = Cell::new(0);
    let shape_of = |name: &str| {
        let is_one_more = tried.replace(tried.get() + 1) < TRIED_OUTPUTS;
        let named = ReadOptions { output: Some(name.to_owned()), ..options.clone() };
        let graph = is_one_more.then(|| graph_of(model, bytes, &named, files.again()).ok())??;
        let shape = shapes(&graph).ok()?.get(graph.output).copied()?;
        Some(text(&View::of(graph.output, shape).dims()))
    };
    let output = output(proto, options, shape_of)?;
    let end = NodeProto {
        name: Some(output.to_owned()),
        op_type: Some("output".to_owned()),
        ..NodeProto::default()
    };
    let needed = makers.needed(output);
    let mut findings = Findings::default();
    let is_sound = check(model, proto, opset, &needed, &mut findings);
    let readers = needed.iter().map(|&position| &proto.node[position]);
    let input = match image(proto).and_then(|info| Input::of(info, readers, options)) {
        Ok(input) => input,
        Err(error) => return Err(findings.with(error)),
    };
    let sorted = match makers.sorted(&needed) {
        Ok(sorted) => sorted,
        Err(error) => return Err(findings.with(error)),
    };
    let mut scope = Scope::new(input.batch, bytes, files, findings);
    let calls = sorted.iter().map(|&position| Call { node: &proto.node[position], opset });
    let sound = sorted.iter().map(|&position| is_sound[position]);
    let read = define(&mut scope, proto, input).and_then(|()| compute_all(&mut scope, calls.zip(sound)));
    if let Err(error) = read {
        return Err(scope.findings.with(error));
    }
    scope.findings.refuse()?;
    let Some(Value::View(view)) = scope.value(output).cloned() else { return Err(OnnxError::NoOutput) };
    let end = Call { node: &end, opset };
    if scope.is_bytes(output) {
        return Err(end.error("is the bytes of QuantizeLinear; end the model with DequantizeLinear"));
    }
    let output = scope.output(&end, &view)?;
    let graph = finish(scope.nodes, output);
    shapes(&graph)?;
    Ok(graph)
}

/// Gives names to constants and the image.
fn define<'a>(scope: &mut Scope<'a>, graph: &'a GraphProto, input: Input<'a>) -> Result<(), OnnxError> {
    for tensor in &graph.initializer {
        scope.define(tensor.label(), Value::Tensor(tensor));
    }
    for tensor in &graph.sparse_initializer {
        scope.define(tensor.label(), Value::Sparse(tensor));
    }
    let node = scope.push(input.name, Op::Input { shape: input.shape }, vec![])?;
    let view = View::of(node, scope.shape(node));
    let view = if input.channels_last { view.transposed(&[0, 2, 3, 1]) } else { view };
    scope.define(input.name, Value::View(view));
    Ok(())
}

/// Which nodes have what their operators may have; what others have is noted.
fn check(
    model: &ModelProto,
    graph: &GraphProto,
    opset: i64,
    needed: &[usize],
    findings: &mut Findings,
) -> Vec<bool> {
    let own: HashSet<&str> = model
        .functions
        .iter()
        .filter(|function| is_standard(function.domain.as_deref()))
        .filter_map(|function| function.name.as_deref())
        .collect();
    let read: HashSet<&str> = needed
        .iter()
        .flat_map(|&position| graph.node[position].input.iter().map(String::as_str))
        .chain(graph.output.iter().filter_map(|output| output.name.as_deref()))
        .collect();
    let mut is_sound = vec![false; graph.node.len()];
    for &position in needed {
        let call = Call { node: &graph.node[position], opset };
        // An operator that the file defines anew may do anything.
        let known = operator(call.operator()).filter(|_| call.is_known() && !own.contains(call.operator()));
        let Some(operator) = known else {
            findings.unsupported(&call);
            continue;
        };
        let faults = faults(&call, operator, |name| read.contains(name));
        is_sound[position] = faults.is_empty();
        faults.into_iter().for_each(|fault| findings.fault(fault));
    }
    is_sound
}

/// Reads nodes one after the other. What cannot be read is noted, and what depends on it is not known.
fn compute_all<'a>(
    scope: &mut Scope<'a>,
    calls: impl Iterator<Item = (Call<'a>, bool)>,
) -> Result<(), OnnxError> {
    for (call, is_sound) in calls {
        scope.more.clear();
        let value = match is_sound {
            true => compute(scope, &call),
            false => Ok(Value::Unknown),
        };
        let first = match value {
            Ok(value) => value,
            // A limit, or what the other nodes would show as well.
            Err(error @ (OnnxError::TooLarge { .. } | OnnxError::Undefined { .. })) => return Err(error),
            Err(error) => {
                scope.more.clear();
                scope.findings.fault(error);
                Value::Unknown
            }
        };
        let is_unknown = matches!(first, Value::Unknown);
        let mut values = std::iter::once(first).chain(std::mem::take(&mut scope.more));
        for name in &call.node.output {
            match values.next() {
                Some(value) => scope.define(name, value),
                None if is_unknown => scope.define(name, Value::Unknown),
                None => break,
            }
        }
    }
    Ok(())
}

/// What a node's first output stands for. Behind a node that cannot be read everything is unknown; products of two results
/// are named even there.
fn compute<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Result<Value<'a>, OnnxError> {
    let Some(operator) = operator(call.operator()) else { return Ok(scope.unsupported(call)) };
    let (mut results, mut unknown) = (0, false);
    for index in 0..call.node.input.len() {
        if let Some(value) = scope.optional(call, index)? {
            results += usize::from(value.is_result());
            unknown |= matches!(value, Value::Unknown);
        }
    }
    if unknown {
        let is_product = call.operator() == "MatMul" && results > 1;
        return Ok(if is_product || operator.images.is_none() {
            scope.unsupported(call)
        } else {
            Value::Unknown
        });
    }
    let bytes = moved_bytes(scope, call)?;
    let value = match (results, operator.images, operator.constants) {
        (0, _, Some(read)) | (1.., Some(read), _) => read(scope, call)?,
        (0, ..) => return Err(call.error("reads only constants; export the model with constants folded")),
        _ => return Ok(scope.unsupported(call)),
    };
    if let Some(bytes) = bytes {
        scope.note_bytes(call, bytes);
    }
    if let Some(steps) = moved_steps(scope, call, &value)? {
        scope.note_steps(call, steps);
    }
    Ok(value)
}

fn opset(model: &ModelProto) -> Result<i64, OnnxError> {
    let version = model.ir_version.unwrap_or_default();
    if version > MOST_VERSION {
        return Err(OnnxError::Version { got: version, most: MOST_VERSION });
    }
    let standard = model.opset_import.iter().filter(|import| is_standard(import.domain.as_deref()));
    let mut versions: Vec<i64> = standard.map(|import| import.version.unwrap_or_default()).collect();
    versions.dedup();
    match versions[..] {
        [got] if (LEAST_OPSET..=MOST_OPSET).contains(&got) => Ok(got),
        [] | [_] => {
            let got = versions.first().copied().unwrap_or_default();
            Err(OnnxError::OperatorSet { got, least: LEAST_OPSET, most: MOST_OPSET })
        }
        _ => Err(OnnxError::OperatorSets { got: format!("{versions:?}") }),
    }
}
