//! Opens the data set that a config names.

use crate::config::{DataKind, DataSection, TrainConfig};
use crate::error::Result;
use crate::plan::DataSize;
use sparse_data::{Cifar10, Dataset, ImageFolder, ImageFolderConfig, Mnist, Normalise, Split};
use std::sync::Arc;

/// The images to train on and those to test on.
#[derive(Clone)]
pub struct Datasets {
    /// Training images.
    pub train: Arc<dyn Dataset>,
    /// Test images.
    pub test: Arc<dyn Dataset>,
}

impl Datasets {
    /// Opens both splits.
    ///
    /// # Errors
    /// What [`sparse_data`] reports of missing, damaged or malformed files.
    pub fn open(config: &TrainConfig) -> Result<Self> {
        Ok(Self { train: open_split(config, Split::Train)?, test: open_split(config, Split::Test)? })
    }

    /// Two data sets of one's own.
    pub fn new(train: impl Dataset + 'static, test: impl Dataset + 'static) -> Self {
        Self { train: Arc::new(train), test: Arc::new(test) }
    }

    /// The facts a plan needs.
    pub fn size(&self) -> DataSize {
        DataSize {
            train_len: self.train.len(),
            test_len: self.test.len(),
            classes: self.train.classes(),
            image_shape: self.train.image_shape(),
        }
    }
}

/// Opens one split.
///
/// # Errors
/// What [`sparse_data`] reports of missing, damaged or malformed files.
pub fn open_split(config: &TrainConfig, split: Split) -> Result<Arc<dyn Dataset>> {
    let DataSection { data, path, mean, std, image_size, augment, .. } = &config.data;
    let normalise = normalisation(*data, mean, std)?;
    Ok(match data {
        DataKind::Mnist => {
            let mnist = Mnist::open(path, split, &normalise)?;
            if *augment {
                Arc::new(mnist.with_augment(sparse_data::CropFlip { padding: 2, flip: false }))
            } else {
                Arc::new(mnist)
            }
        }
        DataKind::Cifar10 => Arc::new(Cifar10::open(path, split, &normalise, *augment)?),
        DataKind::Imagenet => {
            let defaults = ImageFolderConfig::imagenet(*image_size);
            let folder = ImageFolderConfig { classes: config.model.num_classes, normalise, ..defaults };
            Arc::new(ImageFolder::open(path, split, &folder)?)
        }
    })
}

/// The config counts MNIST's and CIFAR-10's pixels from 0 to 255, the data crate all pixels from 0 to 1.
fn normalisation(data: DataKind, mean: &[f64], std: &[f64]) -> Result<Normalise> {
    let white = if data == DataKind::Imagenet { 1.0 } else { 255.0 };
    let fractions = |values: &[f64]| values.iter().map(|value| value / white).collect();
    Ok(Normalise::new(fractions(mean), fractions(std))?)
}
