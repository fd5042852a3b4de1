//! Convolutions and poolings.

use super::OnnxError;
use super::call::Call;
use super::scope::{Scope, Value};
use crate::graph::{Convolution, Op, Window};
use crate::shape::Shape;

type Read<'a> = Result<Value<'a>, OnnxError>;

/// `Conv(x, weight, bias)`.
pub(super) fn convolution<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let x = scope.node(call, 0)?;
    let weight = scope.constant(call, 1)?;
    let Ok(shape) = <[usize; 4]>::try_from(weight.shape.as_slice()) else {
        let reason = format!("the weight has the shape {:?}, expected four axes (images)", weight.shape);
        return Err(call.error(reason));
    };
    let kernel = [shape[2], shape[3]];
    if call.counts("kernel_shape", kernel)? != kernel {
        return Err(call.error(format!("kernel_shape differs from the weight's {kernel:?}")));
    }
    let bias = match scope.optional(call, 2)? {
        Some(_) => scope.constant(call, 2)?.values,
        None => {
            if weight.values.is_empty() {
                return Err(call.error("the weight is empty"));
            }
            scope.take(shape[0])?;
            vec![0.0; shape[0]]
        }
    };
    let window = window(scope, call, x, kernel)?;
    let groups = usize::try_from(call.int("group", 1)?).map_err(|_| call.error("group is negative"))?;
    let convolution = Convolution { weight: weight.values, shape, bias, groups, window };
    scope.push(call.name(), Op::Convolution(convolution), vec![x])
}

/// `MaxPool(x)`.
pub(super) fn max_pool<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let (x, window) = pool(scope, call)?;
    scope.push(call.name(), Op::MaxPool(window), vec![x])
}

/// `AveragePool(x)`.
pub(super) fn average_pool<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let (x, window) = pool(scope, call)?;
    let count_padding = call.int("count_include_pad", 0)? != 0;
    scope.push(call.name(), Op::AveragePool { window, count_padding }, vec![x])
}

/// `GlobalAveragePool(x)`.
pub(super) fn global_average_pool<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let x = scope.node(call, 0)?;
    scope.push(call.name(), Op::GlobalAveragePool, vec![x])
}

/// The input and the windows of a pooling.
fn pool<'a>(scope: &Scope<'a>, call: &Call<'a>) -> Result<(usize, Window), OnnxError> {
    let x = scope.node(call, 0)?;
    if call.attribute("kernel_shape").is_none() {
        return Err(call.error("attribute kernel_shape is missing"));
    }
    let window = window(scope, call, x, call.counts("kernel_shape", [1; 2])?)?;
    if call.int("ceil_mode", 0)? != 0 && rounds_up(window, size(scope, call, x)?) {
        return Err(call.error("ceil_mode adds windows over the border here; use ceil_mode=0 and padding"));
    }
    Ok((x, window))
}

/// Whether rounding the number of windows up gives more of them than rounding down.
fn rounds_up(window: Window, size: [usize; 2]) -> bool {
    (0..2).any(|axis| {
        let padded = size[axis].saturating_add(window.padding[axis]).saturating_add(window.padding[axis + 2]);
        padded.saturating_sub(reach(&window, axis)).checked_rem(window.stride[axis]) != Some(0)
    })
}

/// The windows that the attributes describe.
fn window(scope: &Scope<'_>, call: &Call<'_>, x: usize, kernel: [usize; 2]) -> Result<Window, OnnxError> {
    let stride = call.counts("strides", [1; 2])?;
    let dilation = call.counts("dilations", [1; 2])?;
    let mut window = Window { kernel, stride, dilation, padding: [0; 4] };
    let automatic = call.attribute("auto_pad").map(|attribute| attribute.s.as_deref().unwrap_or_default());
    match automatic.unwrap_or(b"NOTSET") {
        b"NOTSET" => window.padding = call.counts("pads", [0; 4])?,
        b"VALID" => {}
        b"SAME_UPPER" => pad_to_same(&mut window, size(scope, call, x)?, true),
        b"SAME_LOWER" => pad_to_same(&mut window, size(scope, call, x)?, false),
        other => return Err(call.error(format!("auto_pad {} is not known", String::from_utf8_lossy(other)))),
    }
    Ok(window)
}

/// Padding that gives `⌈size / stride⌉` windows; an odd line comes last with `upper`, else first.
fn pad_to_same(window: &mut Window, size: [usize; 2], upper: bool) {
    for (axis, size) in size.into_iter().enumerate() {
        let steps = size.div_ceil(window.stride[axis].max(1)).saturating_sub(1);
        let needed = steps.saturating_mul(window.stride[axis]).saturating_add(reach(window, axis));
        let total = needed.saturating_sub(size);
        let (less, more) = (total / 2, total - total / 2);
        [window.padding[axis], window.padding[axis + 2]] = if upper { [less, more] } else { [more, less] };
    }
}

/// Lines from the first of a window to its last.
fn reach(window: &Window, axis: usize) -> usize {
    window.kernel[axis].saturating_sub(1).saturating_mul(window.dilation[axis]).saturating_add(1)
}

/// Height and width that a node reads.
fn size(scope: &Scope<'_>, call: &Call<'_>, x: usize) -> Result<[usize; 2], OnnxError> {
    match scope.shape(x) {
        Shape::Image([_, height, width]) => Ok([height, width]),
        Shape::Flat(channels) => Err(call.error(format!("reads [N, {channels}], expected an image"))),
    }
}
