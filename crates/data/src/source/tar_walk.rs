//! The members of a tar file, found by going from header to header without reading what lies between.

use super::read;
use crate::{Error, Result};
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};
use tar::{EntryType, Header, PaxExtensions};

/// Bytes of a header; contents are padded to a multiple.
pub(super) const BLOCK: u64 = 512;
/// Longest name and largest set of extended attributes, in bytes. Both are read into memory.
const EXTENSION_LIMIT: u64 = 1 << 16;
/// How often a long walk says where it is.
const REPORT: Duration = Duration::from_secs(10);

/// A regular file in a tar file.
#[derive(Debug)]
pub(super) struct Member<'a> {
    /// Its path, `/` between folders; what is not UTF-8 is replaced.
    pub(super) name: &'a str,
    /// Where its bytes begin, from the beginning of the outermost file.
    pub(super) offset: u64,
    /// Their number; all of them are there.
    pub(super) len: u64,
}

/// Calls `visit` for every regular file in the tar file that lies in `range` of `file`.
///
/// Reads GNU and pax names and sizes; folders, links, devices and sparse files are passed over. The end has to be
/// marked as the format asks, so that a file cut between two members is found out.
///
/// # Errors
///
/// [`Error::Tar`] when the file is no tar file or is cut short, and what `visit` returns.
pub(super) fn walk(
    file: &File,
    path: &Path,
    range: Range<u64>,
    mut visit: impl FnMut(Member<'_>) -> Result<()>,
) -> Result<()> {
    let mut walk = Walk { file, path, at: range.start, range, name: None, size: None };
    let (mut count, mut report) = (0u64, Instant::now());
    while let Some(header) = walk.next_header()? {
        if let Some((name, data)) = walk.member(&header)? {
            visit(Member { name: &name, offset: data.start, len: data.end - data.start })?;
        }
        count += 1;
        if count.is_multiple_of(256) && report.elapsed() > REPORT {
            let (done, all) = (walk.at - walk.range.start, walk.range.end - walk.range.start);
            let share = 100.0 * done as f64 / all as f64;
            tracing::info!("indexing {}: {count} members, {share:.0} %", path.display());
            report = Instant::now();
        }
    }
    Ok(())
}

/// A walk in progress.
struct Walk<'a> {
    file: &'a File,
    path: &'a Path,
    range: Range<u64>,
    /// Where the next header lies.
    at: u64,
    /// Name and size of the next member, from a header before its own.
    name: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Walk<'_> {
    /// The next header, its checksum right; none at the mark of the end.
    fn next_header(&mut self) -> Result<Option<Header>> {
        if self.range.end.saturating_sub(self.at) < BLOCK {
            return Err(self.fault(self.at, "it ends without the mark of the end, so it is cut short"));
        }
        let mut header = Header::new_old();
        self.read(header.as_mut_bytes(), self.at)?;
        if header.as_bytes().iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        if header.cksum().ok() != Some(checksum(header.as_bytes())) {
            let compressed = self.at == self.range.start && header.as_bytes().starts_with(&[0x1f, 0x8b]);
            let reason = if compressed {
                "it is compressed: unpack it with gunzip first"
            } else {
                "the header's checksum is wrong"
            };
            return Err(self.fault(self.at, reason));
        }
        Ok(Some(header))
    }

    /// Goes past the contents of a header; name and bytes if they are those of a regular file.
    fn member(&mut self, header: &Header) -> Result<Option<(String, Range<u64>)>> {
        let kind = header.entry_type();
        let data = self.contents(header, kind)?;
        match kind {
            EntryType::GNULongName => {
                let name = self.extension(&data)?;
                self.name = Some(name.split(|&byte| byte == 0).next().unwrap_or_default().to_vec());
                Ok(None)
            }
            EntryType::XHeader => self.read_pax(&data).map(|()| None),
            EntryType::GNULongLink | EntryType::XGlobalHeader => Ok(None),
            _ => {
                let name = self.name.take().unwrap_or_else(|| header.path_bytes().into_owned());
                self.size = None;
                let regular = matches!(kind, EntryType::Regular | EntryType::Continuous);
                Ok(regular.then(|| (String::from_utf8_lossy(&name).into_owned(), data)))
            }
        }
    }

    /// Where the contents of the header at `at` lie; moves on to the header after them.
    fn contents(&mut self, header: &Header, kind: EntryType) -> Result<Range<u64>> {
        let size = header.entry_size().map_err(|_| self.fault(self.at, "a size is no number"))?;
        let of_member = !matches!(
            kind,
            EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader | EntryType::XGlobalHeader
        );
        let size = self.size.filter(|_| of_member).unwrap_or(size);
        let start = self.at + BLOCK;
        let end = start.checked_add(size).filter(|&end| end <= self.range.end);
        let Some(end) = end else {
            let left = self.range.end.saturating_sub(start);
            let reason =
                format!("a member claims {size} bytes where {left} are left, so it is cut short or damaged");
            return Err(self.fault(self.at, reason));
        };
        self.at = end.next_multiple_of(BLOCK);
        Ok(start..end)
    }

    fn read_pax(&mut self, data: &Range<u64>) -> Result<()> {
        let bytes = self.extension(data)?;
        for attribute in PaxExtensions::new(&bytes) {
            let fault = || self.fault(data.start, "an extended attribute is malformed");
            let attribute = attribute.map_err(|_| fault())?;
            match attribute.key_bytes() {
                b"path" => self.name = Some(attribute.value_bytes().to_vec()),
                b"size" => {
                    let size = attribute.value().ok().and_then(|size| size.parse().ok());
                    self.size = Some(size.ok_or_else(fault)?);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The contents of a header that describes the next one.
    fn extension(&self, data: &Range<u64>) -> Result<Vec<u8>> {
        let len = data.end - data.start;
        if len > EXTENSION_LIMIT {
            let reason = format!("a name or attribute claims {len} bytes, more than {EXTENSION_LIMIT}");
            return Err(self.fault(data.start, reason));
        }
        let mut bytes = vec![0; len as usize];
        self.read(&mut bytes, data.start)?;
        Ok(bytes)
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        read::at(self.file, buffer, offset).map_err(|source| Error::Io { path: self.path.to_owned(), source })
    }

    fn fault(&self, offset: u64, reason: impl Into<String>) -> Error {
        Error::Tar { path: self.path.to_owned(), offset, reason: reason.into() }
    }
}

/// The sum of a header's bytes, with blanks where the sum itself stands.
fn checksum(header: &[u8]) -> u32 {
    const FIELD: Range<usize> = 148..156;
    let value =
        |(position, &byte): (usize, &u8)| u32::from(if FIELD.contains(&position) { b' ' } else { byte });
    header.iter().enumerate().map(value).sum()
}
