//! IDX, the file format of MNIST and its relatives, plain or gzipped.
//!
//! A file is a big-endian header and then the elements: bytes 0 and 1 are zero, byte 2 is the element type
//! (8 = unsigned byte, the only one read here), byte 3 the number of dimensions, then one `u32` per dimension
//! (source: the file description on the MNIST home page, LeCun, Cortes and Burges).
//!
//! Gzip is told by its two magic bytes, not by the file's name. Memory grows with the bytes that are really
//! there, never with what the header claims.

use crate::files::FILE_LIMIT;
use crate::{Error, Result, files};
use flate2::bufread::MultiGzDecoder;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::Path;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const UNSIGNED_BYTES: u32 = 0x0800;

/// The contents of an IDX file of unsigned bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idx {
    /// Size of each dimension, outermost first (images: `[N, H, W]`).
    pub dimensions: Vec<usize>,
    /// The elements, the last dimension running fastest.
    pub data: Vec<u8>,
}

/// Reads an IDX file with `rank` dimensions; `what` describes it when it is missing.
///
/// # Errors
///
/// As [`parse`], and when the file cannot be opened.
pub fn read(path: &Path, what: &'static str, rank: u8) -> Result<Idx> {
    parse(BufReader::new(files::open(path, what)?.0), path, rank)
}

/// Parses IDX bytes, gzipped or not, with `rank` dimensions; `path` is for the messages.
///
/// ```
/// let bytes = [0, 0, 8, 1, 0, 0, 0, 2, 7, 9];
/// let labels = sparse_data::idx::parse(&bytes[..], "labels".as_ref(), 1)?;
/// assert_eq!((labels.dimensions, labels.data), (vec![2], vec![7, 9]));
/// # Ok::<(), sparse_data::Error>(())
/// ```
///
/// # Errors
///
/// When the bytes are not IDX, of another rank or element type, shorter or longer than the header says, larger
/// than 1 GiB, or a damaged gzip stream.
pub fn parse(mut reader: impl BufRead, path: &Path, rank: u8) -> Result<Idx> {
    let start = reader.fill_buf().map_err(|source| Error::Io { path: path.to_owned(), source })?;
    if start.starts_with(&GZIP_MAGIC) {
        Unpacked { reader: MultiGzDecoder::new(reader), path, bytes: 0 }.parse(rank)
    } else {
        Unpacked { reader, path, bytes: 0 }.parse(rank)
    }
}

/// The bytes of an IDX file after decompression, counted.
struct Unpacked<'a, R> {
    reader: R,
    path: &'a Path,
    bytes: u64,
}

impl<R: Read> Unpacked<'_, R> {
    fn parse(mut self, rank: u8) -> Result<Idx> {
        let header_bytes = 4 + 4 * u64::from(rank);
        let expected = UNSIGNED_BYTES | u32::from(rank);
        let got = big_endian(&self.take(4, header_bytes)?);
        if got != expected {
            return Err(Error::Magic { path: self.path.to_owned(), rank, expected, got });
        }
        let header = self.take(header_bytes - 4, header_bytes)?;
        let dimensions: Vec<u32> = header.chunks_exact(4).map(big_endian).collect();
        let elements = dimensions.iter().fold(1u64, |product, &size| product.saturating_mul(u64::from(size)));
        let total = elements.saturating_add(header_bytes);
        if total > FILE_LIMIT {
            return Err(Error::TooLarge { path: self.path.to_owned(), claimed: total, limit: FILE_LIMIT });
        }
        let mut data = self.take(elements, total)?;
        data.shrink_to_fit();
        self.expect_end(total)?;
        Ok(Idx { dimensions: dimensions.into_iter().map(|size| size as usize).collect(), data })
    }

    /// Reads exactly `count` bytes of a file that should have `total`.
    fn take(&mut self, count: u64, total: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let outcome = self.reader.by_ref().take(count).read_to_end(&mut bytes);
        self.bytes += bytes.len() as u64;
        match outcome {
            Ok(_) if bytes.len() as u64 == count => Ok(bytes),
            Ok(_) => Err(self.error(ErrorKind::UnexpectedEof.into(), total)),
            Err(source) => Err(self.error(source, total)),
        }
    }

    /// Reads on to the end of the file, which makes the decompressor check its checksum.
    fn expect_end(mut self, total: u64) -> Result<()> {
        match self.reader.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(Error::TrailingBytes { path: self.path.to_owned(), expected: total }),
            Err(source) => Err(self.error(source, total)),
        }
    }

    fn error(&self, source: io::Error, total: u64) -> Error {
        let path = self.path.to_owned();
        match source.kind() {
            ErrorKind::UnexpectedEof if self.bytes == total => Error::NoChecksum { path },
            ErrorKind::UnexpectedEof => Error::Truncated { path, expected: total, got: self.bytes },
            ErrorKind::InvalidInput | ErrorKind::InvalidData => Error::Damaged { path, source },
            _ => Error::Io { path, source },
        }
    }
}

fn big_endian(word: &[u8]) -> u32 {
    word.iter().fold(0, |value, &byte| value << 8 | u32::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::read::GzEncoder;

    const LABELS: [u8; 11] = [0, 0, 8, 1, 0, 0, 0, 3, 4, 5, 6];

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        GzEncoder::new(bytes, Compression::default()).read_to_end(&mut packed).unwrap();
        packed
    }

    fn parse_labels(bytes: &[u8]) -> Result<Idx> {
        parse(bytes, Path::new("some-file"), 1)
    }

    #[test]
    fn plain_and_gzip_are_the_same() {
        let plain = parse_labels(&LABELS).unwrap();
        assert_eq!(plain, Idx { dimensions: vec![3], data: vec![4, 5, 6] });
        assert_eq!(parse_labels(&gzip(&LABELS)).unwrap(), plain);
        let members = [gzip(&LABELS[..6]), gzip(&LABELS[6..])].concat();
        assert_eq!(parse_labels(&members).unwrap(), plain);
    }

    #[test]
    fn every_cut_is_truncated() {
        for len in 0..LABELS.len() {
            let error = parse_labels(&LABELS[..len]).unwrap_err();
            assert!(matches!(error, Error::Truncated { got, .. } if got == len as u64), "{len}: {error}");
        }
        let packed = gzip(&LABELS);
        for len in 2..packed.len() {
            let error = parse_labels(&packed[..len]).unwrap_err();
            let whole = matches!(error, Error::NoChecksum { .. });
            let cut = matches!(error, Error::Truncated { expected, got, .. } if got < expected);
            assert!(cut || whole, "{len}: {error}");
        }
    }

    #[test]
    fn a_flipped_byte_in_gzip_is_damage() {
        let mut packed = gzip(&LABELS);
        let checksum = packed.len() - 8;
        packed[checksum] ^= 1;
        assert!(matches!(parse_labels(&packed), Err(Error::Damaged { .. })));
    }

    #[test]
    fn other_files_are_told_apart() {
        let html = parse_labels(b"<!DOCTYPE html><html>").unwrap_err();
        assert!(matches!(html, Error::Magic { got: 0x3c21_444f, expected: 0x0801, .. }));
        assert!(html.to_string().contains("some-file is neither gzip nor an IDX file"), "{html}");
        let images = [0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 9];
        assert!(matches!(parse_labels(&images), Err(Error::Magic { got: 0x0803, .. })));
        let floats = [0, 0, 13, 1, 0, 0, 0, 1, 0, 0, 0, 0];
        assert!(matches!(parse_labels(&floats), Err(Error::Magic { got: 0x0d01, .. })));
        assert!(matches!(parse_labels(&gzip(b"not idx at all")), Err(Error::Magic { .. })));
    }

    #[test]
    fn too_long_and_too_large_are_refused() {
        let long = [&LABELS[..], &[0]].concat();
        assert!(matches!(parse_labels(&long), Err(Error::TrailingBytes { expected: 11, .. })));
        assert!(matches!(parse_labels(&gzip(&long)), Err(Error::TrailingBytes { .. })));
        let huge = [&[0, 0, 8, 3][..], &[0xff; 12], &[1]].concat();
        let error = parse(&huge[..], Path::new("x"), 3).unwrap_err();
        assert!(matches!(error, Error::TooLarge { claimed: u64::MAX, .. }), "{error}");
    }
}
