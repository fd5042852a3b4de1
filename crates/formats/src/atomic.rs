//! Files and folders that appear complete or not at all.
//!
//! Everything is first written under a temporary name beside its target, `.NAME.tmp-PID-COUNT`, flushed to the disk,
//! then renamed, and the parent folder is flushed so that the rename survives a power cut. On any failure before the
//! rename the temporary is removed and what was there before is untouched. A killed process leaves its temporary
//! behind; [`remove_stale_temps`] clears those.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::regular::described;
use crate::{Error, Result};

const TEMP_MARK: &str = ".tmp-";

/// Writes `bytes` to the file `path`, replacing a file of that name. A link stays, and the file that it leads to is replaced.
///
/// # Errors
/// [`Error::Io`] if a step fails, [`Error::BadFileName`] if `path` does not end in a file name, [`Error::NoPlainTarget`] if
/// a folder, a pipe, a socket or a device is there.
pub fn write_file(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    parent(path.as_ref())?;
    let path = &behind_links(path.as_ref())?;
    let parent = parent(path)?;
    let (temp, file) = claim_temp(path, |temp| File::create_new(temp))?;
    let renamed = write_and_flush(file, bytes)
        .map_err(io_error(path, "write"))
        .and_then(|()| fs::rename(&temp, path).map_err(io_error(path, "move into place")));
    if renamed.is_err() {
        // The first error is the one to report; a temporary that stays is cleared by `remove_stale_temps`.
        let _ = fs::remove_file(&temp);
    }
    renamed.and_then(|()| flush_folder(parent).map_err(io_error(path, "flush the folder of")))
}

/// Writes the folder `path` with these `(name, bytes)` files in it. It must not exist yet.
///
/// # Errors
/// [`Error::TargetExists`] if there is anything at `path`, [`Error::BadFileName`] if `path` does not end in a file name
/// or a name in `files` is not a plain one, [`Error::Io`] if a step fails.
pub fn write_dir<N: AsRef<str>, B: AsRef<[u8]>>(path: impl AsRef<Path>, files: &[(N, B)]) -> Result<()> {
    let path = path.as_ref();
    let parent = parent(path)?;
    for (name, _) in files {
        check_plain_name(path, name.as_ref())?;
    }
    refuse_existing(path)?;
    let (temp, ()) = claim_temp(path, |temp| fs::create_dir(temp))?;
    let renamed = fill_folder(path, &temp, files)
        .and_then(|()| refuse_existing(path))
        .and_then(|()| fs::rename(&temp, path).map_err(io_error(path, "move into place")));
    if renamed.is_err() {
        // The first error is the one to report; a temporary that stays is cleared by `remove_stale_temps`.
        let _ = fs::remove_dir_all(&temp);
    }
    renamed.and_then(|()| flush_folder(parent).map_err(io_error(path, "flush the folder of")))
}

/// Removes the temporaries that killed processes left in `folder`, and returns their paths in order of name.
///
/// Call it before anything writes to `folder`: a temporary of a living writer looks the same. A folder that does not
/// exist has none.
///
/// # Errors
/// [`Error::Io`] if the folder cannot be listed or a temporary cannot be removed.
pub fn remove_stale_temps(folder: impl AsRef<Path>) -> Result<Vec<PathBuf>> {
    remove_temps(folder.as_ref(), is_temp_name)
}

fn remove_temps(folder: &Path, is_meant: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(io_error(folder, "list"))?,
    };
    let mut removed = Vec::new();
    for entry in entries {
        let entry = entry.map_err(io_error(folder, "list"))?;
        if !is_meant(&entry.file_name().to_string_lossy()) {
            continue;
        }
        let path = entry.path();
        let is_folder = entry.file_type().map_err(io_error(&path, "inspect"))?.is_dir();
        let outcome = if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        outcome.map_err(io_error(&path, "remove"))?;
        removed.push(path);
    }
    removed.sort();
    Ok(removed)
}

/// Removes the temporaries of the file `path` that killed processes left, when nobody else writes to it.
///
/// # Errors
/// As [`remove_stale_temps`]; [`Error::BadFileName`] if `path` does not end in a file name.
pub fn remove_stale_temps_of(path: impl AsRef<Path>) -> Result<Vec<PathBuf>> {
    let path = path.as_ref();
    let mut start = OsString::from(".");
    start.push(path.file_name().unwrap_or_default());
    start.push(TEMP_MARK);
    let start = start.to_string_lossy();
    remove_temps(parent(path)?, |name| name.starts_with(&*start) && is_temp_name(name))
}

/// Whether [`write_file`] could begin: makes its temporary beside `path`, and takes it away again.
///
/// # Errors
/// As [`write_file`].
pub fn check_target(path: impl AsRef<Path>) -> Result<()> {
    parent(path.as_ref())?;
    let path = &behind_links(path.as_ref())?;
    let (temp, _) = claim_temp(path, |temp| File::create_new(temp))?;
    fs::remove_file(&temp).map_err(io_error(&temp, "remove"))
}

/// Where the file `path` is: the end of its links, where there may be nothing yet.
fn behind_links(path: &Path) -> Result<PathBuf> {
    let is_missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let kind = match fs::metadata(path) {
        Ok(found) => found.file_type(),
        Err(error) if is_missing(&error) => {
            // Links that lead around in a circle are another error, so that this comes to an end.
            return match fs::read_link(path) {
                Ok(next) => behind_links(&path.with_file_name(next)),
                Err(_) => Ok(path.to_owned()),
            };
        }
        Err(source) => return Err(io_error(path, "inspect")(source)),
    };
    if !kind.is_file() {
        return Err(Error::NoPlainTarget { path: path.to_owned(), what: described(kind) });
    }
    if path.is_symlink() {
        fs::canonicalize(path).map_err(io_error(path, "inspect"))
    } else {
        Ok(path.to_owned())
    }
}

/// Creates the first temporary name for `path` that nobody has, and what `create` makes of it.
fn claim_temp<T>(path: &Path, create: impl Fn(&Path) -> io::Result<T>) -> Result<(PathBuf, T)> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let mut name = OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!("{TEMP_MARK}{}-{count}", process::id()));
        let temp = path.with_file_name(name);
        match create(&temp) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => return Ok((temp, created.map_err(io_error(path, "create a file beside"))?)),
        }
    }
}

fn is_temp_name(name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    name.starts_with('.')
        && name
            .rsplit_once(TEMP_MARK)
            .and_then(|(_, suffix)| suffix.split_once('-'))
            .is_some_and(|(id, count)| is_number(id) && is_number(count))
}

fn fill_folder<N: AsRef<str>, B: AsRef<[u8]>>(target: &Path, temp: &Path, files: &[(N, B)]) -> Result<()> {
    for (name, bytes) in files {
        File::create_new(temp.join(name.as_ref()))
            .and_then(|file| write_and_flush(file, bytes.as_ref()))
            .map_err(io_error(&target.join(name.as_ref()), "write"))?;
    }
    flush_folder(temp).map_err(io_error(target, "flush"))
}

fn write_and_flush(mut file: File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()
}

/// Flushes the entries of a folder. Only Unix lets a folder be opened for this.
fn flush_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn parent(path: &Path) -> Result<&Path> {
    match (path.file_name(), path.parent()) {
        (Some(_), Some(parent)) if parent.as_os_str().is_empty() => Ok(Path::new(".")),
        (Some(_), Some(parent)) => Ok(parent),
        _ => Err(Error::BadFileName { path: path.to_owned(), name: path.display().to_string() }),
    }
}

fn check_plain_name(path: &Path, name: &str) -> Result<()> {
    let mut parts = Path::new(name).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(only)), None) if only == OsStr::new(name) => Ok(()),
        _ => Err(Error::BadFileName { path: path.to_owned(), name: name.to_owned() }),
    }
}

fn refuse_existing(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(io_error(path, "inspect")(source)),
        Ok(_) => Err(Error::TargetExists { path: path.to_owned() }),
    }
}

fn io_error(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { path: path.to_owned(), action, source }
}
