//! Panics: a bug of the program, said in one line; those that a library catches are its business and are not shown.

use crate::talk::tell;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{PanicHookInfo, UnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

/// What Rust's own programs exit with.
const PANICKED: u8 = 101;

/// The last panic: where, and why.
static LAST: Mutex<String> = Mutex::new(String::new());

/// Does the work of the program. A decoder that panics over a bad file is caught where it is called and becomes an error
/// with the name of that file, so no panic is shown before it has come as far as here.
pub(crate) fn guard(work: impl FnOnce() -> ExitCode + UnwindSafe) -> ExitCode {
    std::panic::set_hook(Box::new(remember));
    catch_unwind(work).unwrap_or_else(|_| {
        let last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        tell(&format!(
            "error: the program has a bug: {last}\nplease report it with the command and what is above\n"
        ));
        ExitCode::from(PANICKED)
    })
}

/// Notes a panic; with `RUST_BACKTRACE` also where it came from.
fn remember(info: &PanicHookInfo<'_>) {
    let why = info.payload_as_str().unwrap_or("no reason given");
    let place = info.location().map_or_else(String::new, |place| format!(" ({place})"));
    let trace = Backtrace::capture();
    let trace = match trace.status() {
        BacktraceStatus::Captured => format!("\n{trace}"),
        _ => String::new(),
    };
    *LAST.lock().unwrap_or_else(PoisonError::into_inner) = format!("{why}{place}{trace}");
}
