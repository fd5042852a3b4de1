//! The plan: a config resolved against the data that is there. Steps are counted, the device is chosen, memory is
//! estimated; nothing has been computed yet.

mod available;
#[cfg(test)]
mod configs;
mod data_files;
mod device;
mod gmp;
mod lr;
mod memory;
mod need;
mod strategy;
mod table;

pub use data_files::{data_folder_check, data_path_check};
pub use device::DeviceChoice;
pub use lr::LrSchedule;
pub use memory::ModelSize;
pub use need::Need;
pub(crate) use need::Part;

use sparse_sparsity::schedule::GmpConfig;

use crate::{
    config::TrainConfig,
    error::{Error, Result},
    not_on_device,
    ranks::Place,
    shared_error::SharedError,
    teacher::teacher_weights,
};

/// The facts of a data set that a plan depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataSize {
    /// Training images.
    pub train_len: usize,
    /// Test images.
    pub test_len: usize,
    /// Classes.
    pub classes: usize,
    /// Channels, height and width of an image.
    pub image_shape: [usize; 3],
}

/// A config with everything that follows from it and from the data.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainPlan {
    /// The config it was made from.
    pub config: TrainConfig,
    /// The data it was made for.
    pub data: DataSize,
    /// The size of the network.
    pub model: ModelSize,
    /// Batches of one epoch; the last one is dropped when it is not full.
    pub steps_per_epoch: usize,
    /// Optimizer updates of the whole run.
    pub total_steps: usize,
    /// Batches of one test; the last one may be smaller.
    pub test_batches: usize,
    /// The learning rate of every step.
    pub lr: LrSchedule,
    /// Gradual pruning in steps; `None` for the base strategy and for dense training.
    pub gmp: Option<GmpConfig>,
    /// Where the run computes.
    pub device: DeviceChoice,
    /// Estimated memory of this process.
    pub memory: Need,
    /// Which of the processes that share the run.
    pub place: Place,
}

/// The equal part of a batch that each of `ranks` has.
pub(crate) fn part_of_batch(batch_size: usize, ranks: usize) -> Result<usize> {
    if batch_size.is_multiple_of(ranks) {
        return Ok(batch_size / ranks);
    }
    let above = batch_size.next_multiple_of(ranks);
    Err(SharedError::UnevenBatch { batch_size, ranks, below: (above - ranks).max(ranks), above }.into())
}

impl TrainPlan {
    /// Resolves `config` for data of this size.
    ///
    /// # Errors
    /// [`Error::Config`] for a config that breaks its own rules, [`Error::TooFewOutputs`],
    /// [`Error::BatchTooLarge`], [`Error::GmpTooShort`], [`Error::GmpPastEnd`], [`Error::NoCuda`], [`Error::NotOnDevice`], [`Error::NoTeacher`], [`Error::Strategy`],
    /// and [`Error::Model`] when there is no network of this width.
    pub fn resolve(config: &TrainConfig, data: &DataSize) -> Result<Self> {
        Self::resolve_shared(config, data, Place::default())
    }

    /// As [`TrainPlan::resolve`], for one of several processes that share every batch in equal parts.
    ///
    /// # Errors
    /// As [`TrainPlan::resolve`], and [`SharedError::UnevenBatch`].
    pub fn resolve_shared(config: &TrainConfig, data: &DataSize, place: Place) -> Result<Self> {
        let mut config = config.clone();
        if let Some(per_card) = config.train.batch_size_per_card {
            config.train.batch_size = per_card.saturating_mul(place.ranks);
        }
        let config = &config;
        config.validate()?;
        let (classes, num_classes) = (data.classes, config.model.num_classes);
        if classes > num_classes {
            return Err(Error::TooFewOutputs { classes, num_classes });
        }
        let (batch_size, train_len) = (config.train.batch_size, data.train_len);
        if batch_size > train_len {
            return Err(Error::BatchTooLarge { batch_size, train_len });
        }
        let part = part_of_batch(batch_size, place.ranks)?;
        teacher_weights(config)?;
        let steps_per_epoch = train_len / batch_size;
        let model = ModelSize::of(config, data)?;
        let device = DeviceChoice::for_config(&config.train)?;
        not_on_device::check(config, device)?;
        strategy::check(config, place.ranks, steps_per_epoch)?;
        Ok(Self {
            steps_per_epoch,
            total_steps: steps_per_epoch.saturating_mul(config.train.num_epochs),
            test_batches: data.test_len.div_ceil(config.train.batch_size_for_validation),
            lr: match strategy::rewinds(config) {
                false => LrSchedule::new(config, steps_per_epoch),
                true => LrSchedule::new(config, steps_per_epoch)
                    .in_passes(strategy::rewind(config, steps_per_epoch)),
            },
            gmp: gmp::in_steps(config, steps_per_epoch)?,
            device,
            memory: model.training(config, part, data, steps_per_epoch),
            place,
            config: config.clone(),
            data: *data,
            model,
        })
    }

    /// Images of a batch that this process has.
    #[must_use]
    pub fn part_of_batch(&self) -> usize {
        self.config.train.batch_size / self.place.ranks
    }

    /// Refuses a run that cannot fit into the memory there is, before any of it is taken.
    ///
    /// # Errors
    /// [`Error::NotEnoughMemory`] naming the setting that makes the largest part smaller.
    pub fn check_memory(&self) -> Result<()> {
        let config = &self.config;
        let [_, height, width] = self.data.image_shape;
        self.memory.check(|part| match part {
            Part::Weights => weights_advice(config),
            Part::Activations => format!(
                "the activations of a batch of {} images of {height}x{width}: lower train.batch_size (--batch_size) or \
                 data.image_size",
                config.train.batch_size
            ),
            Part::Loaded => format!(
                "the batches that {} loader threads have ready: lower data.num_workers (--num_workers) or train.batch_size \
                 (--batch_size)",
                config.data.worker_count()
            ),
            Part::Images => format!(
                "the {} images that an update of the masks looks at: lower prune.obs_images (--obs_images)",
                config.prune.obs_images
            ),
            Part::Teacher => format!(
                "the teacher and its activations for a batch of {}: lower train.batch_size (--batch_size)",
                config.train.batch_size
            ),
        })
    }

    /// Epochs done after `steps` optimizer updates.
    #[must_use]
    pub fn epoch(&self, steps: usize) -> usize {
        steps / self.steps_per_epoch
    }
}

/// Refuses a test that cannot fit into the memory there is, before any of it is taken.
///
/// # Errors
/// [`Error::NotEnoughMemory`]; [`Error::Network`] when there is no network of this width.
pub(crate) fn check_test_memory(config: &TrainConfig, image_shape: [usize; 3]) -> Result<()> {
    let [channels, height, width] = image_shape;
    let model = ModelSize::of_network(&config.model.network(channels), [height, width])?;
    model.testing(config, image_shape).check(|part| match part {
        Part::Weights => weights_advice(config),
        _ => format!(
            "batches of {} images of {height}x{width}, read ahead by {} loader threads: lower \
             train.batch_size_for_validation (--batch_size_for_validation), data.num_workers (--num_workers) or \
             data.image_size",
            config.train.batch_size_for_validation,
            config.data.worker_count()
        ),
    })
}

/// Which setting makes a network so large.
fn weights_advice(config: &TrainConfig) -> String {
    let (scale, classes) = (config.model.scale, config.model.num_classes);
    // At width 1 there are 1024 features, and 3.2 million weights before the head.
    let setting = match 1024.0 * scale * classes as f64 > 3.2e6 * scale * scale {
        true => format!("model.num_classes = {classes}: lower it (--num_classes)"),
        false => format!("model.scale = {scale:?}: lower it (--set model.scale=1 is the usual width)"),
    };
    format!("the weights and what has their size, by {setting}")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::config::DataKind;

    pub(crate) const MNIST: DataSize =
        DataSize { train_len: 60_000, test_len: 10_000, classes: 10, image_shape: [1, 28, 28] };

    fn plan(change: impl Fn(&mut TrainConfig)) -> Result<TrainPlan> {
        let mut config = TrainConfig::defaults(DataKind::Mnist);
        change(&mut config);
        TrainPlan::resolve(&config, &MNIST)
    }

    #[test]
    fn steps_drop_the_last_batch_of_an_epoch_and_test_batches_do_not() {
        let plan = plan(|config| (config.train.batch_size, config.train.num_epochs) = (128, 2)).unwrap();
        assert_eq!((plan.steps_per_epoch, plan.total_steps, plan.test_batches), (468, 936, 157));
        assert_eq!([0, 467, 468, 936].map(|steps| plan.epoch(steps)), [0, 0, 1, 2]);
    }

    #[test]
    fn a_batch_may_be_the_whole_set_but_not_more() {
        assert_eq!(plan(|config| config.train.batch_size = 60_000).unwrap().steps_per_epoch, 1);
        let error = plan(|config| config.train.batch_size = 60_001).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a batch of 60001 images is larger than the training set of 60000: \
             lower train.batch_size (--batch_size) to at most 60000"
        );
        assert!(error.is_usage());
    }

    #[test]
    fn the_network_needs_an_output_per_class() {
        assert!(plan(|config| config.model.num_classes = 1000).is_ok());
        let error = plan(|config| config.model.num_classes = 9).unwrap_err();
        assert!(matches!(error, Error::TooFewOutputs { classes: 10, num_classes: 9 }));
    }

    #[test]
    fn a_teacher_is_named_and_counted_in() {
        assert!(matches!(plan(|config| config.train.distill = true), Err(Error::NoTeacher)));
        let named = |distill| {
            plan(|config| {
                config.train.distill = distill;
                config.train.teacher = Some("dense".into());
            })
        };
        let (with, without) = (named(true).unwrap(), named(false).unwrap());
        assert!(with.memory.bytes() > without.memory.bytes());
        assert!(with.to_string().contains("soft targets of dense (temperature 4, weight 0.9)"), "{with}");
    }

    #[test]
    fn sums_of_gradients_take_memory() {
        let mut config = TrainConfig::defaults(DataKind::Mnist);
        config.prune.pruning_mode = crate::config::PruningMode::Ratio;
        let bytes = |config: &TrainConfig| TrainPlan::resolve(config, &MNIST).unwrap().memory.bytes();
        let without = bytes(&config);
        config.prune.criterion = crate::config::Criterion::Movement;
        assert!(bytes(&config) > without);
    }

    #[test]
    fn a_config_that_breaks_its_rules_has_no_plan() {
        assert!(matches!(plan(|config| config.train.lr = -1.0), Err(Error::Config(_))));
    }
}
