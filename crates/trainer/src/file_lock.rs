//! A file that one process at a time holds.
//!
//! The lock is one of the operating system, so it ends with the process that holds it, however that ends. The file says who
//! holds it; it is taken away when the process is done, and one that a kill left behind locks nothing.

use sparse_formats::open_regular;
use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub(crate) struct FileLock {
    path: PathBuf,
    /// None where the file system knows no locks.
    file: Option<File>,
}

/// Who has the lock now.
#[derive(Debug)]
pub(crate) enum Taken {
    /// This process.
    Ours(FileLock),
    /// Another process, in words.
    Theirs(String),
}

impl FileLock {
    /// Takes the lock, whose file is made if it is missing. Where the file system knows no locks it warns and goes on.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub(crate) fn take(path: &Path) -> io::Result<Taken> {
        let path = path.to_path_buf();
        loop {
            let file = File::options().read(true).write(true).create(true).truncate(false).open(&path)?;
            match file.try_lock() {
                Ok(()) if is_at(&file, &path) => {
                    sign(&file);
                    return Ok(Taken::Ours(Self { path, file: Some(file) }));
                }
                // The process before took the file away after it was opened here.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(Taken::Theirs(held_by(&path))),
                Err(TryLockError::Error(error)) => {
                    tracing::warn!(
                        "{} cannot be locked ({error}): see to it that no other process writes there",
                        path.display()
                    );
                    return Ok(Taken::Ours(Self { path, file: None }));
                }
            }
        }
    }

    /// Who else holds the lock, if anybody does; takes nothing.
    pub(crate) fn holder(path: &Path) -> Option<String> {
        let file = open_regular(path).ok()?;
        matches!(file.try_lock(), Err(TryLockError::WouldBlock)).then(|| held_by(path))
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Taken away while it is locked: who opened it meanwhile sees that it is no longer there, and makes another.
        if cfg!(unix) || self.file.is_none() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn held_by(lock: &Path) -> String {
    holder(&std::fs::read_to_string(lock).unwrap_or_default())
}

/// Who holds a lock, from the text of its file.
fn holder(text: &str) -> String {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map(str::trim).filter(|value| !value.is_empty())
    };
    let Some(process) = field("process") else { return "another process".to_owned() };
    let host = field("host").map_or_else(String::new, |host| format!(" on {host}"));
    let since = field("since").map_or_else(String::new, |since| format!(" since {since}"));
    format!("process {process}{host}{since}")
}

/// Writes who holds the lock.
fn sign(mut file: &File) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut text = format!("process {}\n", std::process::id());
    if let Ok(host) = std::fs::read_to_string("/proc/sys/kernel/hostname") {
        text += &format!("host {}\n", host.trim());
    }
    text += &format!("since {}\n", utc(since));
    // On a full disk the lock holds without a name.
    let _ = file.set_len(0).and_then(|()| file.write_all(text.as_bytes()));
}

/// Whether `file` is what lies at `path` now.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    file.metadata().is_ok_and(|ours| std::fs::metadata(path).is_ok_and(|there| place(ours) == place(there)))
}

/// Elsewhere the file is never taken away.
#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}

/// Seconds since 1970 as date and time, such as `2026-11-29 20:15:43 UTC`.
///
/// Source: Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
fn utc(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Years begin in March here, so that the day that some have more is their last.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = (era * 400 + year + month / 10, (month + 2) % 12 + 1);
    let [hour, minute, second] = [second / 3600, second / 60 % 60, second % 60];
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_without_a_name_is_somebodys() {
        assert_eq!(holder(""), "another process");
        assert_eq!(holder("process 7\nhost \n"), "process 7");
        assert_eq!(holder("process 7\nhost a\nsince b c\n"), "process 7 on a since b c");
    }

    #[test]
    fn seconds_are_dates() {
        for (seconds, date) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_735_689_599, "2024-12-31 23:59:59 UTC"),
            (1_795_983_343, "2026-11-29 20:15:43 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(utc(seconds), date);
        }
    }
}
