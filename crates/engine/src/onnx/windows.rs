//! Convolutions and poolings.

use super::OnnxError;
use super::call::Call;
use super::reshape::sizes;
use super::scope::{Scope, Size, Value};
use crate::graph::{Convolution, Op, Window};
use crate::shape::Shape;

type Read<'a> = Result<Value<'a>, OnnxError>;

/// An image with zeros around it.
#[derive(Clone, Copy)]
struct Image {
    node: usize,
    /// Height and width without the zeros.
    size: [usize; 2],
    /// Lines of zeros: top, left, bottom, right.
    zeros: [usize; 4],
}

/// `Conv(x, weight, bias)`.
pub(super) fn convolution<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let image = image(scope, call)?;
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
    let window = window(call, image, kernel)?;
    let groups = usize::try_from(call.int("group", 1)?).map_err(|_| call.error("group is negative"))?;
    let convolution = Convolution { weight: weight.values, shape, bias, groups, window };
    scope.push(call.name(), Op::Convolution(convolution), vec![image.node])
}

/// `MaxPool(x)`.
pub(super) fn max_pool<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let (image, window) = pool(scope, call)?;
    if image.zeros != [0; 4] {
        return Err(call.error("reads an image with zeros around it; use the padding of the pooling"));
    }
    scope.push(call.name(), Op::MaxPool(window), vec![image.node])
}

/// `AveragePool(x)`.
pub(super) fn average_pool<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let (image, window) = pool(scope, call)?;
    let counts = call.int("count_include_pad", 0)? != 0;
    let counted = if counts { window.padding } else { image.zeros };
    scope.push(call.name(), Op::AveragePool { window, counted }, vec![image.node])
}

/// `GlobalAveragePool(x)`.
pub(super) fn global_average_pool<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let x = scope.node(call, 0)?;
    scope.push(call.name(), Op::GlobalAveragePool, vec![x])
}

/// `Pad(x)` with zeros around rows and columns; the convolution or mean that reads it takes them as its padding.
pub(super) fn pad<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Read<'a> {
    let image = image(scope, call)?;
    let mode = call.attribute("mode").and_then(|attribute| attribute.s.as_deref());
    let value = if call.opset < 11 { Some(call.float("value", 0.0)?) } else { scope.scalar(call, 2)? };
    if mode.is_some_and(|mode| mode != b"constant") || value.is_some_and(|value| value != 0.0) {
        return Err(call.error("images are padded with zeros only"));
    }
    let pads = if call.opset < 11 {
        call.counts("pads", [0; 8])?.map(Some)
    } else {
        let sizes = sizes(scope, call, 1)?.map(|sizes| sizes.sizes).unwrap_or_default();
        let known = |size| if let Size::Known(lines) = size { usize::try_from(lines).ok() } else { None };
        <[Size; 8]>::try_from(sizes).map_or([None; 8], |sizes| sizes.map(known))
    };
    let [Some(0), Some(0), Some(top), Some(left), Some(0), Some(0), Some(bottom), Some(right)] = pads else {
        return Err(call.error("the padding must be constant, not negative, and along rows and columns only"));
    };
    if call.input(3).is_some() {
        return Err(call.error("padding of chosen axes is not supported; give it for all four"));
    }
    Ok(Value::Padded(image.node, joined(call, image.zeros, [top, left, bottom, right])?))
}

/// The input of a node that may have zeros around it.
fn image<'a>(scope: &Scope<'a>, call: &Call<'a>) -> Result<Image, OnnxError> {
    let (node, zeros) = match scope.input(call, 0)? {
        Value::Padded(node, zeros) => (node, zeros),
        _ => (scope.node(call, 0)?, [0; 4]),
    };
    match scope.shape(node) {
        Shape::Image([_, height, width]) => Ok(Image { node, size: [height, width], zeros }),
        Shape::Flat(channels) => Err(call.error(format!("reads [N, {channels}], expected an image"))),
    }
}

/// The sum of two paddings.
fn joined(call: &Call<'_>, a: [usize; 4], b: [usize; 4]) -> Result<[usize; 4], OnnxError> {
    let mut sum = [0; 4];
    for (sum, (a, b)) in sum.iter_mut().zip(a.into_iter().zip(b)) {
        *sum = a.checked_add(b).ok_or_else(|| call.error("the padding is too large"))?;
    }
    Ok(sum)
}

/// The input and the windows of a pooling.
fn pool<'a>(scope: &Scope<'a>, call: &Call<'a>) -> Result<(Image, Window), OnnxError> {
    let image = image(scope, call)?;
    if call.attribute("kernel_shape").is_none() {
        return Err(call.error("attribute kernel_shape is missing"));
    }
    let window = window(call, image, call.counts("kernel_shape", [1; 2])?)?;
    if call.int("ceil_mode", 0)? != 0 && rounds_up(window, image.size) {
        return Err(call.error("ceil_mode adds windows over the border here; use ceil_mode=0 and padding"));
    }
    Ok((image, window))
}

/// Whether rounding the number of windows up gives more of them than rounding down.
fn rounds_up(window: Window, size: [usize; 2]) -> bool {
    (0..2).any(|axis| {
        let padded = size[axis].saturating_add(window.padding[axis]).saturating_add(window.padding[axis + 2]);
        padded.saturating_sub(reach(&window, axis)).checked_rem(window.stride[axis]) != Some(0)
    })
}

/// The windows that the attributes describe, with the zeros around the image as padding.
fn window(call: &Call<'_>, image: Image, kernel: [usize; 2]) -> Result<Window, OnnxError> {
    let stride = call.counts("strides", [1; 2])?;
    let dilation = call.counts("dilations", [1; 2])?;
    let mut window = Window { kernel, stride, dilation, padding: [0; 4] };
    let lines = |axis: usize| {
        image.size[axis].saturating_add(image.zeros[axis]).saturating_add(image.zeros[axis + 2])
    };
    let size = [lines(0), lines(1)];
    let automatic = call.attribute("auto_pad").map(|attribute| attribute.s.as_deref().unwrap_or_default());
    match automatic.unwrap_or(b"NOTSET") {
        b"NOTSET" => window.padding = call.counts("pads", [0; 4])?,
        b"VALID" => {}
        b"SAME_UPPER" => pad_to_same(&mut window, size, true),
        b"SAME_LOWER" => pad_to_same(&mut window, size, false),
        other => return Err(call.error(format!("auto_pad {} is not known", String::from_utf8_lossy(other)))),
    }
    window.padding = joined(call, window.padding, image.zeros)?;
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
