//! Which file of a folder holds the weights.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::sniff::{self, Content};
use crate::{Error, Result, open_regular};

/// Bytes that tell a format.
const OPENING: u64 = 512;
/// Most entries of a folder that are looked at.
const MOST_ENTRIES: usize = 10_000;

/// The file that `path` means: itself, or the one file of weights in the folder; `None` for a folder of Paddle
/// variables.
///
/// Optimizer states (`.pdopt`) lie beside weights and are passed over.
///
/// # Errors
/// [`Error::NoWeights`], [`Error::SeveralWeights`], [`Error::TooLarge`] and [`Error::Io`].
pub(super) fn weights_in(path: &Path) -> Result<Option<PathBuf>> {
    if !path.is_dir() {
        return Ok(Some(path.to_owned()));
    }
    let mut found = Vec::new();
    for file in files(path)? {
        match opening(&file)? {
            Content::PaddleVariable => return Ok(None),
            Content::Other(_) => {}
            _ if file.extension().is_some_and(|extension| extension == "pdopt") => {}
            _ => found.push(file),
        }
    }
    match (found.pop(), found.is_empty()) {
        (None, _) => Err(Error::NoWeights { path: path.to_owned() }),
        (Some(file), true) => Ok(Some(file)),
        (Some(file), false) => {
            let names = found.iter().chain([&file]).filter_map(|file| file.file_name());
            let names: Vec<_> = names.take(5).map(|name| name.to_string_lossy()).collect();
            Err(Error::SeveralWeights { path: path.to_owned(), names: names.join(", ") })
        }
    }
}

/// The plain files of a folder in order of their names, hidden ones left out.
///
/// # Errors
/// [`Error::Io`] if it cannot be listed, [`Error::TooLarge`] if it has more than [`MOST_ENTRIES`].
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let io = |source| Error::Io { path: folder.to_owned(), action: "list", source };
    let mut files = Vec::new();
    for (index, entry) in fs::read_dir(folder).map_err(io)?.enumerate() {
        if index == MOST_ENTRIES {
            let limit = MOST_ENTRIES as u64;
            return Err(Error::TooLarge { path: folder.to_owned(), what: "number of files", limit });
        }
        let entry = entry.map_err(io)?;
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        if !hidden && entry.path().is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

fn opening(file: &Path) -> Result<Content> {
    let io = |source| Error::Io { path: file.to_owned(), action: "read", source };
    let mut bytes = Vec::new();
    open_regular(file)?.take(OPENING).read_to_end(&mut bytes).map_err(io)?;
    Ok(sniff::content(&bytes))
}
