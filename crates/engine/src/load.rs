//! A network from a file: weights of `sparse-train`, packed or not, of 8 bits or not, also in the folder of a run, or ONNX.

use crate::bind::bind;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::onnx::{self, ReadOptions};
use crate::quantized;
use serde_json::Value;
use sparse_formats::{MappedFile, foreign_weights, open_regular};
use sparse_network::{Architecture, NetworkConfig};
use std::io::Read;
use std::path::Path;

/// Height and width of images if nothing says what they are: ImageNet's, and MNIST's for grey ones.
const SIDES: [usize; 2] = [224, 28];

/// The weights in the folder of a training run.
const IN_FOLDER: &str = "weights.safetensors";

/// A network and what its file says about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it computes.
    pub graph: Graph,
    /// The metadata of a weights file, a JSON object, or of an ONNX file, an object of strings; `Null` if there is none.
    pub metadata: Value,
}

/// Reads a network for images of height and width `size`; `None` = those that the file names, or else those that images of
/// its number of channels usually have.
///
/// # Errors
/// [`Error::File`] if the file cannot be read, [`Error::Onnx`] for an ONNX file that is damaged, has operators that are not
/// supported (all are named), or has several outputs, [`Error::TensorMissing`] for weights under other names than ours.
pub fn load(path: &Path, size: Option<[usize; 2]>) -> Result<Loaded> {
    load_with(path, &ReadOptions { size, output: None })
}

/// As [`load`], with the name of the output that holds the scores if an ONNX file has several.
///
/// # Errors
/// As [`load`]; [`Error::NoOutputs`] if an output is named for weights, which have but one.
pub fn load_with(path: &Path, options: &ReadOptions) -> Result<Loaded> {
    let is_folder = path.is_dir();
    if !is_folder {
        open_regular(path)?;
    }
    if is_folder || is_safetensors(path) {
        if options.output.is_some() {
            return Err(Error::NoOutputs { path: path.to_owned() });
        }
        let file = if is_folder { path.join(IN_FOLDER) } else { path.to_owned() };
        return weights(&file, options.size);
    }
    let bytes = onnx::read_bytes(path)?;
    if let Some(what) = foreign_weights(&bytes) {
        return Err(sparse_formats::Error::UnknownContent { path: path.to_owned(), what }.into());
    }
    let graph = onnx::read_beside(path, &bytes, options)?;
    let properties = onnx::metadata(&bytes)?;
    let metadata = properties.into_iter().map(|(key, value)| (key, Value::String(value))).collect();
    Ok(Loaded { graph, metadata: Value::Object(metadata) })
}

/// Whether a file is to be read as ONNX: it begins with the version of that format and a further field, or is called so.
pub fn is_onnx(path: &Path) -> bool {
    let mut start = [0; 3];
    let read = start_of(path, &mut start);
    // Fields of `ModelProto` in front of the graph, and the graph.
    let opens = start[0] == 0x08 && start[1] < 0x80 && matches!(start[2], 0x12 | 0x1a | 0x22 | 0x32 | 0x3a);
    let called = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx"));
    path.is_file() && !is_safetensors(path) && (called || read && opens)
}

/// Height and width of the images of a network of so many input channels: what the recipe in the metadata of its weights
/// says, else what such images usually have.
pub fn input_side(metadata: &Value, channels: usize) -> usize {
    let named = |key: &str| metadata.get("recipe")?.get(key)?.as_u64();
    let named = named("data.crop").or_else(|| named("data.image_size"));
    named.and_then(|side| usize::try_from(side).ok()).unwrap_or(SIDES[usize::from(channels == 1)])
}

/// Whether a file begins with the length of a header and the header, a JSON object. What cannot be read is told later.
fn is_safetensors(path: &Path) -> bool {
    let mut start = [0; 9];
    start_of(path, &mut start) && start[8] == b'{'
}

/// Reads the first bytes of a file; `false` if there are none to be had.
fn start_of(path: &Path, start: &mut [u8]) -> bool {
    open_regular(path).is_ok_and(|mut file| file.read_exact(start).is_ok())
}

fn weights(path: &Path, size: Option<[usize; 2]>) -> Result<Loaded> {
    let file = MappedFile::open(path)?;
    let metadata: Value =
        file.metadata().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    if file.is_int8() {
        return quantized::read(&file, metadata, size);
    }
    let network = network(&file, &metadata, 1)?;
    let side = input_side(&metadata, network.channels);
    let graph = bind(&network.graph()?, size.unwrap_or([side; 2]), &mut |name| Ok(tensor(&file, name)?.1))?;
    Ok(Loaded { graph, metadata })
}

/// The network by the shapes of its first and last tensor and by the metadata; `classes`: the axis of the last one that counts classes.
pub(crate) fn network(file: &MappedFile, metadata: &Value, classes: usize) -> Result<NetworkConfig> {
    let reason = |reason: String| Error::Metadata { path: file.path().to_owned(), reason };
    let said = metadata.get("architecture").cloned().unwrap_or(Value::Null);
    let architecture: Option<Architecture> =
        serde_json::from_value(said).map_err(|error| reason(error.to_string()))?;
    let architecture = architecture.unwrap_or_default();
    let side = |name: &str, axis: usize| {
        let shape = tensor(file, name)?.0;
        let dimension = shape.get(axis).copied();
        dimension.ok_or_else(|| reason(format!("`{name}` has the shape {shape:?}")))
    };
    let kind = architecture.kind().unwrap_or_default();
    let (channels, classes) = (side(kind.first(), 1)?, side(kind.head()[0], classes)?);
    let scale = architecture.scale().unwrap_or(1.0);
    Ok(architecture.refine(&NetworkConfig::new(kind, scale, channels, classes)))
}

pub(crate) fn tensor(file: &MappedFile, name: &str) -> Result<(Vec<usize>, Vec<f32>)> {
    file.values(name).map_err(|error| match error {
        sparse_formats::Error::NoTensor { .. } => {
            Error::TensorMissing { path: file.path().to_owned(), name: name.to_owned() }
        }
        other => other.into(),
    })
}
