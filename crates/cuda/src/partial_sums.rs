//! Folding what blocks have summed.

use super::batch_norm::PartialSums;
use super::queue::{self, count};
use super::{Launch, Queue, Result, Slice};

/// `to[row, i]` = the sum over the chunks of `partial[row, chunk, i]`, for the first `width` numbers of a chunk.
///
/// # Errors
/// The queue's.
pub fn fold<Q: Queue>(
    queue: &Q,
    (partial, sums): (Slice<'_>, PartialSums),
    width: usize,
    rows: usize,
    to: Slice<'_>,
) -> Result<()> {
    assert!(width <= sums.stride && sums.bytes(rows) <= partial.bytes(), "{sums:?}");
    to.holds::<f32>(rows * width);
    let [chunks, stride, columns] = [sums.chunks, sums.stride, width].map(count);
    let arguments = [partial.into(), chunks.into(), stride.into(), columns.into(), to.into()];
    let (kernel, blocks) = ("fold_partial_sums", [count(rows * width), 1, 1]);
    queue::launch(queue, &Launch { file: "partial_sums", kernel, blocks, threads: 32, arguments: &arguments })
}
