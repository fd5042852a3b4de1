//! What is done to each number by itself: activations and batch norm.

use super::OnnxError;
use super::call::Call;
use super::scope::{Scope, Value};
use super::view::View;
use crate::graph::{Function, Op};

type Read<'a> = Result<Value<'a>, OnnxError>;

/// An operation on each number of the first input, whatever its axes are.
pub(super) fn each<'a>(scope: &mut Scope<'a>, call: &Call<'a>, op: Op) -> Read<'a> {
    let view = scope.view(call, 0)?;
    let node = scope.push(call.name(), op, vec![view.node])?;
    Ok(Value::View(View { node, ..view }))
}

/// `Relu(x)`.
pub(super) fn relu<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    each(scope, call, Op::Clip { low: 0.0, high: f32::INFINITY })
}

/// `Clip(x, min, max)`; bounds are attributes before operator set 11.
pub(super) fn clip<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let (low, high) = if call.opset < 11 {
        (call.float("min", f32::MIN), call.float("max", f32::MAX))
    } else {
        (scope.scalar(call, 1)?.unwrap_or(f32::MIN), scope.scalar(call, 2)?.unwrap_or(f32::MAX))
    };
    // Without a bound the specification takes the greatest finite number.
    let low = if low == f32::MIN { f32::NEG_INFINITY } else { low };
    let high = if high == f32::MAX { f32::INFINITY } else { high };
    each(scope, call, Op::Clip { low, high })
}

/// Functions that the graph has as such.
pub(super) fn function<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let function = match call.operator() {
        "Sigmoid" => Function::Sigmoid,
        "HardSigmoid" => {
            Function::HardSigmoid { alpha: call.float("alpha", 0.2), beta: call.float("beta", 0.5) }
        }
        "HardSwish" => Function::HardSwish,
        "Tanh" => Function::Tanh,
        "Elu" => Function::Elu { alpha: call.float("alpha", 1.0) },
        "Erf" => Function::Erf,
        "Exp" => Function::Exp,
        "Softplus" => Function::Softplus,
        "Mish" => Function::Mish,
        "Gelu" => match &*call.text("approximate", "none") {
            "none" => Function::Gelu,
            "tanh" => Function::GeluTanh,
            other => return Err(call.error(format!("approximate is `{other}`, expected none or tanh"))),
        },
        _ => return Ok(scope.unsupported(call)),
    };
    each(scope, call, Op::Function(function))
}

/// `Swish(x)`, `x · sigmoid(alpha · x)`.
pub(super) fn swish<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    match call.float("alpha", 1.0) {
        1.0 => each(scope, call, Op::Function(Function::Silu)),
        alpha => Err(call.error(format!("alpha is {alpha}, supported is 1; write it as Mul and Sigmoid"))),
    }
}

/// `Neg(x)`.
pub(super) fn negative<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let view = scope.view(call, 0)?;
    let channels = scope.shape(view.node).channels();
    scope.take(&[2, channels])?;
    each(scope, call, Op::Affine { scale: vec![-1.0; channels], offset: vec![0.0; channels] })
}

/// `LeakyRelu(x)`.
pub(super) fn leaky_relu<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let view = scope.view(call, 0)?;
    let channels = scope.shape(view.node).channels();
    scope.take(&[channels])?;
    each(scope, call, Op::PRelu { slope: vec![call.float("alpha", 0.01); channels] })
}

/// `PRelu(x, slope)`.
pub(super) fn prelu<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let view = scope.view(call, 0)?;
    let slope = per_channel(scope, call, &view, 1)?;
    each(scope, call, Op::PRelu { slope })
}

/// `BatchNormalization(x, scale, offset, mean, variance)` with fixed statistics.
pub(super) fn batch_normalization<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let view = scope.view(call, 0)?;
    let shape = scope.shape(view.node);
    let channels = shape.channels();
    let is_second = channels == 1 || view.channel_axis(shape) == Some(1);
    if !is_second {
        return Err(call.error("the channels must be the second axis of what it reads"));
    }
    let epsilon = f64::from(call.float("epsilon", 1e-5));
    let mut tensors = Vec::new();
    for index in 1..5 {
        tensors.push(scope.reals(call, index)?.1);
    }
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
    each(scope, call, Op::Affine { scale, offset })
}

/// An input that is a constant which is the same in all places of a channel, as one number for each channel of a view.
pub(super) fn per_channel<'a>(
    scope: &mut Scope<'a>,
    call: &Call<'a>,
    view: &View,
    index: usize,
) -> Result<Vec<f32>, OnnxError> {
    let (sides, numbers) = scope.reals(call, index)?;
    let shape = scope.shape(view.node);
    let channels = shape.channels();
    let rank = view.axes.len();
    // Shapes are aligned at their last axis.
    let axis = view.channel_axis(shape).map(|axis| rank - 1 - axis);
    let fits = |(from_end, &side): (usize, &usize)| side == 1 || Some(from_end) == axis && side == channels;
    if sides.len() > rank || !sides.iter().rev().enumerate().all(fits) {
        return Err(call.error(format!(
            "a constant of shape {sides:?} beside {}; expected one number, or one for each channel",
            super::settle::text(&view.dims())
        )));
    }
    scope.take(&[2, channels])?;
    match numbers[..] {
        [number] => Ok(vec![number; channels]),
        _ => Ok(numbers),
    }
}
