//! Convolution over all channels with any window, by products with the patches of the image.
//!
//! A matrix of all patches would be as many times larger than the image as a window has taps, so it is made in pieces: forward and for the
//! gradient to the weight so many columns as there is room for, and for the gradient to the image so many channels, whose pixels then are summed
//! whole.

use super::batch_norm::Reading;
use super::queue::{self, count};
use super::weight::{Weight, WeightGradient};
use super::windows::{Dims, Window};
use super::{Argument, Element, Launch, Matrix, Queue, Result, Slice};

const FILE: &str = "patches";
const THREADS: usize = 128;
/// Bytes of patches that are made at once, if a pixel or a channel does not need more.
const ROOM: usize = 64 << 20;

/// Bytes of patches that [`forward`] and [`weight_gradient`] should have room for; so many columns are made at once as fit.
pub fn patches_bytes(dims: Dims, element: Element) -> usize {
    let column = rows(dims) * element.size();
    (column * dims.out_plane()).min(ROOM.max(column * dims.batch))
}

/// Columns that [`weight_gradient`] makes at once in [`patches_bytes`].
pub fn columns_at_once(dims: Dims, element: Element) -> usize {
    columns_in(patches_bytes(dims, element), dims, element)
}

/// Bytes of patches that [`input_gradient`] should have room for; so many channels are made at once as fit.
pub fn input_gradient_bytes(dims: Dims, element: Element) -> usize {
    let channel = dims.taps() * dims.out_plane() * element.size();
    (channel * dims.inputs).min(ROOM.max(channel))
}

/// `y = weight · patches of x`.
///
/// Shapes: `x.y: [Cin, H, W, N]`, `weight: [Cout, Cin · taps]`, `y: [Cout, Ho, Wo, N]`.
///
/// # Errors
/// The queue's.
///
/// # Panics
/// If `patches` has no room for those of a pixel: a fault of the caller.
pub fn forward<Q: Queue>(
    queue: &Q,
    x: Reading<'_>,
    weight: &Weight<'_, Q::Memory>,
    [y, patches]: [Slice<'_>; 2],
    dims: Dims,
    element: Element,
) -> Result<()> {
    let y = Matrix::new(y, dims.out_plane());
    over_columns(queue, x, patches, (dims, element), |first, patches| {
        weight.multiply(queue, [patches, y.skip(first, element)], patches.stride, element)
    })
}

/// The gradient to the weight.
///
/// Shapes: `x.y: [Cin, H, W, N]`, `dy: [Cout, Ho, Wo, N]`, `into.dw: [Cout, Cin · taps]`.
///
/// # Errors
/// The queue's.
///
/// # Panics
/// As [`forward`].
pub fn weight_gradient<Q: Queue>(
    queue: &Q,
    x: Reading<'_>,
    into: &WeightGradient<'_, Q::Memory>,
    [dy, patches]: [Slice<'_>; 2],
    dims: Dims,
    element: Element,
) -> Result<()> {
    let dy = Matrix::new(dy, dims.out_plane());
    over_columns(queue, x, patches, (dims, element), |first, patches| {
        into.add(queue, [dy.skip(first, element), patches], patches.stride, element, first == 0)
    })
}

/// The gradient to what the convolution read, whatever its bounds.
///
/// Shapes: `weight: [Cout, Cin · taps]`, `dy: [Cout, Ho, Wo, N]`, `dx: [Cin, H, W, N]`.
///
/// # Errors
/// The queue's.
///
/// # Panics
/// If `patches` has no room for those of a channel: a fault of the caller.
pub fn input_gradient<Q: Queue>(
    queue: &Q,
    weight: &Weight<'_, Q::Memory>,
    [dy, dx, patches]: [Slice<'_>; 3],
    dims: Dims,
    element: Element,
) -> Result<()> {
    let (columns, taps, plane) = (dims.out_plane(), dims.taps(), dims.plane());
    let most = patches.bytes() / (taps * columns * element.size());
    assert!(most > 0, "no room for the patches of a channel of {dims:?}");
    dx.holds_elements(dims.inputs * plane, element);
    for first in (0..dims.inputs).step_by(most) {
        let channels = most.min(dims.inputs - first);
        let rows = first * taps..(first + channels) * taps;
        let (dy, made) = (Matrix::new(dy, columns), Matrix::new(patches, columns));
        weight.multiply_transposed(queue, rows, [dy, made], columns, element)?;
        let into = dx.part(first * plane * element.size(), channels * plane * element.size());
        let arguments = [patches.into(), into.into(), Argument::of(Window::of(&dims))];
        launch(queue, "scatter_patches", [plane, channels], &arguments, (dims, element))?;
    }
    Ok(())
}

/// Makes the patches of `x` piece by piece, and hands each with its first column to `each`.
fn over_columns<Q: Queue>(
    queue: &Q,
    x: Reading<'_>,
    patches: Slice<'_>,
    (dims, element): (Dims, Element),
    each: impl Fn(usize, Matrix<'_>) -> Result<()>,
) -> Result<()> {
    x.y.holds_elements(dims.inputs * dims.plane(), element);
    let most = columns_in(patches.bytes(), dims, element);
    assert!(most > 0, "no room for the patches of a pixel of {dims:?}");
    let [values, coefficients, bounds] = x.arguments(dims.inputs);
    for first in (0..dims.out_plane()).step_by(most) {
        let columns = most.min(dims.out_plane() - first);
        let sizes = [first, columns].map(|size| Argument::from(count(size)));
        let window = Argument::of(Window::of(&dims));
        let arguments = [values, coefficients, bounds, patches.into(), sizes[0], sizes[1], window];
        launch(queue, "gather_patches", [columns, rows(dims)], &arguments, (dims, element))?;
        each(first, Matrix::new(patches, columns))?;
    }
    Ok(())
}

/// Columns of patches that some bytes hold: whole pixels, so that vectors of images stay whole.
fn columns_in(bytes: usize, dims: Dims, element: Element) -> usize {
    bytes / (rows(dims) * element.size()) / dims.batch * dims.batch
}

/// Rows of the matrix of patches.
fn rows(dims: Dims) -> usize {
    dims.inputs * dims.taps()
}

/// A kernel whose threads take a vector each of so many elements in so many rows.
fn launch<Q: Queue>(
    queue: &Q,
    name: &str,
    [elements, rows]: [usize; 2],
    arguments: &[Argument],
    (dims, element): (Dims, Element),
) -> Result<()> {
    let vectors = elements / element.vector(dims.batch);
    let blocks = [count(vectors.div_ceil(THREADS)), count(rows), 1];
    let kernel = &element.kernel(name, dims.batch);
    queue::launch(queue, &Launch { file: FILE, kernel, blocks, threads: THREADS as u32, arguments })
}
