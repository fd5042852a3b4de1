//! Values of flags: as PaddleSlim's take them, and numbers of threads.

use clap::ValueEnum;
use sparse_trainer::config::{Precision, crowded, too_many_threads};

/// The value of `--precision`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum PrecisionFlag {
    F32,
    Bf16,
}

impl From<PrecisionFlag> for Precision {
    fn from(flag: PrecisionFlag) -> Self {
        match flag {
            PrecisionFlag::F32 => Self::F32,
            PrecisionFlag::Bf16 => Self::Bf16,
        }
    }
}

/// A boolean in any case; the words are those of Python's `strtobool`.
pub(super) fn boolean(text: &str) -> Result<bool, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Ok(true),
        "false" | "f" | "no" | "n" | "off" | "0" => Ok(false),
        _ => Err("it must be true or false"),
    }
}

/// A whole number, 1 or more.
pub(super) fn whole(text: &str) -> Result<usize, &'static str> {
    text.parse().ok().filter(|&number| number > 0).ok_or("it must be a whole number, 1 or more")
}

/// A number of threads that this machine has some use for.
pub(super) fn threads(text: &str) -> Result<usize, String> {
    let threads = whole(text)?;
    too_many_threads(threads).map_or(Ok(threads), |most| Err(format!("it must be {most}")))
}

/// Tells of more threads than there are processors.
pub(super) fn warn_if_crowded(threads: Option<usize>) {
    let warning = threads.and_then(|threads| crowded(&format!("--threads {threads}"), threads));
    if let Some(warning) = warning {
        tracing::warn!("{warning}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_come_in_many_words_and_any_case() {
        for text in ["true", "True", "TRUE", "1", "yes", "Yes", "on", "t"] {
            assert_eq!(boolean(text), Ok(true), "{text}");
        }
        for text in ["false", "False", "0", "no", "NO", "off", "f"] {
            assert_eq!(boolean(text), Ok(false), "{text}");
        }
        for text in ["", "2", "maybe", "None"] {
            assert!(boolean(text).is_err(), "{text}");
        }
    }

    #[test]
    fn threads_are_at_least_one_and_not_far_above_the_processors() {
        assert_eq!((threads("1"), threads("64")), (Ok(1), Ok(64)));
        for text in ["0", "-1", "two", "1.5", ""] {
            assert!(threads(text).unwrap_err().contains("1 or more"), "{text}");
        }
        assert!(threads("5000000").unwrap_err().starts_with("it must be at most "));
    }
}
