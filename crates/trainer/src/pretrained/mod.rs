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
mod settle;

pub use convert::{Converted, convert};
pub use export::{Packed, export_packed};
pub use head::Head;
pub(crate) use input::InputFacts;
pub use onnx::{ExportedOnnx, OnnxOptions, export_onnx};
pub(crate) use onnx::{INPUT, LABELS};

use crate::error::{Error, Result};
use crate::weights::weights_path;
use architecture::Metadata;
use sparse_formats::import::as_f32;
use sparse_formats::{Dtype, Format, Tensor, Tensors, import};
use sparse_mobilenet::names::{Family, Recognised, Shapes, Source, arranged, recognise};
use sparse_mobilenet::{MobileNetConfig, layers};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The tensors of a MobileNetV1 by our names, with what is known about the network.
#[derive(Clone, Debug)]
pub struct Pretrained {
    /// The file or folder they were read from.
    pub path: PathBuf,
    /// Its format.
    pub format: Format,
    /// Whose names it has.
    pub family: &'static Family,
    /// The network: widths, channels and outputs by the shapes; the rest by the metadata, else as the family has it.
    pub network: MobileNetConfig,
    /// Whether the first output is a background class.
    pub background: bool,
    /// Tensors of the file that belong to training and were passed over.
    pub ignored: Vec<String>,
    /// What its input is, as far as that is known.
    pub input: Option<InputHint>,
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
    /// Reads a file, a run folder, a folder with one file of weights, or a folder of Paddle variables.
    ///
    /// # Errors
    /// [`Error::NoWeights`] if nothing is there, what [`import()`] reports of the format, and [`Error::ForeignWeights`] if
    /// the tensors are not those of a MobileNetV1; it names all that are missing, left over or of another shape.
    pub fn read(path: &Path) -> Result<Self> {
        let path = weights_path(path)?;
        let imported = import(&path).map_err(|error| match error {
            sparse_formats::Error::NoWeights { path } => {
                Error::NoWeights { path: path.join(crate::WEIGHTS_FILE) }
            }
            other => other.into(),
        })?;
        let shapes: Shapes<'_> =
            imported.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.shape.as_slice())).collect();
        let foreign = |source| Error::ForeignWeights { path: imported.path.clone(), source };
        let recognised = recognise(&shapes).map_err(foreign)?;
        let tensors = recognised
            .sources
            .iter()
            .map(|source| Ok((source.canonical.clone(), values(&imported.path, &imported.tensors, source)?)))
            .collect::<Result<_>>()?;
        let metadata = Metadata::parse(imported.metadata.as_deref(), &imported.path);
        let Recognised { family, background, ignored, .. } = recognised;
        let network = metadata.refine(&recognised.network);
        let input =
            metadata.input().or_else(|| family.input.filter(|_| !family.is_canonical()).map(InputHint::from));
        let (path, format) = (imported.path, imported.format);
        Ok(Self { path, format, family, network, background, ignored, input, metadata, tensors })
    }

    /// Classes that the head tells apart, without a background class.
    pub fn classes(&self) -> usize {
        self.network.classes - usize::from(self.background)
    }

    /// Whether a network of this scale has the same widths.
    fn has_widths_of(&self, scale: f64) -> bool {
        let widths = |scale| layers(&MobileNetConfig { scale, ..self.network });
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

impl From<sparse_mobilenet::names::Input> for InputHint {
    fn from(input: sparse_mobilenet::names::Input) -> Self {
        let interpolation = Some(input.interpolation.to_owned());
        Self { mean: input.mean.to_vec(), std: input.std.to_vec(), interpolation }
    }
}

/// The values of one parameter.
fn values(path: &Path, tensors: &Tensors, source: &Source) -> Result<Values> {
    let shape = source.shape.clone();
    let Some((name, tensor)) = source.name.as_ref().and_then(|name| tensors.get_key_value(name)) else {
        let values = vec![0.0; shape.iter().product()];
        return Ok(Values { shape, values });
    };
    if !matches!(tensor.dtype, Dtype::F32 | Dtype::F64 | Dtype::F16 | Dtype::BF16) {
        return Err(Error::TensorShape {
            path: path.to_owned(),
            name: name.clone(),
            expected: format!("{} {shape:?}", Dtype::F32),
            got: format!("{} {:?}", tensor.dtype, tensor.shape),
        });
    }
    Ok(Values { shape, values: arranged(as_f32(tensor)?, &tensor.shape, &source.axes) })
}
