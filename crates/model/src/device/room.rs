//! Device memory that is kept from step to step.

use crate::Result;
use sparse_cuda::{Memory, Queue, Slice};

/// Memory that grows when more is asked for; what it holds is not defined then.
pub(super) struct Room<M> {
    memory: Option<M>,
    bytes: usize,
}

impl<M> Default for Room<M> {
    fn default() -> Self {
        Self { memory: None, bytes: 0 }
    }
}

impl<M: Memory> Room<M> {
    /// Makes it so many bytes long.
    pub(super) fn resize<Q: Queue<Memory = M>>(&mut self, queue: &Q, bytes: usize) -> Result<()> {
        if self.memory.as_ref().is_none_or(|memory| memory.slice().bytes() < bytes) {
            // What is there is given back first.
            self.memory = None;
            self.memory = Some(queue.allocate(bytes)?);
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Makes it at least so many bytes long.
    pub(super) fn reserve<Q: Queue<Memory = M>>(&mut self, queue: &Q, bytes: usize) -> Result<()> {
        self.resize(queue, self.bytes.max(bytes))
    }

    /// The bytes asked for; none before the first [`Room::resize`].
    pub(super) fn slice(&self) -> Slice<'_> {
        self.memory.as_ref().map_or(Slice::EMPTY, |memory| memory.slice().part(0, self.bytes))
    }
}
