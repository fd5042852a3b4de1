//! A terminal for progress bars that never fails.
//!
//! indicatif panics where it cannot draw, for instance when the terminal hung up under a run that ignores SIGHUP.

use console::Term;
use indicatif::TermLike;
use std::io::Result;

/// A terminal whose errors are passed over.
#[derive(Debug)]
pub(crate) struct Steady(Term);

impl Steady {
    /// The terminal behind stderr.
    pub(crate) fn stderr() -> Self {
        Self(Term::buffered_stderr())
    }
}

/// A bar that cannot be drawn is no reason to end a run.
#[allow(clippy::unnecessary_wraps, reason = "the trait wants results")]
fn passed_over(_: Result<()>) -> Result<()> {
    Ok(())
}

impl TermLike for Steady {
    fn width(&self) -> u16 {
        self.0.size().1
    }

    fn height(&self) -> u16 {
        self.0.size().0
    }

    fn move_cursor_up(&self, lines: usize) -> Result<()> {
        passed_over(self.0.move_cursor_up(lines))
    }

    fn move_cursor_down(&self, lines: usize) -> Result<()> {
        passed_over(self.0.move_cursor_down(lines))
    }

    fn move_cursor_right(&self, columns: usize) -> Result<()> {
        passed_over(self.0.move_cursor_right(columns))
    }

    fn move_cursor_left(&self, columns: usize) -> Result<()> {
        passed_over(self.0.move_cursor_left(columns))
    }

    fn write_line(&self, text: &str) -> Result<()> {
        passed_over(self.0.write_line(text))
    }

    fn write_str(&self, text: &str) -> Result<()> {
        passed_over(self.0.write_str(text))
    }

    fn clear_line(&self) -> Result<()> {
        passed_over(self.0.clear_line())
    }

    fn flush(&self) -> Result<()> {
        passed_over(self.0.flush())
    }
}
