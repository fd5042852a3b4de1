//! Masks of all tensors: setting pruned weights to zero, and masks from a threshold.

use super::chunks::Chunks;
use super::queue::{self, count};
use super::{Argument, Launch, Memory, Queue, Result, Slice};

/// Sets the weights whose bit is 0 to zero.
///
/// # Errors
/// The queue's.
pub fn apply<Q: Queue>(
    queue: &Q,
    [weights, words]: [Slice<'_>; 2],
    chunks: &Chunks<Q::Memory>,
) -> Result<()> {
    chunks.fit(&[weights], &[words]);
    launch(queue, "apply_masks", chunks, &[weights.into(), words.into(), chunks.slice().into()])
}

/// A weight is kept if its magnitude is at least the threshold and it is not zero. A NaN sets `nan: [1]` u32 to 1.
///
/// # Errors
/// The queue's.
pub fn from_threshold<Q: Queue>(
    queue: &Q,
    [weights, words, nan]: [Slice<'_>; 3],
    threshold: f32,
    chunks: &Chunks<Q::Memory>,
) -> Result<()> {
    chunks.fit(&[weights], &[words]);
    nan.holds::<u32>(1);
    let arguments = [weights.into(), threshold.into(), words.into(), chunks.slice().into(), nan.into()];
    launch(queue, "masks_from_threshold", chunks, &arguments)
}

fn launch<Q: Queue<Memory = M>, M: Memory>(
    queue: &Q,
    kernel: &str,
    chunks: &Chunks<M>,
    arguments: &[Argument],
) -> Result<()> {
    if chunks.is_empty() {
        return Ok(());
    }
    queue::launch(
        queue,
        &Launch { file: "masks", kernel, blocks: [count(chunks.len()), 1, 1], threads: 256, arguments },
    )
}
