//! Operators that see the same numbers under other axes, and means over rows and columns.

use std::rc::Rc;

use super::OnnxError;
use super::call::Call;
use super::constant::{Constant, Size, Walk, count, strides};
use super::scope::{Padded, Scope, Value};
use super::settle::text;
use crate::graph::{Op, Window};
use crate::shape::Shape;

type Read<'a> = Result<Value<'a>, OnnxError>;

/// `Flatten(x)`: the axes before one as one, and the others as one.
pub(super) fn flatten<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let old = dims(scope, call)?;
    let axis = call.int("axis", 1);
    let at = if axis == old.len() as i64 { Some(old.len()) } else { place(axis, old.len()) };
    let at = at.ok_or_else(|| call.error(format!("axis {axis} of {}", text(&old))))?;
    let joined = |sizes: &[Size]| match (sizes.contains(&Size::Batch), product(sizes)) {
        (true, Some(1)) => Some(Size::Batch),
        (false, Some(count)) => Some(Size::Known(count)),
        _ => None,
    };
    match (joined(&old[..at]), joined(&old[at..])) {
        (Some(first), Some(second)) => see_as(scope, call, &[first, second]),
        _ => Err(call.error(format!("axis {axis} of {} mixes images; use axis 1", text(&old)))),
    }
}

/// `Reshape(x, shape)`.
pub(super) fn reshape<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    if scope.input(call, 1)?.is_result() {
        return Err(call.error("the new shape must be a constant, or computed from the number of images"));
    }
    let target = scope.sizes(call, 1)?.unwrap_or_default();
    let old = dims(scope, call)?;
    let keeps_zero = call.int("allowzero", 0) != 0;
    let new = resolve(&target, &old, keeps_zero, scope.batch);
    let new = new.ok_or_else(|| {
        let advice = if old.contains(&Size::Batch) {
            "; the images must stay apart, as the first axis (-1)"
        } else {
            ""
        };
        call.error(format!("{} cannot become {}{advice}", text(&old), text(&target)))
    })?;
    see_as(scope, call, &new)
}

/// `Squeeze(x, axes)`. Without axes all of length one go, but never that of the images.
pub(super) fn squeeze<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let old = dims(scope, call)?;
    let is_one = |axis: &usize| old[*axis] == Size::Known(1);
    let left_out: Vec<usize> = match axes(scope, call, 13)? {
        None => (0..old.len()).filter(is_one).collect(),
        Some(axes) => {
            let axes: Option<Vec<usize>> = axes.iter().map(|&axis| place(axis, old.len())).collect();
            axes.filter(|axes| axes.iter().all(is_one))
                .ok_or_else(|| call.error(format!("its axes of {} are not all of length one", text(&old))))?
        }
    };
    let kept = old.iter().enumerate().filter(|(axis, _)| !left_out.contains(axis));
    let new: Vec<Size> = kept.map(|(_, &size)| size).collect();
    see_as(scope, call, &new)
}

/// `Unsqueeze(x, axes)`.
pub(super) fn unsqueeze<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let axes = axes(scope, call, 13)?.ok_or_else(|| call.error("the axes are missing"))?;
    let old = dims(scope, call)?;
    let rank = old.len() + axes.len();
    let places: Option<Vec<usize>> = axes.iter().map(|&axis| place(axis, rank)).collect();
    let wrong = || call.error(format!("axes {axes:?} have no place in {}", text(&old)));
    let mut places = places.ok_or_else(wrong)?;
    places.sort_unstable();
    if places.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(wrong());
    }
    let mut new = old.clone();
    places.into_iter().for_each(|place| new.insert(place, Size::Known(1)));
    see_as(scope, call, &new)
}

/// `Transpose(x)`.
pub(super) fn transpose<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let rank = match scope.input(call, 0)? {
        Value::Padded(padded) => padded.view.axes.len(),
        _ => dims(scope, call)?.len(),
    };
    let order: Vec<usize> = match call.ints("perm") {
        None => (0..rank).rev().collect(),
        Some(order) => {
            let places: Option<Vec<usize>> = order.iter().map(|&axis| place(axis, rank)).collect();
            let is_order = |places: &Vec<usize>| (0..rank).all(|axis| places.contains(&axis));
            let places = places.filter(|places| places.len() == rank && is_order(places));
            places.ok_or_else(|| call.error(format!("perm {order:?} is no order of {rank} axes")))?
        }
    };
    match scope.input(call, 0)? {
        Value::View(view) => Ok(Value::View(view.transposed(&order))),
        Value::Padded(padded) => Ok(Value::Padded(Padded { view: padded.view.transposed(&order), ..padded })),
        _ => {
            let constant = scope.constant(call, 0)?;
            scope.take(&constant.shape)?;
            let own = strides(&constant.shape);
            let shape: Vec<usize> = order.iter().map(|&axis| constant.shape[axis]).collect();
            let walk = Walk::new(&shape, order.iter().map(|&axis| own[axis]).collect(), 0);
            Ok(Value::Constant(Rc::new(constant.at(shape, walk))))
        }
    }
}

/// `ReduceMean(x)` over rows, columns or both.
pub(super) fn reduce<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let view = scope.view(call, 0)?;
    let (dims, shape) = (view.dims(), scope.shape(view.node));
    let wrong = || call.error(format!("a mean is supported over rows and columns of {} only", text(&dims)));
    let axes = match axes(scope, call, 18)? {
        Some(axes) => axes,
        None if call.int("noop_with_empty_axes", 0) != 0 => return Ok(Value::View(view)),
        None => return Err(wrong()),
    };
    let axes: Option<Vec<usize>> = axes.iter().map(|&axis| place(axis, dims.len())).collect();
    let axes = axes.filter(|axes| !axes.is_empty()).ok_or_else(wrong)?;
    let mut over = [false; 2];
    for &axis in &axes {
        match view.origin(axis, shape) {
            Some(origin @ (2 | 3)) => over[origin - 2] = true,
            None if dims[axis] == Size::Known(1) => {}
            _ => return Err(wrong()),
        }
    }
    let mean = match (shape, over) {
        // Over axes of length one.
        (_, [false, false]) => view,
        (Shape::Image([_, height, width]), [rows, columns]) => {
            let kernel = [if rows { height } else { 1 }, if columns { width } else { 1 }];
            let window = Window { kernel, ..Window::square(1, 1, 0) };
            let op = match kernel == [height, width] {
                true => Op::GlobalAveragePool,
                false => Op::AveragePool { window, counted: [0; 4] },
            };
            let node = scope.push(call.name(), op, vec![view.node])?;
            view.shrunk(node, shape, scope.shape(node)).ok_or_else(wrong)?
        }
        _ => return Err(wrong()),
    };
    if call.int("keepdims", 1) != 0 {
        return Ok(Value::View(mean));
    }
    let kept = mean.dims().into_iter().enumerate().filter(|(axis, _)| !axes.contains(axis));
    let kept: Vec<Size> = kept.map(|(_, size)| size).collect();
    let name = format!("{}/flatten", call.name());
    let squeezed = mean.reshaped(&kept).ok_or_else(wrong)?;
    scope.settled(&name, squeezed)
}

/// The axes of a node: an attribute before operator set `since`, the second input from then on.
fn axes<'a>(scope: &mut Scope<'a>, call: &Call<'a>, since: i64) -> Result<Option<Vec<i64>>, OnnxError> {
    let axes =
        if call.opset < since { call.ints("axes").map(<[i64]>::to_vec) } else { scope.integers(call, 1)? };
    Ok(axes.filter(|axes| !axes.is_empty()))
}

/// The shape of the first input.
fn dims<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Result<Vec<Size>, OnnxError> {
    let value = scope.input(call, 0)?;
    match scope.constant_shape(&value)? {
        Some(shape) => Ok(shape.into_iter().map(|side| Size::Known(side as i64)).collect()),
        None => Ok(scope.view(call, 0)?.dims()),
    }
}

/// An axis counted from the start.
pub(super) fn place(axis: i64, rank: usize) -> Option<usize> {
    let axis = if axis < 0 { axis.checked_add(rank as i64)? } else { axis };
    usize::try_from(axis).ok().filter(|&axis| axis < rank)
}

/// The new shape, where 0 is the old length (unless `keeps_zero`) and −1 what is left. A first length that is the number
/// of images stays that; where this is open, 1 is meant for one image.
fn resolve(target: &[Size], old: &[Size], keeps_zero: bool, batch: Option<i64>) -> Option<Vec<Size>> {
    let is_batch = |size: Size| size == Size::Batch || size == Size::Known(batch.unwrap_or(1));
    let mut new = Vec::new();
    for (axis, &size) in target.iter().enumerate() {
        new.push(match size {
            Size::Known(0) if !keeps_zero => *old.get(axis)?,
            size if axis == 0 && old.first() == Some(&Size::Batch) && is_batch(size) => Size::Batch,
            size => size,
        });
    }
    let left_over = new.iter().filter(|&&size| size == Size::Known(-1)).count();
    if left_over == 1 {
        let is_open = |size: &Size| *size == Size::Known(-1);
        let open = new.iter().position(is_open)?;
        let rest: Vec<Size> = new.iter().copied().filter(|size| !is_open(size)).collect();
        let has_batch = |sizes: &[Size]| sizes.contains(&Size::Batch);
        let (whole, part) = (product(old)?, product(&rest)?);
        new[open] = match (has_batch(old), has_batch(&rest)) {
            (true, false) => Size::Batch,
            _ if part > 0 && whole % part == 0 => Size::Known(whole / part),
            _ => return None,
        };
    }
    let batches = |sizes: &[Size]| sizes.iter().filter(|&&size| size == Size::Batch).count();
    (left_over <= 1 && batches(&new) == batches(old) && product(&new)? == product(old)?).then_some(new)
}

/// The product of the sizes that are known; none if one of them is negative.
fn product(sizes: &[Size]) -> Option<i64> {
    sizes.iter().try_fold(1_i64, |product, &size| match size {
        Size::Batch => Some(product),
        Size::Known(number) if number >= 0 => product.checked_mul(number),
        Size::Known(_) => None,
    })
}

/// The first input in a new shape of as many numbers.
fn see_as<'a>(scope: &mut Scope<'a>, call: &Call<'a>, new: &[Size]) -> Read<'a> {
    let value = scope.input(call, 0)?;
    if value.is_result() {
        let view = scope.view(call, 0)?;
        return scope.seen_as(call, &view, new);
    }
    let known = new.iter().map(|&size| match size {
        Size::Known(number) => usize::try_from(number).ok(),
        Size::Batch => None,
    });
    let shape: Option<Vec<usize>> = known.collect();
    let constant = scope.constant(call, 0)?;
    let shape = shape.filter(|shape| count(shape) == Some(constant.len()));
    let shape = shape
        .ok_or_else(|| call.error(format!("a constant of shape {:?} as {}", constant.shape, text(new))))?;
    Ok(Value::Constant(Rc::new(Constant { shape, ..constant })))
}
