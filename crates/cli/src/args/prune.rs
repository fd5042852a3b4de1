//! The flags of `sparse-train prune`.

use super::UsageError;
use super::export::ValuesFlag;
use super::flags::ConfigFlags;
use super::quantize::RoundingFlags;
use clap::{Args, ValueEnum};
use sparse_trainer::WeightsAt;
use sparse_trainer::config::{Layers, PruningMode, TrainConfig};
use sparse_trainer::oneshot::{Allocation, OneshotConfig, bytes, settled};
use std::path::PathBuf;

/// `sparse-train prune`.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case", args_override_self = true)]
pub(crate) struct PruneArgs {
    #[command(flatten)]
    config: ConfigFlags,
    #[command(flatten)]
    flags: PruneFlags,
}

/// The flags that are no settings of a config.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct PruneFlags {
    /// Weights of any known program as for convert, a run folder, or an ONNX file
    weights: PathBuf,
    /// File to write, of the same kind; replaced if it exists
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// The network of a checkpoint with several, such as model_ema.module; . is the top
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// How the weights to keep are chosen: by what the layer reads, or by magnitude
    #[arg(long, value_name = "NAME", default_value = "obs")]
    method: MethodFlag,
    /// How zeros are shared among layers
    #[arg(long, value_name = "NAME", default_value = "uniform")]
    allocate: AllocateFlag,
    /// Training images to look at; no labels are used
    #[arg(long, value_name = "N", default_value = "512", value_parser = clap::value_parser!(u32).range(1..))]
    images: u32,
    /// Share of the mean variance of a layer's inputs that is added to each
    #[arg(long, value_name = "FRACTION", default_value = "0.01", value_parser = damp)]
    damp: f64,
    /// How many times as fast the network is to be on this machine, with --allocate time
    #[arg(long, value_name = "FACTOR", value_parser = factor)]
    speedup: Option<f64>,
    /// What the layers take at which density, with --allocate time: read if the file is there, else measured and written
    #[arg(long, value_name = "FILE")]
    timings: Option<PathBuf>,
    /// Put channels into an order in which blocks of --sparse_block lose little; the network stays the same but for that
    #[arg(long)]
    reorder: bool,
    /// Most memory to take, such as 4GB or 800MB; images and what becomes of them are kept as far as they fit
    #[arg(long, value_name = "BYTES", default_value = "4GB", value_parser = bytes)]
    memory: usize,
    /// Write weights packed, of the size that their zeros leave
    #[arg(long, value_name = "FORMAT")]
    to: Option<TargetFlag>,
    /// How packed weights are stored; f16 and bf16 round them [default: f32]
    #[arg(long, requires = "to")]
    values: Option<ValuesFlag>,
    /// Round each layer to 8 bits after it is pruned, as quantize does
    #[arg(long)]
    quantize: bool,
    #[command(flatten)]
    rounding: RoundingFlags,
    /// Draw what each layer keeps, and its error, into this file as well
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Print the result as one JSON object on stdout
    #[arg(long)]
    json: bool,
}

/// The value of `--method`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum MethodFlag {
    /// Those without which the output changes least, and what they then are
    Obs,
    /// The greatest, as they are: what training begins with
    Magnitude,
}

/// The value of `--allocate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AllocateFlag {
    /// The same share in each layer
    Uniform,
    /// The smallest weights, whatever their layer
    Global,
    /// More in larger layers (Erdős–Rényi kernel)
    Erk,
    /// So that the output of the network changes least, by a look at each layer
    Error,
    /// So that the network is --speedup times as fast here, and its output changes least
    Time,
}

/// The value of `--to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TargetFlag {
    Packed,
}

/// What to prune, how, and where to.
pub(crate) struct Pruning {
    pub(crate) config: TrainConfig,
    pub(crate) oneshot: OneshotConfig,
    pub(crate) weights: PathBuf,
    pub(crate) key: Option<String>,
    pub(crate) output: PathBuf,
    pub(crate) svg: Option<PathBuf>,
    pub(crate) json: bool,
}

impl PruneArgs {
    /// What to do.
    ///
    /// # Errors
    /// [`UsageError`], for which the program exits with 2; if the network cannot be read or does not fit an explicit setting.
    pub(crate) fn into_pruning(self) -> anyhow::Result<Pruning> {
        let Self { config, flags } = self;
        let layers = config.layers()?;
        let from = WeightsAt::from(&flags.weights).under(flags.key.as_deref());
        flags.check(&layers, &layers.resolve().map_err(UsageError::from)?)?;
        let config = settled(&layers, from)?;
        layers
            .check_threads(&config)
            .map_err(UsageError::from)?
            .iter()
            .for_each(|warning| tracing::warn!("{warning}"));
        let prune = &config.prune;
        let oneshot = OneshotConfig {
            ratio: prune.target(),
            magnitude: flags.method == MethodFlag::Magnitude,
            allocation: match flags.allocate {
                AllocateFlag::Uniform => Allocation::Uniform,
                AllocateFlag::Global => Allocation::Global,
                AllocateFlag::Erk => Allocation::Erk,
                AllocateFlag::Error => Allocation::Error,
                AllocateFlag::Time => Allocation::Time,
            },
            speedup: flags.speedup.unwrap_or(1.0),
            timings: flags.timings,
            images: flags.images as usize,
            damp: flags.damp,
            params_type: prune.prune_params_type,
            include: prune.include.clone(),
            exclude: prune.exclude.clone(),
            block: prune.sparse_block,
            reorder: flags.reorder,
            pattern: prune.pattern_wanted(),
            quantize: flags.quantize.then(|| flags.rounding.into_config()),
            packed: flags.to.map(|_| flags.values.unwrap_or_default().into()),
            memory: flags.memory,
            threads: config.train.thread_count(),
        };
        Ok(Pruning {
            config,
            oneshot,
            weights: flags.weights,
            key: flags.key,
            output: flags.output,
            svg: flags.svg,
            json: flags.json,
        })
    }
}

impl PruneFlags {
    /// Checks that the flags go together.
    fn check(&self, layers: &Layers, config: &TrainConfig) -> Result<(), UsageError> {
        let conflict = |flag: &str, other: &str, advice: &'static str| {
            Err(UsageError::Conflict { flag: flag.to_owned(), other: other.to_owned(), advice })
        };
        for (flag, path) in [("--svg", &self.svg), ("--timings", &self.timings)] {
            if path.as_ref().is_some_and(|path| *path == self.output || *path == self.weights) {
                return conflict(
                    flag,
                    "-o or WEIGHTS with the same path",
                    "each file needs a path of its own",
                );
            }
        }
        if let (false, Some(flag)) = (self.quantize, self.rounding.given()) {
            return conflict(
                flag,
                "no --quantize",
                "it says how layers are rounded to 8 bits; give --quantize too",
            );
        }
        if self.quantize && self.to.is_some() {
            return conflict("--to", "--quantize", "weights of 8 bits are always packed");
        }
        if self.quantize && self.method == MethodFlag::Magnitude {
            return conflict(
                "--method magnitude",
                "--quantize",
                "layers are rounded by what they read, and pruned by it too: --method obs",
            );
        }
        if self.reorder && !matches!(config.prune.sparse_block, [1, 2..=usize::MAX]) {
            return Err(UsageError::Missing {
                what: "--reorder",
                flag: "blocks of one row over several channels: --sparse_block 1 4",
            });
        }
        let by_time = self.allocate == AllocateFlag::Time;
        let given = |key: &str| layers.is_on_command_line(key);
        if by_time && self.speedup.is_none() {
            return Err(UsageError::Missing {
                what: "--allocate time",
                flag: "how many times as fast the network is to be: --speedup 2.5",
            });
        }
        if by_time && given("prune.ratio") {
            return conflict("--ratio", "--allocate time", "how many zeros there are follows from --speedup");
        }
        if !by_time && self.speedup.is_some() {
            return conflict("--speedup", "this --allocate", "it goes with --allocate time");
        }
        if !by_time && self.timings.is_some() {
            return conflict("--timings", "this --allocate", "it goes with --allocate time");
        }
        match config.prune.pruning_mode {
            PruningMode::Ratio => Ok(()),
            PruningMode::Pattern if self.allocate == AllocateFlag::Uniform => Ok(()),
            PruningMode::Pattern => {
                conflict("--pattern", "this --allocate", "a pattern keeps the same share of each layer")
            }
            _ if by_time => Ok(()),
            _ => conflict(
                "prune",
                "no --ratio",
                "give the share of zeros, as in --ratio 0.75, or a pattern, as in --pattern 2:4",
            ),
        }
    }
}

fn factor(text: &str) -> Result<f64, &'static str> {
    let fits = |factor: &f64| factor.is_finite() && *factor > 1.0;
    text.parse().ok().filter(fits).ok_or("it must be a number above 1")
}

pub(super) fn damp(text: &str) -> Result<f64, &'static str> {
    let fits = |fraction: &f64| *fraction > 0.0 && *fraction <= 1.0;
    text.parse().ok().filter(fits).ok_or("it must be a fraction, above 0 and at most 1")
}
