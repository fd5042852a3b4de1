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

/// The rest of a file from a position.
pub(super) struct Section {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.end.saturating_sub(self.at).min(buffer.len() as u64) as usize;
        read::at(&self.file, &mut buffer[..len], self.at)?;
        self.at += len as u64;
        Ok(len)
    }
}
