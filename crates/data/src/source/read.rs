//! Reading the bytes of an image, with bounds.

use crate::files::open_regular;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// Largest encoded image, in bytes. The largest of ImageNet has 15 MB.
pub(super) const IMAGE_LIMIT: u64 = 1 << 28;

/// Reads a whole regular file of at most [`IMAGE_LIMIT`] bytes.
pub(super) fn file(path: &Path, bytes: &mut Vec<u8>) -> io::Result<()> {
    let (file, len) = open_regular(path)?;
    check_size(len)?;
    bytes.reserve(len as usize + 1);
    file.take(IMAGE_LIMIT + 1).read_to_end(bytes)?;
    check_size(bytes.len() as u64)
}

/// The bytes of one image file; at most 2^28.
///
/// # Errors
/// The system's, and for what is no regular file or larger.
pub fn read_image(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file(path, &mut bytes)?;
    Ok(bytes)
}

/// The bytes of one image from a stream; at most 2^28.
///
/// # Errors
/// The system's, and if there are more.
pub fn read_image_from(stream: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.take(IMAGE_LIMIT + 1).read_to_end(&mut bytes)?;
    check_size(bytes.len() as u64)?;
    Ok(bytes)
}

/// Refuses more bytes than an image has.
pub(super) fn check_size(len: u64) -> io::Result<()> {
    if len <= IMAGE_LIMIT {
        return Ok(());
    }
    let reason = format!("it has {len} bytes, more than the {IMAGE_LIMIT} accepted for an image");
    Err(io::Error::new(ErrorKind::InvalidData, reason))
}

/// Fills `buffer` from a position of a file that other threads read at the same time.
#[cfg(unix)]
pub(super) fn at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

/// Fills `buffer` from a position of a file that other threads read at the same time.
#[cfg(windows)]
pub(super) fn at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, buffer, offset)?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        buffer = &mut buffer[read..];
        offset += read as u64;
    }
    Ok(())
}
