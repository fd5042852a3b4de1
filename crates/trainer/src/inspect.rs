//! What is in a weights file: zeros per layer, and which threshold gives which sparsity.

use crate::error::{Error, Result};
use crate::pretrained::{Pretrained, WeightsAt};
use crate::weights::weights_path;
use serde::Serialize;
use sparse_engine::graph::{Convolution, Graph, Op};
use sparse_engine::{is_onnx, load};
use sparse_formats::{Dtype, Tensor, Tensors};
use sparse_sparsity::report::{Count, Magnitudes, ThresholdRow, magnitudes};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Shares of the prunable weights for which a threshold is given.
const SHARES: [f64; 12] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 0.7, 0.75, 0.8, 0.9, 0.95];
/// Thresholds for which the share is given.
const THRESHOLDS: [f64; 6] = [1e-5, 1e-4, 1e-3, 1e-2, 3e-2, 1e-1];

/// One tensor of the file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerReport {
    /// Name of the tensor.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Whether a pruner takes it by default: two dimensions or more.
    pub prunable: bool,
    /// Whether its numbers are bytes with a scale for each output, as quantised networks have them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub int8: bool,
    /// Zeros in it.
    pub zeros: u64,
    /// Fraction of zeros.
    pub sparsity: f64,
    /// Smallest |w|.
    pub min: f64,
    /// Median |w|, the lower of the two middle ones.
    pub median: f64,
    /// Largest |w|.
    pub max: f64,
}

/// A weights file, measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    /// The file.
    pub file: String,
    /// Numbers in the file.
    pub parameters: u64,
    /// Fraction of zeros over all numbers, over the prunable ones, and over pointwise kernels.
    pub sparsity: sparse_prune::Sparsity,
    /// Every tensor, in the order of the names.
    pub layers: Vec<LayerReport>,
    /// For wanted shares of the prunable weights the threshold that prunes them.
    pub threshold_for_sparsity: Vec<ThresholdRow>,
    /// For common thresholds the share of the prunable weights that they prune.
    pub sparsity_for_threshold: Vec<ThresholdRow>,
}

/// Measures a weights file or the weights of a run folder: the tensors of a safetensors file as they are, those of other
/// formats, or under a key, by our names; those of an ONNX network by the names of its nodes.
///
/// # Errors
/// If the file cannot be read, if it holds nothing but whole numbers, or a tensor has a NaN in it.
pub fn inspect<'a>(weights: impl Into<WeightsAt<'a>>) -> Result<Inspection> {
    let Found { file, tensors, int8 } = tensors_at(weights.into())?;
    let (mut layers, mut prunable, mut counts) = (Vec::new(), Vec::new(), [Count::default(); 3]);
    for (name, tensor) in &tensors {
        let values = values_of(tensor)?;
        let measured = measure(&file, name, &values, &[])?;
        let is_prunable = tensor.shape.len() >= 2;
        let is_pointwise = matches!(tensor.shape[..], [_, _, 1, 1]);
        for (count, counts_here) in counts.iter_mut().zip([true, is_prunable, is_pointwise]) {
            if counts_here {
                *count = *count + measured.count;
            }
        }
        let int8 = int8.contains(name);
        layers.push(LayerReport { int8, ..layer_report(name, tensor, is_prunable, &measured) });
        if is_prunable {
            prunable.push(values);
        }
    }
    let slices: Vec<&[f64]> = prunable.iter().map(Vec::as_slice).collect();
    let table = magnitudes(&slices, &SHARES).map_err(sparse_prune::Error::from)?;
    let [all_parameters, prunable, pointwise] = counts.map(Count::sparsity);
    Ok(Inspection {
        file: file.display().to_string(),
        parameters: counts[0].total,
        sparsity: sparse_prune::Sparsity { all_parameters, prunable, pointwise },
        layers,
        threshold_for_sparsity: table.rows,
        sparsity_for_threshold: THRESHOLDS.iter().map(|&threshold| share_below(&slices, threshold)).collect(),
    })
}

/// What is to be measured.
struct Found {
    /// Where it is.
    file: PathBuf,
    tensors: Tensors,
    /// Names of tensors that are bytes there.
    int8: BTreeSet<String>,
}

fn tensors_at(weights: WeightsAt<'_>) -> Result<Found> {
    let path = weights_path(weights.path)?;
    if is_onnx(&path) {
        if weights.key.is_some() {
            return Err(Error::KeyOfOnnx { path });
        }
        let (tensors, int8) = tensors_of(&load(&path, None)?.graph);
        return Ok(Found { file: path, tensors, int8 });
    }
    let int8 = BTreeSet::new();
    let own = if path.is_dir() || weights.key.is_some() { None } else { own_tensors(&path)? };
    if let Some(tensors) = own {
        return Ok(Found { file: path, tensors, int8 });
    }
    let pretrained = Pretrained::read(weights)?;
    pretrained.warn();
    let tensors = pretrained.to_tensors();
    Ok(Found { file: pretrained.path, tensors, int8 })
}

/// What the nodes of a network are given by, under their names, and which of that is bytes with scales.
fn tensors_of(graph: &Graph) -> (Tensors, BTreeSet<String>) {
    let (mut tensors, mut int8) = (Tensors::new(), BTreeSet::new());
    for node in &graph.nodes {
        let mut add = |what: &str, shape: &[usize], values: &[f32]| {
            let plain = format!("{}.{what}", node.name);
            let numbered = (1..).map(|number| format!("{plain}_{number}"));
            let free =
                std::iter::once(plain.clone()).chain(numbered).find(|name| !tensors.contains_key(name));
            let name = free.unwrap_or(plain);
            tensors.insert(name.clone(), Tensor::from_f32(shape.to_vec(), values));
            name
        };
        match &node.op {
            Op::Convolution(Convolution { weight, shape, bias, scales, .. }) => {
                let name = add("weight", shape, weight);
                int8.extend(scales.as_ref().map(|_| name));
                add("bias", &shape[..1], bias);
            }
            Op::Linear { weight, bias, scales } => {
                let name = add("weight", &[bias.len(), weight.len() / bias.len().max(1)], weight);
                int8.extend(scales.as_ref().map(|_| name));
                add("bias", &[bias.len()], bias);
            }
            Op::Affine { scale, offset } => {
                add("scale", &[scale.len()], scale);
                add("offset", &[offset.len()], offset);
            }
            Op::PRelu { slope } => _ = add("slope", &[slope.len()], slope),
            _ => {}
        }
    }
    (tensors, int8)
}

/// The floating-point tensors of a safetensors file; `None` for another format.
fn own_tensors(path: &Path) -> Result<Option<Tensors>> {
    let mut tensors = match sparse_formats::read(path) {
        Ok((tensors, _)) => tensors,
        Err(sparse_formats::Error::UnknownContent { .. }) => return Ok(None),
        Err(other) => return Err(other.into()),
    };
    let whole: Vec<(String, Dtype)> = tensors
        .iter()
        .filter(|(_, tensor)| !is_float(tensor.dtype))
        .map(|(name, tensor)| (name.clone(), tensor.dtype))
        .collect();
    tensors.retain(|_, tensor| is_float(tensor.dtype));
    match whole.first() {
        Some((name, dtype)) if tensors.is_empty() => {
            let (name, dtype) = (name.clone(), dtype.to_string());
            Err(Error::WholeNumbers { path: path.to_owned(), name, dtype })
        }
        Some((name, dtype)) => {
            let (count, path) = (whole.len(), path.display());
            tracing::warn!(
                "{count} tensors of {path} hold whole numbers and are left out, the first is {name} ({dtype})"
            );
            Ok(Some(tensors))
        }
        None => Ok(Some(tensors)),
    }
}

fn is_float(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64)
}

fn values_of(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(match tensor.dtype {
        Dtype::F64 => tensor.to_f64()?,
        _ => tensor.view().as_f32()?.into_iter().map(f64::from).collect(),
    })
}

fn measure(file: &Path, name: &str, values: &[f64], shares: &[f64]) -> Result<Magnitudes> {
    let not_a_number = |_| Error::NotANumber { path: file.to_path_buf(), name: name.to_owned() };
    magnitudes(&[values], shares).map_err(not_a_number)
}

fn layer_report(name: &str, tensor: &Tensor, prunable: bool, measured: &Magnitudes) -> LayerReport {
    LayerReport {
        name: name.to_owned(),
        shape: tensor.shape.clone(),
        prunable,
        int8: false,
        zeros: measured.count.zeros,
        sparsity: measured.count.sparsity(),
        min: measured.minimum,
        median: measured.median,
        max: measured.maximum,
    }
}

/// The share of weights below a threshold, compared in f32 as the pruner does.
fn share_below(parts: &[&[f64]], threshold: f64) -> ThresholdRow {
    let total: usize = parts.iter().map(|part| part.len()).sum();
    let below = |part: &&[f64]| part.iter().filter(|value| (value.abs() as f32) < threshold as f32).count();
    let pruned = parts.iter().map(below).sum::<usize>() as f64 / total.max(1) as f64;
    ThresholdRow { share: pruned, threshold, pruned }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_quantiles_and_thresholds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        let weights: Vec<f32> = (0..100).map(|i| if i < 20 { 0.0 } else { i as f32 / 1000.0 }).collect();
        let mut tensors = Tensors::new();
        tensors.insert("a".into(), Tensor::from_f32([10, 10, 1, 1], &weights));
        tensors.insert("b".into(), Tensor::from_f32([4], &[0.0, -2.0, 1.0, 1.0]));
        sparse_formats::write(&path, &tensors, None).unwrap();
        let inspection = inspect(folder.path()).unwrap();
        assert_eq!(inspection.parameters, 104);
        assert!((inspection.sparsity.pointwise - 0.2).abs() < 1e-12);
        assert!((inspection.sparsity.all_parameters - 21.0 / 104.0).abs() < 1e-12);
        let layer = &inspection.layers[0];
        assert_eq!((layer.zeros, layer.prunable, layer.min), (20, true, 0.0));
        assert!((layer.median - 0.049).abs() < 1e-6 && (layer.max - 0.099).abs() < 1e-6);
        let half = inspection.threshold_for_sparsity.iter().find(|row| row.share == 0.5).unwrap();
        assert!((half.threshold - 0.05).abs() < 1e-6 && (half.pruned - 0.5).abs() < 1e-12);
        let at = inspection.sparsity_for_threshold.iter().find(|row| row.threshold == 3e-2).unwrap();
        assert!((at.pruned - 0.3).abs() < 1e-12, "{at:?}");
    }

    #[test]
    fn a_quantised_onnx_network_is_measured_by_the_names_of_its_nodes() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../tests/onnx/quantised/mobilenet_channel_u8.onnx");
        let inspection = inspect(path.as_path()).unwrap();
        let bytes: Vec<&LayerReport> = inspection.layers.iter().filter(|layer| layer.int8).collect();
        assert_eq!((inspection.layers.len(), bytes.len()), (16, 8));
        assert!(bytes.iter().all(|layer| layer.prunable && layer.name.ends_with(".weight")));
        assert_eq!((bytes[0].name.as_str(), &bytes[0].shape[..]), ("/0/0.0/Conv.weight", &[8, 3, 3, 3][..]));
        let plain = path.with_file_name("../resnet_17.onnx");
        let inspection = inspect(plain.as_path()).unwrap();
        assert!(inspection.layers.iter().all(|layer| !layer.int8));
        assert!(inspection.layers.iter().any(|layer| layer.name.ends_with(".scale")));
        let keyed = inspect(WeightsAt::from(plain.as_path()).under(Some("first")));
        assert!(matches!(keyed, Err(Error::KeyOfOnnx { .. })));
    }

    #[test]
    fn a_nan_and_another_type_name_the_tensor() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        for (tensor, part) in
            [(Tensor::from_f32([1], &[f32::NAN]), "NaN"), (Tensor::from_u8([1], &[1]), "U8")]
        {
            sparse_formats::write(&path, &Tensors::from([("odd".to_owned(), tensor)]), None).unwrap();
            let message = inspect(&path).unwrap_err().to_string();
            assert!(message.contains("odd") && message.contains(part), "{message}");
        }
    }
}
