//! The sum of two results, as at the end of a residual block.

use super::batch_norm::{Dims, Reading, launch_chunks};
use super::{Argument, Queue, Result, Slice};
use sparse_network::Bounds;

/// `z = min(max(a + b, low), high)`. The gradient goes back by [`super::batch_norm::gate`].
///
/// Shapes: `a.y, b.y, z: [C, pixels]`.
///
/// # Errors
/// The queue's.
pub fn forward<Q: Queue>(
    queue: &Q,
    parts: [Reading<'_>; 2],
    z: Slice<'_>,
    bounds: Bounds,
    dims: Dims,
) -> Result<()> {
    let mut arguments = Vec::new();
    for part in parts {
        dims.check(&[part.y, z]);
        arguments.extend(part.arguments(dims.channels));
    }
    arguments.extend([z.into(), Argument::from(bounds)]);
    launch_chunks(queue, "sum", "sum", dims, &arguments)
}
