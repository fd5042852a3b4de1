//! Opening and reading files with bounds, shared by all formats.

use crate::{Error, Result};
use std::fs::{File, FileType};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// No data file may hold or claim more bytes than this; the largest MNIST relative (EMNIST) needs 640 MB.
pub(crate) const FILE_LIMIT: u64 = 1 << 30;

/// Opens a regular file, or a link to one; its length with it.
///
/// A pipe, a socket, a device or a folder is refused before it is opened: opening a pipe waits for a writer, and reading
/// a device may never end.
///
/// # Errors
///
/// The system's; [`ErrorKind::InvalidInput`] for what is no regular file, saying what it is.
pub fn open_regular(path: &Path) -> io::Result<(File, u64)> {
    check_regular(std::fs::metadata(path)?.file_type())?;
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    check_regular(metadata.file_type())?;
    Ok((file, metadata.len()))
}

/// Refuses what is no regular file.
fn check_regular(kind: FileType) -> io::Result<()> {
    if kind.is_file() {
        return Ok(());
    }
    let reason = match kind_name(kind) {
        "a folder" => "it is a folder, not a regular file".to_owned(),
        kind => format!("it is {kind}, not a regular file; copy its contents into a file and name that"),
    };
    Err(io::Error::new(ErrorKind::InvalidInput, reason))
}

/// What something is that is no regular file.
#[cfg(unix)]
fn kind_name(kind: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    match kind {
        _ if kind.is_dir() => "a folder",
        _ if kind.is_fifo() => "a pipe",
        _ if kind.is_socket() => "a socket",
        _ if kind.is_char_device() || kind.is_block_device() => "a device",
        _ => "something else",
    }
}

/// What something is that is no regular file.
#[cfg(not(unix))]
fn kind_name(kind: FileType) -> &'static str {
    if kind.is_dir() { "a folder" } else { "a device" }
}

/// What stands in the place of a data file, and what to do, by its first bytes: what downloads leave that went wrong.
pub(crate) fn stand_in_of(start: &[u8]) -> Option<&'static str> {
    let text = start.trim_ascii_start();
    if start.starts_with(b"version https://git-lfs") {
        Some("it is a pointer of Git LFS in place of the file; fetch the file with `git lfs pull`")
    } else if text.starts_with(b"<!") || text.starts_with(b"<html") || text.starts_with(b"<?xml") {
        Some("it is a web page in place of the file; fetch it again and see what the server says")
    } else {
        None
    }
}

/// Opens a file; a missing one becomes [`Error::Missing`] with `what` as the description.
pub(crate) fn open(path: &Path, what: &'static str) -> Result<(File, u64)> {
    open_regular(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => Error::Missing { what, path: path.to_owned() },
        _ => Error::Io { path: path.to_owned(), source },
    })
}

/// Reads a whole file of at most `limit` bytes.
pub(crate) fn read(path: &Path, what: &'static str, limit: u64) -> Result<Vec<u8>> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let (file, claimed) = open(path, what)?;
    let mut bytes = Vec::new();
    if claimed <= limit {
        file.take(limit + 1).read_to_end(&mut bytes).map_err(io)?;
    }
    let found = claimed.max(bytes.len() as u64);
    if found > limit {
        return Err(Error::TooLarge { path: path.to_owned(), claimed: found, limit });
    }
    Ok(bytes)
}
