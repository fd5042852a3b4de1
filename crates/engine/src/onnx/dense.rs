//! Products with a matrix, and softmax.

use super::OnnxError;
use super::call::Call;
use super::scope::{Scope, Value};
use super::tensor::Constant;
use crate::graph::Op;
use crate::shape::Shape;

type Read<'a> = Result<Value<'a>, OnnxError>;

/// `Gemm(x, weight, bias)`, `alpha · x · weight + beta · bias`.
pub(super) fn gemm<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let x = scope.node(call, 0)?;
    if call.int("transA", 0)? != 0 {
        return Err(call.error("transA is set, but the first axis is that of the images"));
    }
    let weight = scope.constant(call, 1)?;
    let [rows, columns] = matrix(call, &weight)?;
    let is_transposed = call.int("transB", 0)? != 0;
    let outputs = if is_transposed { rows } else { columns };
    let (alpha, beta) = (call.float("alpha", 1.0)?, call.float("beta", 1.0)?);
    let bias = match scope.optional(call, 2)? {
        Some(_) => scope.constant(call, 2)?,
        None => Constant { shape: vec![1], values: vec![0.0] },
    };
    let bias = spread(call, &bias, outputs)?.into_iter().map(|number| beta * number).collect();
    let weight = if is_transposed { weight.values } else { transposed(&weight.values, rows, columns) };
    let weight = weight.into_iter().map(|number| alpha * number).collect();
    scope.push(call.name(), Op::Linear { weight, bias }, vec![x])
}

/// `MatMul(x, weight)`.
pub(super) fn matmul<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let x = scope.node(call, 0)?;
    if matches!(scope.input(call, 1)?, Value::Node(_)) {
        return Ok(scope.unsupported(call));
    }
    let weight = scope.constant(call, 1)?;
    let [rows, columns] = matrix(call, &weight)?;
    let weight = transposed(&weight.values, rows, columns);
    scope.push(call.name(), Op::Linear { weight, bias: vec![0.0; columns] }, vec![x])
}

/// `Softmax(x)` over the classes.
pub(super) fn softmax<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let x = scope.node(call, 0)?;
    let axis = call.int("axis", if call.opset < 13 { 1 } else { -1 })?;
    if matches!(scope.shape(x), Shape::Image(_)) || !matches!(axis, 1 | -1) {
        return Err(call.error("softmax is supported over the last axis of [N, classes] only"));
    }
    scope.push(call.name(), Op::Softmax, vec![x])
}

fn matrix(call: &Call<'_>, weight: &Constant) -> Result<[usize; 2], OnnxError> {
    match weight.shape[..] {
        [rows, columns] if rows > 0 && columns > 0 => Ok([rows, columns]),
        _ => Err(call.error(format!("the weight has the shape {:?}, expected a matrix", weight.shape))),
    }
}

/// A bias as one number for each output.
fn spread(call: &Call<'_>, bias: &Constant, outputs: usize) -> Result<Vec<f32>, OnnxError> {
    match (&bias.shape[..], &bias.values[..]) {
        (_, &[number]) => Ok(vec![number; outputs]),
        ([width] | [1, width], values) if *width == outputs => Ok(values.to_vec()),
        (shape, _) => Err(call.error(format!("a bias of shape {shape:?} for {outputs} outputs"))),
    }
}

/// The matrix with rows and columns changed.
pub(super) fn transposed(matrix: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| (0..rows).map(move |row| matrix[row * columns + column])).collect()
}
