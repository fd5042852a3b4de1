//! Decoded images in one file, for runs of many epochs.

use crate::decode::Source;
use crate::files::open_regular;
use crate::geometry::Rectangle;
use crate::lines::Lines;
use crate::{Error, ImageFault, Interpolation, Result, Transform};
use std::fs::{self, File};
use std::io::{BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// What a cache begins with; the last byte is the version.
const MAGIC: [u8; 8] = *b"STpixel\x01";
/// Bytes before the index: magic, list, checksum of the index, number of images, length of the file.
const HEADER: usize = 32;
/// Bytes of an image in the index: where its pixels begin, width, height.
const ENTRY: usize = 16;
/// Short side of the images, in pixels.
const SHORT: u32 = 256;
/// Images decoded by a thread before they are written.
const AT_ONCE: usize = 16;

/// Decoded images with a short side of 256 pixels (or their own, if that is shorter) in one file of 8-bit RGB.
///
/// Reading a crop of one takes no decoding. A training crop of such an image is an approximation: it was shrunk once
/// and its crop is resized again, where the exact way resizes the crop of the original once. The file takes about 260
/// kB for each image of ImageNet. It is made under another name and renamed when it is complete; one whose list of
/// images ([`Fingerprint`](crate::Fingerprint)), filter or length is not as expected is made anew, and a file that is no
/// cache is never touched. An image whose file was overwritten by one of the same length is not noticed: delete the cache
/// then. It is read by position, from what the system holds in memory, so that a cache that shrinks under a run gives an
/// error.
#[derive(Debug)]
pub struct PixelCache {
    file: File,
    index: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    start: u64,
    width: u32,
    height: u32,
}

/// One image of a cache.
pub(crate) struct Slot<'cache> {
    cache: &'cache PixelCache,
    entry: Entry,
}

/// Reads the bytes of the file of an image; none if it cannot be read.
pub type ReadImage<'a> = dyn Fn(usize) -> Option<Vec<u8>> + Sync + 'a;

impl PixelCache {
    /// Opens the cache in `path`, or makes it of `count` images on so many threads; with the reason why it was made.
    ///
    /// `list` is a checksum of the list of images: another one makes the cache anew. An image that `read` does not
    /// give or that cannot be decoded is left out.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] if `path` is a file of another kind, [`Error::Io`] if it cannot be read or written.
    pub fn open_or_build(
        path: &Path,
        transform: &Transform,
        list: u32,
        count: usize,
        threads: usize,
        read: &ReadImage,
    ) -> Result<(Self, Option<&'static str>)> {
        let mut key = flate2::Crc::new();
        let filter = match transform.config().interpolation {
            Interpolation::Lanczos => 0,
            Interpolation::Bicubic => 1,
            Interpolation::Bilinear => 2,
        };
        key.update(&[list.to_le_bytes(), SHORT.to_le_bytes(), [filter, 0, 0, 0]].concat());
        let key = key.sum();
        let reason = match Self::open(path, key, count)? {
            Ok(cache) => return Ok((cache, None)),
            Err(reason) => reason,
        };
        build(path, transform, key, count, threads.max(1), read)
            .map_err(|source| Error::Io { path: path.to_owned(), source })?;
        match Self::open(path, key, count)? {
            Ok(cache) => Ok((cache, Some(reason))),
            Err(reason) => Err(Error::Setting { setting: "data.cache", reason: reason.to_owned() }),
        }
    }

    /// Opens a cache, or tells why it cannot be used.
    fn open(path: &Path, key: u32, count: usize) -> Result<std::result::Result<Self, &'static str>> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        let mut file = match open_regular(path) {
            Ok((file, _)) => file,
            Err(error) if error.kind() == ErrorKind::NotFound && path.is_symlink() => {
                let reason =
                    format!("{} is a link to a file that is not there; remove the link", path.display());
                return Err(Error::Setting { setting: "data.cache", reason });
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Err("there was none")),
            Err(error) => return Err(io(error)),
        };
        let length = file.metadata().map_err(io)?.len();
        let mut header = [0; HEADER];
        let start = length.min(HEADER as u64) as usize;
        file.read_exact(&mut header[..start]).map_err(io)?;
        if header[..7] != MAGIC[..7] {
            let reason = format!(
                "{} is no cache of images; name another file, or delete this one if it is a damaged cache",
                path.display()
            );
            return Err(Error::Setting { setting: "data.cache", reason });
        }
        if start < HEADER {
            return Ok(Err("it was cut short"));
        }
        let word =
            |at: usize| header[at..at + 4].iter().rev().fold(0u32, |sum, &byte| sum << 8 | u32::from(byte));
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        if header[7] != MAGIC[7] {
            return Ok(Err("it was of another version"));
        }
        if word(8) != key || long(16) != count as u64 {
            return Ok(Err("the list of images or the filter has changed"));
        }
        if long(24) != length || length < (HEADER + count * ENTRY) as u64 {
            return Ok(Err("it was cut short"));
        }
        let mut bytes = vec![0; count * ENTRY];
        file.read_exact(&mut bytes).map_err(io)?;
        let index: Vec<Entry> = bytes.as_chunks().0.iter().map(Entry::from_bytes).collect();
        if checksum(&bytes) != word(12) || !index.iter().all(|entry| entry.fits(length)) {
            return Ok(Err("it was damaged"));
        }
        Ok(Ok(Self { file, index }))
    }

    /// An image, if it is there.
    pub(crate) fn source(&self, slot: usize) -> Option<Source<'_>> {
        let entry = *self.index.get(slot)?;
        (entry.width > 0).then_some(Source::Cached(Slot { cache: self, entry }))
    }

    /// Images that could be decoded.
    pub fn decoded(&self) -> usize {
        self.index.iter().filter(|entry| entry.width > 0).count()
    }
}

impl Entry {
    fn from_bytes(bytes: &[u8; ENTRY]) -> Self {
        let word =
            |at: usize| bytes[at..at + 4].iter().rev().fold(0u32, |sum, &byte| sum << 8 | u32::from(byte));
        Self { start: u64::from(word(0)) | u64::from(word(4)) << 32, width: word(8), height: word(12) }
    }

    fn to_bytes(self) -> [u8; ENTRY] {
        let mut bytes = [0; ENTRY];
        bytes[..8].copy_from_slice(&self.start.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.width.to_le_bytes());
        bytes[12..].copy_from_slice(&self.height.to_le_bytes());
        bytes
    }

    fn fits(self, length: u64) -> bool {
        let bytes =
            u64::from(self.width).checked_mul(u64::from(self.height)).and_then(|area| area.checked_mul(3));
        let end = bytes.and_then(|bytes| bytes.checked_add(self.start));
        (self.width == 0) == (self.height == 0) && end.is_some_and(|end| end <= length)
    }
}

impl Slot<'_> {
    /// Width and height.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.entry.width as usize, self.entry.height as usize)
    }

    /// Reads the columns of an area, whole columns at a time.
    pub(crate) fn columns(
        &self,
        area: Rectangle,
        columns: &mut Lines,
    ) -> std::result::Result<(), ImageFault> {
        let ((width, height), count) = (self.size(), area.width as usize);
        columns.reshape(3, count, area.height as usize);
        let stride = columns.stride();
        let mut buffer = vec![0; count * height];
        for (channel, target) in columns.data_mut().chunks_exact_mut(count * stride).enumerate() {
            let start = (channel * width + area.left as usize) * height;
            read_at(&self.cache.file, &mut buffer, self.entry.start + start as u64)
                .map_err(|error| ImageFault::Decoder(format!("the cache cannot be read: {error}")))?;
            for (line, column) in target.chunks_exact_mut(stride).zip(buffer.chunks_exact(height)) {
                let rows = &column[area.top as usize..][..area.height as usize];
                line[..rows.len()].copy_from_slice(rows);
            }
        }
        Ok(())
    }
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], start: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, start)
}

#[cfg(windows)]
fn read_at(file: &File, mut buffer: &mut [u8], mut start: u64) -> std::io::Result<()> {
    while !buffer.is_empty() {
        let count = std::os::windows::fs::FileExt::seek_read(file, buffer, start)?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        buffer = &mut buffer[count..];
        start += count as u64;
    }
    Ok(())
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut sum = flate2::Crc::new();
    sum.update(bytes);
    sum.sum()
}

/// A file that is removed unless it is renamed.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After the rename there is nothing left to remove.
        let _ = fs::remove_file(&self.0);
    }
}

/// Makes a cache under another name, and renames it.
fn build(
    path: &Path,
    transform: &Transform,
    key: u32,
    count: usize,
    threads: usize,
    read: &ReadImage,
) -> std::io::Result<()> {
    // A link stays, and the file that it leads to is replaced.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut name = path.as_os_str().to_owned();
    // On other machines, or in other containers, that make the same file there is a process of the same number.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    name.push(format!(".{}-{now}.unfinished", std::process::id()));
    let unfinished = Unfinished(name.into());
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&unfinished.0)?);
    let mut index = vec![0; count * ENTRY];
    file.write_all(&[0; HEADER])?;
    file.write_all(&index)?;
    let mut start = (HEADER + count * ENTRY) as u64;
    let mut entries = index.as_chunks_mut::<ENTRY>().0.iter_mut();
    for first in (0..count).step_by(threads * AT_ONCE) {
        let images = decode_some(first..count.min(first + threads * AT_ONCE), transform, threads, read);
        for (image, place) in images.into_iter().zip(&mut entries) {
            let (width, height, pixels) = image.unwrap_or_default();
            file.write_all(&pixels)?;
            *place = Entry { start, width: width as u32, height: height as u32 }.to_bytes();
            start += pixels.len() as u64;
        }
    }
    let sums = [key.to_le_bytes(), checksum(&index).to_le_bytes()].concat();
    let counts = [(count as u64).to_le_bytes(), start.to_le_bytes()].concat();
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&[&MAGIC[..], &sums, &counts, &index].concat())?;
    file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(&unfinished.0, path)
}

/// Width, height and columns of an image.
type Shrunk = (usize, usize, Vec<u8>);

/// Decodes some images, in order, none for those that cannot be.
fn decode_some(
    range: std::ops::Range<usize>,
    transform: &Transform,
    threads: usize,
    read: &ReadImage,
) -> Vec<Option<Shrunk>> {
    let mut images: Vec<Option<Shrunk>> = vec![None; range.len()];
    let share = range.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        for (part, images) in images.chunks_mut(share).enumerate() {
            let first = range.start + part * share;
            scope.spawn(move || {
                for (at, image) in images.iter_mut().enumerate() {
                    *image = read(first + at).and_then(|bytes| transform.shrunk(&bytes, SHORT).ok());
                }
            });
        }
    });
    images
}
