//! A folder per class.

mod listing;
mod walk;

use super::extension::{self, Extension};
use super::names::{self, Names, bytes_of, path_of, shown, shown_path};
use super::patterns::split_folder;
use super::strays::{Others, Strays, instead};
use super::{Source, content, read, split_name};
use crate::dataset::Split;
use crate::fingerprint::Fingerprint;
use crate::{Error, Result};
pub(super) use listing::has_folders;
use listing::{Listing, few, same_folder};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// Image files by class: `train/CLASS/*.jpg` and `val/CLASS/*.jpg`.
///
/// The folder of the second split may also be called `validation`, `valid` or `test`. A class is a folder right below
/// `train` (below the split's own folder when there is no `train`), numbered in the order of the bytes of their names,
/// which for wnids is ImageNet's own. Images are the files below it, at any depth, that end in `.jpg`, `.jpeg`, `.jpe`,
/// `.jfif` or `.png` in any case; those of other formats are [`Strays`]. Names with a dot in front and what systems leave
/// behind are passed over. Links are followed, but not to a folder that holds the class itself, and no folder is read twice
/// in a class. Memory: 12 bytes and the path from the split's folder for each image.
#[derive(Clone, Debug)]
pub struct Folders {
    folder: PathBuf,
    classes: Vec<String>,
    names: Names,
    labels: Vec<u32>,
    strays: Strays,
    remarks: Vec<String>,
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
        let classes = Listing::of(defining)?;
        classes.check(defining)?;
        let own_classes = if &own == defining { classes.clone() } else { Listing::of(&own)? };
        own_classes.check(&own)?;
        let mut remarks = own_classes.remarks(&own);
        if &own == defining {
            remarks.extend(classes.numbering(&own));
        } else if same_folder(&own, defining) {
            let (own, train) = (own.display(), defining.display());
            remarks.push(format!("{own} and {train} are the same folder, so tests are on training images"));
        }
        let mut found = Self {
            folder: own.clone(),
            classes: classes.folders.iter().map(|name| shown(&bytes_of(name))).collect(),
            names: Names::default(),
            labels: Vec::new(),
            strays: Strays::NONE,
            remarks,
        };
        found.add_classes(&own_classes.folders, &classes, defining)?;
        Ok(found)
    }

    /// Lists all images below `folder`, at any depth, for work that needs no labels: all have label 0.
    ///
    /// # Errors
    ///
    /// When a folder is unreadable, or there are no images.
    pub fn without_labels(folder: &Path) -> Result<Self> {
        let mut found = Self {
            folder: folder.to_owned(),
            classes: Vec::new(),
            names: Names::default(),
            labels: Vec::new(),
            strays: Strays::NONE,
            remarks: Vec::new(),
        };
        let mut others = Others::default();
        found.add_class(&OsString::from("."), 0, &mut others)?;
        if found.labels.is_empty() {
            let place = folder.display().to_string();
            return Err(Error::Empty { place, instead: instead(&others, &found.strays) });
        }
        Ok(found)
    }

    /// Adds the images of all class folders of the split's own folder.
    fn add_classes(&mut self, own: &[OsString], classes: &Listing, defining: &Path) -> Result<()> {
        let (mut others, mut filled) = (Others::default(), vec![false; self.classes.len()]);
        for name in own {
            let Ok(label) = classes.folders.binary_search(name) else {
                return Err(content(&self.folder, classes.unknown(name, defining)));
            };
            let (before, mut unread) = (self.labels.len(), Others::default());
            self.add_class(name, label as u32, &mut unread)?;
            filled[label] = self.labels.len() > before;
            if !filled[label] && self.folder == defining {
                let held =
                    if unread.is_empty() { String::new() } else { format!(" (it holds {})", unread.told()) };
                let reason = format!(
                    "this class folder holds no .jpg, .jpeg or .png file{held}; take it away or fill it"
                );
                return Err(content(&self.folder.join(name), reason));
            }
            others.append(unread);
        }
        if self.labels.is_empty() {
            let place = format!("the set of class folders in {}", self.folder.display());
            return Err(Error::Empty { place, instead: instead(&others, &self.strays) });
        }
        self.remark_on(&filled, &others);
        Ok(())
    }

    /// Tells of classes without images and of files that are not read.
    fn remark_on(&mut self, filled: &[bool], others: &Others) {
        let (folder, all) = (self.folder.display(), filled.len());
        let empty: Vec<&String> =
            self.classes.iter().zip(filled).filter(|(_, filled)| !**filled).map(|(name, _)| name).collect();
        let mut remarks = Vec::new();
        if !empty.is_empty() {
            let (missing, names) = (empty.len(), few(&empty));
            remarks.push(format!("{folder} holds no images of {missing} of the {all} classes: {names}"));
        }
        if let Some(unexpected) = others.unexpected() {
            remarks.push(format!("the class folders in {folder} hold files that are not read: {unexpected}"));
        }
        self.remarks.extend(remarks);
    }

    fn add_class(&mut self, name: &OsString, label: u32, others: &mut Others) -> Result<()> {
        let split = self.folder.clone();
        let mut remarks = std::mem::take(&mut self.remarks);
        let walked = walk::files(&split, &split.join(name), &mut remarks, |path| {
            let below = bytes_of(path.strip_prefix(&split).unwrap_or(path).as_os_str());
            let extension = extension::of(&below);
            match extension::kind(extension) {
                Extension::Image(_) => {
                    self.names.push(&below);
                    self.labels.push(label);
                }
                Extension::Unread => {
                    let reason =
                        format!("it is a .{} image, and only JPEG and PNG are read", shown(extension));
                    self.strays.add(|| shown_path(path), reason);
                    others.add(extension);
                }
                Extension::Other => others.add(extension),
            }
        });
        self.remarks = remarks;
        walked
    }

    fn path(&self, index: usize) -> PathBuf {
        self.folder.join(path_of(self.names.get(index)))
    }
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
        shown_path(&self.path(index))
    }

    fn fingerprint(&self) -> Fingerprint {
        names::fingerprint(&self.names, &self.labels, |index| self.path(index))
    }

    fn strays(&self) -> &Strays {
        &self.strays
    }

    fn remarks(&self) -> &[String] {
        &self.remarks
    }

    fn class_names(&self) -> &[String] {
        &self.classes
    }
}
