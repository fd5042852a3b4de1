//! Depthwise 3×3 convolution with the batch norms and bounds around it.

use super::batch_norm::{Coefficients, MOMENTS, PartialSums, Reading};
use super::queue::{self, count};
use super::windows::Dims;
use super::{Argument, Element, Launch, Queue, Result, Slice};
use bytemuck::{Pod, Zeroable};

const FILE: &str = "depthwise";
const THREADS: usize = 128;
/// Rows that a thread walks down.
const ROWS_EACH: usize = 4;
/// Sums of a block in the backward pass: nine gradients to the weights, and two of the gated gradient.
const TOTALS: usize = 11;

/// `Plane` of `kernels/depthwise.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Plane {
    height: u32,
    width: u32,
    out_height: u32,
    out_width: u32,
    batch: u32,
    above: u32,
    left: u32,
}

impl Plane {
    fn of(dims: Dims) -> Self {
        let [above, left] = dims.before().map(count);
        let [height, width, batch] = [dims.height, dims.width, dims.batch].map(count);
        let [out_height, out_width] = [dims.out_height(), dims.out_width()].map(count);
        Self { height, width, out_height, out_width, batch, above, left }
    }
}

/// Blocks for a plane of so many rows and columns.
fn blocks(dims: Dims, element: Element, [rows, columns]: [usize; 2]) -> usize {
    let runs = dims.batch / element.vector(dims.batch);
    (runs * columns * rows.div_ceil(ROWS_EACH)).div_ceil(THREADS)
}

/// Partial sums that [`forward`] leaves.
pub fn moments_partial(dims: Dims, element: Element) -> PartialSums {
    PartialSums {
        chunks: blocks(dims, element, [dims.out_height(), dims.out_width()]),
        stride: MOMENTS,
        first: 0,
    }
}

/// Partial sums that [`backward`] leaves: the first nine of a chunk are of the gradient to the weight.
pub fn backward_partial(dims: Dims, element: Element) -> PartialSums {
    PartialSums { chunks: blocks(dims, element, [dims.height, dims.width]), stride: TOTALS, first: 9 }
}

/// `y`, and moments of it, in [`moments_partial`], if asked for.
///
/// Shapes: `x.y: [C, H, W, N]`, `weight: [C, 1, 3, 3]` f32, `y: [C, Ho, Wo, N]`.
///
/// # Errors
/// The queue's.
pub fn forward<Q: Queue>(
    queue: &Q,
    x: Reading<'_>,
    weight: Slice<'_>,
    y: Slice<'_>,
    moments: Option<Slice<'_>>,
    dims: Dims,
    element: Element,
) -> Result<()> {
    check(x.y, weight, y, dims, element);
    let sums = moments_partial(dims, element);
    if let Some(partial) = moments {
        assert!(sums.bytes(dims.inputs) <= partial.bytes(), "{sums:?}");
    }
    let [values, coefficients, bounds] = x.arguments(dims.inputs);
    let arguments = [
        values,
        coefficients,
        bounds,
        weight.into(),
        y.into(),
        moments.into(),
        Argument::of(Plane::of(dims)),
    ];
    launch(queue, "depthwise_forward", sums.chunks, &arguments, dims, element)
}

/// The gradient to a convolution's output.
#[derive(Clone, Copy, Debug)]
pub struct OutputGradient<'a> {
    /// The gradient, or the gated gradient behind batch norm and bounds.
    pub g: Slice<'a>,
    /// The raw output and the coefficients of the batch norm that `g` lies behind.
    pub behind: Option<(Slice<'a>, Coefficients<'a>)>,
}

/// `dx`, shut where the bounds of `x` were, and partial sums as [`backward_partial`] says.
///
/// Shapes: `x.y, dx: [C, H, W, N]`, `weight: [C, 1, 3, 3]`, `dy.g: [C, Ho, Wo, N]`.
///
/// # Errors
/// The queue's.
pub fn backward<Q: Queue>(
    queue: &Q,
    x: Reading<'_>,
    weight: Slice<'_>,
    dy: OutputGradient<'_>,
    [dx, partial]: [Slice<'_>; 2],
    dims: Dims,
    element: Element,
) -> Result<()> {
    check(x.y, weight, dy.g, dims, element);
    check(dx, weight, dy.behind.map_or(dy.g, |(y, _)| y), dims, element);
    let sums = backward_partial(dims, element);
    assert!(sums.bytes(dims.inputs) <= partial.bytes(), "{sums:?}");
    let [values, coefficients, bounds] = x.arguments(dims.inputs);
    let arguments = [
        values,
        coefficients,
        bounds,
        weight.into(),
        dy.g.into(),
        dy.behind.map(|(y, _)| y).into(),
        dy.behind.map(|(_, coefficients)| coefficients.slice()).into(),
        dx.into(),
        partial.into(),
        Argument::of(Plane::of(dims)),
    ];
    launch(queue, "depthwise_backward", sums.chunks, &arguments, dims, element)
}

#[track_caller]
fn check(x: Slice<'_>, weight: Slice<'_>, y: Slice<'_>, dims: Dims, element: Element) {
    let sparse_network::Window { kernel, stride: [down, right], dilation, .. } = dims.window;
    let fits = dims.inputs == dims.outputs && kernel == [3; 2] && dilation == [1; 2];
    assert!(fits && down == right && (1..=2).contains(&down), "{dims:?}");
    x.holds_elements(dims.inputs * dims.plane(), element);
    y.holds_elements(dims.inputs * dims.out_plane(), element);
    weight.holds::<f32>(dims.inputs * 9);
}

fn launch<Q: Queue>(
    queue: &Q,
    name: &str,
    blocks: usize,
    arguments: &[Argument],
    dims: Dims,
    element: Element,
) -> Result<()> {
    let kernel = &element.kernel(&format!("{name}_s{}", dims.window.stride[0]), dims.batch);
    let blocks = [count(blocks), count(dims.inputs), 1];
    queue::launch(queue, &Launch { file: FILE, kernel, blocks, threads: THREADS as u32, arguments })
}
