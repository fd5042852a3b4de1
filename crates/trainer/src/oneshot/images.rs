//! The images that a network is pruned by.

use super::{OneshotError, OneshotObserver};
use crate::config::{BadImagePolicy, DataKind, TrainConfig};
use crate::datasets::{open_split, source_config, transform};
use crate::error::Result;
use crate::stop::StopFlag;
use sparse_data::{
    BadImages, Dataset, Fingerprint, Folders, ImageSet, ImageSetConfig, Loader, LoaderConfig, Order, Source,
    Split, open_source,
};
use std::path::Path;
use std::sync::Arc;

/// Images of a batch.
pub(super) const BATCH: usize = 16;

/// Images as a network takes them.
pub(super) struct Images {
    /// `[N, C, H, W]` each.
    pub(super) batches: Vec<Vec<f32>>,
    /// Of each image; zeros where there are none.
    pub(super) labels: Vec<u32>,
    /// Whether they have labels.
    pub(super) labelled: bool,
}

/// Where the images of a split lie.
pub(super) struct Pool {
    dataset: Arc<dyn Dataset>,
    labelled: bool,
}

impl Pool {
    /// Opens a split for a network that takes images of `shape`, `[C, H, W]`.
    ///
    /// # Errors
    /// What opening it reports; [`OneshotError::OtherShape`] if the network takes others.
    pub(super) fn open(config: &TrainConfig, split: Split, shape: [usize; 3]) -> Result<Self> {
        let (dataset, labelled) = open(config, split)?;
        if dataset.image_shape() != shape {
            let data = config.data.data.name();
            return Err(OneshotError::OtherShape { expected: shape, got: dataset.image_shape(), data }.into());
        }
        Ok(Self { dataset, labelled })
    }

    /// Images that there are.
    pub(super) fn len(&self) -> usize {
        self.dataset.len()
    }

    /// What tells these images from others.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.dataset.fingerprint()
    }

    /// So many images, or all there are, drawn by the seed of the config, as a test sees them.
    ///
    /// # Errors
    /// What reading them reports; [`OneshotError::NoUsableImages`] if none can be used.
    pub(super) fn read(
        &self,
        config: &TrainConfig,
        count: usize,
        stop: &StopFlag,
        observer: &mut dyn OneshotObserver,
    ) -> Result<Images> {
        let order = Order::Shuffled { seed: config.train.seed, epoch: 0 };
        let workers = config.data.worker_count();
        let loader =
            Loader::new(self.dataset.clone(), LoaderConfig { order, workers, ..LoaderConfig::eval(BATCH) })?;
        let per_image = self.dataset.image_shape().iter().product::<usize>();
        let wanted = count.min(self.len());
        let mut batches = Batches { full: Vec::new(), open: Vec::new(), numbers: BATCH * per_image };
        let mut labels = Vec::new();
        let mut got = 0;
        for batch in loader {
            let batch = batch?;
            let images = batch.images;
            let taken = (images.len() / per_image).min(wanted - got);
            batches.add(&images[..taken * per_image]);
            labels.extend_from_slice(&batch.labels[..taken]);
            got += taken;
            observer.image(got, wanted);
            stop.check()?;
            if got == wanted {
                break;
            }
        }
        if got == 0 {
            return Err(OneshotError::NoUsableImages { path: config.data.path.clone() }.into());
        }
        Ok(Images { batches: batches.all(), labels, labelled: self.labelled })
    }
}

impl Images {
    /// Refuses several images that are all the same: they say no more than one of them.
    ///
    /// # Errors
    /// [`OneshotError::SameImages`].
    pub(super) fn differ(&self, per_image: usize, path: &Path) -> Result<()> {
        let mut all = self.batches.iter().flat_map(|batch| batch.chunks_exact(per_image.max(1)));
        let count = self.labels.len();
        match all.next() {
            Some(first) if count > 1 && all.all(|image| image == first) => {
                Err(OneshotError::SameImages { count, path: path.to_owned() }.into())
            }
            _ => Ok(()),
        }
    }
}

/// The images of a split, and whether they have labels.
fn open(config: &TrainConfig, split: Split) -> Result<(Arc<dyn Dataset>, bool)> {
    let data = &config.data;
    if data.data != DataKind::Imagenet {
        return Ok((open_split(config, split)?, true));
    }
    let bad_images = match data.bad_images {
        BadImagePolicy::Error => BadImages::Refuse,
        BadImagePolicy::Skip => BadImages::Skip { limit: data.bad_images_limit },
    };
    let settings = ImageSetConfig { classes: usize::MAX, bad_images };
    let (source, labelled) = source(config, split)?;
    Ok((Arc::new(ImageSet::new(source, transform(data)?, settings)?), labelled))
}

/// A data set of a known layout, or all images below a folder that holds none.
fn source(config: &TrainConfig, split: Split) -> Result<(Box<dyn Source>, bool)> {
    let data = &config.data;
    let layout = match open_source(&data.path, split, &source_config(data)) {
        Ok(source) => return Ok((source, true)),
        Err(error @ sparse_data::Error::Layout { .. }) => error,
        Err(error) => return Err(error.into()),
    };
    let Ok(images) = Folders::without_labels(&data.path) else { return Err(layout.into()) };
    tracing::info!(
        "{}: no data set, so images are drawn from all {} in it",
        data.path.display(),
        images.len()
    );
    Ok((Box::new(images), false))
}

/// Images put together to batches of one size.
struct Batches {
    full: Vec<Vec<f32>>,
    open: Vec<f32>,
    numbers: usize,
}

impl Batches {
    fn add(&mut self, mut images: &[f32]) {
        while !images.is_empty() {
            let (taken, rest) = images.split_at(images.len().min(self.numbers - self.open.len()));
            self.open.reserve_exact(self.numbers - self.open.len());
            self.open.extend_from_slice(taken);
            images = rest;
            if self.open.len() == self.numbers {
                self.full.push(std::mem::take(&mut self.open));
            }
        }
    }

    fn all(mut self) -> Vec<Vec<f32>> {
        if !self.open.is_empty() {
            self.full.push(self.open);
        }
        self.full
    }
}
