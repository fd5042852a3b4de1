//! The members of a tar file, found by going from header to header without reading what lies between.

use super::tar_pax::{self, Extended};
use super::{names, read};
use crate::files::stand_in_of;
use crate::{Error, Result};
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};
use tar::Header;

/// Bytes of a header; contents are padded to a multiple.
pub(super) const BLOCK: u64 = 512;
/// Longest name and largest set of extended attributes, in bytes. Both are read into memory.
const EXTENSION_LIMIT: u64 = 1 << 16;
/// How often a long walk says where it is.
const REPORT: Duration = Duration::from_secs(10);
/// What compressed files and other archives begin with, what they are, and what unpacks them.
const OTHERS: [(&[u8], &str, &str); 8] = [
    (&[0x1f, 0x8b], "compressed with gzip", "gunzip"),
    (&[0x28, 0xb5, 0x2f, 0xfd], "compressed with zstd", "unzstd"),
    (b"BZh", "compressed with bzip2", "bunzip2"),
    (&[0xfd, b'7', b'z', b'X', b'Z'], "compressed with xz", "unxz"),
    (&[0x04, 0x22, 0x4d, 0x18], "compressed with lz4", "unlz4"),
    (&[0x1f, 0x9d], "compressed with compress", "uncompress"),
    (b"PK\x03\x04", "a zip archive", "unzip and pack it anew with tar"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "7z x and pack it anew with tar"),
];

/// A member of a tar file that is no folder.
#[derive(Debug)]
pub(super) struct Member {
    /// Its path, `/` between folders.
    pub(super) name: Vec<u8>,
    pub(super) kind: Kind,
}

/// What a member is.
#[derive(Debug)]
pub(super) enum Kind {
    /// A regular file, by where its bytes lie from the beginning of the outermost file; all of them are there.
    File(Range<u64>),
    /// A second name for a member before it.
    HardLink(Vec<u8>),
    /// A path, from the folder of the member.
    SymbolicLink(Vec<u8>),
    /// What has no bytes that could be read as they lie.
    Other(&'static str),
}

/// How a tar file ended.
#[derive(Debug, Default)]
pub(super) struct Ending {
    /// The mark of the end was missing: the file may have been cut between two members.
    pub(super) unmarked: bool,
    /// What its owner should know.
    pub(super) remarks: Vec<String>,
}

/// Calls `visit` for every member in the tar file that lies in `range` of `file`, but for folders.
///
/// Reads names, links and sizes of V7, ustar, GNU and pax headers. As GNU tar and Python's `tarfile` do, it takes an
/// archive that ends without a mark as whole. An archive behind the mark of the end, as `cat` makes it of two, is read,
/// too, as by `tar --ignore-zeros`. Both are told.
///
/// # Errors
///
/// [`Error::Tar`] when the file is no tar file or is cut short, and what `visit` returns.
pub(super) fn walk(
    file: &File,
    path: &Path,
    range: Range<u64>,
    mut visit: impl FnMut(Member) -> Result<()>,
) -> Result<Ending> {
    let (at, ahead) = (range.start, Extended::default());
    let mut walk = Walk { file, path, at, range, ahead, marked: false, ending: Ending::default() };
    walk.check_start()?;
    let (mut count, mut report) = (0u64, Instant::now());
    while let Some(header) = walk.next_header()? {
        if let Some(member) = walk.member(&header)? {
            visit(member)?;
        }
        count += 1;
        if count.is_multiple_of(256) && report.elapsed() > REPORT {
            let (done, all) = (walk.at - walk.range.start, walk.range.end - walk.range.start);
            let share = 100.0 * done as f64 / all as f64;
            tracing::info!("indexing {}: {count} members, {share:.0} %", path.display());
            report = Instant::now();
        }
    }
    Ok(walk.ending)
}

/// A walk in progress.
struct Walk<'a> {
    file: &'a File,
    path: &'a Path,
    range: Range<u64>,
    /// Where the next header lies.
    at: u64,
    /// What headers before it said of the next member.
    ahead: Extended,
    /// Whether a mark of the end was the last that was read.
    marked: bool,
    ending: Ending,
}

impl Walk<'_> {
    /// Tells other kinds of files by their first bytes.
    fn check_start(&self) -> Result<()> {
        let len = (self.range.end - self.range.start).min(64);
        let mut start = [0; 64];
        self.read(&mut start[..len as usize], self.range.start)?;
        if let Some(what) = stand_in_of(&start[..len as usize]) {
            return Err(self.refusal(self.at, what));
        }
        if len == 0 {
            return Err(self.fault(self.at, "it is empty, not even a mark of the end is there: cut short"));
        }
        match OTHERS.iter().find(|(magic, ..)| start.starts_with(magic)) {
            Some((_, what, tool)) => {
                Err(self.refusal(self.at, format!("it is {what}; unpack it with {tool}")))
            }
            None => Ok(()),
        }
    }

    /// The next header, its checksum right; none at the end.
    fn next_header(&mut self) -> Result<Option<Header>> {
        if let Some(header) = self.header_here()? {
            self.marked = false;
            return Ok(Some(header));
        }
        let mark = self.at;
        let zeros = self.skip_zeros()?;
        self.marked |= zeros > 0;
        let left = self.range.end.saturating_sub(self.at);
        if left < BLOCK {
            if left > 0 && !self.marked {
                return Err(self.fault(self.at, "it ends within a header, so it is cut short"));
            }
            if !self.marked {
                self.ending.unmarked = true;
                self.remark(
                    "it ends without a mark of the end; if it was cut between two members, the rest is lost",
                );
            }
            return Ok(None);
        }
        if let Some(header) = self.header_here()? {
            self.remark(&format!(
                "another archive begins behind the mark of the end at byte {mark} and is read, too"
            ));
            self.marked = false;
            return Ok(Some(header));
        }
        if zeros > BLOCK {
            self.remark(&format!(
                "what lies behind the mark of the end at byte {mark} is no archive and is passed over"
            ));
            return Ok(None);
        }
        Err(self.fault(self.at, "the header's checksum is wrong, so it is no tar file or damaged"))
    }

    /// The header at this place, if there is one.
    fn header_here(&self) -> Result<Option<Header>> {
        if self.range.end.saturating_sub(self.at) < BLOCK {
            return Ok(None);
        }
        let mut header = Header::new_old();
        self.read(header.as_mut_bytes(), self.at)?;
        Ok(is_header(header.as_bytes()).then_some(header))
    }

    /// Goes past blocks of zeros; how many bytes.
    fn skip_zeros(&mut self) -> Result<u64> {
        let start = self.at;
        let mut buffer = vec![0; BLOCK as usize];
        while self.range.end.saturating_sub(self.at) >= BLOCK {
            let left = (self.range.end - self.at) / BLOCK * BLOCK;
            buffer.truncate(left.min(1 << 16) as usize);
            self.read(&mut buffer, self.at)?;
            if let Some(position) = buffer.iter().position(|&byte| byte != 0) {
                self.at += position as u64 / BLOCK * BLOCK;
                break;
            }
            self.at += buffer.len() as u64;
            buffer.resize(1 << 16, 0);
        }
        Ok(self.at - start)
    }

    /// Goes past the contents of a header; the member, if it is one.
    fn member(&mut self, header: &Header) -> Result<Option<Member>> {
        let kind = header.as_bytes()[156];
        let data = self.contents(header, kind)?;
        match kind {
            b'L' => self.ahead.name = Some(self.text(&data)?),
            b'K' => self.ahead.link = Some(self.text(&data)?),
            b'x' | b'X' => {
                let bytes = self.extension(&data)?;
                let ahead = tar_pax::parse(&bytes, std::mem::take(&mut self.ahead));
                let fault = || self.fault(data.start, "an extended attribute is malformed");
                self.ahead = ahead.ok_or_else(fault)?;
            }
            b'g' => {
                let all = tar_pax::parse(&self.extension(&data)?, Extended::default()).unwrap_or_default();
                if all.name.is_some() || all.link.is_some() || all.size.is_some() {
                    return Err(
                        self.refusal(data.start, "one name or size is given for all members; pack it anew")
                    );
                }
            }
            // The name of the whole archive.
            b'V' => {}
            _ => return Ok(self.finished(header, kind, data)),
        }
        Ok(None)
    }

    /// A member whose headers are complete; none for a folder.
    fn finished(&mut self, header: &Header, kind: u8, data: Range<u64>) -> Option<Member> {
        let ahead = std::mem::take(&mut self.ahead);
        let name = ahead.name.unwrap_or_else(|| header.path_bytes().into_owned());
        let link = || ahead.link.or_else(|| Some(header.link_name_bytes()?.into_owned())).unwrap_or_default();
        let kind = match kind {
            b'5' | b'D' => return None,
            // Before there was a letter for folders, their names ended so.
            b'0' | b'7' | 0 if name.ends_with(b"/") => return None,
            b'0' | b'7' | 0 if !ahead.sparse => Kind::File(data),
            b'0' | b'7' | 0 | b'S' => Kind::Other("a sparse file; pack it without --sparse"),
            b'1' => Kind::HardLink(link()),
            b'2' => Kind::SymbolicLink(link()),
            b'3' | b'4' => Kind::Other("a device"),
            b'6' => Kind::Other("a pipe"),
            b'M' => Kind::Other("the rest of a file from another volume"),
            _ => Kind::Other("of a kind that is not known"),
        };
        Some(Member { name, kind })
    }

    /// Where the contents of the header at `at` lie; moves on to the header after them.
    fn contents(&mut self, header: &Header, kind: u8) -> Result<Range<u64>> {
        let of_member = !matches!(kind, b'L' | b'K' | b'x' | b'X' | b'g' | b'V');
        let size = match self.ahead.size.filter(|_| of_member) {
            Some(size) => size,
            None => size(header).ok_or_else(|| self.fault(self.at, "a size is no number"))?,
        };
        let start = self.after_header(header, kind)?;
        let bodiless = matches!(kind, b'1'..=b'6') && size > 0 && self.is_header_at(start)?;
        let size = if bodiless { 0 } else { size };
        let end = start.checked_add(size).filter(|&end| end <= self.range.end);
        let Some(end) = end else {
            let left = self.range.end.saturating_sub(start);
            let reason =
                format!("a member claims {size} bytes where {left} are left, so it is cut short or damaged");
            return Err(self.fault(self.at, &reason));
        };
        self.at = end.next_multiple_of(BLOCK);
        Ok(start..end)
    }

    /// Where the contents begin; the map of a sparse file may take further blocks.
    fn after_header(&self, header: &Header, kind: u8) -> Result<u64> {
        let mut start = self.at + BLOCK;
        let mut more = kind == b'S' && header.as_bytes()[482] != 0;
        while more {
            if start + BLOCK > self.range.end {
                return Err(self.fault(start, "it ends within the map of a sparse file, so it is cut short"));
            }
            let mut block = [0; BLOCK as usize];
            self.read(&mut block, start)?;
            more = block[504] != 0;
            start += BLOCK;
        }
        Ok(start)
    }

    /// Whether the next member begins here: links and folders have no contents, but some programs give them a size.
    fn is_header_at(&self, start: u64) -> Result<bool> {
        if start + BLOCK > self.range.end {
            return Ok(start == self.range.end);
        }
        let mut block = [0; BLOCK as usize];
        self.read(&mut block, start)?;
        Ok(is_header(&block) || block.iter().all(|&byte| byte == 0))
    }

    /// A name that stands in contents of its own.
    fn text(&self, data: &Range<u64>) -> Result<Vec<u8>> {
        let text = self.extension(data)?;
        Ok(text.split(|&byte| byte == 0).next().unwrap_or_default().to_vec())
    }

    /// The contents of a header that describes the next one.
    fn extension(&self, data: &Range<u64>) -> Result<Vec<u8>> {
        let len = data.end - data.start;
        if len > EXTENSION_LIMIT {
            let reason = format!("a name or attribute claims {len} bytes, more than {EXTENSION_LIMIT}");
            return Err(self.refusal(data.start, reason));
        }
        let mut bytes = vec![0; len as usize];
        self.read(&mut bytes, data.start)?;
        Ok(bytes)
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        read::at(self.file, buffer, offset).map_err(|source| Error::Io { path: self.path.to_owned(), source })
    }

    fn remark(&mut self, remark: &str) {
        self.ending.remarks.push(format!("{}: {remark}", self.path.display()));
    }

    /// An error of a file that another copy of may be whole.
    fn fault(&self, offset: u64, reason: &str) -> Error {
        self.refusal(offset, format!("{reason}; fetch it again"))
    }

    fn refusal(&self, offset: u64, reason: impl Into<String>) -> Error {
        Error::Tar { path: self.path.to_owned(), offset, reason: reason.into() }
    }
}

/// An error for what a tar file of images does not hold.
pub(super) fn no_image(path: &Path, name: &[u8], what: &str) -> Error {
    super::content(path, format!("{} is {what}, where an image belongs", names::shown(name)))
}

/// The size that a header gives; blanks mean 0, as in old archives.
fn size(header: &Header) -> Option<u64> {
    let blank = header.as_old().size.iter().all(|byte| matches!(byte, 0 | b' '));
    if blank { Some(0) } else { header.entry_size().ok() }
}

/// Whether a block is a header: its checksum is right, over signed or unsigned bytes as old programs had it.
fn is_header(block: &[u8]) -> bool {
    const FIELD: Range<usize> = 148..156;
    let text = block[FIELD].iter().map(|&byte| char::from(byte)).collect::<String>();
    let text = text.trim_matches(|letter| matches!(letter, ' ' | '\0'));
    let Ok(expected) = i64::from_str_radix(text.split(['\0', ' ']).next().unwrap_or_default(), 8) else {
        return false;
    };
    let others = || block.iter().enumerate().filter(|(position, _)| !FIELD.contains(position));
    let blanks = i64::from(b' ') * FIELD.len() as i64;
    let unsigned: i64 = others().map(|(_, &byte)| i64::from(byte)).sum();
    let signed: i64 = others().map(|(_, &byte)| i64::from(byte.cast_signed())).sum();
    block.iter().any(|&byte| byte != 0) && [unsigned + blanks, signed + blanks].contains(&expected)
}
