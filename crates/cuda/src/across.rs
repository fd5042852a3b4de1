//! The sums of batch norm over the devices of all ranks.

use super::batch_norm::{MOMENTS, PartialSums};
use super::queue::{self, count};
use super::{AllReduce, Argument, Launch, Queue, Reduction, Result, Slice};

/// Numbers of a rank's gradient sums: Σ g and Σ g·(y − mean).
const GRADIENT_SUMS: usize = 2;

/// Bytes that sums of so many channels take, between ranks.
pub fn shared_bytes(channels: usize, ranks: usize) -> usize {
    channels * ranks * MOMENTS * size_of::<f32>()
}

/// The moments of each rank's part of the batch, in `to`, from those of this rank's chunks.
///
/// Shapes: `partial: [C, chunks, 3]`, `to: [C, ranks, 3]`.
///
/// # Errors
/// The queue's, or those of [`AllReduce::begin`].
pub fn share_moments<Q: Queue>(
    queue: &Q,
    all_reduce: &dyn AllReduce<Q>,
    (partial, sums): (Slice<'_>, PartialSums),
    channels: usize,
    to: Slice<'_>,
) -> Result<PartialSums> {
    assert!(sums.stride == MOMENTS && sums.first == 0 && sums.bytes(channels) <= partial.bytes(), "{sums:?}");
    let arguments: [Argument; 2] = [partial.into(), count(sums.chunks).into()];
    share(queue, all_reduce, ("share_moments", &arguments), (channels, MOMENTS), to)
}

/// The sums over the gated gradient of each rank's part of the batch, in `to`, from this rank's partial sums.
///
/// Shapes: `partial: [C, chunks, stride]`, `to: [C, ranks, 2]`.
///
/// # Errors
/// The queue's, or those of [`AllReduce::begin`].
pub fn share_gradient_sums<Q: Queue>(
    queue: &Q,
    all_reduce: &dyn AllReduce<Q>,
    (partial, sums): (Slice<'_>, PartialSums),
    channels: usize,
    to: Slice<'_>,
) -> Result<PartialSums> {
    assert!(sums.first + 2 <= sums.stride && sums.bytes(channels) <= partial.bytes(), "{sums:?}");
    let [chunks, stride, first] = [sums.chunks, sums.stride, sums.first].map(count);
    let arguments: [Argument; 4] = [partial.into(), chunks.into(), stride.into(), first.into()];
    share(queue, all_reduce, ("share_gradient_sums", &arguments), (channels, GRADIENT_SUMS), to)
}

/// A kernel that writes this rank's `width` numbers of each channel to its slot, and the slots of the others.
fn share<Q: Queue>(
    queue: &Q,
    all_reduce: &dyn AllReduce<Q>,
    (kernel, arguments): (&str, &[Argument]),
    (channels, width): (usize, usize),
    to: Slice<'_>,
) -> Result<PartialSums> {
    let (rank, ranks) = (all_reduce.rank(), all_reduce.ranks());
    let slots = to.part(0, channels * ranks * width * size_of::<f32>());
    // Zero plus the numbers of one rank are exactly these.
    queue.clear(slots)?;
    let mut arguments = arguments.to_vec();
    arguments.extend::<[Argument; 3]>([count(rank).into(), count(ranks).into(), slots.into()]);
    let blocks = [count(channels), 1, 1];
    queue::launch(queue, &Launch { file: "across", kernel, blocks, threads: 32, arguments: &arguments })?;
    all_reduce.begin(queue, slots, Reduction::Sum)?;
    all_reduce.join(queue)?;
    Ok(PartialSums { chunks: ranks, stride: width, first: 0 })
}
