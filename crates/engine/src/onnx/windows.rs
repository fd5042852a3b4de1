//! Convolutions, and the windows that they and poolings describe.

use super::OnnxError;
use super::call::Call;
use super::scope::{Scope, Value};
use crate::graph::{Convolution, Op, Window};
use crate::shape::Shape;

/// An image that windows are laid over.
#[derive(Clone, Copy)]
pub(super) struct Image {
    pub(super) node: usize,
    /// Height and width without the lines around it.
    pub(super) size: [usize; 2],
    /// Lines around it: top, left, bottom, right.
    pub(super) lines: [usize; 4],
}

/// `Conv(x, weight, bias)`.
pub(super) fn convolution<'a>(scope: &mut Scope<'a>, call: &Call<'a>) -> Result<Value<'a>, OnnxError> {
    let image = image(scope, call, |number, _| number == 0.0)?;
    let (shape, weight) = scope.reals(call, 1)?;
    let Ok(shape) = <[usize; 4]>::try_from(shape.as_slice()) else {
        let reason = format!("the weight has the shape {shape:?}, expected four axes (images)");
        return Err(call.error(reason));
    };
    if weight.is_empty() {
        return Err(call.error("the weight is empty"));
    }
    let kernel = [shape[2], shape[3]];
    if call.counts("kernel_shape", kernel)? != kernel {
        return Err(call.error(format!("kernel_shape differs from the weight's {kernel:?}")));
    }
    let bias = match call.input(2) {
        Some(_) => scope.reals(call, 2)?.1,
        None => {
            scope.take(&[shape[0]])?;
            vec![0.0; shape[0]]
        }
    };
    let window = window(call, image, kernel)?;
    let groups = usize::try_from(call.int("group", 1)).map_err(|_| call.error("group is negative"))?;
    let scales = scope.scales(call, 1, 0, shape[0]);
    let convolution = Convolution { weight, shape, bias, groups, window, scales };
    scope.result(call, Op::Convolution(convolution), vec![image.node])
}

/// The image that a node reads. Lines around it that the node cannot have as its padding become a node.
pub(super) fn image<'a>(
    scope: &mut Scope<'a>,
    call: &Call<'a>,
    is_padding: impl Fn(f32, [usize; 4]) -> bool,
) -> Result<Image, OnnxError> {
    let (mut node, mut lines, number) = scope.padded(call, 0)?;
    if lines != [0; 4] && !is_padding(number, lines) {
        node = scope.push(&format!("{}/pad", call.name()), Op::Pad { lines, value: number }, vec![node])?;
        lines = [0; 4];
    }
    match scope.shape(node) {
        Shape::Image([_, height, width]) => Ok(Image { node, size: [height, width], lines }),
        Shape::Flat(channels) => Err(call.error(format!("reads [N, {channels}], expected an image"))),
    }
}

/// The sum of two paddings.
pub(super) fn joined(call: &Call<'_>, a: [usize; 4], b: [usize; 4]) -> Result<[usize; 4], OnnxError> {
    let mut sum = [0; 4];
    for (sum, (a, b)) in sum.iter_mut().zip(a.into_iter().zip(b)) {
        *sum = a.checked_add(b).ok_or_else(|| call.error("the padding is too large"))?;
    }
    Ok(sum)
}

/// The windows that the attributes describe, with the lines around the image as padding.
pub(super) fn window(call: &Call<'_>, image: Image, kernel: [usize; 2]) -> Result<Window, OnnxError> {
    let stride = call.counts("strides", [1; 2])?;
    let dilation = call.counts("dilations", [1; 2])?;
    let mut window = Window { kernel, stride, dilation, padding: [0; 4] };
    let lines = |axis: usize| {
        image.size[axis].saturating_add(image.lines[axis]).saturating_add(image.lines[axis + 2])
    };
    let size = [lines(0), lines(1)];
    let automatic = call.text("auto_pad", "NOTSET");
    let pads = call.counts("pads", [0; 4])?;
    if automatic != "NOTSET" && pads != [0; 4] {
        return Err(call.error(format!("has both auto_pad {automatic} and pads {pads:?}; keep one of them")));
    }
    match &*automatic {
        // An empty text is one that was left out.
        "NOTSET" | "" => window.padding = pads,
        "VALID" => {}
        "SAME_UPPER" => pad_to_same(&mut window, size, true),
        "SAME_LOWER" => pad_to_same(&mut window, size, false),
        other => return Err(call.error(format!("auto_pad {other} is not known"))),
    }
    window.padding = joined(call, window.padding, image.lines)?;
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
pub(super) fn reach(window: &Window, axis: usize) -> usize {
    window.kernel[axis].saturating_sub(1).saturating_mul(window.dilation[axis]).saturating_add(1)
}
