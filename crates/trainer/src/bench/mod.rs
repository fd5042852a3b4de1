//! Measuring training steps: images per second at several sparsities, and where the time goes.
//!
//! [`bench_train`] makes a fresh network for each sparsity and times [`Learner::step`], the step of a real run, on
//! random images. The pruned weights are random ones, the same share of each pointwise layer, and the masks stay as
//! they are, as in the last phase of gradual pruning; making masks anew is timed on its own. [`bench_data`] times how
//! image files become network input, [`bench_infer`] the inference engine.

mod data;
mod infer;
mod infer_config;
mod masks;
mod measure;
mod report;
mod rss;
mod work;

pub(crate) use measure::median_ms;
pub(crate) use rss::peak_rss_bytes;

pub use data::{DataBenchConfig, DataBenchReport, bench_data};
pub use infer::{InferReport, LayerInfer, bench_infer};
pub use infer_config::{InferConfig, InferPrecision};
pub use report::{BenchReport, LayerBench, Peak, SparsePaths, Split};
pub use sparse_model::Kind;

use crate::config::Precision;
use crate::error::{Error, Result};
use crate::learner::{Learner, LearnerConfig};
use crate::plan::{DeviceChoice, ModelSize, Part, part_of_batch};
use crate::ranks::Ranks;
use crate::setup::{place, storage};
#[cfg(doc)]
use crate::shared_error::SharedError;
use candle_core::{DType, Device, Tensor};
use sparse_data::sample_rng;
use sparse_model::{Model, NetworkConfig};
use sparse_ops::SgdConfig;
use sparse_prune::{GmpConfig, Mode, PrunerConfig, Strategy};
use sparse_sparsity::Mask;
use sparse_vectors::peak;
use std::collections::BTreeMap;

/// Input channels of the network.
const CHANNELS: usize = 3;
/// Seed of weights, images and masks.
const SEED: u64 = 0;
/// Number of the stream of random numbers that images come from.
const IMAGES: u64 = 0;
/// Number of the stream of random numbers that masks come from.
const MASKS: u64 = 1;

/// What to measure.
#[derive(Clone, Debug, PartialEq)]
pub struct BenchConfig {
    /// Which network.
    pub model: Kind,
    /// Images per step, from 1 to 65536.
    pub batch: usize,
    /// Height and width of the images, from 16 to 4096.
    pub size: usize,
    /// Fractions of each pointwise layer, in a residual network of each convolution, that are pruned, each at least 0 and below 1; 0 is a dense run.
    pub sparsities: Vec<f64>,
    /// Steps that are timed, 1 or more.
    pub steps: usize,
    /// How activations are stored.
    pub precision: Precision,
    /// Width multiplier, from 1/32 to 8.
    pub scale: f64,
    /// Classes, from 1 to 1000000.
    pub classes: usize,
    /// The CUDA device to measure, from 0; `None` = the CPU.
    pub gpu: Option<usize>,
    /// Share of pruned weights from which convolutions over all channels leave their zeros out on a GPU, a fraction; 1 = never.
    pub gpu_sparse_from: f64,
}

impl Default for BenchConfig {
    fn default() -> Self {
        Self {
            model: Kind::MobileNet,
            batch: 32,
            size: 224,
            sparsities: vec![0.0, 0.75, 0.9],
            steps: 8,
            precision: Precision::F32,
            scale: 1.0,
            classes: 1000,
            gpu: None,
            gpu_sparse_from: 1.0,
        }
    }
}

impl BenchConfig {
    /// Checks that every setting is in its range.
    ///
    /// # Errors
    /// [`Error::BenchSetting`] naming the first that is not.
    pub fn check(&self) -> Result<()> {
        let Self { batch, size, steps, scale, classes, .. } = *self;
        require((1..=1 << 16).contains(&batch), "batch", &batch, "a whole number from 1 to 65536")?;
        require((16..=4096).contains(&size), "size", &size, "a whole number from 16 to 4096")?;
        require(steps >= 1, "steps", &steps, "a whole number, 1 or more")?;
        let share = self.gpu_sparse_from;
        let fraction = "a fraction of at least 0 and at most 1";
        require((0.0..=1.0).contains(&share), "gpu_sparse_from", &share, fraction)?;
        check_network(scale, classes, &self.sparsities)
    }

    fn network(&self) -> NetworkConfig {
        NetworkConfig::new(self.model, self.scale, CHANNELS, self.classes)
    }
}

/// [`Error::BenchSetting`] unless a setting fits.
fn require(fits: bool, setting: &'static str, value: &dyn ToString, rule: &'static str) -> Result<()> {
    if fits { Ok(()) } else { Err(Error::BenchSetting { setting, value: value.to_string(), rule }) }
}

/// Checks the settings of a network of random weights.
fn check_network(scale: f64, classes: usize, sparsities: &[f64]) -> Result<()> {
    require((1.0 / 32.0..=8.0).contains(&scale), "scale", &scale, "a width multiplier from 0.03125 to 8")?;
    require((1..=1_000_000).contains(&classes), "classes", &classes, "a whole number from 1 to 1000000")?;
    for sparsity in sparsities {
        let fits = (0.0..1.0).contains(sparsity);
        require(fits, "sparsity", sparsity, "fractions of at least 0 and below 1, with commas between")?;
    }
    Ok(())
}

/// Times training steps at each sparsity, in the order given, on the rayon pool that is there. The log tells what is
/// being measured.
///
/// # Errors
/// [`Error::BenchSetting`] for a setting out of its range, [`Error::NotEnoughMemory`], or what a step reports.
pub fn bench_train(config: &BenchConfig) -> Result<Vec<BenchReport>> {
    bench_train_shared(config, &Ranks::alone())
}

/// As [`bench_train`], by several processes that share each batch in equal parts.
///
/// # Errors
/// As [`bench_train`], and [`SharedError::UnevenBatch`].
pub fn bench_train_shared(config: &BenchConfig, ranks: &Ranks) -> Result<Vec<BenchReport>> {
    config.check()?;
    let part = BenchConfig { batch: part_of_batch(config.batch, ranks.place().ranks)?, ..config.clone() };
    check_memory(&part)?;
    let peak = config.gpu.is_none().then(host_peak);
    let batch = random_batch(&part)?;
    let one = |&sparsity| bench_one(&part, sparsity, &batch, ranks, peak);
    let reports: Result<Vec<BenchReport>> = config.sparsities.iter().map(one).collect();
    // So that no rank takes leave while another still measures.
    ranks.signal(None)?;
    reports
}

/// Refuses what cannot fit into the memory there is, before any of it is taken.
fn check_memory(config: &BenchConfig) -> Result<()> {
    let shape = [CHANNELS, config.size, config.size];
    let size = ModelSize::of_network(&config.network(), [config.size; 2])?;
    let mut need = size.steps(config.batch, shape, config.precision);
    need.add(Part::Loaded, 4 * (config.batch * CHANNELS * config.size * config.size) as u64);
    need.check(|part| match part {
        Part::Weights => format!("a network of --scale {} and --classes {}", config.scale, config.classes),
        _ => format!("a batch of {} images: lower --batch or --size", config.batch),
    })
}

/// Images and their labels.
struct Batch {
    images: Tensor,
    labels: Vec<u32>,
}

/// What the machine can do at most.
fn host_peak() -> Peak {
    tracing::info!("measuring what the machine can do at most");
    Peak {
        gflops_per_second: peak::flops_per_second(peak::threads()) / 1e9,
        gbytes_per_second: peak::bytes_per_second() / 1e9,
    }
}

fn bench_one(
    config: &BenchConfig,
    sparsity: f64,
    batch: &Batch,
    ranks: &Ranks,
    peak: Option<Peak>,
) -> Result<BenchReport> {
    let mut learner = learner(config, sparsity)?.with_ranks(ranks.clone(), false);
    if let Some(ordinal) = config.gpu {
        let device = DeviceChoice::Cuda { ordinal, threads: peak::threads() };
        place(&mut learner, device, config.gpu_sparse_from)?;
    }
    tracing::info!(
        "measuring sparsity {sparsity}: {} + {} steps of {} images",
        measure::WARM_UP,
        config.steps,
        config.batch
    );
    let steps = measure::steps(&mut learner, batch, config.steps)?;
    let pruner = if learner.is_on_device() {
        None
    } else {
        tracing::info!("measuring the pruner at sparsity {sparsity}");
        Some(measure::pruner(&mut learner, if sparsity > 0.0 { sparsity } else { 0.5 })?)
    };
    report::report(
        config,
        sparsity,
        &mut learner,
        report::Measured { steps, pruner, peak, ranks: ranks.place().ranks },
    )
}

/// A fresh learner; with masks that stay if `sparsity` is above 0.
fn learner(config: &BenchConfig, sparsity: f64) -> Result<Learner> {
    let model = Model::new(config.network(), SEED, DType::F32, &Device::Cpu)?;
    let masks = masks::random_masks(&config.network(), sparsity)?;
    let learning = LearnerConfig {
        sgd: SgdConfig { momentum: 0.9, l2_decay: 3e-5, clip_norm: None },
        label_smoothing: 0.0,
        precision: storage(config.precision),
        pruner: (sparsity > 0.0).then(|| masks_that_stay(sparsity, &masks)),
    };
    let mut learner = Learner::new(model, learning)?;
    if sparsity > 0.0 {
        let pruner = learner.state_mut().pruner_mut();
        let state = pruner.state();
        pruner.restore(state, masks)?;
    }
    Ok(learner)
}

/// A pruner that keeps the masks it is given: gradual pruning whose first phase has no end.
fn masks_that_stay(sparsity: f64, masks: &BTreeMap<String, Mask>) -> PrunerConfig {
    let schedule = GmpConfig {
        stable_steps: u64::MAX,
        pruning_steps: 1,
        tunning_steps: 0,
        updates: 1,
        initial_ratio: sparsity,
        resume_step: 0,
    };
    PrunerConfig {
        strategy: Strategy::Gmp(schedule),
        include: masks.keys().map(|name| format!("^{name}$")).collect(),
        ..PrunerConfig::new(Mode::Ratio(sparsity))
    }
}

/// Normal images and labels that are equally likely.
fn random_batch(config: &BenchConfig) -> Result<Batch> {
    let shape = (config.batch, CHANNELS, config.size, config.size);
    let numbers = config.batch * CHANNELS * config.size * config.size;
    let mut rng = sample_rng(SEED, IMAGES, 0);
    let images = Tensor::from_vec(masks::normal(&mut rng, numbers), shape, &Device::Cpu)?;
    let labels = (0..config.batch).map(|_| rng.below(config.classes as u64) as u32).collect();
    Ok(Batch { images, labels })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> BenchConfig {
        BenchConfig { batch: 2, size: 16, steps: 1, scale: 0.125, classes: 5, ..BenchConfig::default() }
    }

    #[test]
    fn masks_stay_and_hold_their_weights_at_zero() {
        let config = small();
        let batch = random_batch(&config).unwrap();
        let mut learner = learner(&config, 0.75).unwrap();
        let masks = learner.state().unwrap().pruner().masks().clone();
        for _ in 0..3 {
            learner.step(&batch.images, &batch.labels, 0.1).unwrap();
        }
        assert_eq!(learner.state().unwrap().pruner().masks(), &masks);
        assert_eq!(masks.len(), 13);
        for (name, mask) in &masks {
            let weights = learner.state().unwrap().model().variables()[name]
                .flatten_all()
                .unwrap()
                .to_vec1::<f32>()
                .unwrap();
            assert!(weights.iter().enumerate().all(|(i, &w)| mask.get(i) == (w != 0.0)), "{name}");
        }
    }

    #[test]
    fn every_network_takes_steps_with_masks() {
        for (model, pruned) in [(Kind::MobileNetV2, 34), (Kind::ResNet18, 20), (Kind::ResNet50, 53)] {
            let config = BenchConfig { model, sparsities: vec![0.9], ..small() };
            let reports = bench_train(&config).unwrap();
            let sparse = reports[0].layers.iter().filter(|layer| layer.sparsity > 0.85);
            assert_eq!(sparse.count(), pruned, "{model:?}");
            assert!(reports[0].gflops_skipped_per_step > 0.0);
        }
    }

    #[test]
    fn images_are_standard_normal_and_labels_are_classes() {
        let batch = random_batch(&BenchConfig { size: 64, ..small() }).unwrap();
        let values = batch.images.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let mean =
            |power: i32| values.iter().map(|v| f64::from(v.powi(power))).sum::<f64>() / values.len() as f64;
        assert!(mean(1).abs() < 0.03 && (mean(2) - 1.0).abs() < 0.05 && (mean(4) - 3.0).abs() < 0.3);
        assert!(batch.labels.len() == 2 && batch.labels.iter().all(|&label| label < 5));
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let message = |config: BenchConfig| config.check().unwrap_err().to_string();
        assert_eq!(
            message(BenchConfig { size: 15, ..small() }),
            "size = 15 (--size): it must be a whole number from 16 to 4096"
        );
        for sparsity in [1.0, -0.1, f64::NAN] {
            let text = message(BenchConfig { sparsities: vec![0.0, sparsity], ..small() });
            assert!(text.starts_with(&format!("sparsity = {sparsity} (--sparsity)")), "{text}");
        }
        for scale in [0.03, f64::INFINITY, f64::NAN] {
            assert!(message(BenchConfig { scale, ..small() }).contains("0.03125"));
        }
        assert!(message(BenchConfig { batch: 0, ..small() }).contains("--batch"));
        assert!(message(BenchConfig { steps: 0, ..small() }).contains("--steps"));
        assert!(message(BenchConfig { classes: 0, ..small() }).contains("--classes"));
        assert!(small().check().is_ok());
    }
}
