//! Accuracy of a model over a whole data set.

use crate::error::{Error, Result};
use crate::metrics::Accuracy;
use crate::observer::Observer;
use crate::predictions::Prediction;
use crate::ranks::Ranks;
use crate::stop::StopFlag;
use candle_core::{DType, Device, Tensor};
use sparse_collectives::Slice;
use sparse_data::{Batch, Dataset, Loader, LoaderConfig};
use sparse_ops::cross_entropy;
use std::sync::Arc;

/// What an evaluation found, over every good image once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// Images seen.
    pub images: u64,
    /// Fraction whose label ranks first.
    pub top1: f64,
    /// Fraction whose label ranks among the first five.
    pub top5: f64,
    /// Mean loss, without label smoothing.
    pub loss: f64,
}

/// How the images are fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feed {
    /// Images per batch; the figures do not depend on it beyond rounding of the loss.
    pub batch_size: usize,
    /// Threads that read images.
    pub workers: usize,
}

/// Tests what gives `scores` (`[N, C, H, W]` → `[N, classes]`) on every image of `dataset`; images that cannot be used are left out. What the model says of each is in
/// the order of the data set, and numbered by it without those left out. Each of `ranks` tests its part of every batch, and all
/// find the same.
///
/// # Errors
/// What reading an image or an operation reports; [`Error::Stopped`] if a signal asked to stop.
pub fn evaluate(
    mut scores: impl FnMut(&Tensor) -> Result<Tensor>,
    dataset: Arc<dyn Dataset>,
    feed: Feed,
    ranks: &Ranks,
    stop: &StopFlag,
    observer: &mut dyn Observer,
) -> Result<(Evaluation, Vec<Prediction>)> {
    let place = ranks.place();
    let mut loader = LoaderConfig::eval(feed.batch_size.div_ceil(place.ranks));
    (loader.workers, loader.rank, loader.ranks) = (feed.workers, place.rank, place.ranks);
    let loader = Loader::new(dataset, loader)?;
    let (mut accuracy, mut loss, batches) = (Accuracy::default(), 0.0, loader.batches());
    let mut found = Vec::new();
    for batch in loader {
        let batch = batch?;
        if !batch.labels.is_empty() {
            let logits = scores(&images_of(&batch)?)?;
            let mean =
                cross_entropy(&logits, &batch.labels, 0.0)?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
            loss += mean * batch.labels.len() as f64;
            let rows = scores_of(&logits)?;
            accuracy.add(&rows, &batch.labels);
            let rows = rows.chunks_exact(logits.dims()[1]).zip(&batch.labels);
            found.extend(rows.map(|(row, &label)| Prediction::of(batch.number as u64, label, row)));
        }
        observer.evaluating(batch.number + 1, batches);
        if let Some(signal) = ranks.signal(stop.signal())? {
            return Err(Error::Stopped { signal });
        }
    }
    let predictions = in_order(found, ranks)?;
    let mut counts = [accuracy.samples, accuracy.hits1, accuracy.hits5];
    ranks.sum(Slice::U64(&mut counts))?;
    let mut losses = [loss];
    ranks.sum(Slice::F64(&mut losses))?;
    let ([samples, hits1, hits5], [loss]) = (counts, losses);
    let (images, accuracy) = (samples, Accuracy { samples, hits1, hits5 });
    let (top1, top5) = (accuracy.top1(), accuracy.top5());
    Ok((Evaluation { images, top1, top5, loss: loss / images.max(1) as f64 }, predictions))
}

/// The predictions of all ranks in the order of the data set and numbered by it; so far each has the number of its batch.
fn in_order(found: Vec<Prediction>, ranks: &Ranks) -> Result<Vec<Prediction>> {
    let mut predictions = found;
    if ranks.place().ranks > 1 {
        let bytes: Vec<u8> = predictions.iter().flat_map(|prediction| prediction.to_bytes()).collect();
        let of_all = ranks.gather(&bytes)?.concat();
        predictions = of_all.as_chunks().0.iter().map(Prediction::from_bytes).collect();
        // Within a batch the first rank has the first images.
        predictions.sort_by_key(|prediction| prediction.index);
    }
    (0..).zip(&mut predictions).for_each(|(index, prediction)| prediction.index = index);
    Ok(predictions)
}

/// The images of a batch as a tensor `[N, C, H, W]`.
pub(crate) fn images_of(batch: &Batch) -> Result<Tensor> {
    Ok(Tensor::from_slice(&batch.images, batch.shape.as_slice(), &Device::Cpu)?)
}

/// Class scores, `[N, classes]`, as a slice in row order.
pub(crate) fn scores_of(logits: &Tensor) -> Result<Vec<f32>> {
    Ok(logits.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
}
