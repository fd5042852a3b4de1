//! Weights to start from or to test, from a file of any program that is known.
//!
//! [`Pretrained::read`] brings them under our names and into our layouts, [`Pretrained::settle`] lets the config take
//! from them what it leaves open, and [`Pretrained::load`] puts them into a model.

mod architecture;
mod convert;
mod export;
mod graph;
mod head;
mod input;
mod onnx;
mod ours;
mod place;
mod read;
mod settle;

pub use convert::{Converted, convert};
pub use export::{Packed, export_packed};
pub use head::Head;
pub(crate) use input::InputFacts;
pub use onnx::{ExportedOnnx, OnnxOptions, export_onnx};
use onnx::{INPUT, LABELS};
pub(crate) use ours::{Ours, refuse_input};
pub use place::WeightsAt;

use architecture::Metadata;
use sparse_formats::{Format, Tensor, Tensors};
use sparse_model::names::Family;
use sparse_model::{Kind, NetworkConfig, layers};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The tensors of a MobileNetV1 by our names, with what is known about the network.
#[derive(Clone, Debug)]
pub struct Pretrained {
    /// The file or folder they were read from.
    pub path: PathBuf,
    /// The keys that lead to the network in the file, with dots between them; empty for the top.
    pub key: String,
    /// Its format.
    pub format: Format,
    /// Whose names it has.
    pub family: &'static Family,
    /// The network: widths, channels and outputs by the shapes; the rest by the metadata, else as the family has it.
    pub network: NetworkConfig,
    /// Whether the first output is a background class.
    pub background: bool,
    /// Tensors of the file that belong to training and were passed over.
    pub ignored: Vec<String>,
    /// Tensors that had a mask beside them, which was applied.
    pub masked: usize,
    /// What its input is, as far as that is known.
    pub input: Option<InputHint>,
    /// What was done to the weights or found in them that whoever uses them should know, in sentences.
    pub notes: Vec<String>,
    metadata: Metadata,
    tensors: BTreeMap<String, Values>,
}

/// What a network takes as input: pixels from 0 to 1, minus `mean`, over `std`, one number per channel.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct InputHint {
    /// Subtracted.
    pub mean: Vec<f64>,
    /// Divided by.
    pub std: Vec<f64>,
    /// How images were resized, such as "bicubic".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interpolation: Option<String>,
}

/// A parameter: shape and values in C order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Values {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

impl Pretrained {
    /// Classes that the head tells apart, without a background class.
    pub fn classes(&self) -> usize {
        self.network.classes - usize::from(self.background)
    }

    /// The network; of this kind if the file does not say which it is and the parameters are the same.
    pub(crate) fn network_as(&self, kind: Kind) -> NetworkConfig {
        let asked = NetworkConfig { kind, ..self.network };
        match self.metadata.kind() {
            None if asked.has_parameters_of(&self.network) => asked,
            _ => self.network,
        }
    }

    /// Whether a network of this scale has the same widths.
    fn has_widths_of(&self, scale: f64) -> bool {
        let widths = |scale| layers(&NetworkConfig { scale, ..self.network });
        matches!((widths(scale), widths(self.network.scale)), (Ok(a), Ok(b)) if a == b)
    }

    /// The tensors as ours, without the background class.
    pub(crate) fn to_tensors(&self) -> Tensors {
        let mut kept = self.clone();
        kept.drop_background();
        let tensor =
            |(name, values): (String, Values)| (name, Tensor::from_f32(values.shape, &values.values));
        kept.tensors.into_iter().map(tensor).collect()
    }
}

impl From<sparse_model::names::Input> for InputHint {
    fn from(input: sparse_model::names::Input) -> Self {
        let interpolation = Some(input.interpolation.to_owned());
        Self { mean: input.mean.to_vec(), std: input.std.to_vec(), interpolation }
    }
}
