//! What can go wrong between ranks.

use std::fmt;

/// The result of an operation over ranks.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong between ranks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Others do not answer.
    #[error(
        "{} not answered for {seconds} s: its process or its machine is gone; --resume auto goes on from the last \
         checkpoint, with any number of ranks",
        Ranks(.ranks)
    )]
    Lost {
        /// Which.
        ranks: Vec<usize>,
        /// How long nothing was heard of them.
        seconds: u64,
    },
    /// The thread that talks to the others has ended.
    #[error("the thread that talks to the other ranks has ended")]
    Ended,
    /// The result of a sum that was not begun.
    #[error("no sum was begun")]
    NotBegun,
    /// Ranks do not give the same kind or count of numbers.
    #[error("rank {rank} takes part in another operation: {got} bytes and not {expected}")]
    Disagree {
        /// Which rank.
        rank: usize,
        /// What it sent.
        got: usize,
        /// What was expected.
        expected: usize,
    },
    /// MPI cannot be used.
    #[error("{0}")]
    Mpi(String),
}

/// Ranks with their verb.
struct Ranks<'a>(&'a [usize]);

impl fmt::Display for Ranks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [rank] => write!(f, "rank {rank} has"),
            ranks => {
                let names: Vec<String> = ranks.iter().map(usize::to_string).collect();
                write!(f, "ranks {} have", names.join(", "))
            }
        }
    }
}
