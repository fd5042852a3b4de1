//! What is quantised, as it is written: `QuantizeLinear` and `DequantizeLinear` around bytes, which other programs compute with
//! as integers.

use super::OnnxError;
use super::emit::Emitter;
use super::proto::{INT8, INT32, UINT8};
use super::write::{Attributes, Operation};
use crate::graph::{Function, Graph, Op, Quantization};
use crate::multiples::{is_scale, multiples};

/// By how much a bias may differ from a whole multiple of its scale, as a fraction of it: some roundings of `f32`.
const ROUNDING: f64 = 1.0 / (1 << 22) as f64;

/// Adds a rounding to 256 steps, and returns the name of its result.
pub(super) fn rounding(
    emitter: &mut Emitter,
    operation: &Operation<'_>,
    name: &str,
    quantization: Quantization,
    inputs: Vec<String>,
) -> String {
    let scale = emitter.constant(&format!("{name}.scale"), &[], &[quantization.scale]);
    let zero = emitter.raw(&format!("{name}.zero"), UINT8, &[], vec![quantization.zero]);
    let with = |x: String| vec![x, scale.clone(), zero.clone()];
    let x = inputs.into_iter().next().unwrap_or_default();
    let bytes = emitter.node("QuantizeLinear", name, with(x), false);
    let back = emitter.unique_node(&format!("{name}/dequantize"));
    operation.last(emitter, "DequantizeLinear", &back, with(bytes), &Attributes::default())
}

/// Adds a weight, as bytes of its scales if it has such; returns the name of its numbers.
///
/// # Errors
/// [`OnnxError::Node`] if it has scales, but is no whole multiples of them.
pub(super) fn weight(
    emitter: &mut Emitter,
    name: &str,
    shape: &[usize],
    weight: &[f32],
    scales: Option<&[f32]>,
) -> Result<String, OnnxError> {
    let tensor = format!("{name}.weight");
    let Some(scales) = scales else { return Ok(emitter.weight(&tensor, shape, weight)) };
    let Some(numbers) = multiples(weight, scales) else {
        let reason =
            "its weights are no whole multiples, -128 to 127, of its scales; quantise it again".to_owned();
        return Err(OnnxError::Node { node: name.to_owned(), operator: "QuantizeLinear".to_owned(), reason });
    };
    let bytes = numbers.iter().map(|number| number.cast_unsigned()).collect();
    let values = emitter.raw(&tensor, INT8, shape, bytes);
    let zeros = emitter.raw(&format!("{tensor}.zero"), INT8, &[scales.len()], vec![0; scales.len()]);
    Ok(numbers_of(emitter, &tensor, values, scales, Some(zeros)))
}

/// Adds a bias: as integers if what is read is rounded to steps of `read` and it is whole multiples of those times `scales`.
/// Returns the name of its numbers.
pub(super) fn bias(
    emitter: &mut Emitter,
    name: &str,
    bias: &[f32],
    scales: Option<&[f32]>,
    read: Option<f32>,
) -> String {
    let tensor = format!("{name}.bias");
    let steps: Option<Vec<f32>> =
        scales.zip(read).map(|(scales, read)| scales.iter().map(|scale| scale * read).collect());
    let Some((steps, numbers)) = steps.and_then(|steps| whole(bias, &steps).map(|numbers| (steps, numbers)))
    else {
        return emitter.constant(&tensor, &[bias.len()], bias);
    };
    let bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    let values = emitter.raw(&tensor, INT32, &[bias.len()], bytes);
    numbers_of(emitter, &tensor, values, &steps, None)
}

/// Adds the node that makes numbers of integers, with a scale for each place of their first axis.
fn numbers_of(
    emitter: &mut Emitter,
    tensor: &str,
    values: String,
    scales: &[f32],
    zeros: Option<String>,
) -> String {
    let scales = emitter.constant(&format!("{tensor}.scale"), &[scales.len()], scales);
    let node = emitter.unique_node(&format!("{tensor}/dequantize"));
    let inputs = [values, scales].into_iter().chain(zeros).collect();
    let result = emitter.node("DequantizeLinear", &node, inputs, false);
    Attributes { axis: Some(0), ..Attributes::default() }.add_to(emitter);
    result
}

/// The integers that numbers are of their steps; none if one is none.
fn whole(numbers: &[f32], steps: &[f32]) -> Option<Vec<i32>> {
    let one = |(&number, &step): (&f32, &f32)| {
        let count = f64::from(number) / f64::from(step);
        let near = count.round_ties_even();
        let is_whole = (count - near).abs() <= near.abs() * ROUNDING;
        (is_scale(step) && is_whole && near.abs() < f64::from(i32::MAX)).then_some(near as i32)
    };
    numbers.iter().zip(steps).map(one).collect()
}

/// The steps to which what a node reads was rounded, through what only moves numbers.
pub(super) fn steps_read(graph: &Graph, mut node: usize) -> Option<f32> {
    loop {
        node = *graph.nodes[node].inputs.first()?;
        match graph.nodes[node].op {
            Op::Function(Function::Quantize(quantization)) => return Some(quantization.scale),
            Op::Flatten | Op::Reshape { .. } | Op::Channels { .. } | Op::MaxPool(_) | Op::GlobalMaxPool => {}
            Op::Pad { value: 0.0, .. } => {}
            _ => return None,
        }
    }
}
