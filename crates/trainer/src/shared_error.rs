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
         (--batch_size) {}, or --batch_size_per_card N",
        nearest(*below, *above)
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

    /// Two processes were started for one GPU.
    #[error(
        "ranks {first} and {second} have the same GPU: start as many processes on a machine as it has GPUs, or give --device cpu"
    )]
    SameGpu {
        /// The first with this GPU.
        first: usize,
        /// The next.
        second: usize,
    },
}

/// One number or two.
fn nearest(below: usize, above: usize) -> String {
    if below == above { above.to_string() } else { format!("{below} or {above}") }
}

impl SharedError {
    /// Whether the request itself was wrong.
    pub(crate) fn is_usage(&self) -> bool {
        matches!(self, Self::UnevenBatch { .. } | Self::SameGpu { .. })
    }
}
