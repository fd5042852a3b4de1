//! MNIST and the data sets in its format (Fashion-MNIST, KMNIST, …).

use crate::{CropFlip, Dataset, Error, Fingerprint, InMemory, Normalise, Result, Split, View, idx};
use std::path::{Path, PathBuf};

/// Every data set of this format has ten classes.
const CLASSES: usize = 10;

/// Images and labels from a folder of four IDX files, plain or gzipped, kept in memory.
///
/// Images have shape `[1, H, W]` with the size the file gives (28×28 in MNIST), and ten classes.
#[derive(Clone, Debug)]
pub struct Mnist(InMemory);

/// The files of one split.
struct Names {
    images: &'static str,
    labels: &'static str,
    what_images: &'static str,
    what_labels: &'static str,
}

const TRAIN: Names = Names {
    images: "train-images-idx3-ubyte",
    labels: "train-labels-idx1-ubyte",
    what_images: "MNIST training images (IDX, plain or .gz)",
    what_labels: "MNIST training labels (IDX, plain or .gz)",
};

const TEST: Names = Names {
    images: "t10k-images-idx3-ubyte",
    labels: "t10k-labels-idx1-ubyte",
    what_images: "MNIST test images (IDX, plain or .gz)",
    what_labels: "MNIST test labels (IDX, plain or .gz)",
};

impl Mnist {
    /// Reads one split from `folder`: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` or the `t10k-` pair,
    /// each with or without `.gz`, and also with a dot before `idx`.
    ///
    /// # Errors
    ///
    /// When a file is missing, cut short, damaged or of another format, images and labels differ in number, or
    /// a label is above 9.
    pub fn open(folder: impl AsRef<Path>, split: Split, normalise: &Normalise) -> Result<Self> {
        let names = match split {
            Split::Train => &TRAIN,
            Split::Test => &TEST,
        };
        let images_path = find(folder.as_ref(), names.images);
        let labels_path = find(folder.as_ref(), names.labels);
        let images = idx::read(&images_path, names.what_images, 3)?;
        let labels = idx::read(&labels_path, names.what_labels, 1)?.data;
        let (count, shape) = (images.dimensions[0], [1, images.dimensions[1], images.dimensions[2]]);
        if count != labels.len() {
            let (images, labels) = (count, labels.len());
            return Err(Error::CountMismatch { images_path, images, labels_path, labels });
        }
        if images.data.is_empty() {
            return Err(Error::empty(images_path.display().to_string()));
        }
        if let Some(position) = labels.iter().position(|&label| usize::from(label) >= CLASSES) {
            let place = format!("{}, label {position} (from 0)", labels_path.display());
            return Err(Error::Label { place, label: u64::from(labels[position]), classes: CLASSES });
        }
        let labels = labels.into_iter().map(u32::from).collect();
        InMemory::new(images.data, labels, shape, CLASSES, normalise).map(Self)
    }

    /// Augments training images; PaddleSlim does not. Leave flips off for digits.
    pub fn with_augment(self, augment: CropFlip) -> Self {
        Self(self.0.with_augment(augment))
    }

    /// All labels, in the order of the images.
    pub fn labels(&self) -> &[u32] {
        self.0.labels()
    }
}

/// The file called `name` or `name.gz`, or with a dot before `idx` as some copies have it; `name` if there is none, for
/// the message.
fn find(folder: &Path, name: &str) -> PathBuf {
    let dotted = name.replace("-idx", ".idx");
    let names = [name.to_owned(), format!("{name}.gz"), dotted.clone(), format!("{dotted}.gz")];
    let there = names.iter().map(|name| folder.join(name)).find(|path| path.exists());
    there.unwrap_or_else(|| folder.join(name))
}

impl Dataset for Mnist {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn classes(&self) -> usize {
        self.0.classes()
    }

    fn image_shape(&self) -> [usize; 3] {
        self.0.image_shape()
    }

    fn read(&self, index: usize, view: View, image: &mut [f32]) -> Result<u32> {
        self.0.read(index, view, image)
    }

    fn fingerprint(&self) -> Fingerprint {
        self.0.fingerprint()
    }
}
