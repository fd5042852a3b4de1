//! What goes wrong, as C gets to know it: a status, and a message that the thread keeps.

use std::any::Any;
use std::cell::RefCell;
use std::error::Error;
use std::ffi::{CString, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// It is done.
pub(super) const OK: c_int = 0;
/// An argument cannot be used.
pub(super) const MISUSE: c_int = 1;
/// A file cannot be read, a network cannot be run, or there are no more threads.
pub(super) const FAILED: c_int = 2;
/// A bug in the engine.
pub(super) const PANICKED: c_int = 3;

thread_local! {
    /// Why the last function that failed on this thread did.
    static LAST_ERROR: RefCell<CString> = RefCell::default();
}

/// A status and its message.
pub(super) struct Failure(pub(super) c_int, pub(super) String);

impl From<crate::Error> for Failure {
    fn from(error: crate::Error) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message += &format!(": {cause}");
            source = cause.source();
        }
        Self(FAILED, message)
    }
}

/// An argument that cannot be used.
pub(super) fn misuse(message: impl Into<String>) -> Failure {
    Failure(MISUSE, message.into())
}

/// Does `work`. What goes wrong, a panic too, is kept as the last error of this thread, and its status is given back.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, c_int> {
    // Only a session can be left half changed, and its lock remembers that.
    let Failure(status, message) = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(failure)) => failure,
        Err(panic) => Failure(PANICKED, format!("a bug in the engine: {}", text_of(&*panic))),
    };
    let message = CString::new(message.replace('\0', " ")).unwrap_or_default();
    // A thread that is ending has nobody left who asks.
    let _ = LAST_ERROR.try_with(|text| text.replace(message));
    Err(status)
}

/// The message of [`guarded`]; empty if there was none.
pub(super) fn last_error() -> *const c_char {
    LAST_ERROR.try_with(|text| text.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

/// [`OK`] or what went wrong.
pub(super) fn status(done: Result<(), c_int>) -> c_int {
    done.err().unwrap_or(OK)
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}
