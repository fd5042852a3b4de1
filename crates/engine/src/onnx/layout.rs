//! Channels put together, cut apart and picked.

use super::OnnxError;
use super::call::Call;
use super::moves::{Cut, cuts};
use super::reshape::place;
use super::scope::{Scope, Value};
use super::settle::text;
use super::view::View;
use crate::graph::Op;

type Read<'a> = Result<Value<'a>, OnnxError>;

/// `Concat(x, …)` along the channels.
pub(super) fn concat<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let mut views = Vec::new();
    for index in 0..call.node.input.len() {
        views.push(scope.view(call, index)?);
    }
    let first = &views[0];
    let (dims, shape) = (first.dims(), scope.shape(first.node));
    let axis = call.int("axis", 1);
    let at = place(axis, dims.len()).ok_or_else(|| call.error(format!("axis {axis} of {}", text(&dims))))?;
    // Channels last: every image has its axes in that order.
    let order = first.order(shape).filter(|order| order[at] == 1);
    if let Some(order) = order
        && views.iter().all(|view| view.is_ordered_as(&order, scope.shape(view.node)))
    {
        let node = scope.push(call.name(), Op::Concat, views.iter().map(|view| view.node).collect())?;
        let view = first.over(node, shape, scope.shape(node));
        return view.map(Value::View).ok_or_else(|| call.error("its inputs differ in their axes"));
    }
    let mut nodes = Vec::new();
    for view in &views {
        nodes.push(match (view.axes.len(), at) {
            (4, 1) => scope.image(call, view)?,
            (2, 1) => scope.vector(call, view)?,
            _ => return Err(not_channels(call, axis, view)),
        });
    }
    scope.result(call, Op::Concat, nodes)
}

/// `Split(x)` along the channels; as many results as the node names.
pub(super) fn split<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let view = scope.view(call, 0)?;
    let (view, channels) = channels(scope, call, view, call.int("axis", 0))?;
    let count = call.node.output.len();
    let said =
        if call.opset < 13 { call.ints("split").map(<[i64]>::to_vec) } else { scope.integers(call, 1)? };
    let parts = match said {
        Some(parts) => parts,
        None if call.opset >= 18 && call.attribute("num_outputs").is_none() => {
            return Err(call.error("needs the sizes of its parts or num_outputs; export the model again"));
        }
        None => {
            let named = call.attribute("num_outputs").map(|_| call.int("num_outputs", 0));
            if named.is_some_and(|named| usize::try_from(named).ok() != Some(count)) {
                return Err(call.error(format!("num_outputs differs from its {count} outputs")));
            }
            // The last part is smaller if the channels cannot be shared equally, from operator set 18 on.
            let part = channels.div_ceil(count.max(1));
            if call.opset < 18 && part * count != channels {
                return Err(
                    call.error(format!("{channels} channels cannot be split into {count} equal parts"))
                );
            }
            let sizes = (0..count).map(|at| channels.saturating_sub(at * part).min(part) as i64);
            sizes.collect()
        }
    };
    let sizes: Option<Vec<usize>> = parts.iter().map(|&part| usize::try_from(part).ok()).collect();
    let sizes = sizes.filter(|sizes| sizes.len() == count && sizes.iter().sum::<usize>() == channels);
    let sizes = sizes
        .ok_or_else(|| call.error(format!("parts {parts:?} of {channels} channels for {count} outputs")))?;
    let (mut start, mut values) = (0, Vec::new());
    for (at, size) in sizes.into_iter().enumerate() {
        let name = if at == 0 { call.name().to_owned() } else { format!("{}/{at}", call.name()) };
        values.push(pick(scope, call, &view, &name, (start..start + size).collect())?);
        start += size;
    }
    let mut values = values.into_iter();
    let first = values.next().ok_or_else(|| call.error("it has no outputs"))?;
    scope.more = values.collect();
    Ok(first)
}

/// `Slice(x)` along the channels; along other axes only where it takes all of them.
pub(super) fn slice<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let mut view = scope.view(call, 0)?;
    let sides = view.axes.iter().map(|axis| axis.known()).collect::<Vec<_>>();
    for (axis, cut) in cuts(scope, call, &sides)? {
        let Some(Cut { start, step, count }) = cut else { continue };
        let (ordered, _) = channels(scope, call, view, axis as i64)?;
        let order = (0..count).map(|at| (start + at as isize * step) as usize).collect();
        match pick(scope, call, &ordered, call.name(), order)? {
            Value::View(next) => view = next,
            other => return Ok(other),
        }
    }
    Ok(Value::View(view))
}

/// `Gather(x, indices)` along the channels.
pub(super) fn gather<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    if scope.input(call, 1)?.is_result() {
        return Ok(scope.unsupported(call));
    }
    let view = scope.view(call, 0)?;
    let (view, channels) = channels(scope, call, view, call.int("axis", 0))?;
    let indices = scope.constant(call, 1)?;
    if indices.shape.len() != 1 {
        return Err(call.error("channels are picked by a list of them"));
    }
    let index = |at| match indices.get(at) {
        Some(super::constant::Number::Whole(index)) => place(index, channels),
        _ => None,
    };
    let order: Option<Vec<usize>> = (0..indices.len()).map(index).collect();
    let order = order.ok_or_else(|| call.error("an index is out of range"))?;
    pick(scope, call, &view, call.name(), order)
}

/// These channels of a view whose channels are an axis.
fn pick<'a>(scope: &mut Scope<'a>, call: &Call<'a>, view: &View, name: &str, order: Vec<usize>) -> Read<'a> {
    if order.is_empty() {
        return Err(call.error("a part without channels"));
    }
    scope.take(&[order.len()])?;
    let old = scope.shape(view.node);
    let node = scope.push(name, Op::Channels { order }, vec![view.node])?;
    let view = view.over(node, old, scope.shape(node));
    view.map(Value::View).ok_or_else(|| call.error("its channels are no axis of what it reads"))
}

/// The view with its channels along `axis`, and how many these are.
fn channels<'a>(
    scope: &mut Scope<'a>,
    call: &Call<'a>,
    view: View,
    axis: i64,
) -> Result<(View, usize), OnnxError> {
    let at = place(axis, view.axes.len()).ok_or_else(|| not_channels(call, axis, &view))?;
    let shape = scope.shape(view.node);
    if view.order(shape).is_some_and(|order| order[at] == 1) {
        return Ok((view, shape.channels()));
    }
    let node = match (view.axes.len(), at) {
        (4, 1) => scope.image(call, &view)?,
        (2, 1) => scope.vector(call, &view)?,
        _ => return Err(not_channels(call, axis, &view)),
    };
    let shape = scope.shape(node);
    Ok((View::of(node, shape), shape.channels()))
}

fn not_channels(call: &Call<'_>, axis: i64, view: &View) -> OnnxError {
    call.error(format!(
        "is along axis {axis} of {}; supported is only the axis of the channels",
        text(&view.dims())
    ))
}
