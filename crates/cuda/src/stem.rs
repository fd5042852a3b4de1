//! Dense 3×3 convolution of images: the stem of a mobile network.

use super::batch_norm::{MOMENTS, PartialSums};
use super::depthwise::OutputGradient;
use super::queue::{self, count};
use super::windows::Dims;
use super::{Argument, Element, Launch, Queue, Result, Slice, partial_sums};
use bytemuck::{Pod, Zeroable};
use sparse_network::Window;

const FILE: &str = "stem";
const THREADS: usize = 128;
/// Output channels of a block.
const OUTPUTS: usize = 8;
/// Blocks that share the pixels of a weight gradient, at most, and vectors of a thread, at least.
const MOST_BLOCKS: usize = 64;
const EACH: usize = 4;

/// `Image` of `kernels/stem.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Image {
    inputs: u32,
    outputs: u32,
    height: u32,
    width: u32,
    out_height: u32,
    out_width: u32,
    batch: u32,
    stride: u32,
    above: u32,
    left: u32,
}

impl Image {
    fn of(dims: Dims) -> Self {
        let [above, left] = dims.before().map(count);
        let [inputs, outputs, height, width] =
            [dims.inputs, dims.outputs, dims.height, dims.width].map(count);
        let [out_height, out_width] = [dims.out_height(), dims.out_width()].map(count);
        let [batch, stride] = [dims.batch, dims.window.stride[0]].map(count);
        Self { inputs, outputs, height, width, out_height, out_width, batch, stride, above, left }
    }
}

/// Whether these kernels are for a window.
pub fn fits(window: &Window) -> bool {
    window.kernel == [3; 2] && window.stride[0] == window.stride[1] && window.dilation == [1; 2]
}

/// Threads that cover the pixels once.
fn vectors(dims: Dims, element: Element) -> usize {
    dims.out_plane() / element.vector(dims.batch)
}

/// Partial sums that [`forward`] leaves.
pub fn moments_partial(dims: Dims, element: Element) -> PartialSums {
    PartialSums { chunks: vectors(dims, element).div_ceil(THREADS), stride: MOMENTS, first: 0 }
}

/// Partial sums that [`weight_gradient`] needs room for, of each pair of channels.
pub fn gradient_partial(dims: Dims, element: Element) -> PartialSums {
    let chunks = vectors(dims, element).div_ceil(THREADS * EACH).clamp(1, MOST_BLOCKS);
    PartialSums { chunks, stride: 9, first: 0 }
}

/// `y`, and moments of it, in [`moments_partial`], if asked for.
///
/// Shapes: `x: [Cin, H, W, N]`, `weight: [Cout, Cin, 3, 3]` f32, `y: [Cout, Ho, Wo, N]`.
///
/// # Errors
/// The queue's.
pub fn forward<Q: Queue>(
    queue: &Q,
    [x, weight, y]: [Slice<'_>; 3],
    moments: Option<Slice<'_>>,
    dims: Dims,
    element: Element,
) -> Result<()> {
    check([x, weight, y], dims, element);
    let sums = moments_partial(dims, element);
    if let Some(partial) = moments {
        assert!(sums.bytes(dims.outputs) <= partial.bytes(), "{sums:?}");
    }
    let arguments = [x.into(), weight.into(), y.into(), moments.into(), Argument::of(Image::of(dims))];
    let blocks = [count(sums.chunks), count(dims.outputs.div_ceil(OUTPUTS)), 1];
    let kernel = &element.kernel("stem_forward", dims.batch);
    queue::launch(
        queue,
        &Launch { file: FILE, kernel, blocks, threads: THREADS as u32, arguments: &arguments },
    )
}

/// The gradient to the weight; `partial` has room for [`gradient_partial`] of each pair of channels.
///
/// Shapes: `x: [Cin, H, W, N]`, `dy.g: [Cout, Ho, Wo, N]`, `dw: [Cout, Cin, 3, 3]` f32.
///
/// # Errors
/// The queue's.
pub fn weight_gradient<Q: Queue>(
    queue: &Q,
    x: Slice<'_>,
    dy: OutputGradient<'_>,
    [partial, dw]: [Slice<'_>; 2],
    dims: Dims,
    element: Element,
) -> Result<()> {
    check([x, dw, dy.g], dims, element);
    check([x, dw, dy.behind.map_or(dy.g, |(y, _)| y)], dims, element);
    let sums = gradient_partial(dims, element);
    let pairs = dims.inputs * dims.outputs;
    assert!(sums.bytes(pairs) <= partial.bytes(), "{sums:?}");
    let arguments = [
        x.into(),
        dy.g.into(),
        dy.behind.map(|(y, _)| y).into(),
        dy.behind.map(|(_, coefficients)| coefficients.slice()).into(),
        partial.into(),
        Argument::of(Image::of(dims)),
    ];
    let blocks = [sums.chunks, dims.inputs, dims.outputs].map(count);
    let kernel = &element.kernel("stem_weight_gradient", dims.batch);
    queue::launch(
        queue,
        &Launch { file: FILE, kernel, blocks, threads: THREADS as u32, arguments: &arguments },
    )?;
    partial_sums::fold(queue, (partial, sums), 9, pairs, dw)
}

#[track_caller]
fn check([x, weight, y]: [Slice<'_>; 3], dims: Dims, element: Element) {
    assert!(fits(&dims.window), "{dims:?}");
    x.holds_elements(dims.inputs * dims.plane(), element);
    y.holds_elements(dims.outputs * dims.out_plane(), element);
    weight.holds::<f32>(dims.outputs * dims.inputs * 9);
}
