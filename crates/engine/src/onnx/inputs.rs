//! The image that goes into a model, and the scores that come out.

use std::collections::HashSet;

use super::OnnxError;
use super::proto::{
    BFLOAT16, DOUBLE, DimensionProto, FLOAT, FLOAT16, GraphProto, NodeProto, TensorTypeProto, ValueInfoProto,
};
use super::read::ReadOptions;

/// Most channels of an image that may have them last.
const MOST_LAST: usize = 4;

/// The image of a model.
pub(super) struct Input<'a> {
    pub(super) name: &'a str,
    /// The number of images, if the file fixes it.
    pub(super) batch: Option<i64>,
    /// `[C, H, W]`.
    pub(super) shape: [usize; 3],
    /// Whether the file has the channels behind rows and columns.
    pub(super) channels_last: bool,
}

impl<'a> Input<'a> {
    /// What the file and the options say of the image that these nodes read.
    pub(super) fn of(
        info: &'a ValueInfoProto,
        nodes: impl Iterator<Item = &'a NodeProto>,
        options: &ReadOptions,
    ) -> Result<Self, OnnxError> {
        let name = label(info);
        let wrong = |got: String| OnnxError::Input { name: name.to_owned(), got };
        let tensor = tensor(info).ok_or_else(|| wrong("no tensor".to_owned()))?;
        let element = tensor.elem_type.unwrap_or_default();
        if ![FLOAT, FLOAT16, DOUBLE, BFLOAT16].contains(&element) {
            return Err(wrong(format!("of element type {}", super::element::label(element))));
        }
        let dims = tensor.shape.as_ref().map_or(&[][..], |shape| &shape.dim);
        let [batch, sides @ ..] = dims else { return Err(wrong("of no axes".to_owned())) };
        let [first, second, third] = sides else { return Err(wrong(format!("of {} axes", dims.len()))) };
        let channels_last =
            side(third).is_some_and(|channels| channels <= MOST_LAST) && moved_first(name, nodes);
        let [channels, height, width] =
            if channels_last { [third, first, second] } else { [first, second, third] };
        let channels =
            side(channels).ok_or_else(|| wrong("without a fixed number of channels".to_owned()))?;
        let size = options.size.or_else(|| Some([side(height)?, side(width)?]));
        let [height, width] = size.ok_or_else(|| OnnxError::NeedsSize { name: name.to_owned() })?;
        let batch = batch.dim_value.filter(|&images| images > 0);
        Ok(Self { name, batch, shape: [channels, height, width], channels_last })
    }
}

/// Whether all nodes that read the image move its last axis to the second place.
fn moved_first<'a>(name: &str, nodes: impl Iterator<Item = &'a NodeProto>) -> bool {
    let mut readers = nodes.filter(|node| node.input.iter().any(|input| input == name)).peekable();
    let moves = |node: &NodeProto| {
        let is_order = |attribute: &super::proto::AttributeProto| attribute.ints == [0, 3, 1, 2];
        node.op_type.as_deref() == Some("Transpose") && node.attribute.iter().any(is_order)
    };
    readers.peek().is_some() && readers.all(moves)
}

/// The one input that is no constant. Before version 4 of the format, constants were listed as inputs too.
pub(super) fn image(graph: &GraphProto) -> Result<&ValueInfoProto, OnnxError> {
    let dense = graph.initializer.iter().map(|tensor| tensor.label());
    let constants: HashSet<&str> =
        dense.chain(graph.sparse_initializer.iter().map(|tensor| tensor.label())).collect();
    let inputs: Vec<&ValueInfoProto> =
        graph.input.iter().filter(|input| !constants.contains(label(input))).collect();
    match inputs[..] {
        [input] => Ok(input),
        _ => Err(OnnxError::Inputs { names: described(inputs.into_iter(), |_| None) }),
    }
}

/// The output that the options name, or the only one. `shape_of` gives the shape of one for which the file does not.
pub(super) fn output<'a>(
    graph: &'a GraphProto,
    options: &'a ReadOptions,
    shape_of: impl Fn(&str) -> Option<String>,
) -> Result<&'a str, OnnxError> {
    let outputs = || described(graph.output.iter(), &shape_of);
    let name = match (&options.output, graph.output.as_slice()) {
        (Some(name), all) if all.iter().any(|output| label(output) == name) => name,
        (Some(name), _) => return Err(OnnxError::NoSuchOutput { name: name.clone(), outputs: outputs() }),
        (None, [output]) => label(output),
        (None, []) => return Err(OnnxError::NoOutput),
        (None, _) => return Err(OnnxError::Outputs { outputs: outputs() }),
    };
    Some(name).filter(|name| !name.is_empty()).ok_or(OnnxError::NoOutput)
}

/// Names and shapes for a message: `scores [N, 1000]`.
fn described<'a>(
    values: impl Iterator<Item = &'a ValueInfoProto>,
    shape_of: impl Fn(&str) -> Option<String>,
) -> String {
    let shape = |info| match tensor(info).and_then(|tensor: &TensorTypeProto| tensor.shape.as_ref()) {
        Some(shape) if !shape.dim.is_empty() => {
            format!(" [{}]", shape.dim.iter().map(dimension).collect::<Vec<_>>().join(", "))
        }
        _ => shape_of(label(info)).map(|shape| format!(" {shape}")).unwrap_or_default(),
    };
    values.map(|info| format!("{}{}", label(info), shape(info))).collect::<Vec<_>>().join(", ")
}

fn dimension(dim: &DimensionProto) -> String {
    match (dim.dim_value, dim.dim_param.as_deref()) {
        (Some(side), _) => side.to_string(),
        (None, Some(name)) if !name.is_empty() => name.to_owned(),
        _ => "?".to_owned(),
    }
}

fn label(info: &ValueInfoProto) -> &str {
    info.name.as_deref().unwrap_or_default()
}

fn tensor(info: &ValueInfoProto) -> Option<&TensorTypeProto> {
    info.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref())
}

/// A length that is known: some programs write 0 or −1 for one that is not.
fn side(dim: &DimensionProto) -> Option<usize> {
    dim.dim_value.and_then(|side| usize::try_from(side).ok()).filter(|&side| side > 0)
}
