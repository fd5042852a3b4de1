//! From an error to a message and an exit code.

use crate::args::UsageError;
use crate::ranks;
use crate::talk::tell;
use sparse_trainer::Error;
use std::io::ErrorKind;
use std::process::ExitCode;

/// Prints the error with its causes on stderr; 2 if the request itself was wrong, else 1.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    let usage = error.is::<UsageError>() || error.downcast_ref::<Error>().is_some_and(Error::is_usage);
    let code = if usage { ExitCode::from(2) } else { ExitCode::FAILURE };
    let Some(who) = ranks::before_report() else { return code };
    let mut said = without_backtrace(error.to_string());
    let mut text = format!("error: {who}{said}\n");
    for cause in error.chain().skip(1).map(|cause| without_backtrace(cause.to_string())) {
        // A message that already holds its cause is not repeated.
        if !said.contains(&cause) {
            text += &format!("  because: {cause}\n");
        }
        said = cause;
    }
    tell(&text);
    code
}

/// Prints what the command line came to before anything was done: a usage error on stderr, help and version on stdout.
pub(crate) fn before_start(error: &clap::Error) -> ExitCode {
    let code = ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
    // One of several processes prints help; an error may be that of another one alone.
    if ranks::rank().is_some_and(|rank| rank > 0) && (!error.use_stderr() || ranks::before_report().is_none())
    {
        return code;
    }
    match error.print() {
        Err(failed) if !error.use_stderr() && failed.kind() != ErrorKind::BrokenPipe => {
            tell(&format!("error: cannot write to the standard output: {failed}\n"));
            ExitCode::FAILURE
        }
        _ => code,
    }
}

/// A message without the frames that candle's errors carry where `RUST_BACKTRACE` is set: they tell a user nothing.
fn without_backtrace(message: String) -> String {
    let is_frame = |line: &str| {
        let number = line.trim_start().split_once(": ").map(|(number, _)| number);
        line.starts_with(' ')
            && number.is_some_and(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
    };
    let Some(first) = message.lines().position(is_frame) else { return message };
    // After the frames there may be the context of an outer error; frames have a number or begin with `at`.
    let lines = message.lines().enumerate();
    let kept =
        lines.filter(|(at, line)| *at < first || !(is_frame(line) || line.trim_start().starts_with("at ")));
    kept.map(|(_, line)| line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_out_of_a_message() {
        let message =
            "shapes differ\n   0: candle_core::bt\n             at ./src/error.rs:255:25\n  10: main\n";
        assert_eq!(without_backtrace(message.to_owned()), "shapes differ");
        for message in ["ratio 2: give 1", "  two\n lines", "at 0: x"] {
            assert_eq!(without_backtrace(message.to_owned()), message);
        }
    }
}
