//! ILSVRC2012 as downloaded: two tar files, read in place.

mod devkit;
mod truth;

use super::tar_images::{self, Index, TarImages};
use super::tar_walk::walk;
use super::{Source, content, parallel};
use crate::dataset::Split;
use crate::fingerprint::Fingerprint;
use crate::{Error, Result};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use truth::Truth;

/// `ILSVRC2012_img_train.tar`, a tar file of a tar file for each class, and `ILSVRC2012_img_val.tar`, read where
/// they lie.
///
/// Classes are the names of the inner files (wnids) in sorted order. The labels of the validation images, whose tar
/// file has none, come from the first of these files that is there, in the folder, its `data` or the unpacked
/// `ILSVRC2012_devkit_t12/data`:
///
/// * `val_list.txt`, lines `NAME LABEL` with the label 0-based in the order of sorted wnids;
/// * `imagenet_2012_validation_synset_labels.txt`, a wnid per line;
/// * `LOC_val_solution.csv`, lines `NAME,WNID …`;
/// * `ILSVRC2012_validation_ground_truth.txt` of the development kit, a number from 1 to 1000 per line, in the
///   kit's own order of classes, which is known here;
/// * `ILSVRC2012_devkit_t12.tar.gz`, the kit as downloaded, with the same file in it.
///
/// Memory: 16 bytes for each image.
#[derive(Debug)]
pub struct Ilsvrc {
    images: TarImages,
    classes: Vec<String>,
}

/// The tar file of a split.
pub(super) fn tar_name(split: Split) -> &'static str {
    match split {
        Split::Train => "ILSVRC2012_img_train.tar",
        Split::Test => "ILSVRC2012_img_val.tar",
    }
}

/// A class: its name, and where its tar file lies in the outer one.
type Class = (String, Range<u64>);

impl Ilsvrc {
    /// Indexes the images of one split in `folder`.
    ///
    /// # Errors
    ///
    /// When a tar file is missing, damaged or cut short, or the labels of the validation images are missing or do
    /// not fit.
    pub fn open(folder: &Path, split: Split) -> Result<Self> {
        let train = folder.join(tar_name(Split::Train));
        match split {
            Split::Train => {
                let (file, classes) = open_train(&train)?;
                Self::train(train, file, classes)
            }
            Split::Test => {
                let known = if train.is_file() { Some(open_train(&train)?.1) } else { None };
                let known = known.map(|classes| classes.into_iter().map(|(name, _)| name).collect());
                Self::val(folder, known)
            }
        }
    }

    fn train(path: PathBuf, file: File, classes: Vec<Class>) -> Result<Self> {
        let numbered: Vec<(u32, &Class)> = (0..).zip(&classes).collect();
        let found = parallel::map(&numbered, |(label, (_, range))| {
            let mut images = Index::default();
            walk(&file, &path, range.clone(), |member| {
                if !hidden(member.name) {
                    images.add(member.name.as_bytes(), member.offset, member.len, *label);
                }
                Ok(())
            })?;
            Ok(images)
        })?;
        if let Some((class, _)) = classes.iter().zip(&found).find(|(_, images)| images.is_empty()) {
            return Err(content(&path, format!("the tar file of class {} holds no images", class.0)));
        }
        let mut all = Index::default();
        found.into_iter().for_each(|images| all.append(images));
        let mut images = TarImages::default();
        images.push(path, file, all);
        Ok(Self { images, classes: classes.into_iter().map(|(name, _)| name).collect() })
    }

    fn val(folder: &Path, known: Option<Vec<String>>) -> Result<Self> {
        let path = folder.join(tar_name(Split::Test));
        let (file, len) = tar_images::open(&path, "tar file of the validation images")?;
        let truth = Truth::find(folder, known)?;
        let mut found = Index::default();
        walk(&file, &path, 0..len, |member| {
            if !hidden(member.name) {
                let label = truth.label(base_name(member.name)).ok_or_else(|| {
                    content(&path, format!("{} has no label in {}", member.name, truth.path().display()))
                })?;
                found.add(member.name.as_bytes(), member.offset, member.len, label);
            }
            Ok(())
        })?;
        if found.is_empty() {
            return Err(Error::Empty { place: path.display().to_string() });
        }
        let mut images = TarImages::default();
        images.push(path, file, found);
        Ok(Self { images, classes: truth.into_classes() })
    }
}

/// Opens the outer tar file and finds the inner ones, sorted by class.
fn open_train(path: &Path) -> Result<(File, Vec<Class>)> {
    let (file, len) = tar_images::open(path, "tar file of the training images")?;
    let mut classes = Vec::new();
    walk(&file, path, 0..len, |member| {
        if let Some(class) = base_name(member.name).strip_suffix(".tar")
            && !hidden(member.name)
        {
            classes.push((class.to_owned(), member.offset..member.offset + member.len));
        }
        Ok(())
    })?;
    classes.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    if let Some(pair) = classes.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(content(path, format!("class {} comes twice", pair[0].0)));
    }
    if classes.is_empty() {
        return Err(content(path, "it holds no tar file for any class (such as n01440764.tar)"));
    }
    Ok((file, classes))
}

fn base_name(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// Names such as `._n01440764.tar`, which some systems add.
fn hidden(name: &str) -> bool {
    base_name(name).starts_with('.')
}

impl Source for Ilsvrc {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn label(&self, index: usize) -> u32 {
        self.images.label(index)
    }

    fn read(&self, index: usize, bytes: &mut Vec<u8>) -> io::Result<()> {
        self.images.read(index, bytes)
    }

    fn place(&self, index: usize) -> String {
        self.images.place(index)
    }

    fn fingerprint(&self) -> Fingerprint {
        self.images.fingerprint()
    }

    fn class_names(&self) -> &[String] {
        &self.classes
    }
}
