//! Opens the data set that a config names.

use crate::config::{BadImagePolicy, DataFormat, DataKind, DataSection, TrainConfig};
use crate::error::Result;
use crate::image_input::ImageInput;
use crate::plan::DataSize;
use crate::ranks::Ranks;
use sparse_data::{
    BadImages, Cifar, CifarLabels, CropFlip, Dataset, Format, ImageSet, ImageSetConfig, Jitter, Mnist,
    Normalise, SourceConfig, Split, Transform, TransformConfig, open_source,
};
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
        let train = open_split(config, Split::Train)?;
        // Its classes are those of the training images, which were told of.
        Ok(Self { train, test: open_told(config, Split::Test, false)? })
    }

    /// As [`Datasets::open`], by several processes. Of those on one machine the one that is `first_here` makes a cache of decoded
    /// images that is missing, and the others wait for it.
    ///
    /// # Errors
    /// As [`Datasets::open`], and if another process is gone.
    pub fn open_shared(config: &TrainConfig, ranks: &Ranks, first_here: bool) -> Result<Self> {
        let waits = config.data.cache_file().is_some() && !first_here;
        let opened = (!waits).then(|| Self::open(config)).transpose()?;
        ranks.barrier()?;
        opened.map_or_else(|| Self::open(config), Ok)
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
    open_told(config, split, true)
}

/// As [`open_split`]; `tell`: warns of outputs without a class.
fn open_told(config: &TrainConfig, split: Split, tell: bool) -> Result<Arc<dyn Dataset>> {
    let DataSection { data, path, mean, std, augment, coarse_labels, .. } = &config.data;
    let normalise = normalisation(*data, mean, std)?;
    if let (Split::Train, Some(note)) = (split, unit_note(*data, mean, std)) {
        tracing::warn!("{note}");
    }
    Ok(match data {
        DataKind::Mnist => {
            let mnist = Mnist::open(path, split, &normalise)?;
            if *augment {
                Arc::new(mnist.with_augment(CropFlip { padding: 2, flip: false }))
            } else {
                Arc::new(mnist)
            }
        }
        DataKind::Cifar10 | DataKind::Cifar100 => {
            let labels = match (data, coarse_labels) {
                (DataKind::Cifar10, _) => CifarLabels::Ten,
                (_, false) => CifarLabels::Fine,
                (_, true) => CifarLabels::Coarse,
            };
            let cifar = Cifar::open(path, labels, split, &normalise)?;
            Arc::new(if *augment { augmented(cifar, config.data.jitter())? } else { cifar })
        }
        DataKind::Imagenet => Arc::new(open_images(config, split, tell)?),
    })
}

/// With crops and flips, and with other colours and turns if there are to be any.
fn augmented(cifar: Cifar, jitter: Jitter) -> Result<Cifar> {
    let cropped = cifar.with_augment(CropFlip::CIFAR);
    Ok(if jitter == Jitter::default() { cropped } else { cropped.with_jitter(jitter)? })
}

/// Opens encoded images.
fn open_images(config: &TrainConfig, split: Split, tell: bool) -> Result<ImageSet> {
    let data = &config.data;
    let transform = transform(data)?;
    let source = open_source(&data.path, split, &source_config(data))?;
    let (classes, outputs) = (source.class_names().len(), config.model.num_classes);
    if (1..outputs).contains(&classes) && tell {
        tracing::warn!(
            "{} has {classes} classes and the network {outputs} outputs; for an output per class give \
             --set model.num_classes={classes}",
            data.path.display()
        );
    }
    let settings = ImageSetConfig {
        classes: outputs,
        bad_images: match data.bad_images {
            BadImagePolicy::Error => BadImages::Refuse,
            BadImagePolicy::Skip => BadImages::Skip { limit: data.bad_images_limit },
        },
    };
    let mut images = ImageSet::new(source, transform, settings)?;
    if let (Split::Train, Some(file)) = (split, data.cache_file()) {
        tracing::info!("decoded images: {}", file.display());
        if let Some(reason) = images.keep(&file, data.worker_count())? {
            tracing::info!("they were decoded anew: {reason}");
        }
    }
    Ok(images)
}

/// Where the encoded images of a config lie.
pub(crate) fn source_config(data: &DataSection) -> SourceConfig {
    SourceConfig {
        format: match data.format {
            DataFormat::Auto => Format::Auto,
            DataFormat::List => Format::List,
            DataFormat::Folders => Format::Folders,
            DataFormat::Ilsvrc => Format::Ilsvrc,
            DataFormat::Webdataset => Format::Webdataset,
            DataFormat::Parquet => Format::Parquet,
        },
        train_files: data.train_files.clone(),
        val_files: data.val_files.clone(),
        classes: data.classes.clone(),
    }
}

/// How image files become network input.
pub(crate) fn transform(data: &DataSection) -> Result<Transform> {
    let config = TransformConfig {
        augment: data.augment,
        crop_area: data.crop_area,
        color_jitter: data.color_jitter,
        rotate: data.rotate,
        rand_augment: data.rand_augment,
        ..ImageInput::of(data).view(data.data.channels())?
    };
    Ok(Transform::new(&config)?)
}

fn normalisation(data: DataKind, mean: &[f64], std: &[f64]) -> Result<Normalise> {
    Ok(Normalise::of_white(white(data), mean, std)?)
}

/// A word about numbers that were counted from 0 to 1 where the config counts from 0 to 255.
fn unit_note(data: DataKind, mean: &[f64], std: &[f64]) -> Option<String> {
    let are_fractions =
        |values: &[f64]| values.iter().all(|&value| value <= 1.0) && values.iter().any(|&value| value > 0.0);
    let looks = white(data) > 1.0 && (are_fractions(mean) || are_fractions(std));
    looks.then(|| {
        format!(
            "data.mean={mean:?} and data.std={std:?} are counted in pixels from 0 to 255 for {}, and look like fractions of \
             them; multiply them by 255",
            data.name()
        )
    })
}

/// What the config calls a white pixel: it counts MNIST's and CIFAR-10's pixels from 0 to 255, others from 0 to 1.
pub(crate) fn white(data: DataKind) -> f64 {
    match data {
        DataKind::Mnist | DataKind::Cifar10 => 255.0,
        DataKind::Cifar100 | DataKind::Imagenet => 1.0,
    }
}

/// Numbers of the config as the data crate counts them, from 0 to 1.
pub(crate) fn fractions(data: DataKind, values: &[f64]) -> Vec<f64> {
    values.iter().map(|value| value / white(data)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_cannot_be_used_are_told_as_they_were_given() {
        for (data, value, unit) in [
            (DataKind::Mnist, 300.0, "0 to 255"),
            (DataKind::Cifar10, 256.0, "0 to 255"),
            (DataKind::Cifar100, 127.5, "0 to 1 "),
            (DataKind::Imagenet, 127.5, "0 to 1 "),
        ] {
            let error = normalisation(data, &[value], &[1.0]).unwrap_err().to_string();
            assert!(error.contains(&format!("data.mean: [{value:?}]")) && error.contains(unit), "{error}");
            let error = normalisation(data, &[0.0], &[value]).unwrap_err().to_string();
            assert!(error.contains(&format!("data.std: [{value:?}]")) && error.contains(unit), "{error}");
        }
    }

    #[test]
    fn fractions_in_place_of_pixels_get_a_word() {
        for (data, mean, std, noted) in [
            (DataKind::Mnist, 0.1307, 0.3081, true),
            (DataKind::Mnist, 0.0, 1.0, true),
            (DataKind::Mnist, 0.0, 255.0, false),
            (DataKind::Cifar10, 0.5, 127.5, true),
            (DataKind::Cifar10, 127.5, 127.5, false),
            (DataKind::Imagenet, 0.5, 0.5, false),
        ] {
            assert_eq!(unit_note(data, &[mean], &[std]).is_some(), noted, "{data:?} {mean} {std}");
        }
    }
}
