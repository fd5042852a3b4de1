//! Pooling of windows, with the batch norm and bounds before it.

use super::batch_norm::Reading;
use super::queue::{self, count};
use super::windows::{Dims, Window};
use super::{Argument, Element, Launch, Queue, Result, Slice};
use sparse_network::Bounds;

const THREADS: usize = 128;

/// What is taken of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// The greatest value; what lies outside of the image does not count.
    Max,
    /// The mean, over all of the window or over what of it lies inside the image.
    Mean {
        /// Whether the zeros of the padding count.
        counts_padding: bool,
    },
}

impl From<Pool> for Argument {
    /// `Pool` of `kernels/window_pool.cu`.
    fn from(pool: Pool) -> Self {
        Self::of(match pool {
            Pool::Max => 0u32,
            Pool::Mean { counts_padding: true } => 1,
            Pool::Mean { counts_padding: false } => 2,
        })
    }
}

/// `y`: the greatest value or the mean of each window, bounded.
///
/// Shapes: `x.y: [C, H, W, N]`, `y: [C, Ho, Wo, N]`.
///
/// # Errors
/// The queue's.
pub fn forward<Q: Queue>(
    queue: &Q,
    x: Reading<'_>,
    (y, bounds): (Slice<'_>, Bounds),
    pool: Pool,
    (dims, element): (Dims, Element),
) -> Result<()> {
    check([x.y, y], dims, element);
    let [values, coefficients, before] = x.arguments(dims.inputs);
    let window = Argument::of(Window::of(&dims));
    let arguments = [values, coefficients, before, y.into(), bounds.into(), pool.into(), window];
    launch(queue, ("window_pool_forward", dims.out_plane()), &arguments, (dims, element))
}

/// The gradient to what was pooled, whatever its bounds. Of equal values the first of a window counts, as PyTorch has it.
///
/// Shapes: `x.y, dx: [C, H, W, N]`, `dy: [C, Ho, Wo, N]`.
///
/// # Errors
/// The queue's.
pub fn backward<Q: Queue>(
    queue: &Q,
    x: Reading<'_>,
    [dy, dx]: [Slice<'_>; 2],
    pool: Pool,
    (dims, element): (Dims, Element),
) -> Result<()> {
    check([x.y, dy], dims, element);
    check([dx, dy], dims, element);
    let [values, coefficients, bounds] = x.arguments(dims.inputs);
    let window = Argument::of(Window::of(&dims));
    let arguments = [values, coefficients, bounds, dy.into(), dx.into(), pool.into(), window];
    launch(queue, ("window_pool_backward", dims.plane()), &arguments, (dims, element))
}

#[track_caller]
fn check([x, y]: [Slice<'_>; 2], dims: Dims, element: Element) {
    assert_eq!(dims.inputs, dims.outputs, "channels of {dims:?}");
    x.holds_elements(dims.inputs * dims.plane(), element);
    y.holds_elements(dims.inputs * dims.out_plane(), element);
}

/// A kernel whose threads take a vector each of the elements of each channel.
fn launch<Q: Queue>(
    queue: &Q,
    (name, elements): (&str, usize),
    arguments: &[Argument],
    (dims, element): (Dims, Element),
) -> Result<()> {
    let vectors = elements / element.vector(dims.batch);
    let blocks = [count(vectors.div_ceil(THREADS)), count(dims.inputs), 1];
    let kernel = &element.kernel(name, dims.batch);
    queue::launch(queue, &Launch { file: "window_pool", kernel, blocks, threads: THREADS as u32, arguments })
}
