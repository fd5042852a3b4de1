//! Sums over the devices of all ranks.

use super::{Queue, Result, Slice};

/// What becomes of the numbers of all ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Their sum.
    Sum,
    /// Their mean.
    Mean,
}

/// All-reduce over the devices of the ranks of one run. Every rank must begin the same in the same order.
pub trait AllReduce<Q: Queue> {
    /// Which this one is, from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn ranks(&self) -> usize;

    /// Begins to replace f32 numbers by their sum or mean over all ranks, behind what was queued before. Work that is queued before
    /// [`AllReduce::join`] runs beside it and must not touch them.
    ///
    /// # Errors
    /// The driver's, or what tells that another rank is gone.
    fn begin(&self, queue: &Q, values: Slice<'_>, reduction: Reduction) -> Result<()>;

    /// Work that is queued from here on finds the results of all that was begun.
    ///
    /// # Errors
    /// The driver's.
    fn join(&self, queue: &Q) -> Result<()>;

    /// Whether all that was queued is done. Waiting by asking, one can give up when another rank is gone.
    ///
    /// # Errors
    /// The driver's, or what went wrong between the devices.
    fn is_done(&self, queue: &Q) -> Result<bool>;
}
