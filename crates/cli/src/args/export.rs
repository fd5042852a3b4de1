//! The flags of `sparse-train export`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use sparse_trainer::PackedValues;

/// `sparse-train export`.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct ExportArgs {
    /// Weights to read, as for convert: a file of any known program, or a run folder
    pub(crate) weights: PathBuf,
    /// What to write
    #[arg(long, value_name = "FORMAT")]
    pub(crate) to: Target,
    /// File to write; replaced if it exists
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// How packed weights are stored; f16 and bf16 round them [default: f32]
    #[arg(long)]
    pub(crate) values: Option<ValuesFlag>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// The value of `--to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// Safetensors with a bit for each weight and the weights that are not zero; everything here reads it
    Packed,
}

/// The value of `--values`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ValuesFlag {
    /// As they are
    #[default]
    F32,
    /// Half the size, 11 bits, up to 65504
    F16,
    /// Half the size, 8 bits, over the whole range
    Bf16,
}

impl From<ValuesFlag> for PackedValues {
    fn from(flag: ValuesFlag) -> Self {
        match flag {
            ValuesFlag::F32 => Self::F32,
            ValuesFlag::F16 => Self::F16,
            ValuesFlag::Bf16 => Self::Bf16,
        }
    }
}
