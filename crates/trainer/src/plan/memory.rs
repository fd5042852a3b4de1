//! The size of the network, and an estimate of the memory a run needs.

use sparse_model::{NetworkConfig, Parameter, Plan};

use crate::{
    config::{Criterion, Precision, TrainConfig},
    error::Result,
    oneshot::ACTIVATIONS,
};

use super::DataSize;
use super::need::{Need, Part};

const F32: u64 = 4;

/// The sizes of the network that a plan depends on, each a count of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelSize {
    /// In all tensors, moving statistics included.
    pub parameters: usize,
    /// In the trainable tensors.
    pub trainable: usize,
    /// Kept from one image's forward pass for the backward pass: the raw output of every convolution.
    pub activations_per_image: usize,
    /// In the largest layer's output for one image.
    pub largest_activation: usize,
    /// Gradients of such outputs that are there at the same time.
    pub slots: usize,
}

impl ModelSize {
    /// The sizes of the configured network on images of this shape.
    ///
    /// # Errors
    /// [`crate::error::Error::Model`] when there is no network of this width.
    pub fn of(config: &TrainConfig, data: &DataSize) -> Result<Self> {
        let [channels, height, width] = data.image_shape;
        Self::of_network(&config.model.network(channels), [height, width])
    }

    /// The sizes of a network on images of this height and width; what is beyond all numbers is the largest of them.
    ///
    /// # Errors
    /// [`crate::error::Error::Network`] when there is no network of this width.
    pub(crate) fn of_network(network: &NetworkConfig, size: [usize; 2]) -> Result<Self> {
        let plan = Plan::new(network.graph()?)?;
        let shapes = plan.graph.shapes(size)?;
        let total = |counts: &mut dyn Iterator<Item = usize>| counts.fold(0_usize, usize::saturating_add);
        let all = plan.graph.parameters.iter();
        let trained = all.clone().filter(|parameter| parameter.trainable);
        let values = || plan.values.iter().skip(1).filter(|value| !value.is_flat);
        let counts = || values().map(|value| shapes[value.node].count());
        Ok(Self {
            parameters: total(&mut all.map(Parameter::count)),
            trainable: total(&mut trained.map(Parameter::count)),
            activations_per_image: total(&mut counts()),
            largest_activation: counts().max().unwrap_or(0),
            slots: plan.slots,
        })
    }

    /// What training needs: parameters, gradients, momentum and masks; the activations of one batch with the gradients of
    /// the layer at work, f32 or bf16; partial sums and packed weights; the batches that are loaded ahead; a teacher.
    pub(super) fn training(
        &self,
        config: &TrainConfig,
        part_of_batch: usize,
        data: &DataSize,
        steps_per_epoch: usize,
    ) -> Need {
        let train = &config.train;
        let batch_size = part_of_batch as u64;
        let image = image_numbers(data.image_shape);
        let loaded = batches_loaded(config.data.worker_count(), steps_per_epoch);
        let mut need = self.steps(part_of_batch, data.image_shape, train.precision);
        need.add(Part::Loaded, F32.saturating_mul(loaded).saturating_mul(batch_size).saturating_mul(image));
        if super::strategy::rewinds(config) {
            need.add(Part::Weights, F32.saturating_mul(self.parameters as u64));
        }
        if train.ema > 0.0 {
            need.add(Part::Weights, F32.saturating_mul(self.parameters as u64));
        }
        match config.prune.criterion() {
            Criterion::Magnitude => {}
            // A number of 8 bytes for each weight, and the criterion's scores of all of them.
            Criterion::Taylor | Criterion::Movement => {
                need.add(Part::Weights, 16_u64.saturating_mul(self.trainable as u64));
            }
            Criterion::Obs => {
                let images = F32.saturating_mul(config.prune.obs_images.min(data.train_len) as u64);
                // Those of the network before and after, as far as they are kept.
                let outputs = images.saturating_mul(2).saturating_mul(self.largest_activation as u64);
                need.add(
                    Part::Images,
                    images.saturating_mul(image).saturating_add(outputs.min(ACTIVATIONS as u64)),
                );
                // The network as it was, as it becomes, and the sums of the largest layer.
                need.add(Part::Weights, 40_u64.saturating_mul(self.parameters as u64));
            }
        }
        // A teacher keeps its weights and every raw output of its forward pass.
        if train.distill {
            let numbers =
                batch_size.saturating_mul((self.activations_per_image as u64).saturating_add(image));
            need.add(
                Part::Teacher,
                F32.saturating_mul(numbers.saturating_add((self.parameters as u64).saturating_mul(2))),
            );
        }
        need
    }

    /// What steps on batches that are there need.
    pub(crate) fn steps(&self, batch_size: usize, image_shape: [usize; 3], precision: Precision) -> Need {
        /// Sums of the weight gradients at work, packed weights, and what the allocator keeps of them, in parameters.
        const WORK: u64 = 8;
        let [parameters, trainable, activations, largest] =
            [self.parameters, self.trainable, self.activations_per_image, self.largest_activation]
                .map(|count| count as u64);
        let image = image_numbers(image_shape);
        let stored = match precision {
            Precision::F32 => F32,
            Precision::Bf16 => F32 / 2,
        };
        let numbers = parameters.saturating_mul(1 + WORK).saturating_add(trainable.saturating_mul(2));
        let mut need = Need::default();
        need.add(Part::Weights, F32.saturating_mul(numbers).saturating_add(trainable / 8));
        let per_image =
            activations.saturating_add(largest.saturating_mul(self.slots as u64)).saturating_add(image);
        need.add(Part::Activations, stored.saturating_mul(per_image).saturating_mul(batch_size as u64));
        need
    }
}

impl ModelSize {
    /// What a test needs: weights as read and as variables, activations of a few layers of a batch, and the batches that are
    /// loaded ahead.
    pub(crate) fn testing(&self, config: &TrainConfig, image_shape: [usize; 3]) -> Need {
        /// The file, the variables, and the velocity that a learner comes with.
        const COPIES: u64 = 3;
        /// A layer's input, its output, and the normalised output.
        const ALIVE: u64 = 3;
        let batch = F32.saturating_mul(config.train.batch_size_for_validation as u64);
        let loaded = batches_loaded(config.data.worker_count(), usize::MAX);
        let mut need = Need::default();
        need.add(Part::Weights, F32.saturating_mul(COPIES).saturating_mul(self.parameters as u64));
        need.add(
            Part::Activations,
            batch.saturating_mul(ALIVE).saturating_mul(self.largest_activation as u64),
        );
        need.add(Part::Loaded, batch.saturating_mul(loaded).saturating_mul(image_numbers(image_shape)));
        need
    }

    /// What the engine needs for images of this shape, `batch` of them at a time on `threads` threads.
    pub(crate) fn inference(&self, batch: usize, threads: usize, image_shape: [usize; 3]) -> Need {
        let at_a_time = batch.min(threads).max(1) as u64;
        let mut need = Need::default();
        need.add(Part::Weights, F32.saturating_mul(2).saturating_mul(self.parameters as u64));
        need.add(
            Part::Activations,
            F32.saturating_mul(at_a_time).saturating_mul(self.largest_activation as u64),
        );
        need.add(Part::Loaded, F32.saturating_mul(batch as u64).saturating_mul(image_numbers(image_shape)));
        need
    }
}

fn image_numbers(shape: [usize; 3]) -> u64 {
    shape.iter().fold(1, |product, &side| product.saturating_mul(side as u64))
}

/// Batches that a loader and the step hold together: each worker puts one together and has two ready, and one is in use.
fn batches_loaded(workers: usize, steps_per_epoch: usize) -> u64 {
    (3 * workers.min(steps_per_epoch)).saturating_add(1).min(steps_per_epoch) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DataKind;

    #[test]
    fn the_network_is_as_large_as_paddleslim_counts_it() {
        let config = TrainConfig::defaults(DataKind::Imagenet);
        let data = DataSize { train_len: 1, test_len: 1, classes: 1000, image_shape: [3, 224, 224] };
        let size = ModelSize::of(&config, &data).unwrap();
        assert_eq!((size.parameters, size.trainable), (4_253_864, 4_231_976));
        assert_eq!(size.largest_activation, 64 * 112 * 112);
    }

    #[test]
    fn activations_follow_the_strides_rounded_up() {
        let mut config = TrainConfig::defaults(DataKind::Mnist);
        config.model.scale = 1.0 / 32.0;
        let data = DataSize { train_len: 1, test_len: 1, classes: 10, image_shape: [1, 28, 28] };
        let size = ModelSize::of(&config, &data).unwrap();
        // Channels 1 2 4 4 8 8 16 (six times) 32 32, at sides 14 7 4 2 1.
        let at_14 = 1 + 1 + 2;
        let at_7 = 2 + 4 + 4 + 4;
        let at_4 = 4 + 8 + 8 + 8;
        let at_2 = 8 + 16 + 5 * 32;
        let at_1 = 16 + 32 + 32 + 32;
        let outputs = 196 * at_14 + 49 * at_7 + 16 * at_4 + 4 * at_2 + at_1;
        assert_eq!(size.activations_per_image, outputs);
        assert_eq!(size.largest_activation, 392);
    }

    #[test]
    fn memory_is_state_plus_batches() {
        let mut config = TrainConfig::defaults(DataKind::Mnist);
        (config.train.batch_size, config.data.num_workers) = (10, Some(2));
        let data = DataSize { train_len: 100, test_len: 10, classes: 10, image_shape: [1, 4, 4] };
        let model = ModelSize {
            parameters: 1000,
            trainable: 800,
            activations_per_image: 50,
            largest_activation: 20,
            slots: 2,
        };
        let state = 4 * (9000 + 1600) + 100;
        let bytes = |config: &TrainConfig| model.training(config, config.train.batch_size, &data, 10).bytes();
        assert_eq!(bytes(&config), state + 10 * 4 * (50 + 40 + 16 + 7 * 16));
        config.train.precision = Precision::Bf16;
        assert_eq!(bytes(&config), state + 10 * (2 * (50 + 40 + 16) + 4 * 7 * 16));
        // Never more batches than an epoch has.
        config.data.num_workers = Some(64);
        assert_eq!(bytes(&config), state + 10 * (2 * (50 + 40 + 16) + 4 * 10 * 16));
    }

    #[test]
    fn a_width_beyond_all_numbers_is_counted_and_does_not_wrap() {
        let mut config = TrainConfig::defaults(DataKind::Mnist);
        let data = DataSize { train_len: 1, test_len: 1, classes: 10, image_shape: [1, 28, 28] };
        for scale in [1e3, 1e9, 1e300] {
            config.model.scale = scale;
            let size = ModelSize::of(&config, &data).unwrap();
            assert!(size.training(&config, config.train.batch_size, &data, 1).bytes() > 1 << 40, "{scale}");
            assert!(size.testing(&config, data.image_shape).bytes() > 1 << 40, "{scale}");
        }
    }
}
