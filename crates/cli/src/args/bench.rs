//! The flags of `sparse-train bench`.

use clap::{Args, Subcommand, ValueEnum, builder::PossibleValuesParser};
use sparse_trainer::bench::{BenchConfig, DataBenchConfig, InferConfig, InferPrecision, Kind};
use sparse_trainer::config::Gpu;
use std::path::PathBuf;

use super::values::{PrecisionFlag, threads, warn_if_crowded, whole};

/// `sparse-train bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// What to measure.
    #[command(subcommand)]
    pub(crate) what: BenchWhat,
}

/// What `sparse-train bench` measures.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchWhat {
    /// Time training steps on random images at several sparsities, and show where the time goes
    Train(BenchTrainArgs),
    /// Time the inference engine, dense and with zeros left out, layer by layer
    Infer(BenchInferArgs),
    /// Time how image files become network input: decode, crop, resize, flip, normalise
    Data(BenchDataArgs),
}

/// `sparse-train bench data`.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case", args_override_self = true)]
pub(crate) struct BenchDataArgs {
    /// A folder; all JPEG and PNG files below it are read
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Height and width of the network's input
    #[arg(long, value_name = "PIXELS", default_value = "224", value_parser = whole, allow_negative_numbers = true)]
    size: usize,
    /// Threads that read images
    #[arg(long, value_name = "N", default_value = "1", value_parser = threads, allow_negative_numbers = true)]
    threads: usize,
    /// Files to read at most, spread over the folder
    #[arg(long, value_name = "N", default_value = "600", value_parser = whole, allow_negative_numbers = true)]
    limit: usize,
    /// Print a JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

impl BenchDataArgs {
    /// What to measure.
    pub(crate) fn config(&self) -> DataBenchConfig {
        let Self { path, size, threads, limit, .. } = self;
        warn_if_crowded(Some(*threads));
        DataBenchConfig { path: path.clone(), size: *size, threads: *threads, limit: *limit }
    }
}

/// Networks of random weights.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
struct RandomNetwork {
    /// Shares of each layer's weights that are zero, with commas between; 0 is a dense network
    #[arg(
        long,
        value_name = "FRACTION,..",
        default_value = "0,0.75,0.9",
        value_parser = fraction,
        value_delimiter = ',',
        action = clap::ArgAction::Set,
        allow_negative_numbers = true
    )]
    sparsity: Vec<f64>,
    /// Width multiplier of the network
    #[arg(long, value_name = "FACTOR", default_value = "1", allow_negative_numbers = true)]
    scale: f64,
    /// Classes of the network
    #[arg(long, value_name = "N", default_value = "1000", value_parser = whole, allow_negative_numbers = true)]
    classes: usize,
}

/// `sparse-train bench infer`.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case", args_override_self = true)]
pub(crate) struct BenchInferArgs {
    /// Weights of any known program, packed weights or an ONNX file, instead of random weights
    #[arg(long, value_name = "PATH", conflicts_with_all = ["sparsity", "scale", "classes"])]
    weights: Option<PathBuf>,
    /// The network of a checkpoint with several, such as model_ema.module; . is the top
    #[arg(long, value_name = "NAME", requires = "weights")]
    key: Option<String>,
    /// Name of the output with the scores, for an ONNX file with several
    #[arg(long, value_name = "NAME", requires = "weights")]
    output: Option<String>,
    #[command(flatten)]
    network: RandomNetwork,
    /// What products are computed in; zeros of random weights come in blocks over input channels, with bf16 of 1 × 2, with int8 of 1 × 4
    #[arg(long, value_enum, default_value_t = InferPrecisionFlag::F32)]
    precision: InferPrecisionFlag,
    /// Images at a time, with commas between
    #[arg(
        long,
        value_name = "N,..",
        default_value = "1,16",
        value_parser = whole,
        value_delimiter = ',',
        action = clap::ArgAction::Set,
        allow_negative_numbers = true
    )]
    batch: Vec<usize>,
    /// Height and width of the images, from 16 to 4096 [default: as the weights say, 224 for random ones]
    #[arg(long, value_name = "PIXELS", value_parser = whole, allow_negative_numbers = true)]
    size: Option<usize>,
    /// Threads [default: cores]
    #[arg(long, value_name = "N", value_parser = threads, allow_negative_numbers = true)]
    threads: Option<usize>,
    /// Timed runs, dense and sparse in turn
    #[arg(long, value_name = "N", default_value = "60", value_parser = whole, allow_negative_numbers = true)]
    runs: usize,
    /// Show every layer in a table as well
    #[arg(long)]
    pub(crate) layers: bool,
    /// Print a JSON list with an object per network and batch instead of tables
    #[arg(long)]
    pub(crate) json: bool,
}

impl BenchInferArgs {
    /// What to measure.
    pub(crate) fn config(&self) -> InferConfig {
        let default = InferConfig::default();
        warn_if_crowded(self.threads);
        InferConfig {
            weights: self.weights.clone(),
            key: self.key.clone(),
            output: self.output.clone(),
            sparsities: self.network.sparsity.clone(),
            precision: match self.precision {
                InferPrecisionFlag::F32 => InferPrecision::F32,
                InferPrecisionFlag::Bf16 => InferPrecision::Bf16,
                InferPrecisionFlag::Int8 => InferPrecision::Int8,
            },
            batches: self.batch.clone(),
            size: self.size,
            threads: self.threads.unwrap_or(default.threads),
            runs: self.runs,
            scale: self.network.scale,
            classes: self.network.classes,
        }
    }
}

/// `sparse-train bench train`.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case", args_override_self = true)]
pub(crate) struct BenchTrainArgs {
    /// Which network; of residual ones all convolutions lose weights, of the others the pointwise ones
    #[arg(long, value_name = "NAME", default_value = Kind::MobileNet.name(),
        value_parser = PossibleValuesParser::new(Kind::ALL.map(Kind::name)))]
    model: String,
    /// Images per step
    #[arg(long, value_name = "N", default_value = "32", value_parser = whole, allow_negative_numbers = true)]
    batch: usize,
    /// Height and width of the images, from 16 to 4096
    #[arg(long, value_name = "PIXELS", default_value = "224", value_parser = whole, allow_negative_numbers = true)]
    size: usize,
    #[command(flatten)]
    network: RandomNetwork,
    /// Compute threads [default: cores]
    #[arg(long, value_name = "N", value_parser = threads, allow_negative_numbers = true)]
    pub(crate) threads: Option<usize>,
    /// Steps to time
    #[arg(long, value_name = "N", default_value = "8", value_parser = whole, allow_negative_numbers = true)]
    steps: usize,
    /// How activations are stored
    #[arg(long, value_name = "NAME", default_value = "f32")]
    precision: PrecisionFlag,
    /// Where to compute: cpu, cuda or cuda:N
    #[arg(long, value_name = "NAME", default_value = "cpu", value_parser = device)]
    pub(crate) device: Gpu,
    /// Share of pruned weights from which convolutions over all channels leave their zeros out on a GPU [default: 1, never]
    #[arg(long, value_name = "FRACTION", allow_negative_numbers = true)]
    gpu_sparse_from: Option<f64>,
    /// Show every layer in a table as well
    #[arg(long)]
    pub(crate) layers: bool,
    /// Print a JSON list with an object per sparsity instead of tables
    #[arg(long)]
    pub(crate) json: bool,
}

/// The value of `--precision` of `bench infer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum InferPrecisionFlag {
    F32,
    Bf16,
    Int8,
}

impl BenchTrainArgs {
    /// What to measure.
    pub(crate) fn config(&self) -> BenchConfig {
        warn_if_crowded(self.threads);
        if self.device == Gpu::None && self.gpu_sparse_from.is_some() {
            tracing::warn!("--gpu_sparse_from has no effect on the CPU: it counts only with --device cuda");
        }
        BenchConfig {
            model: Kind::named(&self.model).unwrap_or_default(),
            batch: self.batch,
            size: self.size,
            sparsities: self.network.sparsity.clone(),
            steps: self.steps,
            precision: self.precision.into(),
            scale: self.network.scale,
            classes: self.network.classes,
            gpu: match self.device {
                Gpu::None => None,
                Gpu::Cuda(ordinal) => Some(ordinal),
            },
            gpu_sparse_from: self.gpu_sparse_from.unwrap_or(1.0),
        }
    }
}

fn device(name: &str) -> Result<Gpu, &'static str> {
    Gpu::parse(name).ok_or("it must be cpu, cuda or cuda:N")
}

fn fraction(text: &str) -> Result<f64, &'static str> {
    let fits = |fraction: &f64| (0.0..1.0).contains(fraction);
    let advice =
        "it must be a fraction of at least 0 and below 1; for several put commas between, as in 0,0.75,0.9";
    text.parse().ok().filter(fits).ok_or(advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use sparse_trainer::config::Precision;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: BenchTrainArgs,
    }

    fn config(flags: &str) -> BenchConfig {
        Line::try_parse_from(format!("bench {flags}").split_whitespace()).unwrap().args.config()
    }

    #[test]
    fn defaults_are_those_of_the_library() {
        assert_eq!(config(""), BenchConfig::default());
    }

    #[test]
    fn every_flag_reaches_its_setting_and_the_last_one_wins() {
        let flags = "--model ResNet18 --batch 2 --size 33 --sparsity 0.9 --sparsity 0.5,0 --steps 3 --precision bf16 --scale 0.5 \
                     --classes 7 --device cuda:2 --gpu_sparse_from 0.25";
        let expected = BenchConfig {
            model: Kind::ResNet18,
            batch: 2,
            size: 33,
            sparsities: vec![0.5, 0.0],
            steps: 3,
            precision: Precision::Bf16,
            scale: 0.5,
            classes: 7,
            gpu: Some(2),
            gpu_sparse_from: 0.25,
        };
        assert_eq!(config(flags), expected);
    }
}
