//! The flags and subcommands there are.

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::UsageError;
use super::bench::BenchArgs;
use super::compare::CompareArgs;
use super::export::ExportArgs;
use super::keys::KeyFlags;
use super::predict::PredictArgs;
use super::prune::PruneArgs;
use super::quantize::QuantizeArgs;
use super::sensitivity::SensitivityArgs;
use super::sweep::SweepArgs;
use sparse_trainer::config::Layers;

/// Train, prune and test image classifiers; without a subcommand, train or test: `sparse-train --config FILE`.
#[derive(Debug, Parser)]
#[command(
    name = "sparse-train",
    version,
    rename_all = "snake_case",
    args_conflicts_with_subcommands = true,
    args_override_self = true
)]
pub(super) struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the shape, the zeros and the magnitudes of every layer, and which threshold gives which sparsity
    Inspect(InspectArgs),
    /// Compare runs with a dense one over the same test images: sparsity, top-1, difference with its 95 % interval
    Compare(CompareArgs),
    /// Make weights zero by looking at images, without labels and without training
    Prune(Box<PruneArgs>),
    /// Round weights and activations to 8 bits by looking at images, without labels and without training
    Quantize(Box<QuantizeArgs>),
    /// Show what the network loses if one layer alone is pruned, layer by layer
    Sensitivity(Box<SensitivityArgs>),
    /// Find the highest sparsity whose accuracy stays within a given loss
    Sweep(Box<SweepArgs>),
    /// Measure how fast this machine trains, runs trained networks, or prepares images
    Bench(BenchArgs),
    /// Write weights of Paddle, PyTorch or TensorFlow as a file of this program
    Convert(ConvertArgs),
    /// Write weights for where they are used: packed, of the size that their zeros leave, or as ONNX
    Export(ExportArgs),
    /// Tell what is in images: the most probable classes with their names
    Predict(PredictArgs),
}

/// What a command line asks for.
#[derive(Debug)]
pub(crate) enum Action {
    /// Train or test.
    Run(Box<Flags>),
    /// Show a weights file.
    Inspect(InspectArgs),
    /// Compare runs.
    Compare(CompareArgs),
    /// Prune by images.
    Prune(Box<PruneArgs>),
    /// Round to 8 bits by images.
    Quantize(Box<QuantizeArgs>),
    /// Prune layers one at a time, and look.
    Sensitivity(Box<SensitivityArgs>),
    /// Look for the highest sparsity.
    Sweep(Box<SweepArgs>),
    /// Measure speed.
    Bench(BenchArgs),
    /// Convert weights.
    Convert(ConvertArgs),
    /// Export weights.
    Export(ExportArgs),
    /// Look at images.
    Predict(PredictArgs),
}

impl CommandLine {
    pub(super) fn into_action(self) -> Action {
        match self.command {
            None => Action::Run(Box::new(self.flags)),
            Some(Command::Inspect(inspect)) => Action::Inspect(inspect),
            Some(Command::Compare(compare)) => Action::Compare(compare),
            Some(Command::Prune(prune)) => Action::Prune(prune),
            Some(Command::Quantize(quantize)) => Action::Quantize(quantize),
            Some(Command::Sensitivity(sensitivity)) => Action::Sensitivity(sensitivity),
            Some(Command::Sweep(sweep)) => Action::Sweep(sweep),
            Some(Command::Bench(bench)) => Action::Bench(bench),
            Some(Command::Convert(convert)) => Action::Convert(convert),
            Some(Command::Export(export)) => Action::Export(export),
            Some(Command::Predict(predict)) => Action::Predict(predict),
        }
    }
}

/// `sparse-train inspect`.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct InspectArgs {
    /// Weights of any known program as for convert, a run folder, or an ONNX file
    pub(crate) weights: PathBuf,
    /// The network of a checkpoint with several, such as model_ema.module; . is the top
    #[arg(long, value_name = "NAME")]
    pub(crate) key: Option<String>,
    /// Print one JSON object instead of tables
    #[arg(long)]
    pub(crate) json: bool,
}

/// `sparse-train convert`.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct ConvertArgs {
    /// Weights to read: a Paddle folder of variables, .pdparams, PyTorch .pth or .pt, safetensors, or a run folder
    #[arg(value_name = "IN")]
    pub(crate) from: PathBuf,
    /// File to write, safetensors; replaced if it exists
    #[arg(value_name = "OUT")]
    pub(crate) to: PathBuf,
    /// The network of a checkpoint with several, such as model_ema.module; . is the top
    #[arg(long, value_name = "NAME")]
    pub(crate) key: Option<String>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// The flags of the main job.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct Flags {
    /// What to do [default: train, or test with --pruned_model]
    #[arg(long)]
    pub(super) phase: Option<PhaseFlag>,
    /// Print results as one JSON object on stdout
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) print: PrintFlags,
    #[command(flatten)]
    pub(super) resume: ResumeFlags,
    #[command(flatten)]
    pub(super) config: ConfigFlags,
}

/// What to print instead of running.
#[derive(Debug, Clone, Copy, Args)]
#[command(rename_all = "snake_case")]
#[group(multiple = false)]
pub(super) struct PrintFlags {
    /// Print the config that file, --set and flags make, with the source of each value, and do nothing
    #[arg(long)]
    pub(super) print_config: bool,
    /// Print the JSON schema of config files, and do nothing
    #[arg(long)]
    pub(super) print_schema: bool,
    /// Print a table of all keys and flags, and do nothing
    #[arg(long)]
    pub(super) print_keys: bool,
}

/// The flags that make up a config.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(super) struct ConfigFlags {
    /// Config file, TOML [default: none]
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// Set any config key, as in --set prune.ratio=0.75; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    keys: KeyFlags,
}

impl ConfigFlags {
    /// The config file, if one is named.
    pub(super) fn file(&self) -> Option<&Path> {
        self.config.first().map(PathBuf::as_path)
    }

    /// Stacks flag over `--set` over config file.
    ///
    /// # Errors
    /// If there are two files, the file cannot be read, or an assignment is malformed.
    pub(super) fn layers(self) -> Result<Layers, UsageError> {
        if let [first, second, ..] = self.config.as_slice() {
            return Err(UsageError::Conflict {
                flag: format!("--config {}", first.display()),
                other: format!("--config {}", second.display()),
                advice: "give one file, and what another would change with --set or flags",
            });
        }
        let mut layers = Layers::new();
        if let Some(path) = self.file() {
            layers.file(path)?;
        }
        for assignment in &self.set {
            layers.set(assignment)?;
        }
        self.keys.add_to(&mut layers);
        Ok(layers)
    }
}

/// The value of `--phase`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum PhaseFlag {
    Train,
    Test,
}

/// The value of `--resume`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ResumeFlag {
    Auto,
}

/// Where training starts and which weights are tested.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case", next_help_heading = "Resume and test")]
pub(super) struct ResumeFlags {
    /// Go on from the newest good checkpoint, or start if there is none [default: start]
    #[arg(long)]
    pub(super) resume: Option<ResumeFlag>,
    /// Go on from the checkpoint with this many epochs done, 0 = start [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(super) resume_epoch: Option<i64>,
    /// Same as --resume_epoch E+1, -1 = start [default: -1]
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
    pub(super) last_epoch: Option<i64>,
    /// Folder whose checkpoints to resume from [default: the one of --model_path]
    #[arg(long, value_name = "DIR")]
    pub(super) checkpoint: Option<PathBuf>,
    /// Weights to test, a file or a run folder [default: the ones in --model_path]
    #[arg(long, value_name = "PATH")]
    pub(super) pruned_model: Option<PathBuf>,
}
