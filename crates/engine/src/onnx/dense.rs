//! Products with a matrix, and softmax.

use super::OnnxError;
use super::call::Call;
use super::constant::Size;
use super::scope::{Scope, Value};
use super::settle::text;
use super::view::View;
use crate::graph::Op;

type Read<'a> = Result<Value<'a>, OnnxError>;

/// `Gemm(x, weight, bias)`, `alpha · x · weight + beta · bias`.
pub(super) fn gemm<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let view = scope.view(call, 0)?;
    let x = scope.vector(call, &view)?;
    let (shape, weight) = scope.reals(call, 1)?;
    let [rows, columns] = matrix(call, &shape)?;
    let is_transposed = call.int("transB", 0) != 0;
    let outputs = if is_transposed { rows } else { columns };
    let (alpha, beta) = (call.float("alpha", 1.0), call.float("beta", 1.0));
    let (shape, bias) = match call.input(2) {
        Some(_) => scope.reals(call, 2)?,
        None => (vec![1], vec![0.0]),
    };
    scope.take(&[outputs])?;
    let bias = spread(call, &shape, bias, outputs)?.into_iter().map(|number| beta * number).collect();
    let weight = if is_transposed { weight } else { transposed(&weight, rows, columns) };
    let weight = weight.into_iter().map(|number| alpha * number).collect();
    let axis = usize::from(!is_transposed);
    let scales = scope.scales(call, 1, axis, outputs).filter(|_| alpha == 1.0);
    scope.result(call, Op::Linear { weight, bias, scales }, vec![x])
}

/// `MatMul(x, weight)`.
pub(super) fn matmul<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    if scope.input(call, 1)?.is_result() {
        return Ok(scope.unsupported(call));
    }
    let view = scope.view(call, 0)?;
    let x = scope.vector(call, &view)?;
    let (shape, weight) = scope.reals(call, 1)?;
    let [rows, columns] = matrix(call, &shape)?;
    scope.take(&[columns])?;
    let weight = transposed(&weight, rows, columns);
    let scales = scope.scales(call, 1, 1, columns);
    scope.result(call, Op::Linear { weight, bias: vec![0.0; columns], scales }, vec![x])
}

/// `Softmax(x)` and `LogSoftmax(x)` over the classes. Before operator set 13 they are over the axis and all behind it.
pub(super) fn softmax<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let view = scope.view(call, 0)?;
    let dims = view.dims();
    let axis = call.int("axis", if call.opset < 13 { 1 } else { -1 });
    let at = super::reshape::place(axis, dims.len());
    let at = at.ok_or_else(|| call.error(format!("axis {axis} of {}", text(&dims))))?;
    let is_one = |size: &Size| matches!(size, Size::Known(1));
    let before = dims.iter().take(at).skip(1).all(is_one);
    let behind = call.opset < 13 || dims.iter().skip(at + 1).all(is_one);
    if at == 0 || dims.first() != Some(&Size::Batch) || !before || !behind {
        return Err(call.error(format!(
            "is over axis {axis} of {}; supported is only one over all numbers of an image",
            text(&dims)
        )));
    }
    let op = if call.operator() == "Softmax" { Op::Softmax } else { Op::LogSoftmax };
    let count = Size::Known(scope.shape(view.node).count() as i64);
    let Value::View(vector) = scope.seen_as(call, &view, &[Size::Batch, count])? else {
        return Err(call.error("its shape does not fit its numbers"));
    };
    let node = scope.push(call.name(), op, vec![vector.node])?;
    let result = View::of(node, scope.shape(node));
    if dims.len() == 2 {
        return Ok(Value::View(result));
    }
    result.reshaped(&dims).map(Value::View).ok_or_else(|| call.error("its shape does not fit its numbers"))
}

fn matrix(call: &Call<'_>, shape: &[usize]) -> Result<[usize; 2], OnnxError> {
    match *shape {
        [rows, columns] if rows > 0 && columns > 0 => Ok([rows, columns]),
        _ => Err(call.error(format!("the weight has the shape {shape:?}, expected a matrix"))),
    }
}

/// A bias as one number for each output.
fn spread(call: &Call<'_>, shape: &[usize], bias: Vec<f32>, outputs: usize) -> Result<Vec<f32>, OnnxError> {
    match (shape, &bias[..]) {
        ([] | [1] | [1, 1], &[number]) => Ok(vec![number; outputs]),
        ([width] | [1, width], _) if *width == outputs => Ok(bias),
        _ => Err(call.error(format!("a bias of shape {shape:?} for {outputs} outputs"))),
    }
}

/// The matrix with rows and columns changed.
fn transposed(matrix: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| (0..rows).map(move |row| matrix[row * columns + column])).collect()
}
