//! CIFAR-10 and CIFAR-100, binary versions.

use crate::{CropFlip, Dataset, Error, Fingerprint, InMemory, Jitter, Normalise, Result, Split, View, files};
use std::path::Path;

const SHAPE: [usize; 3] = [3, 32, 32];
const PIXELS: usize = 3 * 32 * 32;

/// Which of the two sets, and which labels of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CifarLabels {
    /// CIFAR-10.
    Ten,
    /// CIFAR-100 by its classes.
    Fine,
    /// CIFAR-100 by the twenty groups of its classes.
    Coarse,
}

impl CifarLabels {
    /// Bytes in front of the pixels of a record, one for each label.
    const fn bytes(self) -> usize {
        match self {
            Self::Ten => 1,
            Self::Fine | Self::Coarse => 2,
        }
    }

    /// Which of them is the label.
    const fn place(self) -> usize {
        match self {
            Self::Ten | Self::Coarse => 0,
            Self::Fine => 1,
        }
    }

    const fn classes(self) -> usize {
        match self {
            Self::Ten => 10,
            Self::Fine => 100,
            Self::Coarse => 20,
        }
    }

    /// The files of a split.
    const fn files(self, split: Split) -> &'static [&'static str] {
        match (self, split) {
            (Self::Ten, Split::Train) => &[
                "data_batch_1.bin",
                "data_batch_2.bin",
                "data_batch_3.bin",
                "data_batch_4.bin",
                "data_batch_5.bin",
            ],
            (Self::Ten, Split::Test) => &["test_batch.bin"],
            (Self::Fine | Self::Coarse, Split::Train) => &["train.bin"],
            (Self::Fine | Self::Coarse, Split::Test) => &["test.bin"],
        }
    }
}

/// CIFAR-10 from the folder `cifar-10-batches-bin` or CIFAR-100 from `cifar-100-binary`, kept in memory: images
/// `[3, 32, 32]`.
///
/// A file is a row of records: the label, of CIFAR-100 that of the group and that of the class, a byte each, then 1024
/// red, 1024 green and 1024 blue bytes (source: the description on the home page of both, Krizhevsky).
#[derive(Clone, Debug)]
pub struct Cifar(InMemory);

impl Cifar {
    /// Reads one split from `folder`: `data_batch_1.bin` to `data_batch_5.bin` or `test_batch.bin`, of CIFAR-100
    /// `train.bin` or `test.bin`. Images are not augmented.
    ///
    /// # Errors
    ///
    /// When a file is missing, no whole number of records long, or holds a label that is no class.
    pub fn open(
        folder: impl AsRef<Path>,
        labels: CifarLabels,
        split: Split,
        normalise: &Normalise,
    ) -> Result<Self> {
        let mut records = Records { labels, pixels: Vec::new(), classes: Vec::new() };
        for name in labels.files(split) {
            records.append(&folder.as_ref().join(name))?;
        }
        InMemory::new(records.pixels, records.classes, SHAPE, labels.classes(), normalise).map(Self)
    }

    /// Shifts and mirrors images that are read with [`View::Train`].
    pub fn with_augment(self, augment: CropFlip) -> Self {
        Self(self.0.with_augment(augment))
    }

    /// Changes colours of images that are read with [`View::Train`], and turns them.
    ///
    /// # Errors
    ///
    /// As [`InMemory::with_jitter`].
    pub fn with_jitter(self, jitter: Jitter) -> Result<Self> {
        self.0.with_jitter(jitter).map(Self)
    }

    /// All labels, in the order of the images.
    pub fn labels(&self) -> &[u32] {
        self.0.labels()
    }
}

/// What was read so far.
struct Records {
    labels: CifarLabels,
    pixels: Vec<u8>,
    classes: Vec<u32>,
}

impl Records {
    /// Appends the records of one file.
    fn append(&mut self, path: &Path) -> Result<()> {
        let (record, classes) = (self.labels.bytes() + PIXELS, self.labels.classes());
        let what = match self.labels {
            CifarLabels::Ten => "CIFAR-10 batch (binary version)",
            CifarLabels::Fine | CifarLabels::Coarse => "CIFAR-100 split (binary version)",
        };
        let bytes = files::read(path, what, files::FILE_LIMIT)?;
        if bytes.is_empty() || bytes.len() % record != 0 {
            let hint = hint(self.labels, &bytes);
            let (record, got) = (record as u64, bytes.len() as u64);
            return Err(Error::RecordSize { path: path.to_owned(), record, got, hint });
        }
        self.pixels.reserve_exact(bytes.len() / record * PIXELS);
        for (position, record) in bytes.chunks_exact(record).enumerate() {
            let label = record[self.labels.place()];
            if usize::from(label) >= classes {
                let place = format!("{}, record {position} (from 0)", path.display());
                return Err(Error::Label { place, label: u64::from(label), classes });
            }
            self.classes.push(u32::from(label));
            self.pixels.extend_from_slice(&record[self.labels.bytes()..]);
        }
        Ok(())
    }
}

/// What a file is whose size is none of these records, and what to do.
fn hint(labels: CifarLabels, bytes: &[u8]) -> &'static str {
    let (other, is_other, fetch) = match labels {
        CifarLabels::Ten => (
            CifarLabels::Fine,
            "its size is that of CIFAR-100: `--data cifar100` reads it",
            "take the binary version (cifar-10-binary.tar.gz), unpacked, or fetch it again if it is that",
        ),
        CifarLabels::Fine | CifarLabels::Coarse => (
            CifarLabels::Ten,
            "its size is that of CIFAR-10: `--data cifar10` reads it",
            "take the binary version (cifar-100-binary.tar.gz), unpacked, or fetch it again if it is that",
        ),
    };
    match bytes {
        [0x1f, 0x8b, ..] => "it is compressed with gzip: unpack it",
        // A protocol of pickle from 2 to 5.
        [0x80, 2..=5, ..] => {
            "it is of the Python version; take the binary one, whose archive ends in -binary.tar.gz"
        }
        [_, ..] if bytes.len().is_multiple_of(other.bytes() + PIXELS) => is_other,
        _ => fetch,
    }
}

impl Dataset for Cifar {
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
