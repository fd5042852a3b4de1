//! A folder of image files with a list, as PaddleSlim reads ImageNet.

use super::names::{self, Names, path_of};
use super::{Source, read};
use crate::dataset::Split;
use crate::fingerprint::Fingerprint;
use crate::{Error, Result, files};
use std::io;
use std::path::{Path, PathBuf};

/// A folder of JPEG and PNG files with the lists `train_list.txt` and `val_list.txt`.
///
/// A line is `RELATIVE/PATH LABEL`, split at the last white space, label 0-based; blank lines are skipped. Files
/// are opened when read, not before. Memory: 12 bytes and the path for each image.
#[derive(Clone, Debug)]
pub struct List {
    folder: PathBuf,
    names: Names,
    labels: Vec<u32>,
}

/// The list of a split.
pub(super) fn list_name(split: Split) -> &'static str {
    match split {
        Split::Train => "train_list.txt",
        Split::Test => "val_list.txt",
    }
}

impl List {
    /// Reads the list of one split in `folder`.
    ///
    /// # Errors
    ///
    /// When the list is missing, empty or has a malformed line.
    pub fn open(folder: &Path, split: Split) -> Result<Self> {
        let what = match split {
            Split::Train => "list of training images",
            Split::Test => "list of validation images",
        };
        let path = folder.join(list_name(split));
        let mut list = Self { folder: folder.to_owned(), names: Names::default(), labels: Vec::new() };
        for_each_line(&path, what, |name, label| {
            list.names.push(name.as_bytes());
            list.labels.push(label);
        })?;
        Ok(list)
    }

    fn path(&self, index: usize) -> PathBuf {
        self.folder.join(path_of(self.names.get(index)))
    }
}

/// Calls `visit` with path and label of every line of a list.
///
/// # Errors
///
/// When the list is missing, empty or has a malformed line.
pub(super) fn for_each_line(path: &Path, what: &'static str, mut visit: impl FnMut(&str, u32)) -> Result<()> {
    let bytes = files::read(path, what, files::FILE_LIMIT)?;
    let mut empty = true;
    for (number, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let text = String::from_utf8_lossy(line);
        let text = text.trim();
        if text.is_empty() {
            continue;
        }
        let Some((name, label)) = parse_line(text) else {
            let text = text.chars().take(200).collect();
            return Err(Error::ListLine { path: path.to_owned(), line: number + 1, text });
        };
        visit(name, label);
        empty = false;
    }
    if empty { Err(Error::Empty { place: path.display().to_string() }) } else { Ok(()) }
}

/// Splits a trimmed line at its last white space; paths may contain spaces.
fn parse_line(line: &str) -> Option<(&str, u32)> {
    let (path, label) = line.rsplit_once(char::is_whitespace)?;
    Some((path.trim_end(), label.parse().ok()?))
}

impl Source for List {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn label(&self, index: usize) -> u32 {
        self.labels[index]
    }

    fn read(&self, index: usize, bytes: &mut Vec<u8>) -> io::Result<()> {
        read::file(&self.path(index), bytes)
    }

    fn place(&self, index: usize) -> String {
        self.path(index).display().to_string()
    }

    fn fingerprint(&self) -> Fingerprint {
        names::fingerprint(&self.names, &self.labels, |index| self.path(index))
    }
}
