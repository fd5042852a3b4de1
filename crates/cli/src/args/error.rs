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

    /// A flag whose value is out of its range.
    #[error("{flag}: it must be {expects}")]
    Value {
        /// The flag with its value.
        flag: String,
        /// What the value must be, in words.
        expects: &'static str,
    },

    /// A folder to resume from, without the wish to resume.
    #[error(
        "--checkpoint names the folder to resume training from: add --resume auto or --resume_epoch N, or pass \
         weights to start from with --pretrained_model"
    )]
    CheckpointAlone,
}
