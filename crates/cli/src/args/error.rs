//! What is wrong with a command line that parses: exit code 2, like clap's own errors.

use sparse_trainer::config::ConfigError;

/// A usage error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UsageError {
    /// The config that the flags, the `--set`s and the file make up is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),

    /// Two flags that cannot both be obeyed.
    #[error("{flag} and {other} contradict each other: {advice}")]
    Conflict {
        /// One flag with its value.
        flag: String,
        /// The other one.
        other: String,
        /// What to do.
        advice: &'static str,
    },

    /// A flag that has to be there.
    #[error("{what} needs {flag}")]
    Missing {
        /// The command or flag that needs it.
        what: &'static str,
        /// What it needs, with an example.
        flag: &'static str,
    },

    /// A flag whose value is out of its range.
    #[error("{flag}: it must be {expects}")]
    Value {
        /// The flag with its value.
        flag: String,
        /// What the value must be, in words.
        expects: &'static str,
    },

    /// Several processes, and a build that cannot share a run among them.
    #[error(
        "{ranks} processes were started ({variable}), and this build does not share a run among processes: build it with \
         --features mpi, or start one process"
    )]
    #[cfg(not(feature = "mpi"))]
    RanksWithoutMpi {
        /// How many.
        ranks: usize,
        /// What says so.
        variable: &'static str,
    },

    /// Several processes for what one does.
    #[error(
        "{ranks} processes were started ({variable}), and {what} is the work of one: start it without the launcher"
    )]
    RanksOfOne {
        /// What.
        what: &'static str,
        /// How many.
        ranks: usize,
        /// What says so.
        variable: &'static str,
    },

    /// A folder to resume from, without the wish to resume.
    #[error(
        "--checkpoint names the folder to resume training from: add --resume auto or --resume_epoch N, or pass \
         weights to start from with --pretrained_model"
    )]
    CheckpointAlone,
}
