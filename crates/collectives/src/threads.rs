//! Ranks that are threads of one process, for tests.

use crate::{Communicator, Error, Exchange, Folding, Result};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// After so long without an answer another rank counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// A communicator for each of `size` threads.
pub fn threads(size: usize) -> Vec<Box<dyn Communicator + Send>> {
    let mut ranks: Vec<Threads> =
        (0..size).map(|rank| Threads { rank, to: Vec::new(), from: Vec::new() }).collect();
    for from in 0..size {
        for to in 0..size {
            let (sender, receiver) = channel();
            ranks[from].to.push(sender);
            ranks[to].from.push(receiver);
        }
    }
    ranks.into_iter().map(|rank| Box::new(Folding::new(rank)) as Box<dyn Communicator + Send>).collect()
}

/// Ways between threads.
struct Threads {
    rank: usize,
    /// To each rank.
    to: Vec<Sender<Vec<u8>>>,
    /// From each rank.
    from: Vec<Receiver<Vec<u8>>>,
}

impl Threads {
    fn lost(&self, rank: usize) -> Error {
        Error::Lost { ranks: vec![rank], seconds: PATIENCE.as_secs() }
    }
}

impl Exchange for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.to.len()
    }

    fn exchange(&mut self, send: &[&[u8]], receive: &mut [&mut [u8]]) -> Result<()> {
        for (rank, bytes) in send.iter().enumerate() {
            if rank != self.rank && !bytes.is_empty() {
                self.to[rank].send(bytes.to_vec()).map_err(|_| self.lost(rank))?;
            }
        }
        for (rank, to) in receive.iter_mut().enumerate() {
            if rank == self.rank || to.is_empty() {
                continue;
            }
            let bytes = self.from[rank].recv_timeout(PATIENCE).map_err(|error| match error {
                RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected => self.lost(rank),
            })?;
            if bytes.len() != to.len() {
                return Err(Error::Disagree { rank, got: bytes.len(), expected: to.len() });
            }
            to.copy_from_slice(&bytes);
        }
        Ok(())
    }
}
