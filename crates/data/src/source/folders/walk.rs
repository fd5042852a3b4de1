//! The files below a class folder.

use super::super::extension::is_junk_name;
use super::super::names::bytes_of;
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use walkdir::{DirEntry, WalkDir};

/// Calls `visit` with every file below a class folder `root` of the folder `split`, in the order of their names.
///
/// Links are followed, but not to a folder that the link lies in; a folder is read once, however many links lead there.
/// What is left out for that goes into `remarks`. Pipes and links to nothing are files, too: they cannot be read later.
///
/// # Errors
///
/// When a folder cannot be read.
pub(super) fn files(
    split: &Path,
    root: &Path,
    remarks: &mut Vec<String>,
    mut visit: impl FnMut(&Path),
) -> Result<()> {
    let mut seen = Seen::new(split, root)?;
    let mut entries = WalkDir::new(root).follow_links(true).sort_by_file_name().into_iter();
    while let Some(entry) = entries.next() {
        match entry {
            Ok(entry) if entry.depth() > 0 && is_junk_name(&bytes_of(entry.file_name())) => {
                if entry.file_type().is_dir() {
                    entries.skip_current_dir();
                }
            }
            Ok(entry) if entry.file_type().is_dir() => {
                if !seen.enter(&entry, remarks)? {
                    entries.skip_current_dir();
                }
            }
            Ok(entry) => visit(entry.path()),
            Err(error) if error.loop_ancestor().is_some() => {
                let path = error.path().unwrap_or(root).display().to_string();
                remarks.push(format!("{path} is a link to a folder that it lies in, and is not followed"));
            }
            // A link to nothing is an image that cannot be read: it counts as bad, not as the end.
            Err(error) if error.path().is_some_and(Path::is_symlink) => visit(error.path().unwrap_or(root)),
            Err(error) => {
                let path = error.path().unwrap_or(root).to_owned();
                return Err(Error::Io { path, source: error.into() });
            }
        }
    }
    Ok(())
}

/// The folders of a class that were read.
struct Seen {
    split: PathBuf,
    class: PathBuf,
    /// The real paths of the folders that are open, outermost first.
    open: Vec<PathBuf>,
    read: BTreeSet<PathBuf>,
}

impl Seen {
    fn new(split: &Path, root: &Path) -> Result<Self> {
        Ok(Self { split: real(split)?, class: real(root)?, open: Vec::new(), read: BTreeSet::new() })
    }

    /// Whether to read a folder; a remark if not.
    fn enter(&mut self, entry: &DirEntry, remarks: &mut Vec<String>) -> Result<bool> {
        self.open.truncate(entry.depth());
        let place = match self.open.last() {
            Some(parent) if !entry.path_is_symlink() => parent.join(entry.file_name()),
            _ => real(entry.path())?,
        };
        let path = entry.path().display();
        if entry.depth() > 0 && self.class.starts_with(&place) {
            remarks.push(format!("{path} is a link to a folder that it lies in, and is not followed"));
            return Ok(false);
        }
        if !self.read.insert(place.clone()) {
            remarks.push(format!(
                "{path} leads to a folder of the same class that is read already, and is passed over"
            ));
            return Ok(false);
        }
        if place.starts_with(&self.split) && !place.starts_with(&self.class) && entry.path_is_symlink() {
            remarks.push(format!("{path} is a link into another class: its images have both labels"));
        }
        self.open.push(place);
        Ok(true)
    }
}

fn real(path: &Path) -> Result<PathBuf> {
    path.canonicalize().map_err(|source| Error::Io { path: path.to_owned(), source })
}
