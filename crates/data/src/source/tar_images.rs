//! Images in tar files, read by position.

use super::read;
use super::tar_walk::BLOCK;
use crate::Result;
use crate::files::open_regular;
use crate::fingerprint::{Fingerprint, Sum};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// So many tar files are kept open; beyond, each is opened for every read, since a process may not open thousands.
const MOST_OPEN: usize = 256;

/// Where an image lies in its tar file, and its label: 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    offset: u64,
    /// Bytes; what is larger than fits is larger than any image, and refused when read.
    len: u32,
    label: u32,
}

impl Entry {
    fn new(offset: u64, len: u64, label: u32) -> Self {
        Self { offset, len: u32::try_from(len).unwrap_or(u32::MAX), label }
    }
}

/// The images of several tar files, file after file.
#[derive(Debug, Default)]
pub(super) struct TarImages {
    shards: Vec<Shard>,
    entries: Vec<Entry>,
    /// Of the names of all images, shard by shard.
    names: Sum,
}

/// The images of one tar file, or of a part of one.
#[derive(Debug, Default)]
pub(super) struct Index {
    entries: Vec<Entry>,
    names: Sum,
}

impl Index {
    /// Adds an image by its name, where it lies, its length in bytes and its label.
    pub(super) fn add(&mut self, name: &[u8], offset: u64, len: u64, label: u32) {
        self.names.text(name);
        self.entries.push(Entry::new(offset, len, label));
    }

    /// Adds those of another part.
    pub(super) fn append(&mut self, other: Self) {
        self.names.labels(&[other.names.value()]);
        self.entries.extend(other.entries);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    file: Option<File>,
    /// Number of images in it and all before it.
    end: usize,
}

impl TarImages {
    /// Adds a tar file with its images.
    pub(super) fn push(&mut self, path: PathBuf, file: File, Index { entries, names }: Index) {
        self.names.labels(&[names.value()]);
        let keep = self.shards.len() < MOST_OPEN;
        if self.entries.is_empty() {
            self.entries = entries;
        } else {
            self.entries.extend(entries);
        }
        self.shards.push(Shard { path, file: keep.then_some(file), end: self.entries.len() });
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn label(&self, index: usize) -> u32 {
        self.entries[index].label
    }

    /// Of names, labels and lengths; the names were seen when the files were indexed.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let (mut names, mut contents) = (Sum::default(), Sum::default());
        names.labels(&[self.names.value()]);
        for entry in &self.entries {
            names.labels(&[entry.label]);
            contents.labels(&[entry.len]);
        }
        Fingerprint { images: self.entries.len(), names: names.value(), contents: contents.value() }
    }

    pub(super) fn read(&self, index: usize, bytes: &mut Vec<u8>) -> io::Result<()> {
        let Entry { offset, len, .. } = self.entries[index];
        read::check_size(u64::from(len))?;
        bytes.resize(len as usize, 0);
        self.shard(index).at(bytes, offset)
    }

    /// The tar file and the name in the member's header, which a long name does not fit into.
    pub(super) fn place(&self, index: usize) -> String {
        let shard = self.shard(index);
        let mut header = tar::Header::new_old();
        let start = self.entries[index].offset - BLOCK;
        let name = match shard.at(header.as_mut_bytes(), start) {
            Ok(()) => String::from_utf8_lossy(&header.path_bytes()).into_owned(),
            Err(_) => format!("the member at byte {start}"),
        };
        format!("{}: {name}", shard.path.display())
    }

    fn shard(&self, index: usize) -> &Shard {
        &self.shards[self.shards.partition_point(|shard| shard.end <= index)]
    }
}

impl Shard {
    fn at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match &self.file {
            Some(file) => read::at(file, buffer, offset),
            None => read::at(&open_regular(&self.path)?.0, buffer, offset),
        }
    }
}

/// Opens a tar file and tells its length.
///
/// # Errors
///
/// When it is missing, is no regular file, or cannot be opened.
pub(super) fn open(path: &Path, what: &'static str) -> Result<(File, u64)> {
    crate::files::open(path, what)
}
