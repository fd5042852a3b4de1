//! Masks that prune an exact number of the smallest magnitudes, ties by index: those of `sparse_sparsity::select`, bit for bit.

use super::chunks::Chunks;
use super::queue::{self, count};
use super::{Argument, Error, Launch, Memory, Queue, Result, Slice};
use bytemuck::{Pod, Zeroable};

const BINS: usize = 2048;
/// Shift and width of each digit of a key.
const DIGITS: [(u32, u32); 3] = [(20, 11), (10, 10), (0, 10)];

/// `Selection` of `kernels/select.cu`.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C)]
struct Selection {
    count: u32,
    remaining: u32,
    prefix: u32,
    frozen: u32,
    first: u32,
    chunks: u32,
    nan: u32,
    unused: u32,
}

/// What a selection over some tensors needs on the device.
#[derive(Debug)]
pub struct Selector<M> {
    chunks: Chunks<M>,
    selections: M,
    histogram: M,
    ties: M,
}

impl<M: Memory> Selector<M> {
    /// A selector over the tensors of these chunks.
    ///
    /// # Errors
    /// The queue's.
    pub fn new<Q: Queue<Memory = M>>(queue: &Q, chunks: Chunks<M>) -> Result<Self> {
        let groups = chunks.groups().len().max(1);
        Ok(Self {
            selections: queue.allocate(groups * size_of::<Selection>())?,
            histogram: queue.allocate(groups * BINS * size_of::<u32>())?,
            ties: queue.allocate(chunks.len().max(1) * size_of::<u32>())?,
            chunks,
        })
    }

    /// Queues the masks that prune `counts[group]` weights of each group. With `open`, weights whose bit there is 0 stay pruned, are part of
    /// the count and are not ranked; it may be `words` itself. No result crosses to the host.
    ///
    /// # Errors
    /// The queue's.
    ///
    /// # Panics
    /// If there is not one count for each group: a fault of the caller.
    pub fn select<Q: Queue<Memory = M>>(
        &self,
        queue: &Q,
        [weights, words]: [Slice<'_>; 2],
        open: Option<Slice<'_>>,
        counts: &[usize],
    ) -> Result<()> {
        let chunks = &self.chunks;
        assert_eq!(counts.len(), chunks.groups().len(), "counts of groups");
        chunks.fit(&[weights], &[words]);
        chunks.fit(&[], open.as_slice());
        if chunks.is_empty() {
            return Ok(());
        }
        let begin = |(&(first, chunks), &to_prune): (&(usize, usize), &usize)| {
            let [first, chunks, count] = [first, chunks, to_prune].map(count);
            Selection { count, first, chunks, ..Selection::default() }
        };
        let states: Vec<Selection> = chunks.groups().iter().zip(counts).map(begin).collect();
        let selections = self.selections.slice();
        queue.write(bytemuck::cast_slice(&states), selections)?;
        let (blocks, groups) = (count(chunks.len()), count(states.len()));
        let (table, histogram, ties) = (chunks.slice(), self.histogram.slice(), self.ties.slice());
        for (shift, bits) in DIGITS {
            let arguments = [
                weights.into(),
                open.into(),
                table.into(),
                selections.into(),
                histogram.into(),
                shift.into(),
                bits.into(),
            ];
            launch(queue, "count_digits", blocks, &arguments)?;
            let arguments = [selections.into(), histogram.into(), shift.into(), bits.into()];
            launch(queue, "narrow_selection", groups, &arguments)?;
        }
        let ranked: [Argument; 4] = [weights.into(), open.into(), table.into(), selections.into()];
        launch(queue, "count_ties", blocks, &[ranked.as_slice(), &[ties.into()]].concat())?;
        launch(queue, "spread_budget", groups, &[selections.into(), ties.into()])?;
        launch(
            queue,
            "masks_from_selection",
            blocks,
            &[ranked.as_slice(), &[ties.into(), words.into()]].concat(),
        )
    }

    /// The smallest magnitude that is kept, of each group; infinite if all is pruned. Waits for the device.
    ///
    /// # Errors
    /// [`Error::NotANumber`] if a weight was NaN, or the queue's.
    pub fn thresholds<Q: Queue<Memory = M>>(&self, queue: &Q) -> Result<Vec<f32>> {
        let mut states = vec![Selection::default(); self.chunks.groups().len()];
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut states);
        let len = bytes.len();
        queue.read(self.selections.slice().part(0, len), bytes)?;
        if states.iter().any(|state| state.nan != 0) {
            return Err(Error::NotANumber);
        }
        Ok(states.iter().map(|state| f32::from_bits(state.prefix.min(f32::INFINITY.to_bits()))).collect())
    }
}

fn launch<Q: Queue>(queue: &Q, kernel: &str, blocks: u32, arguments: &[Argument]) -> Result<()> {
    queue::launch(queue, &Launch { file: "select", kernel, blocks: [blocks, 1, 1], threads: 256, arguments })
}
