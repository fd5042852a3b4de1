//! One process at a time in a run folder.
//!
//! The lock is one of the operating system on a file in the folder, so it ends with the process that holds it, however
//! that ends. The file says who holds it; it is taken away when the process is done, and one that a kill left behind
//! locks nothing.

use crate::error::{Error, Result};
use sparse_formats::open_regular;
use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Name of the file in a run folder.
pub(crate) const LOCK: &str = "run.lock";

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub(crate) struct RunLock {
    path: PathBuf,
    /// The folder, if it was made for this lock: it goes with it if nothing came into it.
    made: Option<PathBuf>,
    /// None where the file system knows no locks.
    file: Option<File>,
}

impl RunLock {
    /// Takes the lock of a folder, which is made if it is missing. Where the file system knows no locks it warns and goes on.
    ///
    /// # Errors
    /// [`Error::RunInUse`] if another process holds it, [`Error::Io`] if the folder or the file cannot be made.
    pub(crate) fn take(folder: &Path) -> Result<Self> {
        let path = folder.join(LOCK);
        loop {
            let made = (!folder.exists()).then(|| folder.to_path_buf());
            std::fs::create_dir_all(folder).map_err(|source| Error::io("create", folder, source))?;
            let open = File::options().read(true).write(true).create(true).truncate(false).open(&path);
            let file = match open {
                // Who made the folder took it away again after it was seen here.
                Err(error) if error.kind() == ErrorKind::NotFound && !folder.exists() => continue,
                open => open.map_err(|source| Error::io("create", &path, source))?,
            };
            match file.try_lock() {
                Ok(()) if is_at(&file, &path) => {
                    sign(&file);
                    return Ok(Self { path, made, file: Some(file) });
                }
                // The process before took the file away after it was opened here.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(in_use(folder, &path)),
                Err(TryLockError::Error(error)) => {
                    tracing::warn!(
                        "{} cannot be locked ({error}): see to it that no other run uses this folder",
                        folder.display()
                    );
                    return Ok(Self { path, made, file: None });
                }
            }
        }
    }

    /// Refuses a folder whose lock another process holds; takes nothing.
    ///
    /// # Errors
    /// [`Error::RunInUse`].
    pub(crate) fn refuse_held(folder: &Path) -> Result<()> {
        let path = folder.join(LOCK);
        let Ok(file) = open_regular(&path) else { return Ok(()) };
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(in_use(folder, &path)),
            _ => Ok(()),
        }
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // Taken away while it is locked: who opened it meanwhile sees that it is no longer there, and makes another.
        if cfg!(unix) || self.file.is_none() {
            let _ = std::fs::remove_file(&self.path);
        }
        if let Some(folder) = &self.made {
            // It stays where there is something in it.
            let _ = std::fs::remove_dir(folder);
        }
    }
}

fn in_use(folder: &Path, lock: &Path) -> Error {
    let text = std::fs::read_to_string(lock).unwrap_or_default();
    Error::RunInUse { folder: folder.to_path_buf(), holder: holder(&text) }
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
    fn the_second_is_told_who_holds_the_folder_and_the_next_one_gets_it() {
        let folder = tempfile::tempdir().unwrap();
        RunLock::refuse_held(folder.path()).unwrap();
        let first = RunLock::take(folder.path()).unwrap();
        for refused in [RunLock::take(folder.path()).map(|_| ()), RunLock::refuse_held(folder.path())] {
            let message = refused.unwrap_err().to_string();
            let id = format!("process {}", std::process::id());
            for part in [&id, "UTC", "--model_path", &folder.path().display().to_string()] {
                assert!(message.contains(part), "{message}");
            }
        }
        drop(first);
        assert!(!folder.path().join(LOCK).exists());
        // What a killed process left.
        std::fs::write(folder.path().join(LOCK), "process 1\n").unwrap();
        RunLock::refuse_held(folder.path()).unwrap();
        let again = RunLock::take(folder.path()).unwrap();
        assert!(!std::fs::read_to_string(folder.path().join(LOCK)).unwrap().contains("process 1\n"));
        drop(again);
        // A folder that was made for a run that wrote nothing goes with its lock.
        let new = folder.path().join("a/new");
        drop(RunLock::take(&new).unwrap());
        assert!(!new.exists());
        let lock = RunLock::take(&new).unwrap();
        std::fs::write(new.join("x"), "x").unwrap();
        drop(lock);
        assert!(new.join("x").exists());
    }

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
