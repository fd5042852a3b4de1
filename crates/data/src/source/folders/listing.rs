//! What lies right below `train` or `val`: class folders, and what is none.

use super::super::content;
use super::super::extension::{self, Extension, is_junk_name};
use super::super::names::{bytes_of, shown};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The class folders of a split, and images and broken links beside them.
#[derive(Clone, Debug, Default)]
pub(super) struct Listing {
    /// Names of the class folders, in the order of their bytes.
    pub(super) folders: Vec<OsString>,
    /// Images that lie in no class folder.
    loose: Vec<OsString>,
    /// Links to nothing.
    broken: Vec<OsString>,
}

/// Whether a folder holds folders that may be classes.
pub(in super::super) fn has_folders(path: &Path) -> bool {
    Listing::of(path).is_ok_and(|listing| !listing.folders.is_empty())
}

/// Whether two paths lead to the same folder.
pub(super) fn same_folder(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// The first few of some names.
pub(super) fn few(names: &[impl AsRef<str>]) -> String {
    const FEW: usize = 5;
    let mut told: Vec<&str> = names.iter().take(FEW).map(AsRef::as_ref).collect();
    if names.len() > FEW {
        told.push("…");
    }
    told.join(", ")
}

impl Listing {
    /// # Errors
    ///
    /// When the folder cannot be read.
    pub(super) fn of(path: &Path) -> Result<Self> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        let mut found = Self::default();
        for entry in std::fs::read_dir(path).map_err(io)? {
            let name = entry.map_err(io)?.file_name();
            let own = path.join(&name);
            if is_junk_name(&bytes_of(&name)) {
                continue;
            }
            match std::fs::metadata(&own) {
                Ok(metadata) if metadata.is_dir() => found.folders.push(name),
                Ok(_) if extension::kind(extension::of(&bytes_of(&name))) != Extension::Other => {
                    found.loose.push(name)
                }
                Ok(_) => {}
                Err(_) if own.is_symlink() => found.broken.push(name),
                Err(error) => return Err(Error::Io { path: own, source: error }),
            }
        }
        [&mut found.folders, &mut found.loose, &mut found.broken]
            .into_iter()
            .for_each(|names| names.sort_unstable());
        Ok(found)
    }

    /// Refuses a folder without class folders.
    pub(super) fn check(&self, path: &Path) -> Result<()> {
        if !self.folders.is_empty() {
            return Ok(());
        }
        let held = match self.loose.len() {
            0 => String::new(),
            images => format!(" but {images} images, such as {}", shown(&bytes_of(&self.loose[0]))),
        };
        Err(content(path, format!("it holds no class folders{held}; put the images of each class into one")))
    }

    /// What the owner of the folder should know.
    pub(super) fn remarks(&self, path: &Path) -> Vec<String> {
        let (folder, mut remarks) = (path.display(), Vec::new());
        let names =
            |names: &[OsString]| few(&names.iter().map(|name| shown(&bytes_of(name))).collect::<Vec<_>>());
        if !self.loose.is_empty() {
            let (images, names) = (self.loose.len(), names(&self.loose));
            remarks.push(format!(
                "{images} images lie in {folder} itself, in no class folder, and are passed over: {names}"
            ));
        }
        if !self.broken.is_empty() {
            remarks.push(format!("{folder} holds links to nothing: {}", names(&self.broken)));
        }
        remarks.extend(self.doubles(path));
        remarks
    }

    /// What is easily mistaken where the labels are made of the names.
    pub(super) fn numbering(&self, path: &Path) -> Option<String> {
        let folder = path.display();
        if let [only] = &self.folders[..] {
            return Some(format!("{folder} holds one class folder, {}", shown(&bytes_of(only))));
        }
        let numbers: Option<Vec<u64>> = self.folders.iter().map(|name| name.to_str()?.parse().ok()).collect();
        let pair = numbers?.windows(2).position(|pair| pair[0] > pair[1])?;
        let (first, second) =
            (shown(&bytes_of(&self.folders[pair])), shown(&bytes_of(&self.folders[pair + 1])));
        Some(format!(
            "the class folders in {folder} are numbered as text, {first} before {second}, so their names are not their \
             labels; fill them up with zeros in front if they should be"
        ))
    }

    /// Class folders that are one by a link, or differ in case only.
    fn doubles(&self, path: &Path) -> Vec<String> {
        let (mut places, mut cases) = (BTreeMap::<PathBuf, &OsString>::new(), BTreeMap::new());
        let (folder, mut remarks) = (path.display(), Vec::new());
        for name in &self.folders {
            let text = shown(&bytes_of(name));
            if let Ok(place) = path.join(name).canonicalize()
                && let Some(other) = places.insert(place, name)
            {
                let other = shown(&bytes_of(other));
                remarks.push(format!(
                    "the class folders {other} and {text} in {folder} are the same by a link: its images have both labels"
                ));
            }
            if let Some(other) = cases.insert(text.to_lowercase(), text.clone()) {
                remarks.push(format!("the class folders {other} and {text} in {folder} differ in case only, and are two classes"));
            }
        }
        remarks
    }

    /// Why a class folder of the second split is none of the first.
    pub(super) fn unknown(&self, name: &OsString, defining: &Path) -> String {
        let text = shown(&bytes_of(name));
        let names = self.folders.iter().map(|known| shown(&bytes_of(known)));
        let same = |known: &String| bare(known) == bare(&text);
        let near = match names.into_iter().find(same) {
            Some(known) => format!(
                " ({} there, which is written in another way: {} here)",
                escaped(&known),
                escaped(&text)
            ),
            None => String::new(),
        };
        format!(
            "class folder {text} is none of the {} in {}{near}; both splits need the same classes",
            self.folders.len(),
            defining.display()
        )
    }
}

/// A name without what is easily mistaken: case, blanks and strokes, and letters with accents in either way of writing.
fn bare(name: &str) -> String {
    let mut bare = String::new();
    for letter in name.to_lowercase().chars() {
        match letter {
            // The accent stands behind its letter.
            '\u{300}'..='\u{36f}' => {
                bare.pop();
            }
            '-' | '_' | ' ' => {}
            letter if letter.is_ascii() => bare.push(letter),
            _ => {}
        }
    }
    bare
}

/// A name with its letters beyond ASCII as numbers.
fn escaped(name: &str) -> String {
    let escape = |letter: char| {
        if letter.is_ascii() { letter.to_string() } else { letter.escape_unicode().to_string() }
    };
    format!("`{}`", name.chars().map(escape).collect::<String>())
}
