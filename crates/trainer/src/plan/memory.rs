//! The size of the network, and an estimate of the memory a run needs.

use sparse_mobilenet::{layers, parameters};

use crate::{
    config::{Precision, TrainConfig},
    error::Result,
};

use super::DataSize;

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
}

impl ModelSize {
    /// The sizes of the configured network on images of this shape.
    ///
    /// # Errors
    /// [`crate::error::Error::Model`] when there is no network of this width.
    pub fn of(config: &TrainConfig, data: &DataSize) -> Result<Self> {
        let [channels, mut height, mut width] = data.image_shape;
        let network = config.model.network(channels);
        let (mut parameter_count, mut trainable) = (0, 0);
        for parameter in parameters(&network)? {
            let count = parameter.shape.iter().product::<usize>();
            parameter_count += count;
            trainable += if parameter.trainable { count } else { 0 };
        }
        let (mut activations_per_image, mut largest_activation) = (0, 0);
        for layer in layers(&network)? {
            (height, width) = (height.div_ceil(layer.stride), width.div_ceil(layer.stride));
            let output = layer.outputs * height * width;
            activations_per_image += output;
            largest_activation = largest_activation.max(output);
        }
        Ok(Self { parameters: parameter_count, trainable, activations_per_image, largest_activation })
    }

    /// Peak bytes: parameters, gradients, momentum and masks; the activations of one batch with the gradients of the
    /// layer at work, f32 or bf16; partial sums and packed weights; and the batches that are loaded ahead.
    pub(super) fn memory_bytes(&self, config: &TrainConfig, data: &DataSize) -> u64 {
        const F32: u64 = 4;
        /// The batch in use, one ready, and one being put together.
        const BATCHES_LOADED: u64 = 3;
        /// Into the layer at work and out of it.
        const GRADIENTS: u64 = 2;
        /// Sums of the weight gradients at work, packed weights, and what the allocator keeps of them, in parameters.
        const WORK: u64 = 8;
        let [parameters, trainable, activations, largest] =
            [self.parameters, self.trainable, self.activations_per_image, self.largest_activation]
                .map(|count| count as u64);
        let batch_size = config.train.batch_size as u64;
        let image = data.image_shape.iter().map(|&side| side as u64).product::<u64>();
        let stored = match config.train.precision {
            Precision::F32 => F32,
            Precision::Bf16 => F32 / 2,
        };
        let state = F32 * (parameters * (1 + WORK) + 2 * trainable) + trainable / 8;
        let per_image = stored * (activations + GRADIENTS * largest + image) + F32 * BATCHES_LOADED * image;
        // A teacher keeps its weights and every raw output of its forward pass.
        let teacher = match config.train.distill {
            true => F32 * (parameters * 2 + batch_size.saturating_mul(activations + image)),
            false => 0,
        };
        state.saturating_add(batch_size.saturating_mul(per_image)).saturating_add(teacher)
    }
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
        config.train.batch_size = 10;
        let data = DataSize { train_len: 100, test_len: 10, classes: 10, image_shape: [1, 4, 4] };
        let model =
            ModelSize { parameters: 1000, trainable: 800, activations_per_image: 50, largest_activation: 20 };
        let state = 4 * (9000 + 1600) + 100;
        assert_eq!(model.memory_bytes(&config, &data), state + 10 * 4 * (50 + 40 + 16 + 48));
        config.train.precision = Precision::Bf16;
        assert_eq!(model.memory_bytes(&config, &data), state + 10 * (2 * (50 + 40 + 16) + 4 * 48));
    }
}
