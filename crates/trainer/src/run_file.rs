//! Reading a file that a run left.

use crate::error::{Error, Result};
use sparse_formats::open_regular;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// The bytes of a file of a run; `None` if it is not there. A pipe or a device of its name is not waited for.
///
/// # Errors
/// [`Error::NotAFile`] if something else has its name, [`Error::Io`] if it cannot be read.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    let unreadable = |source| Error::io("read", path, source);
    let mut file = match open_regular(path) {
        Ok(file) => file,
        Err(sparse_formats::Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(sparse_formats::Error::Io { source, .. }) => return Err(unreadable(source)),
        Err(sparse_formats::Error::NoPlainFile { path, what }) => return Err(Error::NotAFile { path, what }),
        Err(other) => return Err(other.into()),
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(Some(bytes))
}

/// As [`read_if_there`], as text.
///
/// # Errors
/// As [`read_if_there`]; [`Error::Io`] if it is no UTF-8.
pub(crate) fn text_if_there(path: &Path) -> Result<Option<String>> {
    let no_text = |error| Error::io("read", path, std::io::Error::new(ErrorKind::InvalidData, error));
    read_if_there(path)?.map(|bytes| String::from_utf8(bytes).map_err(no_text)).transpose()
}
