//! Where encoded images come from: one trait, and one reader for each layout in which people keep ImageNet.
//!
//! A [`Source`] knows the label of every image and reads its bytes at any time from any thread, so that a
//! [`Loader`](crate::Loader) visits the images in a uniform [`permutation`](crate::permutation) of the whole set,
//! also over archives: the shuffle is a full one for every layout, not one within a buffer or a shard. Archives
//! are indexed when opened and read by position afterwards; nothing is ever unpacked, so a path in an archive,
//! `..` or not, is only a name to show.

mod detect;
mod extension;
mod folders;
mod ilsvrc;
mod list;
mod names;
mod parallel;
#[cfg(feature = "parquet")]
mod parquet;
mod patterns;
mod read;
mod select;
mod strays;
mod tar_images;
mod tar_links;
mod tar_pax;
mod tar_walk;
mod webdataset;

pub use detect::{Format, check_layout};
pub use folders::Folders;
pub use ilsvrc::Ilsvrc;
pub use list::List;
#[cfg(feature = "parquet")]
pub use parquet::Parquet;
pub use read::{read_image, read_image_from};
pub use select::Selected;
pub use strays::{Stray, Strays};
pub use webdataset::WebDataset;

use crate::dataset::Split;
use crate::fingerprint::{Fingerprint, Sum};
use crate::{Error, Result};
use std::io;
use std::path::Path;

/// Encoded images, JPEG or PNG, with a label each.
///
/// Images are numbered from 0 to `len() - 1`, in an order that depends on the files alone. `read` is called from
/// several threads at once.
#[allow(clippy::len_without_is_empty, reason = "an empty source is an error when it is opened")]
pub trait Source: Send + Sync {
    /// Number of images.
    fn len(&self) -> usize;

    /// The label of image `index`, from 0. Panics when there is no such image.
    fn label(&self, index: usize) -> u32;

    /// Puts the file of image `index` into `bytes`, which is empty before.
    ///
    /// # Errors
    ///
    /// When it cannot be read or is larger than any image; the image then counts as bad.
    fn read(&self, index: usize, bytes: &mut Vec<u8>) -> io::Result<()>;

    /// Where image `index` lies, to show: a file, or an archive and the name in it.
    fn place(&self, index: usize) -> String;

    /// Where the label of image `index` stands, to show.
    fn label_place(&self, index: usize) -> String {
        self.place(index)
    }

    /// What tells these images from others: their names, labels and sizes, without reading one.
    ///
    /// By default the labels and the number of images alone.
    fn fingerprint(&self) -> Fingerprint {
        let mut names = Sum::default();
        (0..self.len()).for_each(|index| names.labels(&[self.label(index)]));
        Fingerprint { images: self.len(), names: names.value(), contents: 0 }
    }

    /// What lies among the images and is none that can be used, such as a label without an image.
    fn strays(&self) -> &Strays {
        const { &Strays::NONE }
    }

    /// What the owner of the images should know of how they lie, a sentence each.
    fn remarks(&self) -> &[String] {
        &[]
    }

    /// The names of the classes, where the layout has names: of label 0, 1, 2, …
    fn class_names(&self) -> &[String] {
        &[]
    }
}

/// Which files to open, and which of their classes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceConfig {
    /// The layout.
    pub format: Format,
    /// The files of the training images, for layouts in shards: names below the folder with `*`, `?`, `{000..146}`
    /// and `{a,b}`. None: found by their names.
    pub train_files: Option<String>,
    /// The same for the validation images.
    pub val_files: Option<String>,
    /// Labels to keep, renumbered from 0 in this order; none: all.
    pub classes: Option<Vec<u32>>,
}

impl SourceConfig {
    fn pattern(&self, split: Split) -> Option<&str> {
        match split {
            Split::Train => self.train_files.as_deref(),
            Split::Test => self.val_files.as_deref(),
        }
    }
}

/// Opens the images of one split in `folder`, and warns of its [`remarks`](Source::remarks).
///
/// # Errors
///
/// When no layout or more than one is found, a file is missing or damaged, or no image is left.
pub fn open_source(folder: &Path, split: Split, config: &SourceConfig) -> Result<Box<dyn Source>> {
    let pattern = config.pattern(split);
    let source: Box<dyn Source> = match detect::resolve(folder, config)? {
        Format::Auto | Format::List => Box::new(List::open(folder, split)?),
        Format::Folders => Box::new(Folders::open(folder, split)?),
        Format::Ilsvrc => Box::new(Ilsvrc::open(folder, split)?),
        Format::Webdataset => Box::new(WebDataset::open(folder, split, pattern)?),
        #[cfg(feature = "parquet")]
        Format::Parquet => Box::new(Parquet::open(folder, split, pattern)?),
        #[cfg(not(feature = "parquet"))]
        Format::Parquet => {
            let path = folder.to_owned();
            return Err(Error::Feature { path, layout: "parquet", feature: "parquet" });
        }
    };
    warn(source.remarks());
    Ok(match &config.classes {
        Some(classes) => Box::new(Selected::new(source, classes)?),
        None => source,
    })
}

/// Warns of the first few remarks; thousands of shards may have one each.
fn warn(remarks: &[String]) {
    const FEW: usize = 8;
    remarks.iter().take(FEW).for_each(|remark| tracing::warn!("{remark}"));
    if remarks.len() > FEW {
        tracing::warn!("and {} more such remarks on these images", remarks.len() - FEW);
    }
}

/// The name of a split's folder in error messages and in the names of shards.
fn split_name(split: Split) -> &'static str {
    match split {
        Split::Train => "train",
        Split::Test => "val",
    }
}

/// An error about what a folder or archive holds.
fn content(path: &Path, reason: impl Into<String>) -> Error {
    Error::Content { path: path.to_owned(), reason: reason.into() }
}
