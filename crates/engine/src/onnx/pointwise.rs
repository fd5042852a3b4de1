//! What is done to each number by itself: activations, batch norm, and arithmetic with constants.

use super::OnnxError;
use super::call::Call;
use super::scope::{Scope, Value};
use super::tensor::Constant;
use crate::graph::Op;
use crate::shape::Shape;

type Read<'a> = Result<Value<'a>, OnnxError>;

/// `Relu(x)`.
pub(super) fn relu<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let x = scope.node(call, 0)?;
    scope.push(call.name(), Op::Clip { low: 0.0, high: f32::INFINITY }, vec![x])
}

/// `Clip(x, min, max)`; bounds are attributes before operator set 11.
pub(super) fn clip<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let x = scope.node(call, 0)?;
    let (low, high) = if call.opset < 11 {
        (call.float("min", f32::MIN)?, call.float("max", f32::MAX)?)
    } else {
        (scope.scalar(call, 1)?.unwrap_or(f32::MIN), scope.scalar(call, 2)?.unwrap_or(f32::MAX))
    };
    // Without a bound the specification takes the greatest finite number.
    let low = if low == f32::MIN { f32::NEG_INFINITY } else { low };
    let high = if high == f32::MAX { f32::INFINITY } else { high };
    scope.push(call.name(), Op::Clip { low, high }, vec![x])
}

/// `Max(x, constant)`.
pub(super) fn max<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    bound(scope, call, |low| Op::Clip { low, high: f32::INFINITY })
}

/// `Min(x, constant)`.
pub(super) fn min<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    bound(scope, call, |high| Op::Clip { low: f32::NEG_INFINITY, high })
}

fn bound<'a>(scope: &mut Scope<'a>, call: &Call<'a>, clip: fn(f32) -> Op) -> Read<'a> {
    let (x, index) = match operands(scope, call)? {
        [Value::Node(_), Value::Node(_)] => return Ok(scope.unsupported(call)),
        [Value::Node(x), _] => (x, 1),
        [_, Value::Node(x)] => (x, 0),
        _ => return Err(only_constants(call)),
    };
    if call.node.input.len() != 2 {
        return Ok(scope.unsupported(call));
    }
    let number = scope.scalar(call, index)?.ok_or_else(|| call.error("the bound is missing"))?;
    scope.push(call.name(), clip(number), vec![x])
}

/// `BatchNormalization(x, scale, offset, mean, variance)` with fixed statistics.
pub(super) fn batch_normalization<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let x = scope.node(call, 0)?;
    if call.int("training_mode", 0)? != 0 || call.int("spatial", 1)? != 1 {
        return Err(call.error("statistics must be fixed, one for each channel; export for inference"));
    }
    let epsilon = f64::from(call.float("epsilon", 1e-5)?);
    let mut tensors = Vec::new();
    for index in 1..5 {
        tensors.push(scope.constant(call, index)?.values);
    }
    let channels = scope.shape(x).channels();
    if let Some(tensor) = tensors.iter().find(|tensor| tensor.len() != channels) {
        return Err(call.error(format!("{} numbers for {channels} channels", tensor.len())));
    }
    let factor = |c: usize| f64::from(tensors[0][c]) / (f64::from(tensors[3][c]) + epsilon).sqrt();
    let shift = |c: usize| f64::from(tensors[1][c]) - f64::from(tensors[2][c]) * factor(c);
    let scale: Vec<f32> = (0..channels).map(|c| factor(c) as f32).collect();
    if scale.iter().any(|scale| !scale.is_finite()) {
        return Err(call.error("a variance is zero or less, or no number"));
    }
    let offset = (0..channels).map(|c| shift(c) as f32).collect();
    scope.push(call.name(), Op::Affine { scale, offset }, vec![x])
}

/// `Add(a, b)`: two results, or a result and a constant.
pub(super) fn add<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    match operands(scope, call)? {
        [Value::Node(a), Value::Node(b)] => scope.push(call.name(), Op::Add, vec![a, b]),
        _ => affine(scope, call, |_, c| Some((1.0, c))),
    }
}

/// `Sub(a, b)` with one constant.
pub(super) fn sub<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    affine(scope, call, |index, c| if index == 1 { Some((1.0, -c)) } else { Some((-1.0, c)) })
}

/// `Mul(a, b)` with one constant.
pub(super) fn mul<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    affine(scope, call, |_, c| Some((c, 0.0)))
}

/// `Div(a, b)` with a constant divisor.
pub(super) fn div<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    affine(scope, call, |index, c| (index == 1 && c != 0.0).then_some((1.0 / c, 0.0)))
}

/// A result and a constant: `terms` makes scale and offset of the place of the constant and of its numbers.
fn affine<'a>(
    scope: &mut Scope<'a>,
    call: &Call<'a>,
    terms: impl Fn(usize, f32) -> Option<(f32, f32)>,
) -> Read<'a> {
    let (x, index) = match operands(scope, call)? {
        [Value::Node(_), Value::Node(_)] => return Ok(scope.unsupported(call)),
        [Value::Node(x), _] => (x, 1),
        [_, Value::Node(x)] => (x, 0),
        _ => return Err(only_constants(call)),
    };
    let constant = scope.constant(call, index)?;
    let numbers = per_channel(scope, call, x, &constant)?;
    let terms: Option<Vec<(f32, f32)>> = numbers.into_iter().map(|number| terms(index, number)).collect();
    let Some(terms) = terms else { return Err(call.error("the divisor must be a constant without zeros")) };
    let (scale, offset) = terms.into_iter().unzip();
    scope.push(call.name(), Op::Affine { scale, offset }, vec![x])
}

/// A constant that is the same in all places of a channel, as one number for each channel.
fn per_channel<'a>(
    scope: &mut Scope<'a>,
    call: &Call<'a>,
    x: usize,
    constant: &Constant,
) -> Result<Vec<f32>, OnnxError> {
    let (channels, rank) = match scope.shape(x) {
        Shape::Image([channels, ..]) => (channels, 4),
        Shape::Flat(channels) => (channels, 2),
    };
    // Shapes are aligned at their last axis.
    let from_end = rank - 1;
    let fits = constant
        .shape
        .iter()
        .rev()
        .enumerate()
        .all(|(place, &side)| side == 1 || place + 1 == from_end && side == channels);
    if !fits || constant.shape.len() > rank {
        let reason = format!(
            "a constant of shape {:?} beside {}; expected one number, or one for each channel",
            constant.shape,
            scope.shape(x)
        );
        return Err(call.error(reason));
    }
    scope.take(2 * channels)?;
    match constant.values[..] {
        [number] => Ok(vec![number; channels]),
        _ => Ok(constant.values.clone()),
    }
}

fn operands<'a>(scope: &Scope<'a>, call: &Call<'a>) -> Result<[Value<'a>; 2], OnnxError> {
    Ok([scope.input(call, 0)?, scope.input(call, 1)?])
}

fn only_constants(call: &Call<'_>) -> OnnxError {
    call.error("reads only constants; export the model with constants folded")
}
