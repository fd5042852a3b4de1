//! Changes of layout and of element type.

use super::queue::{self, count};
use super::{Argument, Element, Launch, Queue, Result, Slice};

const THREADS: u32 = 256;
/// Side of a tile.
const TILE: usize = 32;

/// Images `[N, pixels]` f32 to `[pixels, N]`, `pixels` = C·H·W.
///
/// # Errors
/// The queue's.
pub fn batch_innermost<Q: Queue>(
    queue: &Q,
    [images, x]: [Slice<'_>; 2],
    [batch, pixels]: [usize; 2],
    element: Element,
) -> Result<()> {
    images.holds::<f32>(batch * pixels);
    x.holds_elements(batch * pixels, element);
    let arguments = [images.into(), x.into(), count(pixels).into(), count(batch).into()];
    let blocks = [count(pixels.div_ceil(TILE)), count(batch.div_ceil(TILE)), 1];
    launch(queue, &element.scalar_kernel("batch_innermost"), blocks, &arguments)
}

/// `to[i] = from[i]`, rounded.
///
/// # Errors
/// The queue's.
pub fn narrow<Q: Queue>(queue: &Q, [from, to]: [Slice<'_>; 2], len: usize, element: Element) -> Result<()> {
    from.holds::<f32>(len);
    to.holds_elements(len, element);
    let blocks = [count(len.div_ceil(THREADS as usize).clamp(1, 1024)), 1, 1];
    launch(
        queue,
        &element.scalar_kernel("narrow_weights"),
        blocks,
        &[from.into(), to.into(), count(len).into()],
    )
}

fn launch<Q: Queue>(queue: &Q, kernel: &str, blocks: [u32; 3], arguments: &[Argument]) -> Result<()> {
    queue::launch(queue, &Launch { file: "layout", kernel, blocks, threads: THREADS, arguments })
}
