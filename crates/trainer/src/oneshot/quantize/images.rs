//! The images that a network is rounded by, and others on which it is compared with what it was.

use super::super::activations::Activations;
use super::super::images::{BATCH, Images};
use super::super::layers::Layer;
use super::super::{OneshotObserver, memory};
use super::Asked;
use crate::error::Result;

/// Images on which the networks are compared, as many as there are.
const COMPARED: usize = 256;

/// Images in two parts.
pub(super) struct Read {
    pub(super) looked_at: LookedAt,
    /// Those to compare on.
    pub(super) compared: Activations,
    /// Labels of the latter, if they have any.
    pub(super) labels: Option<Vec<u32>>,
}

/// Those to look at.
pub(super) struct LookedAt {
    batches: Vec<Vec<f32>>,
    /// Bytes that activations may take.
    memory: usize,
    per_image: usize,
    threads: usize,
    /// Whether they may be needed again.
    again: bool,
}

impl Read {
    pub(super) fn of(asked: &Asked<'_>, observer: &mut dyn OneshotObserver) -> Result<Self> {
        let job = asked.job;
        let (oneshot, per_image) = (job.oneshot, job.file.input_shape().iter().product::<usize>());
        let there = job.pool.len();
        // Of few images a fifth is set apart, and one alone is compared on itself.
        let apart = COMPARED.min(there.saturating_sub(oneshot.images)).max((there / 5).min(COMPARED));
        let count = oneshot.images.min(there - apart);
        if count < oneshot.images {
            tracing::warn!(
                "there are {count} images to look at, and {apart} to compare on, and not {}",
                oneshot.images
            );
        }
        let layers: Vec<Layer> = asked
            .layers
            .iter()
            .map(|(layer, support)| layer.moved(&job.file.graph, layer.node, support.is_some()))
            .collect();
        // With a loss that may not be passed, all may have to be done anew.
        let again = asked.quantizing.loss.is_some();
        let beside = apart + if again { count } else { 0 };
        let memory = memory::for_activations(oneshot, &layers, per_image, count + beside)?;
        let memory = memory - beside * per_image * size_of::<f32>();
        let images = job.pool.read(job.config, count + apart, job.stop, observer)?;
        images.differ(per_image, &job.config.data.path)?;
        let Images { batches, labels, labelled } = images;
        let count = count.min(labels.len());
        let (batches, compared) = split(batches, count, per_image);
        let labels = labels[if compared.is_empty() { 0 } else { count }..].to_vec();
        let compared = if compared.is_empty() { batches.clone() } else { compared };
        let threads = oneshot.threads;
        Ok(Self {
            looked_at: LookedAt { batches, memory, per_image, threads, again },
            compared: Activations::of(compared, per_image, 0, threads),
            labels: labelled.then_some(labels),
        })
    }
}

impl LookedAt {
    /// Those to look at, before the first layer.
    pub(super) fn activations(&mut self) -> Activations {
        let batches = if self.again { self.batches.clone() } else { std::mem::take(&mut self.batches) };
        Activations::of(batches, self.per_image, self.memory, self.threads)
    }
}

/// The first images, and those after them, in batches.
fn split(batches: Vec<Vec<f32>>, count: usize, per_image: usize) -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
    let (mut first, mut rest) = (Vec::new(), Vec::new());
    for (number, mut batch) in batches.into_iter().enumerate() {
        let left = count.saturating_sub(number * BATCH) * per_image;
        let after = batch.split_off(left.min(batch.len()));
        first.extend(Some(batch).filter(|batch| !batch.is_empty()));
        rest.extend(Some(after).filter(|batch| !batch.is_empty()));
    }
    (first, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_is_in_one_part() {
        let batch = |from: usize, count: usize| (2 * from..2 * (from + count)).map(|at| at as f32).collect();
        let batches: Vec<Vec<f32>> = vec![batch(0, BATCH), batch(BATCH, BATCH), batch(2 * BATCH, 3)];
        let (first, rest) = split(batches.clone(), BATCH + 5, 2);
        assert_eq!(first.iter().map(Vec::len).collect::<Vec<_>>(), [2 * BATCH, 10]);
        assert_eq!([first, rest].concat().concat(), batches.concat());
        assert!(split(batches, 99, 2).1.is_empty());
    }
}
