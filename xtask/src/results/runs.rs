//! Runs the rows, one after another.

use super::table::{Run, Table};
use anyhow::{Context, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Lines of a failed run's log that are shown.
const TAIL: usize = 20;
/// Between two looks at a run's log.
const LOOK: Duration = Duration::from_secs(30);

/// Makes all runs of a table that are not finished.
pub(super) fn all(table: &Table, binary: &Path) -> anyhow::Result<()> {
    let runs = table.runs();
    for (number, run) in runs.iter().enumerate() {
        let place = format!("[{}/{}] {} seed {}", number + 1, runs.len(), run.row, run.seed);
        remember(run)?;
        if is_finished(run) {
            eprintln!("{place}: finished before");
            continue;
        }
        let begin = Instant::now();
        one(run, binary, &place).with_context(|| place.clone())?;
        eprintln!("{place}: done in {} s", begin.elapsed().as_secs());
    }
    Ok(())
}

fn is_finished(run: &Run) -> bool {
    run.makes.iter().all(|path| path.is_file())
}

/// Keeps what a run was made with, so that a changed recipe is not taken for the run that is there.
fn remember(run: &Run) -> anyhow::Result<()> {
    let read =
        |path: &PathBuf| fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
    let config = run.config.as_ref().map(read).transpose()?.unwrap_or_default();
    let recipe = format!("{}\n\n{config}", run.arguments.join(" "));
    let path = beside(run, "recipe");
    match fs::read_to_string(&path) {
        Ok(before) if before == recipe => Ok(()),
        Ok(_) => bail!(
            "{} was made with other settings: remove it, and {}, to make it anew",
            run.folder.display(),
            path.display()
        ),
        Err(_) => {
            fs::create_dir_all(run.folder.parent().unwrap_or(Path::new(".")))?;
            Ok(fs::write(&path, recipe)?)
        }
    }
}

/// A file beside the run folder.
fn beside(run: &Run, extension: &str) -> PathBuf {
    run.folder.with_file_name(format!("seed-{}.{extension}", run.seed))
}

/// Makes a run, or goes on with it; shows the last line of its log now and then.
fn one(run: &Run, binary: &Path, place: &str) -> anyhow::Result<()> {
    let log = beside(run, "log");
    eprintln!("{place}: started, its log is {}", log.display());
    let mut command = Command::new(binary);
    command.args(&run.arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log)?);
    let mut child = command.spawn().with_context(|| format!("cannot start {}", binary.display()))?;
    let mut looked = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if looked.elapsed() > LOOK {
            looked = Instant::now();
            eprintln!("{place}: {}", tail(&log, 1));
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    if status.success() { Ok(()) } else { bail!("{status}\n{}", tail(&log, TAIL)) }
}

/// The last lines of a file.
fn tail(path: &Path, lines: usize) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let all: Vec<&str> = text.lines().map(str::trim).collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
