//! A folder per class.

use super::names::{self, Names, bytes_of, path_of};
use super::patterns::split_folder;
use super::{Source, content, read, split_name};
use crate::dataset::Split;
use crate::fingerprint::Fingerprint;
use crate::{Error, Result};
use std::io;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// Image files by class: `train/CLASS/*.jpg` and `val/CLASS/*.jpg`.
///
/// The folder of the second split may also be called `validation`, `valid` or `test`. A class is a folder right below
/// `train` (below the split's own folder when there is no `train`), numbered in the order of sorted names, which for
/// wnids is ImageNet's own. Images are the files below it, at any depth, that end in `.jpg`, `.jpeg` or `.png` in any
/// case; names with a dot in front are passed over. Symbolic links are followed, round trips left. Memory: 12 bytes
/// and the path from the split's folder for each image.
#[derive(Clone, Debug)]
pub struct Folders {
    folder: PathBuf,
    classes: Vec<String>,
    names: Names,
    labels: Vec<u32>,
}

impl Folders {
    /// Lists the images of one split in `folder`.
    ///
    /// # Errors
    ///
    /// When a folder is missing or unreadable, a class has no images, or a class of the second split is none of the
    /// first.
    pub fn open(folder: &Path, split: Split) -> Result<Self> {
        let Some(own) = split_folder(folder, split) else {
            let path = folder.join(split_name(split));
            return Err(Error::Missing { what: "folder of class folders", path });
        };
        let train = split_folder(folder, Split::Train);
        let defining = train.as_ref().unwrap_or(&own);
        let classes = subfolders(defining)?;
        if classes.is_empty() {
            return Err(content(
                defining,
                "it holds no class folders; put the images of each class into one",
            ));
        }
        let mut found = Self { folder: own.clone(), classes, names: Names::default(), labels: Vec::new() };
        for name in subfolders(&own)? {
            let Ok(label) = found.classes.binary_search(&name) else {
                let reason = format!(
                    "class folder {name} is none of the {} in {}; both splits need the same classes",
                    found.classes.len(),
                    defining.display()
                );
                return Err(content(&own, reason));
            };
            let before = found.labels.len();
            found.add_class(&name, label as u32)?;
            if found.labels.len() == before && &own == defining {
                let reason = "this class folder holds no .jpg, .jpeg or .png file; take it away or fill it";
                return Err(content(&own.join(name), reason));
            }
        }
        if found.labels.is_empty() {
            return Err(Error::Empty { place: own.display().to_string() });
        }
        Ok(found)
    }

    fn add_class(&mut self, name: &str, label: u32) -> Result<()> {
        for entry in WalkDir::new(self.folder.join(name)).follow_links(true).sort_by_file_name() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) if error.loop_ancestor().is_some() => continue,
                // A link to nothing is an image that cannot be read: it counts as bad, not as the end.
                Err(error) if error.path().is_some_and(Path::is_symlink) => {
                    self.add_file(error.path().unwrap_or(Path::new("")), label);
                    continue;
                }
                Err(error) => {
                    let path = error.path().unwrap_or(&self.folder).to_owned();
                    return Err(Error::Io { path, source: error.into() });
                }
            };
            if entry.file_type().is_file() {
                self.add_file(entry.path(), label);
            }
        }
        Ok(())
    }

    fn add_file(&mut self, path: &Path, label: u32) {
        if is_image(path) {
            let below = path.strip_prefix(&self.folder).unwrap_or(path);
            self.names.push(&bytes_of(below.as_os_str()));
            self.labels.push(label);
        }
    }

    fn path(&self, index: usize) -> PathBuf {
        self.folder.join(path_of(self.names.get(index)))
    }
}

/// Whether a folder holds folders.
pub(super) fn has_folders(path: &Path) -> bool {
    subfolders(path).is_ok_and(|folders| !folders.is_empty())
}

/// The names of the folders in a folder, sorted.
fn subfolders(path: &Path) -> Result<Vec<String>> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && entry.path().is_dir() {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Whether a file is an image by its name.
fn is_image(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    let extension = path.extension().unwrap_or_default();
    !hidden && ["jpg", "jpeg", "png"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

impl Source for Folders {
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

    fn class_names(&self) -> &[String] {
        &self.classes
    }
}
