//! Opening what is meant to be a file of weights without waiting for what is none.
//!
//! Opening a pipe waits until somebody writes to it, which may be never, and a device may have no end. So the kind is
//! looked at first, which waits for nothing.

use std::fs::{self, File, FileType};
use std::io::Read;
use std::path::Path;

use crate::{Error, Result};

/// Opens a file to be read; links are followed.
///
/// # Errors
/// [`Error::NoPlainFile`] for a folder, a pipe, a socket or a device; [`Error::Io`] if it is not there or may not be read.
pub fn open_regular(path: impl AsRef<Path>) -> Result<File> {
    let path = path.as_ref();
    let io = |source| Error::Io { path: path.to_owned(), action: "read", source };
    let kind = fs::metadata(path).map_err(io)?.file_type();
    if !kind.is_file() {
        return Err(Error::NoPlainFile { path: path.to_owned(), what: described(kind) });
    }
    File::open(path).map_err(io)
}

/// Reads a whole file of at most `limit` bytes.
///
/// # Errors
/// As [`open_regular`], and [`Error::TooLarge`] if it has more.
pub fn read_regular(path: impl AsRef<Path>, limit: u64) -> Result<Vec<u8>> {
    let path = path.as_ref();
    let io = |source| Error::Io { path: path.to_owned(), action: "read", source };
    let file = open_regular(path)?;
    let too_large = || Error::TooLarge { path: path.to_owned(), what: "file size", limit };
    if file.metadata().map_err(io)?.len() > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > limit { Err(too_large()) } else { Ok(bytes) }
}

/// What is no plain file, in words.
pub(crate) fn described(kind: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return "a pipe";
        }
        if kind.is_socket() {
            return "a socket";
        }
        if kind.is_char_device() || kind.is_block_device() {
            return "a device";
        }
    }
    if kind.is_dir() { "a folder" } else { "no plain file" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_and_a_device_are_refused_by_what_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let error = open_regular(folder.path()).unwrap_err();
        assert!(matches!(error, Error::NoPlainFile { what: "a folder", .. }), "{error}");
        #[cfg(unix)]
        {
            let error = open_regular("/dev/zero").unwrap_err();
            assert!(matches!(error, Error::NoPlainFile { what: "a device", .. }), "{error}");
            let error = read_regular("/dev/zero", 10).unwrap_err();
            assert!(error.to_string().contains("`/dev/zero` is a device"), "{error}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn a_pipe_that_nobody_writes_to_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        if made.is_ok_and(|status| status.success()) {
            let error = open_regular(&pipe).unwrap_err();
            assert!(matches!(error, Error::NoPlainFile { what: "a pipe", .. }), "{error}");
            std::os::unix::fs::symlink(&pipe, folder.path().join("link")).unwrap();
            assert!(matches!(crate::read(folder.path().join("link")), Err(Error::NoPlainFile { .. })));
            assert!(matches!(crate::MappedFile::open(&pipe), Err(Error::NoPlainFile { .. })));
        }
    }

    #[test]
    fn a_file_is_read_up_to_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, b"12345").unwrap();
        assert_eq!(read_regular(&path, 5).unwrap(), b"12345");
        assert!(matches!(read_regular(&path, 4), Err(Error::TooLarge { limit: 4, .. })));
        assert!(matches!(read_regular(folder.path().join("none"), 4), Err(Error::Io { .. })));
    }
}
