//! A folder of image files with a list, as PaddleSlim reads ImageNet.

use super::names::{self, Names, path_of, shown, shown_path};
use super::{Source, content, read};
use crate::dataset::Split;
use crate::fingerprint::Fingerprint;
use crate::{Error, Result, files};
use std::io;
use std::path::{Path, PathBuf};

/// The byte-order mark that some editors write before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A folder of JPEG and PNG files with the lists `train_list.txt` and `val_list.txt`.
///
/// A line is `RELATIVE/PATH LABEL`, split at the last blank or tab, label 0-based; blank lines and a byte-order mark are
/// skipped, lines may end as on Windows. A path has the bytes that are written, whatever their encoding; where no such
/// file is there, one whose path has `/` for each backslash, or no quotes around it, is taken. Files are opened when read,
/// not before. Memory: 12 bytes and the path for each image.
#[derive(Clone, Debug)]
pub struct List {
    folder: PathBuf,
    /// The list itself.
    path: PathBuf,
    names: Names,
    labels: Vec<u32>,
    /// For each line that was skipped, the number of images before it.
    skipped: Vec<usize>,
    remarks: Vec<String>,
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
    /// When the list is missing, empty, UTF-16, or has a malformed line.
    pub fn open(folder: &Path, split: Split) -> Result<Self> {
        let what = match split {
            Split::Train => "list of training images",
            Split::Test => "list of validation images",
        };
        let path = folder.join(list_name(split));
        let mut list = Self {
            folder: folder.to_owned(),
            path: path.clone(),
            names: Names::default(),
            labels: Vec::new(),
            skipped: Vec::new(),
            remarks: Vec::new(),
        };
        let (mut rewritten, mut last) = (0, 0);
        for_each_line(&path, what, |line| {
            list.skipped.resize(list.skipped.len() + line.number - last - 1, list.labels.len());
            last = line.number;
            let found = on_disk(folder, line.name);
            rewritten += usize::from(found.is_some());
            list.names.push(found.as_deref().unwrap_or(line.name));
            list.labels.push(line.label);
        })?;
        if rewritten > 0 {
            list.remarks.push(format!(
                "{rewritten} paths in {} name no file as they are written, and are read with / for \\ and without quotes",
                path.display()
            ));
        }
        Ok(list)
    }

    fn path(&self, index: usize) -> PathBuf {
        self.folder.join(path_of(self.names.get(index)))
    }
}

/// The path with `/` for backslashes or without quotes, if there is a file of that name and none as it is written.
fn on_disk(folder: &Path, name: &[u8]) -> Option<Vec<u8>> {
    let bare = [b'"', b'\''].iter().find_map(|quote| name.strip_prefix(&[*quote])?.strip_suffix(&[*quote]));
    if bare.is_none() && !name.contains(&b'\\') || folder.join(path_of(name)).exists() {
        return None;
    }
    let bare = bare.unwrap_or(name);
    let forward: Vec<u8> = bare.iter().map(|&byte| if byte == b'\\' { b'/' } else { byte }).collect();
    [bare.to_vec(), forward].into_iter().find(|name| folder.join(path_of(name)).exists())
}

/// A line of a list.
pub(super) struct Line<'a> {
    /// From 1.
    pub(super) number: usize,
    /// The path as it is written.
    pub(super) name: &'a [u8],
    pub(super) label: u32,
}

/// Calls `visit` with every line of a list that is not blank.
///
/// # Errors
///
/// When the list is missing, empty, UTF-16, or has a malformed line.
pub(super) fn for_each_line(path: &Path, what: &'static str, mut visit: impl FnMut(Line<'_>)) -> Result<()> {
    let bytes = files::read(path, what, files::FILE_LIMIT)?;
    let text = text_of(path, &bytes)?;
    // Old systems end lines with a carriage return alone.
    let end = if text.contains(&b'\n') { b'\n' } else { b'\r' };
    let mut empty = true;
    for (number, line) in (1..).zip(text.split(|&byte| byte == end)) {
        let mut line = line.trim_ascii();
        // Lists that were joined have the mark of each.
        while let Some(rest) = line.strip_prefix(BYTE_ORDER_MARK) {
            line = rest.trim_ascii_start();
        }
        if line.is_empty() {
            continue;
        }
        let (name, label) = parse_line(line).map_err(|reason| {
            let text = shown(line).chars().take(200).collect();
            Error::ListLine { path: path.to_owned(), line: number, text, reason }
        })?;
        visit(Line { number, name, label });
        empty = false;
    }
    if empty {
        return Err(content(path, "it lists no images; it holds a line `RELATIVE/PATH LABEL` for each"));
    }
    Ok(())
}

/// The text of a file in UTF-8 or another encoding with single bytes for ASCII, without a byte-order mark.
///
/// # Errors
///
/// When it is UTF-16 or compressed.
pub(super) fn text_of<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a [u8]> {
    let utf16 = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
    if utf16 || bytes.iter().take(1 << 16).any(|&byte| byte == 0) && !bytes.starts_with(&[0x1f, 0x8b]) {
        return Err(content(path, "it is UTF-16 or no text; save it as UTF-8 (`iconv -f UTF-16 -t UTF-8`)"));
    }
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return Err(content(path, "it is compressed with gzip; unpack it with gunzip"));
    }
    Ok(bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes))
}

/// Splits a trimmed line at its last blank; paths may contain blanks.
fn parse_line(line: &[u8]) -> std::result::Result<(&[u8], u32), String> {
    let Some(blank) = line.iter().rposition(u8::is_ascii_whitespace) else {
        return Err("it has no label".to_owned());
    };
    let label = shown(&line[blank + 1..]);
    let label = label.parse().map_err(|_| match label.parse::<f64>() {
        Ok(number) if number < 0.0 => format!("label {label} is negative"),
        Ok(number) if number.fract() != 0.0 || !label.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("label {label} is no whole number in digits")
        }
        Ok(_) => format!("label {label} is too large"),
        Err(_) => format!("`{label}` is no label"),
    })?;
    Ok((line[..blank].trim_ascii_end(), label))
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
        shown_path(&self.path(index))
    }

    fn label_place(&self, index: usize) -> String {
        let line = index + 1 + self.skipped.partition_point(|&before| before <= index);
        format!("{}, line {line} ({})", self.path.display(), shown(self.names.get(index)))
    }

    fn fingerprint(&self) -> Fingerprint {
        names::fingerprint(&self.names, &self.labels, |index| self.path(index))
    }

    fn remarks(&self) -> &[String] {
        &self.remarks
    }
}
