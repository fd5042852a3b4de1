//! Ctrl-C and SIGTERM: the first asks the run to save and stop, the second ends the program at once.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use sparse_trainer::StopFlag;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Listens for both signals.
///
/// # Errors
/// If a handler cannot be installed.
pub(crate) fn listen() -> std::io::Result<StopFlag> {
    let stop = StopFlag::default();
    for signal in [SIGINT, SIGTERM] {
        let asked_before = Arc::new(AtomicBool::new(false));
        flag::register_conditional_shutdown(
            signal,
            exit_code(signal as usize).into(),
            Arc::clone(&asked_before),
        )?;
        flag::register(signal, asked_before)?;
        flag::register_usize(signal, stop.handle(), signal as usize)?;
    }
    Ok(stop)
}

/// The exit code of a program ended by a signal: 128 and its number.
pub(crate) fn exit_code(signal: usize) -> u8 {
    u8::try_from(128 + signal).unwrap_or(u8::MAX)
}
