//! The weights of the greatest magnitude, as training chooses them.

use super::OneshotConfig;
use super::file::File;
use super::layers::Layer;
use crate::error::Result;
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::VarMap;
use sparse_oneshot::Support;
use sparse_prune::{Mode, Pattern, Pruner, PrunerConfig, Scope};
use sparse_sparsity::Mask;

/// Masks of the layers, groups one behind the other, by [`Pruner`]: the same weights as a step of training would keep, over all layers or in each.
///
/// # Errors
/// What the pruner reports.
pub(super) fn by_pruner(
    file: &File,
    layers: &[Layer],
    config: &OneshotConfig,
    scope: Scope,
) -> Result<Vec<Mask>> {
    let vars = VarMap::new();
    // In the order of the names, as in training.
    let name = |index: usize, layer: &Layer| match file.is_ours() {
        true => layer.name.clone(),
        false => format!("layer{index:06}_weights"),
    };
    for (index, layer) in layers.iter().enumerate() {
        let (rows, columns) = (layer.outputs * layer.groups, layer.inputs);
        let weight = layer.raw(&file.raw).unwrap_or_default();
        let tensor = match (layer.is_linear(), file.is_ours()) {
            (true, true) => Tensor::from_slice(weight, (rows, columns), &Device::Cpu)?.t()?.contiguous()?,
            (true, false) => Tensor::from_slice(weight, (rows, columns), &Device::Cpu)?,
            (false, _) => {
                let shape = (rows, columns / layer.positions, layer.positions);
                Tensor::from_slice(weight, shape, &Device::Cpu)?
            }
        };
        let variable = Var::from_tensor(&tensor.to_dtype(DType::F32)?)?;
        let mut data = vars.data().lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        data.insert(name(index, layer), variable);
    }
    let mode = match config.pattern {
        Some([n, m]) => Mode::Pattern(Pattern { n, m, linear_inputs: usize::from(!file.is_ours()) }),
        None => Mode::Ratio(config.ratio),
    };
    let settings = PrunerConfig { scope, block: config.block, ..PrunerConfig::new(mode) };
    let mut pruner = Pruner::new(&vars, settings)?;
    pruner.step()?;
    let mask = |(index, layer): (usize, &Layer)| {
        let mask = &pruner.masks()[&name(index, layer)];
        if file.is_ours() { layer.mask_from_training(mask) } else { mask.clone() }
    };
    Ok(layers.iter().enumerate().map(mask).collect())
}

/// Masks of a support for each group, by the weights as the file has them.
pub(super) fn by_support(file: &File, layers: &[Layer], supports: &[Support]) -> Vec<Mask> {
    let mask = |(layer, support): (&Layer, &Support)| {
        let weight = layer.raw(&file.raw).unwrap_or_default();
        let scores: Vec<f64> = weight.iter().map(|&value| f64::from(value).powi(2)).collect();
        let group = layer.outputs * layer.inputs;
        let parts: Vec<Mask> =
            scores.chunks_exact(group).map(|scores| support.largest(scores, layer.inputs)).collect();
        Mask::from_fn(weight.len(), |at| parts[at / group].get(at % group))
    };
    layers.iter().zip(supports).map(mask).collect()
}
