//! What a loader thread does.

use crate::dataset::{Batch, Dataset, View, values_per_image};
use crate::{Error, Result};
use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;

/// The order of a pass.
pub(crate) enum Indices {
    Listed(Vec<usize>),
    Sequential(usize),
}

impl Indices {
    fn len(&self) -> usize {
        match self {
            Self::Listed(order) => order.len(),
            Self::Sequential(len) => *len,
        }
    }

    fn at(&self, position: usize) -> usize {
        match self {
            Self::Listed(order) => order[position],
            Self::Sequential(_) => position,
        }
    }
}

/// Which images of a step are this process's.
pub(crate) struct Share {
    pub(crate) batch_size: usize,
    pub(crate) rank: usize,
    pub(crate) ranks: usize,
}

impl Share {
    /// The positions of step `number` in an order of `len` images.
    fn positions(&self, number: usize, len: usize) -> Range<usize> {
        let step = self.batch_size.saturating_mul(self.ranks);
        let start = number * step;
        let images = step.min(len - start);
        let bound = |rank| start + (images as u128 * rank as u128 / self.ranks as u128) as usize;
        bound(self.rank)..bound(self.rank + 1)
    }
}

/// What all workers of a loader share.
pub(crate) struct Job {
    pub(crate) dataset: Arc<dyn Dataset>,
    pub(crate) indices: Indices,
    pub(crate) view: View,
    pub(crate) share: Share,
    pub(crate) stop: Arc<AtomicBool>,
}

impl Job {
    /// Makes the batches with these numbers until all are sent, one fails, or the loader is gone.
    pub(crate) fn run(&self, numbers: impl Iterator<Item = usize>, sender: &SyncSender<Result<Batch>>) {
        for number in numbers {
            let Some(batch) = self.make_batch(number).transpose() else { return };
            let failed = batch.is_err();
            if sender.send(batch).is_err() || failed {
                return;
            }
        }
    }

    /// Reads one batch; none when the loader was told to stop meanwhile.
    fn make_batch(&self, number: usize) -> Result<Option<Batch>> {
        let [channels, height, width] = self.dataset.image_shape();
        let values = values_per_image(&*self.dataset);
        let positions = self.share.positions(number, self.indices.len());
        let mut images = vec![0.0; positions.len() * values];
        let mut labels = Vec::with_capacity(positions.len());
        for position in positions {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let image = &mut images[labels.len() * values..][..values];
            match self.read(self.indices.at(position), image) {
                Ok(label) => labels.push(label),
                Err(Error::LeftOut { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        images.truncate(labels.len() * values);
        Ok(Some(Batch { number, shape: [labels.len(), channels, height, width], images, labels }))
    }

    /// Reads one image; a panic in the data set becomes an error.
    fn read(&self, index: usize, image: &mut [f32]) -> Result<u32> {
        let read = catch_unwind(AssertUnwindSafe(|| self.dataset.read(index, self.view, image)));
        let label =
            read.map_err(|payload| Error::Panicked { index, message: panic_message(&*payload) })??;
        let classes = self.dataset.classes();
        if label as usize >= classes {
            let place = format!("image {index} of the data set");
            return Err(Error::Label { place, label: u64::from(label), classes });
        }
        Ok(label)
    }
}

/// The message of a caught panic.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
