//! Sums over devices by way of the hosts: for ranks without NCCL, and for tests.

use crate::ranks::Ranks;
use sparse_collectives::Slice as Values;
use sparse_cuda::{AllReduce, Error, Queue, Reduction, Result, Slice, download};

/// Brings numbers to the host, adds them up in the order of ranks, and sends them back. Nothing runs beside it.
pub(crate) struct ThroughHost(pub(crate) Ranks);

impl<Q: Queue> AllReduce<Q> for ThroughHost {
    fn rank(&self) -> usize {
        self.0.place().rank
    }

    fn ranks(&self) -> usize {
        self.0.place().ranks
    }

    fn begin(&self, queue: &Q, values: Slice<'_>, reduction: Reduction) -> Result<()> {
        let mut numbers: Vec<f32> = download(queue, values)?;
        self.0.sum(Values::F32(&mut numbers)).map_err(|error| Error::Ranks(error.into()))?;
        if reduction == Reduction::Mean {
            let share = 1.0 / self.0.place().ranks as f32;
            numbers.iter_mut().for_each(|number| *number *= share);
        }
        queue.write(bytemuck::cast_slice(&numbers), values)
    }

    fn join(&self, _: &Q) -> Result<()> {
        Ok(())
    }

    fn is_done(&self, _: &Q) -> Result<bool> {
        Ok(true)
    }
}
