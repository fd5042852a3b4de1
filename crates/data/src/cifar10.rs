//! CIFAR-10, binary version.

use crate::{CropFlip, Dataset, Error, Fingerprint, InMemory, Normalise, Result, Split, View, files};
use std::path::Path;

const CLASSES: usize = 10;
const SHAPE: [usize; 3] = [3, 32, 32];
const RECORD: usize = 1 + 3 * 32 * 32;
const TRAIN: [&str; 5] =
    ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"];
const TEST: [&str; 1] = ["test_batch.bin"];

/// CIFAR-10 from the folder `cifar-10-batches-bin`, kept in memory: images `[3, 32, 32]`, ten classes.
///
/// A file is a row of records: one label byte, then 1024 red, 1024 green and 1024 blue bytes (source: the
/// description on the CIFAR-10 home page, Krizhevsky).
#[derive(Clone, Debug)]
pub struct Cifar10(InMemory);

impl Cifar10 {
    /// Reads one split from `folder`: `data_batch_1.bin` to `data_batch_5.bin`, or `test_batch.bin`.
    ///
    /// With `augment`, images read with [`View::Train`] are shifted by up to 4 pixels and mirrored half of the
    /// time ([`CropFlip::CIFAR10`]); PaddleSlim trains without.
    ///
    /// # Errors
    ///
    /// When a file is missing, no whole number of records long, or holds a label above 9.
    pub fn open(
        folder: impl AsRef<Path>,
        split: Split,
        normalise: &Normalise,
        augment: bool,
    ) -> Result<Self> {
        let names = match split {
            Split::Train => &TRAIN[..],
            Split::Test => &TEST[..],
        };
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for name in names {
            append(&folder.as_ref().join(name), &mut pixels, &mut labels)?;
        }
        let images = InMemory::new(pixels, labels, SHAPE, CLASSES, normalise)?;
        Ok(Self(if augment { images.with_augment(CropFlip::CIFAR10) } else { images }))
    }

    /// All labels, in the order of the images.
    pub fn labels(&self) -> &[u32] {
        self.0.labels()
    }
}

/// Appends the records of one file.
fn append(path: &Path, pixels: &mut Vec<u8>, labels: &mut Vec<u32>) -> Result<()> {
    let bytes = files::read(path, "CIFAR-10 batch (binary version)", files::FILE_LIMIT)?;
    if bytes.is_empty() || bytes.len() % RECORD != 0 {
        let (record, got) = (RECORD as u64, bytes.len() as u64);
        return Err(Error::RecordSize { path: path.to_owned(), record, got });
    }
    pixels.reserve_exact(bytes.len() / RECORD * (RECORD - 1));
    for (position, record) in bytes.chunks_exact(RECORD).enumerate() {
        let label = record[0];
        if usize::from(label) >= CLASSES {
            let place = format!("{}, record {position} (from 0)", path.display());
            return Err(Error::Label { place, label: u64::from(label), classes: CLASSES });
        }
        labels.push(u32::from(label));
        pixels.extend_from_slice(&record[1..]);
    }
    Ok(())
}

impl Dataset for Cifar10 {
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
