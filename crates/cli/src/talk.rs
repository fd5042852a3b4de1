//! Log lines on stderr, above the progress bar if there is one.

use indicatif::MultiProgress;
use std::io::{IsTerminal, Write};
use tracing_subscriber::EnvFilter;

/// Where the program talks.
#[derive(Clone)]
pub(crate) struct Talk {
    bars: MultiProgress,
    terminal: bool,
}

impl Talk {
    /// Progress bars go here.
    pub(crate) fn bars(&self) -> &MultiProgress {
        &self.bars
    }

    /// Whether somebody watches.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Writes lines on stderr without breaking the bar.
    pub(crate) fn say(&self, text: &str) {
        let mut writer = Lines { bars: self.bars.clone() };
        // Nobody is left to tell if stderr is closed.
        let _ = writeln!(writer, "{}", text.trim_end());
    }
}

/// Starts the log: level from `RUST_LOG`, else info; colours on a terminal unless `NO_COLOR` is set.
pub(crate) fn start() -> Talk {
    let bars = MultiProgress::new();
    let terminal = std::io::stderr().is_terminal();
    let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = Lines { bars: bars.clone() };
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")))
        .with_writer(move || lines.clone())
        .with_ansi(colours)
        .with_target(false)
        .without_time()
        .init();
    Talk { bars, terminal }
}

/// stderr, with the bars taken away while a line is written.
#[derive(Clone)]
struct Lines {
    bars: MultiProgress,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bars.suspend(|| std::io::stderr().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}
