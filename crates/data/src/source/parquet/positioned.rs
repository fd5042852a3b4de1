//! A file that many threads read at the same time.

use crate::source::read;
use bytes::Bytes;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::reader::{ChunkReader, Length};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::sync::Arc;

/// A file that is read by position, from any thread; the ways of the parquet crate share one cursor.
pub(super) struct Positioned {
    pub(super) file: Arc<File>,
    pub(super) len: u64,
}

impl Length for Positioned {
    fn len(&self) -> u64 {
        self.len
    }
}

impl ChunkReader for Positioned {
    type T = BufReader<Section>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(BufReader::new(Section { file: Arc::clone(&self.file), at: start, end: self.len }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        if start.checked_add(length as u64).is_none_or(|end| end > self.len) {
            let reason = format!("{length} bytes at {start} lie beyond its end at {}", self.len);
            return Err(ParquetError::EOF(reason));
        }
        let mut bytes = vec![0; length];
        read::at(&self.file, &mut bytes, start)?;
        Ok(bytes.into())
    }
}

/// The rest of a file from a position. Its end is an error: the footer lies there, so that nothing of a sound file reads up to it, and the parquet
/// crate skips what a damaged header promises without a look at how much there was, 2³² elements one by one.
pub(super) struct Section {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.end.saturating_sub(self.at).min(buffer.len() as u64) as usize;
        if len == 0 && !buffer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        read::at(&self.file, &mut buffer[..len], self.at)?;
        self.at += len as u64;
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_end_of_the_file_is_an_error_and_no_end_of_input() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123").unwrap();
        let positioned = Positioned { file: Arc::new(file), len: 4 };
        let mut section = positioned.get_read(1).unwrap();
        let mut bytes = [0; 3];
        section.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"123");
        assert_eq!(section.read(&mut bytes).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
