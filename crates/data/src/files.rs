//! Opening and reading files with bounds, shared by all formats.

use crate::{Error, Result};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// No data file may hold or claim more bytes than this; the largest MNIST relative (EMNIST) needs 640 MB.
pub(crate) const FILE_LIMIT: u64 = 1 << 30;

/// Opens a file; a missing one becomes [`Error::Missing`] with `what` as the description.
pub(crate) fn open(path: &Path, what: &'static str) -> Result<File> {
    File::open(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => Error::Missing { what, path: path.to_owned() },
        _ => Error::Io { path: path.to_owned(), source },
    })
}

/// Reads a whole file of at most `limit` bytes.
pub(crate) fn read(path: &Path, what: &'static str, limit: u64) -> Result<Vec<u8>> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let file = open(path, what)?;
    let claimed = file.metadata().map_err(io)?.len();
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
