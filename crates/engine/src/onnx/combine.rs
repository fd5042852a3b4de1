//! Arithmetic of two inputs of which at least one depends on the image.

use super::OnnxError;
use super::call::Call;
use super::pointwise::{each, per_channel};
use super::scope::{Scope, Value};
use super::settle::text;
use super::view::View;
use crate::graph::Op;
use crate::shape::Shape;

type Read<'a> = Result<Value<'a>, OnnxError>;

/// `Add`, `Sub`, `Mul` and `Div` of two results, or of a result and a constant.
pub(super) fn combine<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let is_result = [scope.input(call, 0)?.is_result(), scope.input(call, 1)?.is_result()];
    match is_result {
        [true, true] => two_results(scope, call),
        [true, false] => affine(scope, call, [0, 1]),
        _ => affine(scope, call, [1, 0]),
    }
}

/// The operation on two results.
fn op(operator: &str) -> Option<Op> {
    Some(match operator {
        "Add" => Op::Add,
        "Sub" => Op::Sub,
        "Mul" => Op::Mul,
        "Div" => Op::Div,
        _ => return None,
    })
}

fn two_results<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let Some(op) = op(call.operator()) else { return Ok(scope.unsupported(call)) };
    let views = [scope.view(call, 0)?, scope.view(call, 1)?];
    let [a, b] = &views;
    let shapes = [scope.shape(a.node), scope.shape(b.node)];
    if shapes[0] == shapes[1] && a.has_axes_of(b) {
        let node = scope.push(call.name(), op, vec![a.node, b.node])?;
        return Ok(Value::View(View { node, axes: a.axes.clone() }));
    }
    // Images whose axes were moved in the same way, of which one stands for a larger one.
    let images = shapes.iter().all(|shape| matches!(shape, Shape::Image(_)));
    let larger = usize::from(shapes[1].count() > shapes[0].count());
    if let (true, Some(order)) = (images, views[larger].order(shapes[larger])) {
        let [left, right] = &views;
        let other = &views[1 - larger];
        if other.is_ordered_as(&order, shapes[1 - larger]) {
            let node = scope.push(call.name(), op, vec![left.node, right.node])?;
            let view = views[larger].over(node, shapes[larger], scope.shape(node));
            return view.map(Value::View).ok_or_else(|| mismatch(call, &views));
        }
    }
    let nodes = match [a.axes.len(), b.axes.len()] {
        [4, 4] => vec![scope.image(call, a)?, scope.image(call, b)?],
        [2, 2] => vec![scope.vector(call, a)?, scope.vector(call, b)?],
        _ => return Err(mismatch(call, &views)),
    };
    scope.result(call, op, nodes)
}

fn mismatch(call: &Call<'_>, [a, b]: &[View; 2]) -> OnnxError {
    call.error(format!("joins {} and {}, which is not supported", text(&a.dims()), text(&b.dims())))
}

/// A result and a constant, by their places among the inputs.
fn affine<'a>(scope: &mut Scope<'a>, call: &Call<'a>, [result, constant]: [usize; 2]) -> Read<'a> {
    let view = scope.view(call, result)?;
    let numbers = per_channel(scope, call, &view, constant)?;
    let one = |number: f32| match (call.operator(), constant) {
        ("Add", _) => Some((1.0, number)),
        ("Sub", 1) => Some((1.0, -number)),
        ("Sub", _) => Some((-1.0, number)),
        ("Mul", _) => Some((number, 0.0)),
        ("Div", 1) if number != 0.0 => Some((1.0 / number, 0.0)),
        _ => None,
    };
    let terms: Option<Vec<(f32, f32)>> = numbers.into_iter().map(one).collect();
    let Some(terms) = terms else { return Err(call.error("the divisor must be a constant without zeros")) };
    let (scale, offset) = terms.into_iter().unzip();
    let node = scope.push(call.name(), Op::Affine { scale, offset }, vec![view.node])?;
    Ok(Value::View(View { node, ..view }))
}

/// `Max` and `Min` of a result and a constant, or of one result.
pub(super) fn bound<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let (result, constant) = match call.node.input.len() {
        1 => return scope.input(call, 0),
        2 => {
            let first = usize::from(!scope.input(call, 0)?.is_result());
            (first, 1 - first)
        }
        _ => return Ok(scope.unsupported(call)),
    };
    if scope.input(call, constant)?.is_result() {
        return Ok(scope.unsupported(call));
    }
    let number = scope.scalar(call, constant)?.ok_or_else(|| call.error("a bound is missing"))?;
    let op = match call.operator() {
        "Max" => Op::Clip { low: number, high: f32::INFINITY },
        _ => Op::Clip { low: f32::NEG_INFINITY, high: number },
    };
    if result == 0 {
        return each(scope, call, op);
    }
    let view = scope.view(call, result)?;
    let node = scope.push(call.name(), op, vec![view.node])?;
    Ok(Value::View(View { node, ..view }))
}
