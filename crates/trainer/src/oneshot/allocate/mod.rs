//! How zeros are shared among layers.

mod curves;
mod least_loss;
mod shares;
mod within_time;

pub(super) use curves::{Curve, curves};
pub(super) use within_time::{Wanted, within_time};

use super::layers::Layer;
use super::{OneshotConfig, OneshotError};
use crate::error::Result;
use sparse_engine::graph::Graph;
use sparse_oneshot::Support;

/// How zeros are shared among layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Allocation {
    /// The same share in each.
    #[default]
    Uniform,
    /// The weights of least magnitude, whatever their layer.
    Global,
    /// More in larger layers: a density in proportion to (outputs + inputs) / (outputs · inputs), the Erdős–Rényi kernel of
    /// Evci et al. 2020, "Rigging the Lottery", arXiv:1911.11134.
    Erk,
    /// So that the output of the network changes least, as estimated from what each layer does to it.
    Error,
    /// So that the network is so many times as fast on this machine, and its output changes least.
    Time,
}

/// Weights that each layer keeps, where that follows from shapes, weights and `curves`.
pub(super) fn kept(raw: &Graph, layers: &[Layer], config: &OneshotConfig, curves: &[Curve]) -> Vec<f64> {
    match config.allocation {
        Allocation::Global => shares::global(raw, layers, config.ratio),
        Allocation::Erk => shares::erk(layers, config.ratio),
        Allocation::Error => least_loss::kept(layers, config.ratio, curves),
        Allocation::Uniform | Allocation::Time => {
            layers.iter().map(|layer| (1.0 - config.ratio) * layer.len() as f64).collect()
        }
    }
}

/// What each group of each layer may keep.
///
/// # Errors
/// [`OneshotError::PatternOfLayer`] or [`OneshotError::Layer`] naming a layer that the pattern or block does not fit, [`OneshotError::Ratio`] if whole blocks do not give
/// the ratio.
pub(super) fn supports(layers: &[Layer], kept: &[f64], config: &OneshotConfig) -> Result<Vec<Support>> {
    let support = |(layer, &kept): (&Layer, &f64)| {
        let support = layer.support(config, kept);
        let fits = support.check(layer.inputs);
        let layer = layer.name.clone();
        fits.map(|()| support).map_err(|source| match source {
            sparse_oneshot::Error::Pattern { .. } => OneshotError::PatternOfLayer { layer, source }.into(),
            _ => OneshotError::Layer { layer, source }.into(),
        })
    };
    let supports: Vec<Support> = layers.iter().zip(kept).map(support).collect::<Result<_>>()?;
    check_ratio(layers, &supports, config)?;
    Ok(supports)
}

/// Refuses a ratio that whole blocks miss by more than half a percent.
fn check_ratio(layers: &[Layer], supports: &[Support], config: &OneshotConfig) -> Result<()> {
    const MOST: f64 = 0.005;
    if config.pattern.is_some() || config.block == [1, 1] || config.allocation == Allocation::Time {
        return Ok(());
    }
    let weights: usize = layers.iter().map(Layer::len).sum();
    let kept =
        |(layer, support): (&Layer, &Support)| layer.groups * support.kept(layer.outputs, layer.inputs);
    let kept: usize = layers.iter().zip(supports).map(kept).sum();
    let nearest = 1.0 - kept as f64 / weights.max(1) as f64;
    if (nearest - config.ratio).abs() > MOST {
        return Err(OneshotError::Ratio { block: config.block, wanted: config.ratio, nearest }.into());
    }
    Ok(())
}
