//! Operators that see the same numbers in another shape, and means over all places.

use std::rc::Rc;

use super::OnnxError;
use super::call::Call;
use super::scope::{Scope, Size, Sizes, Value};
use super::tensor::Constant;
use crate::graph::Op;
use crate::shape::Shape;

type Read<'a> = Result<Value<'a>, OnnxError>;

/// `Flatten(x)` behind the axis of the images.
pub(super) fn flatten<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let x = scope.node(call, 0)?;
    let rank = rank(scope.shape(x));
    let axis = call.int("axis", 1)?;
    if axis != 1 && axis != 1 - rank as i64 {
        return Err(call.error(format!("axis {axis} mixes images; use axis 1")));
    }
    view(scope, call, x, &[scope.shape(x).count()])
}

/// `Reshape(x, shape)`, where it flattens or changes nothing; of a constant, to a fixed shape.
pub(super) fn reshape<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let x = scope.input(call, 0)?;
    let Some(target) = sizes(scope, call, 1)? else {
        return Err(call.error("the new shape must be a constant, or computed from the number of images"));
    };
    let old: Vec<Size> = match (&x, scope.floats_shape(&x)?) {
        (&Value::Node(node), _) => images(scope.shape(node)),
        (_, Some(shape)) => shape.into_iter().map(|side| Size::Known(side as i64)).collect(),
        (Value::Sizes(sizes), _)
            if sizes.sizes.len() == 1 && matches!(target.sizes[..], [Size::Known(-1 | 1)]) =>
        {
            return Ok(Value::Sizes(Sizes { is_scalar: false, ..sizes.clone() }));
        }
        _ => return Err(call.error("only images, classes and constants are reshaped")),
    };
    let keeps_zero = call.int("allowzero", 0)? != 0;
    let new = resolve(&target.sizes, &old, keeps_zero, scope.batch);
    let new = new.ok_or_else(|| call.error(format!("{old:?} cannot become {:?}", target.sizes)))?;
    see_as(scope, call, &x, &new)
}

/// `Squeeze(x, axes)`.
pub(super) fn squeeze<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let x = scope.input(call, 0)?;
    let Some(axes) = axes(scope, call, 13)? else {
        return Err(call.error("name the axes to leave out; without them the axis of the images may go too"));
    };
    if let Value::Sizes(Sizes { sizes, is_scalar: false }) = &x
        && sizes.len() == 1
    {
        return Ok(Value::Sizes(Sizes { sizes: sizes.clone(), is_scalar: true }));
    }
    let old = dims(scope, call, &x)?;
    let axes: Vec<usize> = axes.iter().filter_map(|&axis| place(axis, old.len())).collect();
    let is_one = |axis: &usize| old[*axis] == Size::Known(1);
    if axes.is_empty() || !axes.iter().all(is_one) {
        return Err(call.error(format!("axes {axes:?} of {old:?} are not all of length one")));
    }
    let kept = old.iter().enumerate().filter(|(axis, _)| !axes.contains(axis));
    let new: Vec<Size> = kept.map(|(_, &size)| size).collect();
    see_as(scope, call, &x, &new)
}

/// `Unsqueeze(x, axes)`.
pub(super) fn unsqueeze<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let x = scope.input(call, 0)?;
    let axes = axes(scope, call, 13)?.ok_or_else(|| call.error("the axes are missing"))?;
    if let Some(Sizes { sizes, is_scalar: true }) = sizes(scope, call, 0)? {
        return Ok(Value::Sizes(Sizes { sizes, is_scalar: false }));
    }
    let mut new = dims(scope, call, &x)?;
    let rank = new.len() + axes.len();
    let mut axes: Vec<usize> = axes.iter().filter_map(|&axis| place(axis, rank)).collect();
    axes.sort_unstable();
    for axis in axes {
        if axis > new.len() {
            return Err(call.error("the axes leave a gap"));
        }
        new.insert(axis, Size::Known(1));
    }
    see_as(scope, call, &x, &new)
}

/// `ReduceMean(x)` over rows and columns.
pub(super) fn reduce_mean<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let x = scope.node(call, 0)?;
    let mut axes = axes(scope, call, 18)?.unwrap_or_default();
    axes.iter_mut().filter(|axis| **axis < 0).for_each(|axis| *axis += 4);
    axes.sort_unstable();
    if axes != [2, 3] || matches!(scope.shape(x), Shape::Flat(_)) {
        return Err(call.error("a mean is supported over rows and columns together (axes 2 and 3) only"));
    }
    let mean = scope.push(call.name(), Op::GlobalAveragePool, vec![x])?;
    match mean {
        Value::Node(mean) if call.int("keepdims", 1)? == 0 => {
            scope.push(&format!("{}/flatten", call.name()), Op::Flatten, vec![mean])
        }
        mean => Ok(mean),
    }
}

/// The axes of a node: an attribute before operator set `since`, the second input from then on.
fn axes<'a>(scope: &Scope<'a>, call: &Call<'a>, since: i64) -> Result<Option<Vec<i64>>, OnnxError> {
    if call.opset < since {
        return Ok(call.attribute("axes").map(|attribute| attribute.ints.clone()));
    }
    if call.input(1).is_none() {
        return Ok(None);
    }
    let sizes = sizes(scope, call, 1)?.map(|sizes| sizes.sizes).unwrap_or_default();
    let known = sizes.into_iter().map(|size| match size {
        Size::Known(number) => Some(number),
        Size::Batch => None,
    });
    let axes: Option<Vec<i64>> = known.collect();
    axes.filter(|axes| !axes.is_empty()).map(Some).ok_or_else(|| call.error("the axes must be constants"))
}

/// An input as integers of a shape, if it is that.
pub(super) fn sizes<'a>(
    scope: &Scope<'a>,
    call: &Call<'a>,
    index: usize,
) -> Result<Option<Sizes>, OnnxError> {
    scope.input(call, index)?.sizes()
}

/// The shape of a result or constant.
fn dims<'a>(scope: &Scope<'a>, call: &Call<'a>, value: &Value<'a>) -> Result<Vec<Size>, OnnxError> {
    match (value, scope.floats_shape(value)?) {
        (&Value::Node(node), _) => Ok(images(scope.shape(node))),
        (_, Some(shape)) => Ok(shape.into_iter().map(|side| Size::Known(side as i64)).collect()),
        _ => Err(call.error("only images, classes and constants are reshaped")),
    }
}

/// `[N, …]`.
pub(super) fn images(shape: Shape) -> Vec<Size> {
    let known = |side: usize| Size::Known(side as i64);
    match shape {
        Shape::Image([channels, height, width]) => {
            vec![Size::Batch, known(channels), known(height), known(width)]
        }
        Shape::Flat(channels) => vec![Size::Batch, known(channels)],
    }
}

fn rank(shape: Shape) -> usize {
    images(shape).len()
}

/// An axis counted from the start.
pub(super) fn place(axis: i64, rank: usize) -> Option<usize> {
    let axis = if axis < 0 { axis.checked_add(rank as i64)? } else { axis };
    usize::try_from(axis).ok().filter(|&axis| axis < rank)
}

/// The new shape, where 0 is the old length (unless `keeps_zero`) and −1 what is left.
fn resolve(target: &[Size], old: &[Size], keeps_zero: bool, batch: Option<i64>) -> Option<Vec<Size>> {
    let is_batch = |size: Size| size == Size::Batch || batch.is_some_and(|n| size == Size::Known(n));
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
    (left_over <= 1 && product(&new)? == product(old)?).then_some(new)
}

/// The product of the sizes that are known; none if one of them is negative.
fn product(sizes: &[Size]) -> Option<i64> {
    sizes.iter().try_fold(1_i64, |product, &size| match size {
        Size::Batch => Some(product),
        Size::Known(number) if number >= 0 => product.checked_mul(number),
        Size::Known(_) => None,
    })
}

/// A result or constant in a new shape of as many numbers.
fn see_as<'a>(scope: &mut Scope<'a>, call: &Call<'a>, value: &Value<'a>, new: &[Size]) -> Read<'a> {
    let known: Vec<usize> = new
        .iter()
        .filter_map(|&size| match size {
            Size::Known(number) => usize::try_from(number).ok(),
            Size::Batch => None,
        })
        .collect();
    match value {
        &Value::Node(node) if new.first() == Some(&Size::Batch) && known.len() + 1 == new.len() => {
            view(scope, call, node, &known)
        }
        Value::Node(_) => Err(call.error("the first axis must stay that of the images")),
        constant if known.len() == new.len() => {
            let constant = scope.floats(call, constant)?;
            let constant =
                constant.ok_or_else(|| call.error("only constants of real numbers are reshaped"))?;
            Ok(Value::Constant(Rc::new(Constant { shape: known, ..constant })))
        }
        _ => Err(call.error("the number of images has no place in the shape of a constant")),
    }
}

/// A result as `shape` for each image: flattened, as it is, or as it was before it was flattened.
fn view<'a>(scope: &mut Scope<'a>, call: &Call<'a>, node: usize, shape: &[usize]) -> Read<'a> {
    let current = scope.shape(node);
    let sides = |shape: Shape| match shape {
        Shape::Image(sides) => sides.to_vec(),
        Shape::Flat(channels) => vec![channels],
    };
    if sides(current) == shape {
        return Ok(Value::Node(node));
    }
    if *shape == [current.count()] {
        return scope.push(call.name(), Op::Flatten, vec![node]);
    }
    match (&scope.nodes[node].op, scope.nodes[node].inputs.first()) {
        (Op::Flatten, Some(&before)) if sides(scope.shape(before)) == shape => Ok(Value::Node(before)),
        _ => Err(call.error(format!("{current} cannot be seen as {shape:?}; only flattening is supported"))),
    }
}
