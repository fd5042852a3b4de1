//! One process at a time in a run folder.

use crate::error::{Error, Result};
use crate::file_lock::{FileLock, Taken};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Name of the file in a run folder.
pub(crate) const LOCK: &str = "run.lock";

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub(crate) struct RunLock {
    _lock: FileLock,
    /// Dropped after the lock, whose file lies in it.
    _made: Made,
}

/// The folder, if it was made for this lock: it goes with it if nothing came into it.
#[derive(Debug)]
struct Made(Option<PathBuf>);

impl RunLock {
    /// Takes the lock of a folder, which is made if it is missing. Where the file system knows no locks it warns and goes on.
    ///
    /// # Errors
    /// [`Error::RunInUse`] if another process holds it, [`Error::Io`] if the folder or the file cannot be made.
    pub(crate) fn take(folder: &Path) -> Result<Self> {
        let path = folder.join(LOCK);
        loop {
            let made = Made((!folder.exists()).then(|| folder.to_path_buf()));
            std::fs::create_dir_all(folder).map_err(|source| Error::io("create", folder, source))?;
            match FileLock::take(&path) {
                Ok(Taken::Ours(lock)) => return Ok(Self { _lock: lock, _made: made }),
                Ok(Taken::Theirs(holder)) => return Err(in_use(folder, holder)),
                // Who made the folder took it away again after it was seen here.
                Err(error) if error.kind() == ErrorKind::NotFound && !folder.exists() => {}
                Err(source) => return Err(Error::io("create", &path, source)),
            }
        }
    }

    /// Refuses a folder whose lock another process holds; takes nothing.
    ///
    /// # Errors
    /// [`Error::RunInUse`].
    pub(crate) fn refuse_held(folder: &Path) -> Result<()> {
        FileLock::holder(&folder.join(LOCK)).map_or(Ok(()), |holder| Err(in_use(folder, holder)))
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if let Some(folder) = &self.0 {
            // It stays where there is something in it.
            let _ = std::fs::remove_dir(folder);
        }
    }
}

fn in_use(folder: &Path, holder: String) -> Error {
    Error::RunInUse { folder: folder.to_path_buf(), holder }
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
}
