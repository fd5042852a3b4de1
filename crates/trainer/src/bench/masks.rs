//! Random masks of an exact sparsity.

use super::{MASKS, SEED};
use crate::error::Result;
use sparse_data::{SampleRng, sample_rng};
use sparse_model::{ConvKind, ConvLayer, Kind, NetworkConfig, layers};
use sparse_sparsity::{Mask, select};
use std::collections::BTreeMap;

/// A mask for each weight that is pruned, by name, that prunes exactly `round(sparsity · len)` weights: those
/// whose normal random numbers are smallest in magnitude. A function of the network and the sparsity alone.
///
/// # Errors
/// If the settings make no network.
pub(super) fn random_masks(network: &NetworkConfig, sparsity: f64) -> Result<BTreeMap<String, Mask>> {
    let mut masks = BTreeMap::new();
    for (index, layer) in layers(network)?.into_iter().enumerate() {
        if is_pruned(network.kind, &layer) {
            let len = layer.shape.iter().product();
            let values = normal(&mut sample_rng(SEED, MASKS, index), len);
            let count = (sparsity * len as f64).round() as usize;
            let mask = select::prune_smallest(&values, count).map_err(sparse_prune::Error::from)?;
            masks.insert(layer.weight, mask);
        }
    }
    Ok(masks)
}

/// Whether a layer loses weights: the pointwise ones, and in residual networks the k×k ones as well.
fn is_pruned(network: Kind, layer: &ConvLayer) -> bool {
    match layer.kind {
        ConvKind::Pointwise => true,
        ConvKind::Depthwise => false,
        ConvKind::Spatial => matches!(network, Kind::ResNet18 | Kind::ResNet34 | Kind::ResNet50),
    }
}

/// As [`random_masks`] of pointwise layers, but in blocks of 1 × 4 over input channels: those whose first random numbers are smallest in magnitude.
///
/// # Errors
/// If the settings make no network.
pub(super) fn random_block_masks(
    network: &NetworkConfig,
    sparsity: f64,
    block: usize,
) -> Result<BTreeMap<String, Mask>> {
    let mut masks = BTreeMap::new();
    for (index, layer) in layers(network)?.into_iter().enumerate() {
        if layer.kind == ConvKind::Pointwise {
            let of_row = layer.inputs.div_ceil(block);
            let values = normal(&mut sample_rng(SEED, MASKS, index), layer.outputs * of_row);
            let count = (sparsity * values.len() as f64).round() as usize;
            let blocks = select::prune_smallest(&values, count).map_err(sparse_prune::Error::from)?;
            let block_of = |at: usize| at / layer.inputs * of_row + at % layer.inputs / block;
            let mask = Mask::from_fn(layer.outputs * layer.inputs, |at| blocks.get(block_of(at)));
            masks.insert(layer.weight, mask);
        }
    }
    Ok(masks)
}

/// Standard normal numbers.
///
/// Source: Box & Muller 1958, "A note on the generation of random normal deviates".
pub(super) fn normal(rng: &mut SampleRng, count: usize) -> Vec<f32> {
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        // Above 0, so that the logarithm is finite.
        let radius = (-2.0 * (1.0 - rng.uniform(0.0, 1.0)).ln()).sqrt();
        let (sine, cosine) = rng.uniform(0.0, std::f64::consts::TAU).sin_cos();
        values.extend([(radius * cosine) as f32, (radius * sine) as f32]);
    }
    values.truncate(count);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETWORK: NetworkConfig = NetworkConfig::mobilenet(0.25, 3, 10);

    #[test]
    fn each_pointwise_layer_loses_exactly_its_share() {
        for sparsity in [0.001, 0.5, 0.75, 0.9, 0.999] {
            let masks = random_masks(&NETWORK, sparsity).unwrap();
            assert_eq!(masks.len(), 13);
            for (name, mask) in &masks {
                assert!(name.ends_with("_sep_weights"));
                assert_eq!(mask.pruned(), (sparsity * mask.len() as f64).round() as usize, "{name}");
            }
        }
        assert_eq!(random_masks(&NETWORK, 0.5).unwrap()["conv2_1_sep_weights"].len(), 8 * 16);
    }

    #[test]
    fn masks_are_the_same_each_time_and_different_by_layer() {
        let masks = random_masks(&NETWORK, 0.9).unwrap();
        assert_eq!(masks, random_masks(&NETWORK, 0.9).unwrap());
        // Two layers of one size.
        assert_ne!(masks["conv5_1_sep_weights"], masks["conv5_2_sep_weights"]);
    }

    #[test]
    fn the_weights_that_stay_at_a_higher_sparsity_stay_at_a_lower_one() {
        let [dense, sparse] = [0.5, 0.9].map(|sparsity| random_masks(&NETWORK, sparsity).unwrap());
        for (name, mask) in sparse {
            assert!((0..mask.len()).all(|index| !mask.get(index) || dense[&name].get(index)), "{name}");
        }
    }
}
