//! ILSVRC2012 as downloaded: two tar files, read in place.

mod devkit;
mod truth;

use super::extension::is_junk;
use super::names::shown;
use super::tar_images::{self, Index, TarImages};
use super::tar_walk::{Kind, Member, no_image, walk};
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
    remarks: Vec<String>,
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
            let remarks = files(&file, &path, range.clone(), |name, data| {
                images.add(&name, data.start, data.end - data.start, *label);
                Ok(())
            })?;
            Ok((images, remarks))
        })?;
        if let Some((class, _)) = classes.iter().zip(&found).find(|(_, (images, _))| images.is_empty()) {
            return Err(content(&path, format!("the tar file of class {} holds no images", class.0)));
        }
        let (mut all, mut remarks) = (Index::default(), Vec::new());
        for (images, said) in found {
            all.append(images);
            remarks.extend(said);
        }
        let mut images = TarImages::default();
        images.push(path, file, all);
        Ok(Self { images, classes: classes.into_iter().map(|(name, _)| name).collect(), remarks })
    }

    fn val(folder: &Path, known: Option<Vec<String>>) -> Result<Self> {
        let path = folder.join(tar_name(Split::Test));
        let (file, len) = tar_images::open(&path, "tar file of the validation images")?;
        let truth = Truth::find(folder, known)?;
        let mut found = Index::default();
        let remarks = files(&file, &path, 0..len, |name, data| {
            let label = truth.label(base_name(&shown(&name))).ok_or_else(|| {
                content(&path, format!("{} has no label in {}", shown(&name), truth.path().display()))
            })?;
            found.add(&name, data.start, data.end - data.start, label);
            Ok(())
        })?;
        if found.is_empty() {
            return Err(Error::empty(path.display().to_string()));
        }
        let mut images = TarImages::default();
        images.push(path, file, found);
        Ok(Self { images, classes: truth.into_classes(), remarks })
    }
}

/// Opens the outer tar file and finds the inner ones, sorted by class.
fn open_train(path: &Path) -> Result<(File, Vec<Class>)> {
    let (file, len) = tar_images::open(path, "tar file of the training images")?;
    let mut classes = Vec::new();
    files(&file, path, 0..len, |name, data| {
        if let Some(class) = base_name(&shown(&name)).strip_suffix(".tar") {
            classes.push((class.to_owned(), data));
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

/// Calls `visit` with name and bytes of every member but what systems add, such as `._n01440764.tar`; the remarks.
///
/// These archives hold files alone and have a mark of the end, so anything else is damage.
fn files(
    file: &File,
    path: &Path,
    range: Range<u64>,
    mut visit: impl FnMut(Vec<u8>, Range<u64>) -> Result<()>,
) -> Result<Vec<String>> {
    let end = range.end;
    let ending = walk(file, path, range, |Member { name, kind }| match kind {
        _ if is_junk(&name) => Ok(()),
        Kind::File(data) => visit(name, data),
        Kind::HardLink(_) | Kind::SymbolicLink(_) => Err(no_image(path, &name, "a link")),
        Kind::Other(what) => Err(no_image(path, &name, what)),
    })?;
    if ending.unmarked {
        let reason = "the mark of the end is missing, so it is cut short; fetch it again".to_owned();
        return Err(Error::Tar { path: path.to_owned(), offset: end, reason });
    }
    Ok(ending.remarks)
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

    fn remarks(&self) -> &[String] {
        &self.remarks
    }

    fn class_names(&self) -> &[String] {
        &self.classes
    }
}
