//! The flags of `sparse-train export`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use sparse_trainer::{OnnxOptions, PackedValues, WeightsAt};

use super::UsageError;
use super::values::whole;

/// `sparse-train export`.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct ExportArgs {
    /// Weights to read, as for convert: a file of any known program, or a run folder
    pub(crate) weights: PathBuf,
    /// The network of a checkpoint with several, such as model_ema.module; . is the top
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// What to write
    #[arg(long, value_name = "FORMAT")]
    pub(crate) to: Target,
    /// File to write; replaced if it exists
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// packed: how weights are stored; f16 and bf16 round them [default: f32]
    #[arg(long)]
    pub(crate) values: Option<ValuesFlag>,
    /// onnx: height and width of the images [default: as in training, else 224, or 28 in grey]
    #[arg(long, value_name = "PIXELS", value_parser = whole, allow_negative_numbers = true)]
    size: Option<usize>,
    /// onnx: store weights of which half are zeros without them
    #[arg(long)]
    pub(crate) sparse_initializer: bool,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// The value of `--to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// Safetensors with a bit for each weight and the weights that are not zero; everything here reads it
    Packed,
    /// The network with operator set 13, batch norms folded in, for other engines
    Onnx,
}

impl ExportArgs {
    /// Checks that the flags belong to what is written.
    ///
    /// # Errors
    /// [`UsageError::Conflict`] naming the one that does not.
    pub(crate) fn check(&self) -> Result<(), UsageError> {
        let given = [
            (self.values.is_some(), "--values", Target::Packed, "it says how packed weights are stored"),
            (self.size.is_some(), "--size", Target::Onnx, "a packed file is for images of any size"),
            (
                self.sparse_initializer,
                "--sparse_initializer",
                Target::Onnx,
                "a packed file stores no zeros in any case",
            ),
        ];
        match given.into_iter().find(|(given, _, target, _)| *given && *target != self.to) {
            None => Ok(()),
            Some((_, flag, target, advice)) => {
                let other = if target == Target::Onnx { "--to packed" } else { "--to onnx" };
                Err(UsageError::Conflict { flag: flag.to_owned(), other: other.to_owned(), advice })
            }
        }
    }

    /// What to read.
    pub(crate) fn from(&self) -> WeightsAt<'_> {
        WeightsAt::from(&self.weights).under(self.key.as_deref())
    }

    /// How an ONNX file is written.
    pub(crate) fn onnx(&self) -> OnnxOptions {
        OnnxOptions { size: self.size, sparse_initializer: self.sparse_initializer }
    }
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
