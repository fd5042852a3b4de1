//! Section `train`: the optimizer, its schedule, and what is logged, tested and saved when.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{
    data::core_count,
    keys::SectionKeys,
    validate::{Problem, require},
};

/// How the learning rate falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LrStrategy {
    /// To a tenth at each of `step_epochs`.
    PiecewiseDecay,
    /// Along half a cosine, from `lr` at step 0 to 0 at the end.
    CosineDecay,
}

/// How activations are stored between layers while training; weights and sums are f32 either way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// As 32-bit numbers.
    #[default]
    F32,
    /// As bf16, half as long: less memory, and faster where memory is the limit.
    Bf16,
}

impl Precision {
    /// Its name in configs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }
}

/// Section `train`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainSection {
    /// Images per training step.
    pub batch_size: usize,
    /// Images per test batch; changes speed and memory only.
    pub batch_size_for_validation: usize,
    /// Base learning rate, above 0.
    pub lr: f64,
    /// How the learning rate falls.
    pub lr_strategy: LrStrategy,
    /// Epochs at which piecewise decay falls to a tenth, ascending.
    pub step_epochs: Vec<usize>,
    /// L2 decay on all trainable tensors, 0 or more.
    pub l2_decay: f64,
    /// Momentum, a fraction in [0, 1).
    pub momentum_rate: f64,
    /// Passes over the training set.
    pub num_epochs: usize,
    /// Epochs over which the learning rate rises linearly, 0 = none; may be a fraction of an epoch.
    pub warmup_epochs: f64,
    /// Share of the label's probability spread over all classes, a fraction in [0, 1).
    pub label_smoothing: f64,
    /// Largest global L2 norm of the gradient; `None` = no clipping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Steps between log lines.
    pub log_period: usize,
    /// Epochs between tests.
    pub test_period: usize,
    /// The run folder.
    pub model_path: PathBuf,
    /// Epochs between checkpoints.
    pub model_period: usize,
    /// Seed of the initial weights, the order of the images and the augmentation.
    pub seed: u64,
    /// Train on a GPU; `None` = use one if there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_gpu: Option<bool>,
    /// "cpu", "cuda" or "cuda:N"; `None` = as `use_gpu` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Share of pruned weights from which pointwise layers leave their zeros out on a GPU, in ratio mode, a fraction; 1 = never.
    pub gpu_sparse_from: f64,
    /// Compute threads; `None` = as many as there are cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// How activations are stored while training.
    pub precision: Precision,
    /// Read the images in the order of their files, without shuffling.
    pub ce_test: bool,
    /// Learn from the scores of a dense teacher as well.
    pub distill: bool,
    /// Temperature of the soft targets, above 0.
    pub distill_temperature: f64,
    /// Share of the soft targets in the loss, a fraction in [0, 1]; the rest is that of the labels.
    pub distill_weight: f64,
    /// The teacher's weights; `None` = those of `model.pretrained_model`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher: Option<PathBuf>,
    /// Training batches over which batch norm is estimated anew after the last step, 0 = none.
    pub bn_recal: usize,
}

pub(super) const KEYS: SectionKeys = &[
    ("batch_size", "a whole number, 1 or more"),
    ("batch_size_for_validation", "a whole number, 1 or more"),
    ("lr", "a number above 0"),
    ("lr_strategy", "\"piecewise_decay\" or \"cosine_decay\""),
    ("step_epochs", "a list of epochs in ascending order, such as [30, 60, 90]"),
    ("l2_decay", "a number, 0 or more"),
    ("momentum_rate", "a fraction, at least 0 and below 1"),
    ("num_epochs", "a whole number, 1 or more"),
    ("warmup_epochs", "a number of epochs, at least 0 and at most train.num_epochs"),
    ("label_smoothing", "a fraction, at least 0 and below 1"),
    ("clip_norm", "a number above 0 (leave it out for no clipping)"),
    ("log_period", "a whole number of steps, 1 or more"),
    ("test_period", "a whole number of epochs, 1 or more"),
    ("model_path", "a folder"),
    ("model_period", "a whole number of epochs, 1 or more"),
    ("seed", "a whole number from 0 to 2^63 - 1"),
    ("use_gpu", "true or false (leave it out to use a GPU if there is one)"),
    (
        "device",
        "\"cpu\", \"cuda\" or \"cuda:N\", in agreement with train.use_gpu (leave it out to go by that)",
    ),
    ("gpu_sparse_from", "a fraction, at least 0 and at most 1"),
    ("threads", "a whole number, 1 or more (leave it out to use all cores)"),
    ("precision", "\"f32\" or \"bf16\""),
    ("ce_test", "true or false"),
    ("distill", "true or false"),
    ("distill_temperature", "a number above 0"),
    ("distill_weight", "a fraction, at least 0 and at most 1"),
    ("teacher", "a weights file or a run folder (leave it out for model.pretrained_model)"),
    ("bn_recal", "a whole number of batches, 0 or more (0 = keep the running estimates)"),
];

impl Default for TrainSection {
    /// The seed's defaults.
    fn default() -> Self {
        Self {
            batch_size: 512,
            batch_size_for_validation: 64,
            lr: 0.1,
            lr_strategy: LrStrategy::PiecewiseDecay,
            step_epochs: vec![30, 60, 90],
            l2_decay: 3e-5,
            momentum_rate: 0.9,
            num_epochs: 120,
            warmup_epochs: 0.0,
            label_smoothing: 0.0,
            clip_norm: None,
            log_period: 100,
            test_period: 10,
            model_path: "./models".into(),
            model_period: 10,
            seed: 0,
            use_gpu: None,
            device: None,
            gpu_sparse_from: 1.0,
            threads: None,
            precision: Precision::F32,
            ce_test: false,
            distill: false,
            distill_temperature: 4.0,
            distill_weight: 0.9,
            teacher: None,
            bn_recal: 0,
        }
    }
}

/// The GPU to compute on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gpu {
    /// None: the CPU.
    None,
    /// The CUDA device of this number.
    Cuda(usize),
}

impl Gpu {
    /// Reads "cpu", "cuda" (the first) or "cuda:N".
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name.strip_prefix("cuda") {
            _ if name == "cpu" => Some(Self::None),
            Some("") => Some(Self::Cuda(0)),
            Some(rest) => rest.strip_prefix(':')?.parse().ok().map(Self::Cuda),
            None => None,
        }
    }
}

impl TrainSection {
    /// The GPU that `train.device` and `train.use_gpu` name, from 0; `None` where they leave it open.
    #[must_use]
    pub fn gpu(&self) -> Option<Gpu> {
        match (self.device.as_deref().and_then(Gpu::parse), self.use_gpu) {
            (Some(gpu), _) => Some(gpu),
            (None, Some(wanted)) => Some(if wanted { Gpu::Cuda(0) } else { Gpu::None }),
            (None, None) => None,
        }
    }

    /// Compute threads to start, 1 or more.
    #[must_use]
    pub fn thread_count(&self) -> usize {
        self.threads.unwrap_or_else(core_count)
    }

    pub(super) fn check(&self) -> Result<(), Problem> {
        let fraction = |value: f64| (0.0..1.0).contains(&value);
        let positive = |value: f64| value.is_finite() && value > 0.0;
        require(self.batch_size >= 1, "train.batch_size")?;
        require(self.batch_size_for_validation >= 1, "train.batch_size_for_validation")?;
        require(positive(self.lr), "train.lr")?;
        require(self.step_epochs.is_sorted_by(|a, b| a < b), "train.step_epochs")?;
        require(self.l2_decay.is_finite() && self.l2_decay >= 0.0, "train.l2_decay")?;
        require(fraction(self.momentum_rate), "train.momentum_rate")?;
        require(self.num_epochs >= 1, "train.num_epochs")?;
        require((0.0..=self.num_epochs as f64).contains(&self.warmup_epochs), "train.warmup_epochs")?;
        require(fraction(self.label_smoothing), "train.label_smoothing")?;
        require(self.clip_norm.is_none_or(positive), "train.clip_norm")?;
        require(self.log_period >= 1, "train.log_period")?;
        require(self.test_period >= 1, "train.test_period")?;
        require(!self.model_path.as_os_str().is_empty(), "train.model_path")?;
        require(self.model_period >= 1, "train.model_period")?;
        require(i64::try_from(self.seed).is_ok(), "train.seed")?;
        require(positive(self.distill_temperature), "train.distill_temperature")?;
        require((0.0..=1.0).contains(&self.distill_weight), "train.distill_weight")?;
        let named = |path: &PathBuf| !path.as_os_str().is_empty();
        require(self.teacher.as_ref().is_none_or(named), "train.teacher")?;
        let gpu = self.device.as_deref().map(Gpu::parse);
        let agrees = |gpu: Gpu| self.use_gpu.is_none_or(|wanted| wanted == (gpu != Gpu::None));
        require(gpu.is_none_or(|gpu| gpu.is_some_and(agrees)), "train.device")?;
        require((0.0..=1.0).contains(&self.gpu_sparse_from), "train.gpu_sparse_from")?;
        require(self.threads.is_none_or(|threads| threads >= 1), "train.threads")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_at_fault(change: impl Fn(&mut TrainSection)) -> &'static str {
        let mut section = TrainSection::default();
        change(&mut section);
        section.check().unwrap_err().key
    }

    #[test]
    fn the_device_has_the_last_word_on_the_gpu() {
        let gpu = |device: Option<&str>, use_gpu| {
            let device = device.map(str::to_owned);
            TrainSection { device, use_gpu, ..TrainSection::default() }.gpu()
        };
        assert_eq!((gpu(None, None), gpu(Some("cpu"), None)), (None, Some(Gpu::None)));
        assert_eq!((gpu(None, Some(true)), gpu(None, Some(false))), (Some(Gpu::Cuda(0)), Some(Gpu::None)));
        assert_eq!(
            (gpu(Some("cuda"), None), gpu(Some("cuda:3"), Some(true))),
            (Some(Gpu::Cuda(0)), Some(Gpu::Cuda(3)))
        );
    }

    #[test]
    fn the_defaults_pass() {
        assert!(TrainSection::default().check().is_ok());
        assert!(TrainSection::default().thread_count() >= 1);
    }

    #[test]
    fn counts_and_periods_are_at_least_one() {
        assert_eq!(key_at_fault(|section| section.batch_size = 0), "train.batch_size");
        assert_eq!(
            key_at_fault(|section| section.batch_size_for_validation = 0),
            "train.batch_size_for_validation"
        );
        assert_eq!(key_at_fault(|section| section.num_epochs = 0), "train.num_epochs");
        assert_eq!(key_at_fault(|section| section.log_period = 0), "train.log_period");
        assert_eq!(key_at_fault(|section| section.test_period = 0), "train.test_period");
        assert_eq!(key_at_fault(|section| section.model_period = 0), "train.model_period");
        assert_eq!(key_at_fault(|section| section.threads = Some(0)), "train.threads");
        for name in ["gpu", "cuda:", "cuda:x", "cuda:-1", "CPU", ""] {
            assert_eq!(key_at_fault(|section| section.device = Some(name.to_owned())), "train.device");
        }
        let against = |section: &mut TrainSection| {
            (section.device, section.use_gpu) = (Some("cuda:1".to_owned()), Some(false));
        };
        assert_eq!(key_at_fault(against), "train.device");
        assert_eq!(key_at_fault(|section| section.gpu_sparse_from = 1.1), "train.gpu_sparse_from");
    }

    #[test]
    fn rates_are_finite_and_in_range() {
        for lr in [0.0, -0.1, f64::NAN, f64::INFINITY] {
            assert_eq!(key_at_fault(|section| section.lr = lr), "train.lr");
            assert_eq!(key_at_fault(|section| section.clip_norm = Some(lr)), "train.clip_norm");
            assert_eq!(key_at_fault(|section| section.distill_temperature = lr), "train.distill_temperature");
        }
        for l2_decay in [-1e-9, f64::NAN, f64::INFINITY] {
            assert_eq!(key_at_fault(|section| section.l2_decay = l2_decay), "train.l2_decay");
        }
        for fraction in [-0.1, 1.0, f64::NAN] {
            assert_eq!(key_at_fault(|section| section.momentum_rate = fraction), "train.momentum_rate");
            assert_eq!(key_at_fault(|section| section.label_smoothing = fraction), "train.label_smoothing");
        }
        for weight in [-0.1, 1.1, f64::NAN] {
            assert_eq!(key_at_fault(|section| section.distill_weight = weight), "train.distill_weight");
        }
        for warmup in [-1.0, 120.5, f64::NAN] {
            assert_eq!(key_at_fault(|section| section.warmup_epochs = warmup), "train.warmup_epochs");
        }
    }

    #[test]
    fn the_step_epochs_ascend() {
        for step_epochs in [vec![60, 30], vec![30, 30]] {
            assert_eq!(
                key_at_fault(|section| section.step_epochs = step_epochs.clone()),
                "train.step_epochs"
            );
        }
        let section = TrainSection { step_epochs: vec![], ..TrainSection::default() };
        assert!(section.check().is_ok());
    }

    #[test]
    fn the_run_folder_is_named_and_the_seed_fits_toml() {
        assert_eq!(key_at_fault(|section| section.model_path = PathBuf::new()), "train.model_path");
        assert_eq!(key_at_fault(|section| section.seed = 1 << 63), "train.seed");
    }
}
