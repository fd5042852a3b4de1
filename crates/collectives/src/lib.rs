//! What the processes ("ranks") of one training run say to each other.
//!
//! [`Communicator`] is the one seam: sums over all ranks, what rank 0 knows told to all, what each knows gathered. There
//! is one for a process alone ([`Single`]), for threads of one process ([`threads`], for tests), and, with the feature
//! `mpi`, for the processes that `mpirun` or `srun` started. [`Background`] gives any of them a thread of its own, so
//! that sums go on while the caller computes.
//!
//! Sums are the same bytes on every rank and from run to run. MPI promises no order of summation for its all-reduce, so
//! here each rank receives its part of the numbers from all others, adds them in the order of ranks ([`Folding`]) and
//! sends the sums back: as many bytes as a ring all-reduce, 2·(R − 1)/R of the numbers out of each of R ranks.
//!
//! Every rank must call the same operations in the same order.
//!
//! # Where things lie
//!
//! What the processes of one run say to each other. `Communicator` (`lib.rs`) is the seam: sums, gathers,
//! broadcasts. All of them are made of one operation, `Exchange` (every rank gives every other some bytes), by
//! `folding.rs`, which adds in the order of ranks; `threads.rs` exchanges between threads, `mpi.rs` (feature `mpi`)
//! between processes. `background.rs` gives a communicator a thread, the only one that calls MPI; it shows the next
//! rank that this one lives while nothing else is to do. `silence.rs` counts how long another rank has been silent,
//! leaving out time in which this one was stopped itself. `launch.rs` reads what launchers put into the
//! environment.
//!
//! ```
//! use sparse_collectives::{Communicator, Slice, threads};
//!
//! let ranks = threads(3);
//! let sums: Vec<f32> = std::thread::scope(|scope| {
//!     let rank = |mut rank: Box<dyn Communicator + Send>| {
//!         let mut values = [rank.rank() as f32];
//!         rank.sum(Slice::F32(&mut values)).map(|()| values[0])
//!     };
//!     let running: Vec<_> = ranks.into_iter().map(|ranks| scope.spawn(move || rank(ranks))).collect();
//!     running.into_iter().map(|thread| thread.join().unwrap().unwrap()).collect()
//! });
//! assert_eq!(sums, [3.0; 3]);
//! ```

mod background;
mod error;
mod exchange;
mod folding;
mod launch;
#[cfg(feature = "mpi")]
mod mpi;
mod numbers;
#[cfg(any(test, feature = "mpi"))]
mod silence;
mod single;
mod threads;

pub use background::Background;
pub use error::{Error, Result};
pub use exchange::Exchange;
pub use folding::Folding;
pub use launch::{Launch, launched, on_this_machine, place_on_this_machine};
#[cfg(feature = "mpi")]
pub use mpi::mpi;
pub use numbers::{Number, Numbers, Slice};
pub use single::Single;
pub use threads::threads;

use std::time::Duration;

/// The ranks of one run, as one of them sees them.
pub trait Communicator {
    /// Which this one is, from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn size(&self) -> usize;

    /// Each number becomes the sum of those of all ranks, added in the order of ranks.
    ///
    /// # Errors
    /// [`Error::Lost`] if another rank is gone.
    fn sum(&mut self, values: Slice<'_>) -> Result<()>;

    /// Begins a sum that goes on while the caller does something else, if this communicator can.
    ///
    /// # Errors
    /// As [`Communicator::sum`].
    fn begin_sum(&mut self, values: Numbers) -> Result<()>;

    /// The sum that was begun first of those that are not taken yet.
    ///
    /// # Errors
    /// As [`Communicator::sum`]; [`Error::NotBegun`] if there is none.
    fn end_sum(&mut self) -> Result<Numbers>;

    /// The bytes of every rank, in the order of ranks.
    ///
    /// # Errors
    /// As [`Communicator::sum`].
    fn gather(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>>;

    /// The bytes of rank 0; what another rank gives is not looked at.
    ///
    /// # Errors
    /// As [`Communicator::sum`].
    fn broadcast(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>>;

    /// Whether it is so on any rank.
    ///
    /// # Errors
    /// As [`Communicator::sum`].
    fn any(&mut self, flag: bool) -> Result<bool> {
        let mut count = [u64::from(flag)];
        self.sum(Slice::U64(&mut count))?;
        Ok(count[0] > 0)
    }

    /// Returns when every rank has come here.
    ///
    /// # Errors
    /// As [`Communicator::sum`].
    fn barrier(&mut self) -> Result<()> {
        self.any(false).map(|_| ())
    }

    /// Time that the caller waited for other ranks, since the last call.
    fn take_waited(&mut self) -> Duration {
        Duration::ZERO
    }

    /// Takes leave of the others; a rank that ends without it has failed, and the launcher ends the others.
    ///
    /// # Errors
    /// As [`Communicator::sum`].
    fn finish(self: Box<Self>) -> Result<()>;

    /// Is called now and then while nothing else is asked, so that others see that this rank lives, and this one learns that another does
    /// not.
    ///
    /// # Errors
    /// As [`Communicator::sum`].
    fn idle(&mut self) -> Result<()> {
        Ok(())
    }
}
