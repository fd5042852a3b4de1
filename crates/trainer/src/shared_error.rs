//! What can go wrong where processes share a run.

/// What can go wrong where processes share a run.
#[derive(Debug, thiserror::Error)]
pub enum SharedError {
    /// Another rank of the run is gone.
    #[error(transparent)]
    Ranks(#[from] sparse_collectives::Error),

    /// Ranks of one run do not have the same.
    #[error("{what} of rank {rank} differ from those of rank 0: {other} there, {first} here")]
    Differ {
        /// What they must have the same of.
        what: &'static str,
        /// The first rank that has something else.
        rank: usize,
        /// What rank 0 has.
        first: String,
        /// What that rank has.
        other: String,
    },

    /// A batch that ranks cannot share in equal parts.
    #[error(
        "a batch of {batch_size} images cannot be shared by {ranks} processes in equal parts: give train.batch_size \
         (--batch_size) {below} or {above}, or --batch_size_per_card N"
    )]
    UnevenBatch {
        /// Images per batch of all.
        batch_size: usize,
        /// Processes.
        ranks: usize,
        /// The nearest that they share, at least one image each.
        below: usize,
        /// The next above.
        above: usize,
    },

    /// Processes on GPUs cannot share a run yet.
    #[error(
        "{ranks} processes share a run on CPUs only: give --device cpu, or start one process for the GPU"
    )]
    OnGpu {
        /// How many.
        ranks: usize,
    },
}

impl SharedError {
    /// Whether the request itself was wrong.
    pub(crate) fn is_usage(&self) -> bool {
        matches!(self, Self::UnevenBatch { .. } | Self::OnGpu { .. })
    }
}
