//! `QuantizeLinear` and `DequantizeLinear`: where a file has bytes, the graph has the numbers that they stand for.
//!
//! A result of `QuantizeLinear` is one of [`Function::Quantize`], noted as bytes under its name in the file. What moves bytes
//! moves the numbers as well, and `DequantizeLinear` by the same parameters changes nothing. Constants that are dequantised
//! become numbers, noted as whole multiples of their scales, so that weights of them are such in the graph.

use std::rc::Rc;

use super::OnnxError;
use super::call::Call;
use super::constant::{Constant, Numbers, count};
use super::element::{Element, label};
use super::proto::{INT8, UINT8};
use super::reshape::place;
use super::scope::{Padded, Scope, Value};
use super::view::View;
use crate::graph::{Function, Op, Quantization};
use crate::multiples::is_scale;

type Read<'a> = Result<Value<'a>, OnnxError>;

const ADVICE: &str = "quantise the model in the QDQ form, to 8 bits";
/// Operators that move the numbers of a result, or take the greatest of some.
const MOVES: [&str; 12] = [
    "Concat",
    "Dropout",
    "Flatten",
    "Gather",
    "Identity",
    "MaxPool",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
];

/// How the bytes of a result stand for its numbers, as the file says it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bytes {
    scale: f32,
    zero: i64,
    element: Element,
}

/// What the numbers of a constant are whole multiples of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Steps {
    /// The axis along which each place has a scale of its own; none if there is one scale.
    axis: Option<usize>,
    scales: Vec<f32>,
}

/// Scales and zero points of a node.
struct Parameters {
    /// The axis along which each place has its own; none if there are one scale and one zero point.
    axis: Option<usize>,
    scales: Vec<f32>,
    zeros: Vec<i64>,
    /// The type of the integers.
    element: Element,
}

/// `QuantizeLinear(x, scale, zero point)`.
pub(super) fn quantize<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let value = scope.input(call, 0)?;
    let rank = scope.constant_shape(&value)?.map(|shape| shape.len());
    let parameters = parameters(scope, call, said_element(call)?, rank)?;
    if let Some(scale) = parameters.scales.iter().find(|&&scale| !is_scale(scale)) {
        return Err(call.error(format!("its scale is {scale}, expected a number above 0; {ADVICE}")));
    }
    let Element::Int { bits: 8, signed } = parameters.element else {
        let reason = format!("rounds to {}, supported are UINT8 and INT8", parameters.element.name());
        return Err(call.error(format!("{reason}; {ADVICE}")));
    };
    if !value.is_result() {
        return quantize_constant(scope, call, &parameters);
    }
    let (&[scale], &[zero], None) = (&parameters.scales[..], &parameters.zeros[..], parameters.axis) else {
        let count = parameters.scales.len();
        return Err(call.error(format!(
            "has {count} scales for what depends on the image, supported is one; quantise activations per tensor"
        )));
    };
    let shift = if signed { 128 } else { 0 };
    let zero_byte = u8::try_from(zero + shift).map_err(|_| call.error("its zero point is no byte"))?;
    let quantization = Quantization { scale, zero: zero_byte };
    scope.note_bytes(call, Bytes { scale, zero, element: parameters.element });
    let op = |scope: &mut Scope<'a>, view: &View| {
        scope.push(call.name(), Op::Function(Function::Quantize(quantization)), vec![view.node])
    };
    match value {
        // Lines around an image are rounded as the image is.
        Value::Padded(Padded { view, lines, number }) => {
            let view = View { node: op(scope, &view)?, ..view };
            let number = quantization.number(quantization.byte(number));
            Ok(Value::Padded(Padded { view, lines, number }))
        }
        _ => {
            let view = scope.view(call, 0)?;
            Ok(Value::View(View { node: op(scope, &view)?, ..view }))
        }
    }
}

/// `DequantizeLinear(x, scale, zero point)`.
pub(super) fn dequantize<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let value = scope.input(call, 0)?;
    if !value.is_result() {
        return dequantize_constant(scope, call);
    }
    let Some(bytes) = scope.bytes(call, 0) else {
        return Err(call.error(format!("reads what no QuantizeLinear made; {ADVICE}")));
    };
    let parameters = parameters(scope, call, bytes.element, None)?;
    let own = match (&parameters.scales[..], &parameters.zeros[..], parameters.axis) {
        (&[scale], &[zero], None) => Some(Bytes { scale, zero, element: parameters.element }),
        _ => None,
    };
    match own {
        Some(own) if own == bytes => Ok(value),
        Some(own) => Err(call.error(format!(
            "takes {own} for bytes that QuantizeLinear made by {bytes}; both must have the same scale and zero point"
        ))),
        None => Err(call.error("has several scales for the bytes of one; quantise activations per tensor")),
    }
}

impl std::fmt::Display for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of scale {} and zero point {}", self.element.name(), self.scale, self.zero)
    }
}

/// The type that integers have where no zero point says it.
fn said_element(call: &Call<'_>) -> Result<Element, OnnxError> {
    match call.int("output_dtype", 0) {
        0 => Ok(Element::Int { bits: 8, signed: false }),
        number => {
            let number = i32::try_from(number).unwrap_or(-1);
            let reason = format!("rounds to {}, supported are UINT8 and INT8; {ADVICE}", label(number));
            Element::of(number).filter(|_| [UINT8, INT8].contains(&number)).ok_or_else(|| call.error(reason))
        }
    }
}

/// Scales and zero points of a node, the first input of which has so many axes if it is a constant.
fn parameters<'a>(
    scope: &mut Scope<'a>,
    call: &Call<'a>,
    said: Element,
    rank: Option<usize>,
) -> Result<Parameters, OnnxError> {
    let (shape, scales) = scope.reals(call, 1)?;
    let (element, zeros) = match call.input(2) {
        None => (said, vec![0; scales.len()]),
        Some(_) => {
            let zeros = scope.constant(call, 2)?;
            match zeros.numbers {
                Numbers::Whole(numbers) if numbers.len() == scales.len() => (zeros.element, numbers),
                _ => {
                    let reason =
                        format!("a zero point of shape {:?} for scales of shape {shape:?}", zeros.shape);
                    return Err(call.error(format!("{reason}; there must be one integer for each scale")));
                }
            }
        }
    };
    let is_said = call.attribute("output_dtype").is_some_and(|said| said.i.unwrap_or_default() != 0);
    if (is_said || call.operator() == "DequantizeLinear") && element != said {
        let (said, got) = (said.name(), element.name());
        return Err(call.error(format!("has a zero point of type {got} for integers of type {said}")));
    }
    let axis = match (&shape[..], rank) {
        ([] | [1], _) => None,
        ([_], Some(rank)) => {
            let axis = call.int("axis", 1);
            let wrong = || call.error(format!("axis {axis} of a constant of {rank} axes"));
            Some(place(axis, rank).ok_or_else(wrong)?)
        }
        ([_], None) => Some(0),
        _ => {
            let reason =
                format!("has scales of shape {shape:?}, supported are one scale or one for each channel");
            return Err(call.error(format!("{reason} (no blocks); {ADVICE}")));
        }
    };
    Ok(Parameters { axis, scales, zeros, element })
}

impl Parameters {
    /// The scale and the zero point of each number of a constant.
    fn along<'p>(
        &'p self,
        call: &Call<'_>,
        shape: &[usize],
    ) -> Result<impl Iterator<Item = (f32, i64)> + use<'p>, OnnxError> {
        let side = self.axis.map_or(1, |axis| shape[axis]);
        if side != self.scales.len() {
            let (count, axis) = (self.scales.len(), self.axis.unwrap_or_default());
            return Err(call.error(format!("has {count} scales along axis {axis} of {shape:?}")));
        }
        let inner = self.axis.and_then(|axis| count(&shape[axis + 1..])).unwrap_or(1).max(1);
        Ok((0..count(shape).unwrap_or_default()).map(move |at| {
            let at = at / inner % side.max(1);
            (self.scales[at], self.zeros[at])
        }))
    }
}

fn quantize_constant<'a>(scope: &mut Scope<'a>, call: &Call<'a>, parameters: &Parameters) -> Read<'a> {
    let (shape, numbers) = scope.reals(call, 0)?;
    scope.take(&shape)?;
    let least = if parameters.element == (Element::Int { bits: 8, signed: true }) { -128 } else { 0 };
    let along = parameters.along(call, &shape)?;
    let rounded = numbers.iter().zip(along).map(|(number, (scale, zero))| {
        ((number / scale).round_ties_even() as i64).saturating_add(zero).clamp(least, least + 255)
    });
    let numbers = Numbers::Whole(rounded.collect());
    Ok(Value::Constant(Rc::new(Constant { shape, element: parameters.element, numbers })))
}

fn dequantize_constant<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let Constant { shape, element, numbers } = scope.constant(call, 0)?;
    let (Numbers::Whole(numbers), Element::Int { .. }) = (numbers, element) else {
        return Err(call.error(format!("reads a constant of {}, expected integers", element.name())));
    };
    let parameters = parameters(scope, call, element, Some(shape.len()))?;
    if let Some(scale) = parameters.scales.iter().find(|scale| !(scale.is_finite() && **scale >= 0.0)) {
        return Err(call.error(format!("its scale is {scale}, expected a number above 0; {ADVICE}")));
    }
    scope.take(&shape)?;
    let multiples = |(&number, (scale, zero)): (&i64, (f32, i64))| (number.saturating_sub(zero), scale);
    let along = || parameters.along(call, &shape).map(|along| numbers.iter().zip(along).map(multiples));
    let in_byte = along()?.all(|(number, scale)| i8::try_from(number).is_ok() && is_scale(scale));
    let reals = along()?.map(|(number, scale)| number as f32 * scale).collect();
    if in_byte {
        scope.note_steps(call, Steps { axis: parameters.axis, scales: parameters.scales.clone() });
    }
    Ok(Value::Constant(Rc::new(Constant::reals(shape.clone(), reals))))
}

/// How the inputs of a node are bytes that it moves, if they are.
///
/// # Errors
/// If it does not move bytes but computes with them, or moves bytes that stand for different numbers.
pub(super) fn moved_bytes<'a>(scope: &Scope<'a>, call: &Call<'a>) -> Result<Option<Bytes>, OnnxError> {
    let inputs = 0..call.node.input.len();
    let all: Vec<Bytes> = inputs.filter_map(|index| scope.bytes(call, index)).collect();
    let Some(&first) = all.first() else { return Ok(None) };
    match call.operator() {
        "DequantizeLinear" | "Shape" => Ok(None),
        operator if MOVES.contains(&operator) => {
            let joins = operator == "Concat";
            let one_kind =
                all.iter().all(|&other| other == first) && (!joins || all.len() == call.node.input.len());
            let differ = || call.error("joins bytes of different scales; put DequantizeLinear before it");
            one_kind.then_some(Some(first)).ok_or_else(differ)
        }
        _ => Err(call.error(format!("computes with the bytes of QuantizeLinear; {ADVICE}"))),
    }
}

/// What a node's result is a multiple of, if it only moves a constant that is one.
pub(super) fn moved_steps<'a>(
    scope: &Scope<'a>,
    call: &Call<'a>,
    result: &Value<'a>,
) -> Result<Option<Steps>, OnnxError> {
    let (Some(steps), Value::Constant(_) | Value::Tensor(_)) = (scope.steps(call, 0), result) else {
        return Ok(None);
    };
    let Some(axis) = steps.axis else {
        let moves = MOVES.contains(&call.operator()) && call.operator() != "Concat";
        return Ok(moves.then(|| steps.clone()));
    };
    let shapes = [scope.constant_shape(&scope.input(call, 0)?)?, scope.constant_shape(result)?];
    let [Some(old), Some(new)] = shapes else { return Ok(None) };
    let axis = match call.operator() {
        "Identity" | "Dropout" => Some(axis),
        "Transpose" => match call.ints("perm") {
            None => Some(old.len() - 1 - axis),
            Some(order) => order.iter().position(|&from| place(from, old.len()) == Some(axis)),
        },
        // The axis that has as many numbers before it and is as long.
        "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" => {
            (0..new.len()).find(|&at| new[at] == old[axis] && count(&new[..at]) == count(&old[..axis]))
        }
        _ => None,
    };
    Ok(axis.map(|axis| Steps { axis: Some(axis), ..steps.clone() }))
}

impl<'a> Scope<'a> {
    /// What the weight that is an input is a multiple of, for each of its outputs along an axis; none if it is none.
    pub(super) fn scales(
        &self,
        call: &Call<'a>,
        index: usize,
        axis: usize,
        outputs: usize,
    ) -> Option<Vec<f32>> {
        let steps = self.steps(call, index)?;
        match (steps.axis, &steps.scales[..]) {
            (None, &[scale]) => Some(vec![scale; outputs]),
            (Some(own), scales) if own == axis && scales.len() == outputs => Some(scales.to_vec()),
            _ => None,
        }
    }
}
