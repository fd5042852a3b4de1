//! The flags of `sparse-train quantize`.

use super::UsageError;
use super::flags::ConfigFlags;
use super::prune::{Pruning, damp};
use clap::Args;
use sparse_trainer::WeightsAt;
use sparse_trainer::config::ParamsType;
use sparse_trainer::oneshot::{Allocation, OneshotConfig, QuantizeConfig, bytes, settled};
use std::path::PathBuf;

/// `sparse-train quantize`.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case", args_override_self = true)]
pub(crate) struct QuantizeArgs {
    #[command(flatten)]
    config: ConfigFlags,
    #[command(flatten)]
    flags: QuantizeFlags,
}

/// The flags that are no settings of a config.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
struct QuantizeFlags {
    /// Weights of any known program as for convert, a run folder, or an ONNX file
    weights: PathBuf,
    /// File to write: packed weights of 8 bits, or ONNX if its name ends so or WEIGHTS are; replaced if it exists
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// The network of a checkpoint with several, such as model_ema.module; . is the top
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// Training images to look at; no labels are used
    #[arg(long, value_name = "N", default_value = "512", value_parser = clap::value_parser!(u32).range(1..))]
    images: u32,
    #[command(flatten)]
    rounding: RoundingFlags,
    /// Share of the mean variance of a layer's inputs that is added to each
    #[arg(long, value_name = "FRACTION", default_value = "0.01", value_parser = damp)]
    damp: f64,
    /// Most memory to take, such as 4GB or 800MB; images and what becomes of them are kept as far as they fit
    #[arg(long, value_name = "BYTES", default_value = "4GB", value_parser = bytes)]
    memory: usize,
    /// Print the result as one JSON object on stdout
    #[arg(long)]
    json: bool,
}

/// How layers are rounded, also by `prune --quantize`.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(super) struct RoundingFlags {
    /// Layers that stay f32, a regular expression; may be repeated
    #[arg(long, value_name = "REGEX")]
    keep: Vec<String>,
    /// Most that the squared error of the scores may be as a share of their variance; layers that do most to it stay f32 until it is no more
    #[arg(long, value_name = "FRACTION", value_parser = loss)]
    loss: Option<f64>,
    /// Share of an activation's values that its range holds, percent [default: the range of the least squared error]
    #[arg(long, value_name = "PERCENT", value_parser = percentile)]
    percentile: Option<f64>,
}

impl RoundingFlags {
    /// The first flag that is given.
    pub(super) fn given(&self) -> Option<&'static str> {
        let flags = [
            ("--keep", !self.keep.is_empty()),
            ("--loss", self.loss.is_some()),
            ("--percentile", self.percentile.is_some()),
        ];
        flags.into_iter().find_map(|(flag, given)| given.then_some(flag))
    }

    pub(super) fn into_config(self) -> QuantizeConfig {
        QuantizeConfig { keep: self.keep, loss: self.loss, percentile: self.percentile }
    }
}

impl QuantizeArgs {
    /// What to do: nothing is pruned.
    ///
    /// # Errors
    /// [`UsageError`], for which the program exits with 2; if the network cannot be read or does not fit an explicit setting.
    pub(crate) fn into_pruning(self) -> anyhow::Result<Pruning> {
        let Self { config, flags } = self;
        let layers = config.layers()?;
        for (key, flag) in [("prune.ratio", "--ratio"), ("prune.pattern", "--pattern")] {
            if layers.is_on_command_line(key) {
                return Err(UsageError::Conflict {
                    flag: flag.to_owned(),
                    other: "quantize".to_owned(),
                    advice: "quantize leaves the zeros as they are; prune --quantize makes zeros and rounds in one pass",
                }
                .into());
            }
        }
        let from = WeightsAt::from(&flags.weights).under(flags.key.as_deref());
        let config = settled(&layers, from)?;
        let warnings = layers.check_threads(&config).map_err(UsageError::from)?;
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        let oneshot = OneshotConfig {
            ratio: 0.0,
            magnitude: false,
            allocation: Allocation::Uniform,
            speedup: 1.0,
            timings: None,
            images: flags.images as usize,
            damp: flags.damp,
            params_type: ParamsType::All,
            include: Vec::new(),
            exclude: Vec::new(),
            block: [1, 1],
            reorder: false,
            pattern: None,
            packed: None,
            quantize: Some(flags.rounding.into_config()),
            memory: flags.memory,
            threads: config.train.thread_count(),
        };
        let (weights, key, output, json) = (flags.weights, flags.key, flags.output, flags.json);
        Ok(Pruning { config, oneshot, weights, key, output, svg: None, json })
    }
}

fn loss(text: &str) -> Result<f64, &'static str> {
    let fits = |loss: &f64| loss.is_finite() && *loss > 0.0;
    text.parse().ok().filter(fits).ok_or("it must be a fraction above 0")
}

fn percentile(text: &str) -> Result<f64, &'static str> {
    let fits = |percent: &f64| *percent > 50.0 && *percent <= 100.0;
    text.parse().ok().filter(fits).ok_or("it must be above 50 and at most 100")
}
