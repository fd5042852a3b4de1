//! The flags of `sparse-train sensitivity`.

use super::UsageError;
use super::flags::ConfigFlags;
use super::prune::{MethodFlag, damp};
use clap::Args;
use sparse_trainer::WeightsAt;
use sparse_trainer::config::TrainConfig;
use sparse_trainer::oneshot::{Allocation, OneshotConfig, SensitivityConfig, bytes, settled};
use std::path::PathBuf;

/// `sparse-train sensitivity`.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case", args_override_self = true)]
pub(crate) struct SensitivityArgs {
    /// Weights of any known program as for convert, a run folder, or an ONNX file
    weights: PathBuf,
    /// The network of a checkpoint with several, such as model_ema.module; . is the top
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// Shares of zeros of the layer, fractions
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = share, default_value = "0.25,0.5,0.75,0.9")]
    ratios: Vec<f64>,
    /// How the weights to keep are chosen: by magnitude, or by what the layer reads of training images
    #[arg(long, value_name = "NAME", default_value = "magnitude")]
    method: MethodFlag,
    /// Test images to look at
    #[arg(long, value_name = "N", default_value = "512", value_parser = clap::value_parser!(u32).range(1..))]
    images: u32,
    /// obs: share of the mean variance of a layer's inputs that is added to each
    #[arg(long, value_name = "FRACTION", default_value = "0.01", value_parser = damp)]
    damp: f64,
    /// Most memory to take, such as 4GB or 800MB
    #[arg(long, value_name = "BYTES", default_value = "4GB", value_parser = bytes)]
    memory: usize,
    /// Draw accuracy over sparsity, a line for each layer, into this file as well
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFlags,
}

/// What to look at.
pub(crate) struct Sensing {
    pub(crate) config: TrainConfig,
    pub(crate) wanted: SensitivityConfig,
    pub(crate) weights: PathBuf,
    pub(crate) key: Option<String>,
    pub(crate) svg: Option<PathBuf>,
    pub(crate) json: bool,
}

impl SensitivityArgs {
    /// What to do.
    ///
    /// # Errors
    /// [`UsageError`], for which the program exits with 2; if the network cannot be read or does not fit an explicit setting.
    pub(crate) fn into_sensing(self) -> anyhow::Result<Sensing> {
        let layers = self.config.layers()?;
        for (key, flag) in [("prune.ratio", "--ratio"), ("prune.pattern", "--pattern")] {
            if layers.is_on_command_line(key) {
                return Err(UsageError::Conflict {
                    flag: flag.to_owned(),
                    other: "sensitivity".to_owned(),
                    advice: "give the shares of zeros that each layer is to have, as in --ratios 0.5,0.75,0.9",
                }
                .into());
            }
        }
        let from = WeightsAt::from(&self.weights).under(self.key.as_deref());
        let config = settled(&layers, from)?;
        let warnings = layers.check_threads(&config).map_err(UsageError::from)?;
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        let prune = &config.prune;
        let oneshot = OneshotConfig {
            ratio: 0.0,
            magnitude: self.method == MethodFlag::Magnitude,
            allocation: Allocation::Uniform,
            speedup: 1.0,
            timings: None,
            images: self.images as usize,
            damp: self.damp,
            params_type: prune.prune_params_type,
            include: prune.include.clone(),
            exclude: prune.exclude.clone(),
            block: prune.sparse_block,
            reorder: false,
            pattern: None,
            packed: None,
            quantize: None,
            memory: self.memory,
            threads: config.train.thread_count(),
        };
        let mut ratios = self.ratios;
        ratios.sort_by(f64::total_cmp);
        let wanted = SensitivityConfig { oneshot, ratios };
        Ok(Sensing { config, wanted, weights: self.weights, key: self.key, svg: self.svg, json: self.json })
    }
}

fn share(text: &str) -> Result<f64, &'static str> {
    let fits = |share: &f64| *share > 0.0 && *share < 1.0;
    text.parse().ok().filter(fits).ok_or("it must be fractions between 0 and 1, with commas between")
}
