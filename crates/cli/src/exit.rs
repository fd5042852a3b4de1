//! From an error to a message and an exit code.

use crate::args::UsageError;
use sparse_trainer::Error;
use std::process::ExitCode;

/// Prints the error with its causes on stderr; 2 if the request itself was wrong, else 1.
#[allow(clippy::print_stderr, reason = "the last word of the program, readable whatever the log level")]
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error}");
    let mut said = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        // A message that already holds its cause is not repeated.
        if !said.contains(&cause) {
            eprintln!("  because: {cause}");
        }
        said = cause;
    }
    let usage = error.is::<UsageError>() || error.downcast_ref::<Error>().is_some_and(Error::is_usage);
    if usage { ExitCode::from(2) } else { ExitCode::FAILURE }
}
