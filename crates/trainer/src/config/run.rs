//! What a run does with its config: train or test, and where it starts. Not part of the config file.

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// Train, prune and test.
    #[default]
    Train,
    /// Only test given weights.
    Test,
}

/// Where training starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Resume {
    /// At step 0, whatever lies in the run folder.
    #[default]
    Fresh,
    /// From the newest good checkpoint, or at step 0 if there is none.
    Auto,
    /// From the checkpoint at which this many epochs (1 or more) are done.
    Epoch(usize),
}
