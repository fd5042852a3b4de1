//! Shares that need no images.

use super::super::layers::Layer;
use sparse_engine::graph::Graph;

/// Weights that stay if those of least magnitude go, whatever their layer.
pub(super) fn global(raw: &Graph, layers: &[Layer], ratio: f64) -> Vec<f64> {
    let weights = |layer: &Layer| layer.raw(raw).unwrap_or_default();
    let mut sorted: Vec<f32> = layers.iter().flat_map(weights).map(|weight| weight.abs()).collect();
    sorted.sort_unstable_by(f32::total_cmp);
    let Some(&threshold) = sorted.get((ratio * sorted.len() as f64) as usize) else {
        return vec![0.0; layers.len()];
    };
    let kept =
        |layer: &Layer| weights(layer).iter().filter(|&weight| weight.abs() >= threshold).count() as f64;
    layers.iter().map(kept).collect()
}

/// Densities in proportion to the score of a layer, none above 1.
pub(super) fn erk(layers: &[Layer], ratio: f64) -> Vec<f64> {
    let score = |layer: &Layer| (layer.outputs + layer.inputs) as f64 / (layer.outputs * layer.inputs) as f64;
    let sizes: Vec<f64> = layers.iter().map(|layer| layer.len() as f64).collect();
    let wanted = (1.0 - ratio) * sizes.iter().sum::<f64>();
    let mut full = vec![false; layers.len()];
    loop {
        let (mut left, mut scored) = (wanted, 0.0);
        for (at, layer) in layers.iter().enumerate() {
            if full[at] { left -= sizes[at] } else { scored += score(layer) * sizes[at] }
        }
        let factor = if scored > 0.0 { left.max(0.0) / scored } else { 0.0 };
        let over = |at: usize| !full[at] && factor * score(&layers[at]) > 1.0;
        match (0..layers.len()).find(|&at| over(at)) {
            Some(at) => full[at] = true,
            None => {
                let kept = |(at, layer): (usize, &Layer)| {
                    if full[at] { sizes[at] } else { factor * score(layer) * sizes[at] }
                };
                return layers.iter().enumerate().map(kept).collect();
            }
        }
    }
}
