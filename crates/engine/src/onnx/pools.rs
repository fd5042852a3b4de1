//! Poolings, and lines around images.

use super::OnnxError;
use super::call::Call;
use super::constant::Size;
use super::scope::{Padded, Scope, Value};
use super::settle::text;
use super::windows::{Image, image, joined, reach, window};
use crate::graph::{Op, Window};

type Read<'a> = Result<Value<'a>, OnnxError>;

/// `MaxPool(x)`.
pub(super) fn max_pool<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    // The least number is no maximum where there are others, like padding.
    let kernel = call.counts("kernel_shape", [1; 2])?;
    let is_thin = |lines: [usize; 4]| (0..4).all(|side| lines[side] < kernel[side % 2]);
    let image = image(scope, call, |number, lines| number <= f32::MIN && is_thin(lines))?;
    let window = pool(call, image)?;
    scope.result(call, Op::MaxPool(rounded_up(call, window, image.size)), vec![image.node])
}

/// `AveragePool(x)`.
pub(super) fn average_pool<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let image = image(scope, call, |number, _| number == 0.0)?;
    let window = pool(call, image)?;
    let counts = call.int("count_include_pad", 0) != 0;
    // Lines that were put around the image before count in any case, those of rounding up in none.
    let counted = if counts { window.padding } else { image.lines };
    let window = rounded_up(call, window, image.size);
    scope.result(call, Op::AveragePool { window, counted }, vec![image.node])
}

/// `GlobalAveragePool(x)` and `GlobalMaxPool(x)`.
pub(super) fn global<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let view = scope.view(call, 0)?;
    let image = scope.image(call, &view)?;
    let op = if call.operator() == "GlobalMaxPool" { Op::GlobalMaxPool } else { Op::GlobalAveragePool };
    scope.result(call, op, vec![image])
}

/// The windows of a pooling, those of rounding up left out.
fn pool(call: &Call<'_>, image: Image) -> Result<Window, OnnxError> {
    window(call, image, call.counts("kernel_shape", [1; 2])?)
}

/// The windows with those that `ceil_mode` adds, which lie partly behind the image: as more padding. One that would begin
/// in the padding behind the image is none (as in PyTorch and ONNX Runtime).
fn rounded_up(call: &Call<'_>, mut window: Window, size: [usize; 2]) -> Window {
    if call.int("ceil_mode", 0) == 0 {
        return window;
    }
    for (axis, lines) in size.into_iter().enumerate() {
        let (stride, reach) = (window.stride[axis], reach(&window, axis));
        let inner = lines.saturating_add(window.padding[axis]);
        let padded = inner.saturating_add(window.padding[axis + 2]);
        // One window is there even if it is larger than all lines, but by less than a stride.
        if stride == 0 || reach.saturating_sub(padded) >= stride {
            continue;
        }
        let mut steps = padded.saturating_sub(reach).div_ceil(stride);
        if steps.saturating_mul(stride) >= inner {
            steps = steps.saturating_sub(1);
        }
        let needed = steps.saturating_mul(stride).saturating_add(reach);
        window.padding[axis + 2] = window.padding[axis + 2].saturating_add(needed.saturating_sub(padded));
    }
    window
}

/// `Pad(x)` with lines of one number around rows and columns; what reads it takes them as its padding where that is the same.
pub(super) fn pad<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let (view, lines, number) = match scope.input(call, 0)? {
        Value::Padded(Padded { view, lines, number }) => (view, lines, number),
        _ => (scope.view(call, 0)?, [0; 4], 0.0),
    };
    let mode = call.text("mode", "constant");
    if mode != "constant" && !mode.is_empty() {
        return Err(
            call.error(format!("mode is {mode}, supported is constant; pad the images before the network"))
        );
    }
    let value =
        if call.opset < 11 { call.float("value", 0.0) } else { scope.scalar(call, 2)?.unwrap_or(0.0) };
    let more = pads(scope, call, &view)?;
    let (view, lines) = match lines == [0; 4] || number == value || more == [0; 4] {
        true => (view, joined(call, lines, more)?),
        // Lines of two numbers: the inner ones become a node.
        false => {
            let node = scope.image(call, &view)?;
            let node = scope.push(
                &format!("{}/inner", call.name()),
                Op::Pad { lines, value: number },
                vec![node],
            )?;
            (super::view::View::of(node, scope.shape(node)), more)
        }
    };
    let number = if more == [0; 4] { number } else { value };
    Ok(Value::Padded(Padded { view, lines, number }))
}

/// The lines at top, left, bottom and right that a `Pad` adds.
fn pads<'a>(
    scope: &mut Scope<'a>,
    call: &Call<'a>,
    view: &super::view::View,
) -> Result<[usize; 4], OnnxError> {
    let dims = view.dims();
    let rank = dims.len();
    let given = match call.opset < 11 {
        true => call.ints("pads").map(<[i64]>::to_vec),
        false => scope.integers(call, 1)?,
    };
    let given = given.ok_or_else(|| call.error("the lines to add are missing"))?;
    let axes = match scope.integers(call, 3)? {
        None => (0..rank).collect(),
        Some(axes) => {
            let axes: Option<Vec<usize>> =
                axes.iter().map(|&axis| super::reshape::place(axis, rank)).collect();
            axes.ok_or_else(|| call.error("an axis is out of range"))?
        }
    };
    let wrong = || {
        let reason = format!("pads {} by {given:?}", text(&dims));
        call.error(format!("{reason}; supported are lines around rows and columns, not fewer than none"))
    };
    let order = view.order(scope.shape(view.node)).filter(|_| rank == 4).ok_or_else(wrong)?;
    if given.len() != 2 * axes.len() {
        return Err(wrong());
    }
    let mut lines = [0; 4];
    for (at, &axis) in axes.iter().enumerate() {
        for (end, &count) in [given[at], given[at + axes.len()]].iter().enumerate() {
            let count = usize::try_from(count).map_err(|_| wrong())?;
            match (order[axis], count) {
                (_, 0) => {}
                (row_or_column @ (2 | 3), _) => lines[row_or_column - 2 + 2 * end] = count,
                _ => return Err(wrong()),
            }
        }
    }
    Ok(lines)
}

impl<'a> Scope<'a> {
    /// An image with the lines around it as a node.
    pub(super) fn with_lines(
        &mut self,
        call: &Call<'a>,
        padded: &Padded,
    ) -> Result<super::view::View, OnnxError> {
        if padded.lines == [0; 4] {
            return Ok(padded.view.clone());
        }
        let shape = self.shape(padded.view.node);
        let op = Op::Pad { lines: padded.lines, value: padded.number };
        let node = self.push(&format!("{}/pad", call.name()), op, vec![padded.view.node])?;
        let view = padded.view.over(node, shape, self.shape(node));
        view.ok_or_else(|| call.error(format!("reads {} with lines around it", text(&padded.view.dims()))))
    }
}

/// The shape that a padded image has.
pub(super) fn padded_dims(padded: &Padded, order: &[usize]) -> Option<Vec<Size>> {
    let dims = padded.view.dims().into_iter().zip(order);
    dims.map(|(size, &at)| match (size, at) {
        (Size::Known(side), 2 | 3) => {
            let more = padded.lines[at - 2].checked_add(padded.lines[at])?;
            side.checked_add_unsigned(more as u64).map(Size::Known)
        }
        _ => Some(size),
    })
    .collect()
}
