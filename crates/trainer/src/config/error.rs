//! What can be wrong with a configuration, and where the wrong value came from.

use std::{fmt, io, path::PathBuf};

/// Where a value came from; shown in error messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A flag on the command line, by its name without dashes.
    Flag(String),
    /// One `--set KEY=VALUE`, as given.
    Set(String),
    /// A config file.
    File(PathBuf),
    /// No source gave the value.
    Default,
}

impl Origin {
    /// The same source, as that of two amounts of section `prune`.
    pub(super) fn named(&self, first: &str, second: &str) -> Self {
        match self {
            Self::Flag(_) => Self::Flag(format!("{first} and --{second}")),
            Self::Set(_) => Self::Set(format!("prune.{first} and prune.{second}")),
            Self::File(_) | Self::Default => self.clone(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag(name) => write!(f, " (flag --{name})"),
            Origin::Set(assignment) => write!(f, " (--set {assignment})"),
            Origin::File(path) => write!(f, " (in {})", path.display()),
            Origin::Default => Ok(()),
        }
    }
}

/// What is wrong with a configuration; every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A key that no section has.
    #[error("unknown key `{key}`{origin}: {advice}")]
    UnknownKey {
        /// The key as given, `section.name`.
        key: String,
        /// The nearest known key, or which there are.
        advice: String,
        /// The source that gave it.
        origin: Origin,
    },

    /// A value of the wrong type, out of its range, or at odds with another one.
    #[error("{key} = {value}{origin}: {rule}")]
    BadValue {
        /// The key, `section.name`.
        key: String,
        /// The value in TOML notation.
        value: String,
        /// What the value must be, in words.
        rule: String,
        /// The source that gave it.
        origin: Origin,
    },

    /// One source gives two of ratio, threshold and pattern and does not say which counts.
    #[error(
        "both {first} and {second} are given{origin}: give one of them, or say which counts with \
         pruning_mode (--pruning_mode {first} or --pruning_mode {second})"
    )]
    TwoAmounts {
        /// The one.
        first: &'static str,
        /// The other.
        second: &'static str,
        /// The source that gives both.
        origin: Origin,
    },

    /// `--set` without `KEY=VALUE`.
    #[error("--set {assignment}: it takes SECTION.KEY=VALUE, such as --set prune.ratio=0.75")]
    BadSet {
        /// The text after `--set`.
        assignment: String,
    },

    /// A config file that cannot be read.
    #[error("cannot read the config file {}: check the path after --config", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },

    /// A config file that holds something else than text, or more of it than any config.
    #[error("{} is no config file: {reason}", .path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },

    /// Values that fit their declarations and yet make no config.
    #[error("the settings make no config")]
    NotAConfig(#[source] toml::de::Error),

    /// A config file that is not TOML.
    #[error("{} is not valid TOML: correct the line shown", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, the column and what is wrong there.
        source: Box<toml::de::Error>,
    },

    /// A configuration with a value that TOML cannot hold.
    #[error("the configuration cannot be written as TOML: use UTF-8 paths and a seed of at most 2^63 - 1")]
    NotToml(#[source] toml::ser::Error),
}
