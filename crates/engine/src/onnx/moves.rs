//! Constants made, put together and cut apart.

use std::rc::Rc;

use super::OnnxError;
use super::call::Call;
use super::constant::{Constant, Number, Numbers, Size, Walk, count, joint, strides};
use super::element::Element;
use super::external::Files;
use super::pools::padded_dims;
use super::reshape::place;
use super::scope::{Scope, Value};

type Read<'a> = Result<Value<'a>, OnnxError>;

fn made<'a>(constant: Constant) -> Read<'a> {
    Ok(Value::Constant(Rc::new(constant)))
}

/// `Identity(x)`.
pub(super) fn identity<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    scope.input(call, 0)
}

/// `Dropout(x)` for inference, which does nothing.
pub(super) fn dropout<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    if scope.whole(call, 2)?.is_some_and(|trains| trains != 0) {
        return Err(
            call.error("training_mode is set; export the model for inference (`model.eval()` in PyTorch)")
        );
    }
    scope.input(call, 0)
}

/// `Cast(x)` of a result, from real to real numbers.
pub(super) fn cast<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let to = i32::try_from(call.int("to", 0)).ok().and_then(Element::of);
    match to.is_some_and(Element::is_real) {
        true => scope.input(call, 0),
        false => Err(call.error("results are cast between real numbers only")),
    }
}

/// `Constant`.
pub(super) fn constant<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let [attribute] = call.node.attribute.as_slice() else {
        return Err(call.error(format!("holds {} values, expected one", call.node.attribute.len())));
    };
    let wholes = |shape, numbers: &[i64]| {
        let numbers = Numbers::Whole(numbers.to_vec());
        made(Constant { shape, element: Element::I64, numbers })
    };
    match (attribute.name.as_deref().unwrap_or_default(), &attribute.t, &attribute.sparse_tensor) {
        ("value", Some(tensor), _) => Ok(Value::Tensor(tensor)),
        ("sparse_value", _, Some(tensor)) => Ok(Value::Sparse(tensor)),
        ("value_int", ..) => wholes(vec![], &[attribute.i.unwrap_or_default()]),
        ("value_ints", ..) => {
            scope.take(&[attribute.ints.len()])?;
            wholes(vec![attribute.ints.len()], &attribute.ints)
        }
        ("value_float", ..) => made(Constant::reals(vec![], vec![attribute.f.unwrap_or_default()])),
        ("value_floats", ..) => {
            scope.take(&[attribute.floats.len()])?;
            made(Constant::reals(vec![attribute.floats.len()], attribute.floats.clone()))
        }
        _ => Err(call.error("holds no numbers")),
    }
}

/// `ConstantOfShape(shape)`.
pub(super) fn constant_of_shape<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let shape = shape_of(scope, call, 0)?;
    let value = match call.attribute("value") {
        None => Constant::reals(vec![], vec![0.0]),
        Some(attribute) => {
            let tensor = attribute.t.as_deref().ok_or_else(|| call.error("value holds no tensor"))?;
            let value = tensor.constant(&mut Files::default())?;
            if value.len() != 1 {
                return Err(call.error("value must be one number"));
            }
            value
        }
    };
    scope.take(&shape)?;
    let places = std::iter::repeat_n(0, count(&shape).unwrap_or_default());
    made(value.at(shape, places))
}

/// `Expand(x, shape)`.
pub(super) fn expand<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let asked = shape_of(scope, call, 1)?;
    let constant = scope.constant(call, 0)?;
    let wrong = || call.error(format!("{:?} does not broadcast to {asked:?}", constant.shape));
    let shape = joint(&constant.shape, &asked).ok_or_else(wrong)?;
    scope.take(&shape)?;
    let walk = Walk::broadcast(&constant.shape, &shape).ok_or_else(wrong)?;
    made(constant.at(shape, walk))
}

/// `Where(condition, x, y)`.
pub(super) fn select<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let [condition, x, y] = [scope.constant(call, 0)?, scope.constant(call, 1)?, scope.constant(call, 2)?];
    if condition.element != Element::Bool || x.element != y.element {
        return Err(call.error("expected a truth value and two constants of one type"));
    }
    let wrong = || call.error("its inputs do not broadcast to one shape");
    let shape =
        joint(&x.shape, &y.shape).and_then(|shape| joint(&shape, &condition.shape)).ok_or_else(wrong)?;
    scope.take(&shape)?;
    let walk = |constant: &Constant| Walk::broadcast(&constant.shape, &shape).ok_or_else(wrong);
    let places = walk(&condition)?.zip(walk(&x)?.zip(walk(&y)?));
    let numbers = places.filter_map(|(which, (left, right))| match condition.get(which)? {
        Number::Whole(0) => y.get(right),
        _ => x.get(left),
    });
    let numbers = Numbers::collect(x.element, numbers);
    made(Constant { shape, element: x.element, numbers })
}

/// `Shape(x)`.
pub(super) fn shape<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let value = scope.input(call, 0)?;
    let dims = match (&value, scope.constant_shape(&value)?) {
        (_, Some(shape)) => shape.into_iter().map(|side| Size::Known(side as i64)).collect(),
        (Value::Padded(padded), _) => {
            let order = padded.view.order(scope.shape(padded.view.node)).unwrap_or_default();
            padded_dims(padded, &order).ok_or_else(|| call.error("the padding is too large"))?
        }
        _ => scope.view(call, 0)?.dims(),
    };
    let rank = dims.len();
    let range = clamp(call.int("start", 0), rank)..clamp(call.int("end", i64::MAX), rank);
    made(Constant::sizes(dims.get(range).unwrap_or_default().to_vec(), false))
}

/// `Concat(constants, …)`.
pub(super) fn concat<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let mut parts = Vec::new();
    for index in 0..call.node.input.len() {
        parts.push(scope.constant(call, index)?);
    }
    let first = &parts[0];
    let axis = call.int("axis", 0);
    let at = place(axis, first.shape.len())
        .ok_or_else(|| call.error(format!("axis {axis} of {:?}", first.shape)))?;
    let mut shape = first.shape.clone();
    shape[at] = 0;
    for part in &parts {
        let fits = part.shape.len() == shape.len() && part.element == first.element;
        let side = part.shape.get(at).copied().unwrap_or_default();
        let others = |(axis, side): (usize, &usize)| axis == at || first.shape.get(axis) == Some(side);
        if !fits || !part.shape.iter().enumerate().all(others) {
            return Err(call.error(format!("joins {:?} and {:?}", first.shape, part.shape)));
        }
        shape[at] = shape[at].checked_add(side).ok_or_else(|| call.error("its result is too large"))?;
    }
    scope.take(&shape)?;
    let outer = count(&shape[..at]).unwrap_or_default();
    let runs = (0..outer).flat_map(|row| {
        parts.iter().flat_map(move |part| {
            let run = part.len().checked_div(outer).unwrap_or_default();
            (row * run..(row + 1) * run).filter_map(|place| part.get(place))
        })
    });
    let numbers = Numbers::collect(first.element, runs);
    made(Constant { element: first.element, numbers, shape })
}

/// `Gather(constant, indices)`.
pub(super) fn gather<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let (from, indices) = (scope.constant(call, 0)?, scope.constant(call, 1)?);
    let axis = call.int("axis", 0);
    let at = place(axis, from.shape.len())
        .ok_or_else(|| call.error(format!("axis {axis} of {:?}", from.shape)))?;
    let index = |number| match indices.get(number) {
        Some(Number::Whole(index)) => place(index, from.shape[at]),
        _ => None,
    };
    let picked: Option<Vec<usize>> = (0..indices.len()).map(index).collect();
    let picked = picked.ok_or_else(|| call.error(format!("an index is out of range of {:?}", from.shape)))?;
    let shape = [&from.shape[..at], &indices.shape, &from.shape[at + 1..]].concat();
    scope.take(&shape)?;
    let (side, inner) = (from.shape[at], count(&from.shape[at + 1..]).unwrap_or_default());
    let outer = count(&from.shape[..at]).unwrap_or_default();
    let places = (0..outer).flat_map(|row| {
        picked.iter().flat_map(move |index| (0..inner).map(move |place| (row * side + index) * inner + place))
    });
    made(from.at(shape, places))
}

/// `Slice(constant, starts, ends)`.
pub(super) fn slice<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let from = scope.constant(call, 0)?;
    let sides: Vec<Option<usize>> = from.shape.iter().map(|&side| Some(side)).collect();
    let (mut shape, mut steps, mut place) = (from.shape.clone(), strides(&from.shape), 0);
    for (axis, cut) in cuts(scope, call, &sides)? {
        let Some(cut) = cut else { continue };
        shape[axis] = cut.count;
        place += cut.start * steps[axis];
        steps[axis] *= cut.step;
    }
    scope.take(&shape)?;
    let walk = Walk::new(&shape, steps, place);
    made(from.at(shape, walk))
}

/// What a slice takes along an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cut {
    pub(super) start: isize,
    pub(super) step: isize,
    pub(super) count: usize,
}

/// What a `Slice` takes of axes of these lengths (none along the images), by axis; none where it takes all.
pub(super) fn cuts<'a>(
    scope: &mut Scope<'a>,
    call: &Call<'a>,
    sides: &[Option<usize>],
) -> Result<Vec<(usize, Option<Cut>)>, OnnxError> {
    let mut lists = Vec::new();
    for (index, name) in ["starts", "ends", "axes", "steps"].into_iter().enumerate() {
        lists.push(match call.opset < 10 {
            true => call.ints(name).map(<[i64]>::to_vec),
            false => scope.integers(call, index + 1)?,
        });
    }
    let [starts, ends, axes, steps]: [Option<Vec<i64>>; 4] =
        lists.try_into().map_err(|_| call.error("its settings are missing"))?;
    let (Some(starts), Some(ends)) = (starts, ends) else {
        return Err(call.error("starts or ends are missing"));
    };
    let count = starts.len();
    let axes = axes.unwrap_or_else(|| (0..count as i64).collect());
    let steps = steps.unwrap_or_else(|| vec![1; count]);
    if [ends.len(), axes.len(), steps.len()] != [count; 3] {
        return Err(call.error("starts, ends, axes and steps differ in length"));
    }
    let mut cuts: Vec<(usize, Option<Cut>)> = Vec::new();
    for ((start, end), (axis, step)) in starts.into_iter().zip(ends).zip(axes.into_iter().zip(steps)) {
        let at =
            place(axis, sides.len()).ok_or_else(|| call.error(format!("axis {axis} is out of range")))?;
        if step == 0 || cuts.iter().any(|&(other, _)| other == at) {
            return Err(call.error("a step is 0, or an axis is named twice"));
        }
        cuts.push((at, cut(call, sides[at], [start, end, step])?));
    }
    Ok(cuts)
}

fn cut(call: &Call<'_>, side: Option<usize>, [start, end, step]: [i64; 3]) -> Result<Option<Cut>, OnnxError> {
    let Some(side) = side else {
        // Of the images all must be taken.
        let takes_all = start == 0 && step == 1 && end >= i64::from(i32::MAX);
        return if takes_all { Ok(None) } else { Err(call.error("cuts along the images")) };
    };
    let (start, count) = if step > 0 {
        let (start, end) = (clamp(start, side), clamp(end, side));
        (start, end.saturating_sub(start).div_ceil(usize::try_from(step).unwrap_or(usize::MAX)))
    } else {
        // Backwards: from the last that is there, to the one behind the first that is not taken.
        let last = |position: i64| {
            let position = if position < 0 { position.saturating_add(side as i64) } else { position };
            position.clamp(-1, side as i64 - 1)
        };
        let (start, end) = (last(start), last(end));
        let count = (start - end).max(0).unsigned_abs().div_ceil(step.unsigned_abs());
        (usize::try_from(start).unwrap_or_default(), usize::try_from(count).unwrap_or(usize::MAX))
    };
    if step == 1 && count == side {
        return Ok(None);
    }
    // A single line needs no step, however large that is.
    let step =
        if count <= 1 { 0 } else { isize::try_from(step).map_err(|_| call.error("a step is too large"))? };
    Ok(Some(Cut { start: start as isize, step, count }))
}

/// An input as a shape.
fn shape_of<'a>(scope: &mut Scope<'a>, call: &Call<'a>, index: usize) -> Result<Vec<usize>, OnnxError> {
    let sizes = scope.integers(call, index)?.unwrap_or_default();
    let shape: Option<Vec<usize>> = sizes.iter().map(|&side| usize::try_from(side).ok()).collect();
    let shape = shape.filter(|shape| count(shape).is_some());
    shape.ok_or_else(|| call.error(format!("the shape {sizes:?} is negative or too large")))
}

/// A position counted from the start, or from the end if negative, as one from 0 to `length`.
fn clamp(position: i64, length: usize) -> usize {
    let length = length as i64;
    let position = if position < 0 { position.saturating_add(length) } else { position };
    position.clamp(0, length) as usize
}
