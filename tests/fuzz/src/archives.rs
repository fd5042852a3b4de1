//! Archives of images: what is found in them is there for other readers too.

use std::collections::HashSet;
use std::fs;
use std::io::Read;

use sparse_data::source::{Format, SourceConfig, open_source};
use sparse_data::{Source, Split};

/// Puts the bytes where a reader of folders finds them, and opens them.
fn opened(bytes: &[u8], name: &str, format: Format) -> Option<(tempfile::TempDir, Box<dyn Source>)> {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join(name), bytes).expect("a file");
    let config = SourceConfig { format, ..SourceConfig::default() };
    let source = open_source(folder.path(), Split::Train, &config).ok()?;
    Some((folder, source))
}

/// The files of all archives in `bytes` as the `tar` crate reads them, up to the first that it refuses; whether it read all.
fn files(bytes: &[u8]) -> (HashSet<Vec<u8>>, bool) {
    let mut archive = tar::Archive::new(bytes);
    archive.set_ignore_zeros(true);
    let mut found = HashSet::new();
    let Ok(entries) = archive.entries() else { return (found, false) };
    for entry in entries {
        let Ok(mut entry) = entry else { return (found, false) };
        let mut content = Vec::new();
        if entry.read_to_end(&mut content).is_err() {
            return (found, false);
        }
        found.insert(content);
    }
    (found, true)
}

/// A tar file of samples: every image is a whole file of the archive.
pub(crate) fn tar(bytes: &[u8]) {
    let Some((_folder, source)) = opened(bytes, "x-train-0.tar", Format::Webdataset) else { return };
    let (files, all) = files(bytes);
    let mut image = Vec::new();
    for index in 0..source.len() {
        let _ = (source.label(index), source.place(index));
        image.clear();
        if source.read(index, &mut image).is_ok() && all {
            assert!(files.contains(&image), "{} is no file of the archive", source.place(index));
        }
    }
}

/// A parquet file of images.
#[cfg(feature = "parquet")]
pub(crate) fn parquet(bytes: &[u8]) {
    let Some((_folder, source)) = opened(bytes, "train-00000-of-00001.parquet", Format::Parquet) else {
        return;
    };
    let mut image = Vec::new();
    for index in 0..source.len().min(64) {
        let _ = (source.label(index), source.place(index));
        image.clear();
        let _ = source.read(index, &mut image);
    }
}
