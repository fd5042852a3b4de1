//! Many short names in little memory, with the bytes they have on disk.

use super::parallel;
use crate::fingerprint::{Fingerprint, Sum};
use std::borrow::Cow;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// A list of names, kept in one allocation: 8 bytes and its letters for each.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Names {
    pub(super) fn push(&mut self, name: &[u8]) {
        self.text.extend_from_slice(name);
        self.ends.push(self.text.len());
    }

    /// The name at `index`; empty when there is none.
    pub(super) fn get(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends.get(before).copied().unwrap_or(0));
        let end = self.ends.get(index).copied().unwrap_or(start);
        self.text.get(start..end).unwrap_or_default()
    }
}

/// Of files by name, label and length; a file that is not there has none.
///
/// Asks the system for every file, several at a time: a second or two for a million whose folders it holds in memory.
pub(super) fn fingerprint(
    names: &Names,
    labels: &[u32],
    path: impl Fn(usize) -> PathBuf + Sync,
) -> Fingerprint {
    const AT_ONCE: usize = 1 << 10;
    let starts: Vec<usize> = (0..labels.len()).step_by(AT_ONCE).collect();
    let length = |index| std::fs::metadata(path(index)).map_or(u64::MAX, |metadata| metadata.len());
    let lengths = parallel::map(&starts, |&start| {
        Ok((start..labels.len().min(start + AT_ONCE)).map(length).collect::<Vec<u64>>())
    });
    let (mut sum, mut contents) = (Sum::default(), Sum::default());
    for (index, &label) in labels.iter().enumerate() {
        sum.text(names.get(index));
        sum.labels(&[label]);
    }
    lengths.unwrap_or_default().iter().flatten().for_each(|&length| contents.number(length));
    Fingerprint { images: labels.len(), names: sum.value(), contents: contents.value() }
}

/// The bytes of a name as the system has it. On Windows, what is not Unicode is replaced.
#[cfg(unix)]
pub(super) fn bytes_of(name: &OsStr) -> Cow<'_, [u8]> {
    Cow::Borrowed(std::os::unix::ffi::OsStrExt::as_bytes(name))
}

/// The bytes of a name as the system has it. On Windows, what is not Unicode is replaced.
#[cfg(not(unix))]
pub(super) fn bytes_of(name: &OsStr) -> Cow<'_, [u8]> {
    match name.to_string_lossy() {
        Cow::Borrowed(name) => Cow::Borrowed(name.as_bytes()),
        Cow::Owned(name) => Cow::Owned(name.into_bytes()),
    }
}

/// A path below a folder by the bytes of its name, whatever their encoding on Unix.
#[cfg(unix)]
pub(super) fn path_of(name: &[u8]) -> Cow<'_, Path> {
    Cow::Borrowed(Path::new(<OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(name)))
}

/// A path below a folder by the bytes of its name, whatever their encoding on Unix.
#[cfg(not(unix))]
pub(super) fn path_of(name: &[u8]) -> Cow<'_, Path> {
    match String::from_utf8_lossy(name) {
        Cow::Borrowed(name) => Cow::Borrowed(Path::new(name)),
        Cow::Owned(name) => Cow::Owned(name.into()),
    }
}

/// A name to show: bytes that are no UTF-8 as `\xE9`, so that different names look different.
pub(super) fn shown(name: &[u8]) -> String {
    let mut text = String::new();
    for chunk in name.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02X}")));
    }
    text
}

/// A path to show in the same way.
pub(super) fn shown_path(path: &Path) -> String {
    shown(&bytes_of(path.as_os_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_by_index() {
        let mut names = Names::default();
        for name in [b"a".as_slice(), b"", b"ccc", b"\xe9"] {
            names.push(name);
        }
        assert_eq!(
            [0, 1, 2, 3, 4].map(|index| names.get(index)),
            [b"a".as_slice(), b"", b"ccc", b"\xe9", b""]
        );
    }

    #[test]
    fn names_that_are_no_text_are_told_apart() {
        assert_eq!(shown(b"caf\xe9"), "caf\\xE9");
        assert_eq!(shown(b"\xff\xfe."), "\\xFF\\xFE.");
        assert_eq!(shown("café".as_bytes()), "café");
    }
}
