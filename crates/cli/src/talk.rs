//! Log lines on stderr, above the progress bar if there is one.
//!
//! Nothing here fails: who closes stderr, or lets it run full, loses the log and not the run.

use crate::steady::Steady;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use tracing_subscriber::EnvFilter;

/// How often a bar is drawn, times per second.
const DRAWN_PER_SECOND: u8 = 20;

/// Where the program talks.
#[derive(Clone)]
pub(crate) struct Talk {
    bars: MultiProgress,
    terminal: bool,
}

impl Talk {
    /// A progress bar of no length yet that looks like `template` (see [`ProgressStyle`]).
    pub(crate) fn bar(&self, template: &str) -> ProgressBar {
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        self.bars.add(ProgressBar::new(0)).with_style(style)
    }

    /// Whether somebody watches.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Writes lines on stderr without breaking the bar.
    pub(crate) fn say(&self, text: &str) {
        let mut writer = Lines { bars: self.bars.clone() };
        // `Lines` never fails.
        let _ = writeln!(writer, "{}", text.trim_end());
    }
}

/// Writes a text on stderr as it is, if anybody listens there.
pub(crate) fn tell(text: &str) {
    let mut stderr = std::io::stderr().lock();
    // Nobody is left to tell if stderr is closed or full.
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

/// Starts the log: level from `RUST_LOG`, else info; colours on a terminal unless `NO_COLOR` is set. Of the ranks of a run the
/// first alone logs more than errors and shows a bar.
pub(crate) fn start(rank: usize) -> Talk {
    let terminal = std::io::stderr().is_terminal() && rank == 0;
    let filter = match rank {
        0 => EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")),
        _ => EnvFilter::new("error"),
    };
    let bars = MultiProgress::with_draw_target(match terminal {
        true => ProgressDrawTarget::term_like_with_hz(Box::new(Steady::stderr()), DRAWN_PER_SECOND),
        false => ProgressDrawTarget::hidden(),
    });
    let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = Lines { bars: bars.clone() };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || lines.clone())
        .with_ansi(colours)
        .with_target(false)
        .without_time()
        // It would tell on stderr, with `eprintln!`, that stderr cannot be written.
        .log_internal_errors(false)
        .init();
    Talk { bars, terminal }
}

/// stderr, with the bars taken away while a line is written. What cannot be written is dropped.
#[derive(Clone)]
struct Lines {
    bars: MultiProgress,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        // Nobody is left to tell if stderr is closed or full.
        let _ = self.bars.suspend(|| std::io::stderr().write_all(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let _ = std::io::stderr().flush();
        Ok(())
    }
}
