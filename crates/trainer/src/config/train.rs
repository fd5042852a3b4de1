//! Section `train`: the optimizer, its schedule, and what is logged, tested and saved when.

use std::path::PathBuf;

use super::{
    Key, Values, When,
    declare::{choices, settings},
    threads::core_count,
    validate::{Problem, require},
};

choices! {
    /// How the learning rate falls.
    pub enum LrStrategy {
        /// To a tenth at each of `step_epochs`.
        PiecewiseDecay = "piecewise_decay",
        /// Along half a cosine, from `lr` at step 0 to 0 at the end.
        CosineDecay = "cosine_decay",
        /// Along a line from `lr` to 1e-4 over the fine-tuning of GMP; without GMP over the whole run.
        LinearDecay = "linear_decay",
    }
}

choices! {
    /// How activations are stored between layers while training; weights and sums are f32 either way.
    #[derive(Default)]
    pub enum Precision {
        /// As 32-bit numbers.
        #[default]
        F32 = "f32",
        /// As bf16, half as long: less memory, and faster where memory is the limit.
        Bf16 = "bf16",
    }
}

/// More threads than this no machine of ours has any use for.
const MOST_THREADS: i64 = 1024;
const EPOCH: Values = Values::whole(0);
const DISTILLS: &[When] = &[When::DISTILLS];

settings! {
    /// Section `train`.
    pub struct TrainSection: "train", with the defaults for _ => {
        /// Images per training step, over all processes of a run that share it.
        batch_size: usize = 512,
            Key::whole(1, "images").flag("N").must_agree();
        /// Images per training step of each process; their number times this is train.batch_size.
        batch_size_per_card: Option<usize> = None,
            Key::whole(1, "images").flag("N").free().default_words("train.batch_size in equal parts");
        /// Batch norm by the statistics of the whole batch, where several processes share it.
        sync_bn: bool = false,
            Key::truth().flag("BOOL").bare().added_later();
        /// Images per test batch.
        ///
        /// Changes speed and memory only.
        batch_size_for_validation: usize = 64,
            Key::whole(1, "images").flag("N").in_tests().free();
        /// Base learning rate.
        lr: f64 = 0.1,
            Key::of(Values::ABOVE_ZERO).flag("RATE");
        /// Learning rate schedule.
        lr_strategy: LrStrategy = LrStrategy::PiecewiseDecay,
            Key::of(LrStrategy::VALUES).flag("NAME");
        /// Epochs at which piecewise decay falls to a tenth.
        step_epochs: Vec<usize> = vec![30, 60, 90],
            Key::of(Values::list(&EPOCH)).flag("EPOCH").only(&[When::PIECEWISE])
                .words("a list of epochs in ascending order, such as [30, 60, 90]");
        /// L2 decay on all trainable tensors.
        l2_decay: f64 = 3e-5,
            Key::of(Values::NOT_NEGATIVE).flag("DECAY");
        /// Momentum, a fraction.
        momentum_rate: f64 = 0.9,
            Key::of(Values::FRACTION).flag("FRACTION");
        /// Passes over the training set.
        num_epochs: usize = 120,
            Key::whole(1, "epochs").flag("N");
        /// Epochs over which the learning rate rises linearly, 0 = none; may be a fraction of an epoch.
        warmup_epochs: f64 = 0.0,
            Key::of(Values::NOT_NEGATIVE).words("a number of epochs, at least 0 and at most train.num_epochs");
        /// Share of the label's probability spread over all classes, a fraction.
        label_smoothing: f64 = 0.0,
            Key::of(Values::FRACTION);
        /// Largest global L2 norm of the gradient.
        clip_norm: Option<f64> = None,
            Key::of(Values::ABOVE_ZERO).note("leave it out for no clipping").default_words("no clipping");
        /// Steps between log lines.
        log_period: usize = 100,
            Key::whole(1, "steps").flag("STEPS").free();
        /// Epochs between tests.
        test_period: usize = 10,
            Key::whole(1, "epochs").flag("EPOCHS").free();
        /// Run folder.
        model_path: PathBuf = "./models".into(),
            Key::text("a folder").flag("DIR").in_tests().free();
        /// Epochs between checkpoints.
        model_period: usize = 10,
            Key::whole(1, "epochs").flag("EPOCHS").free();
        /// Seed of the initial weights, the order of the images and the augmentation.
        seed: u64 = 0,
            Key::whole(0, "").words("a whole number from 0 to 2^63 - 1").flag("N").must_agree();
        /// Train on a GPU.
        use_gpu: Option<bool> = None,
            Key::truth().note("leave it out to use a GPU if there is one").flag("BOOL").in_tests().free()
                .default_words("if there is one");
        /// Where to compute, cpu, cuda or cuda:N.
        device: Option<String> = None,
            Key::text("\"cpu\", \"cuda\" or \"cuda:N\"").note("leave it out to go by train.use_gpu")
                .flag("NAME").in_tests().free().default_words("as --use_gpu says");
        /// Share of pruned weights from which convolutions over all channels leave their zeros out on a GPU, a fraction.
        gpu_sparse_from: f64 = 1.0,
            Key::of(Values::SHARE).flag("FRACTION").only(&[When::OnGpu, When::BY_RATIO]).default_words("1, never");
        /// Compute threads.
        threads: Option<usize> = None,
            Key::of(Values::Whole { from: 1, to: MOST_THREADS }).note("leave it out to use all cores").flag("N")
                .in_tests().free().default_words("cores");
        /// How activations are stored while training.
        precision: Precision = Precision::F32,
            Key::of(Precision::VALUES).flag("NAME").in_tests();
        /// Read the images in the order of their files.
        ce_test: bool = false,
            Key::truth().flag("BOOL");
        /// Learn from the scores of the dense start, or of --teacher, as well.
        distill: bool = false,
            Key::truth().flag("BOOL").bare();
        /// Temperature of these soft targets.
        distill_temperature: f64 = 4.0,
            Key::of(Values::ABOVE_ZERO).flag("T").only(DISTILLS);
        /// Share of the soft targets in the loss, a fraction; the rest is that of the labels.
        distill_weight: f64 = 0.9,
            Key::of(Values::SHARE).flag("FRACTION").only(DISTILLS);
        /// Weight of the relative squared error of the blocks' outputs against the teacher's in the loss; 0 = off.
        distill_features: f64 = 0.0,
            Key::of(Values::NOT_NEGATIVE).flag("WEIGHT").only(DISTILLS).added_later();
        /// Weights to learn from, a file or a run folder.
        ///
        /// The recipe holds their checksum in its place.
        teacher: Option<PathBuf> = None,
            Key::text("a weights file or a run folder (leave it out for model.pretrained_model)").flag("PATH").free()
                .only(DISTILLS).default_words("those of --pretrained_model");
        /// The network to take of a teacher's checkpoint with several.
        teacher_key: Option<String> = None,
            Key::text("the keys that lead to the network, with dots between them").flag("NAME").free()
                .only(DISTILLS).default_words("the only one, or --pretrained_key if the file is that of --pretrained_model");
        /// Decay of the moving average of the weights (EMA) that is kept beside them, a fraction; 0 = off.
        ema: f64 = 0.0,
            Key::of(Values::FRACTION).flag("FRACTION").added_later();
        /// Estimate batch norm anew over N training batches after the last step.
        bn_recal: usize = 0,
            Key::whole(0, "batches").note("0 = keep the running estimates").flag("N");
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

    /// The settings against each other.
    pub(super) fn check(&self) -> Result<(), Problem> {
        require(self.step_epochs.is_sorted_by(|a, b| a < b), "train.step_epochs")?;
        require(self.warmup_epochs <= self.num_epochs as f64, "train.warmup_epochs")?;
        let Some(name) = &self.device else { return Ok(()) };
        let gpu = Gpu::parse(name);
        require(gpu.is_some(), "train.device")?;
        match self.use_gpu {
            Some(wanted) if wanted == (gpu == Some(Gpu::None)) => {
                let rule = format!("contradicts train.use_gpu = {wanted} (--use_gpu): give one of them");
                Err(Problem::new("train.device", rule))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::validate;

    fn key_at_fault(change: impl Fn(&mut TrainSection)) -> String {
        validate::tests::key_at_fault(|config| change(&mut config.train))
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
    fn there_is_always_a_thread() {
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
        for threads in [0, 1025] {
            assert_eq!(key_at_fault(|section| section.threads = Some(threads)), "train.threads");
        }
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
            assert_eq!(key_at_fault(|section| section.ema = fraction), "train.ema");
        }
        for weight in [-0.1, f64::INFINITY, f64::NAN] {
            assert_eq!(key_at_fault(|section| section.distill_features = weight), "train.distill_features");
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
        assert_eq!(key_at_fault(|section| section.step_epochs = vec![]), "");
    }

    #[test]
    fn the_run_folder_is_named() {
        assert_eq!(key_at_fault(|section| section.model_path = PathBuf::new()), "train.model_path");
    }
}
