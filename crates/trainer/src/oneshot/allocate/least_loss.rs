//! The densities that lose least for a number of weights in all.
//!
//! Weights go to whatever layer gains most by them: along the lower convex hull of each curve that is exact but for the last step.

use super::super::layers::Layer;
use super::curves::{Curve, STEP};

/// Of what a layer would keep if all kept the same share, it keeps this at least: losses of layers that are pruned alone add up to less than what the
/// network loses with all of them.
const LEAST_SHARE: f64 = 0.75;

/// Weights that one step along the hull of a layer's curve adds, and what each of them gains.
struct Step {
    layer: usize,
    weights: f64,
    gain: f64,
}

/// Weights that each layer keeps.
pub(super) fn kept(layers: &[Layer], ratio: f64, curves: &[Curve]) -> Vec<f64> {
    let sizes: Vec<f64> = layers.iter().map(|layer| layer.len() as f64).collect();
    let least = (LEAST_SHARE * (1.0 - ratio)).max(STEP);
    let mut steps = Vec::new();
    for (layer, (curve, size)) in curves.iter().zip(&sizes).enumerate() {
        for [from, to] in hull(curve, least).windows(2).map(|ends| [ends[0], ends[1]]) {
            let weights = (to[0] - from[0]) * size;
            steps.push(Step { layer, weights, gain: (from[1] - to[1]) / weights });
        }
    }
    // Equal gains in the order of layers; along a hull they fall by themselves.
    steps.sort_by(|a, b| b.gain.total_cmp(&a.gain));
    let mut kept: Vec<f64> = sizes.iter().map(|size| least * size).collect();
    let mut left = (1.0 - ratio) * sizes.iter().sum::<f64>() - kept.iter().sum::<f64>();
    for Step { layer, weights, .. } in steps {
        let taken = weights.min(left.max(0.0));
        kept[layer] += taken;
        left -= taken;
    }
    kept
}

/// The corners of the lower convex hull of a curve, from the least density to the highest.
fn hull(curve: &Curve, least: f64) -> Vec<[f64; 2]> {
    let steps = (1.0 / STEP).round() as usize;
    let mut hull: Vec<[f64; 2]> = Vec::new();
    let above = (1..=steps).map(|step| step as f64 * STEP).filter(|&density| density > least);
    for density in std::iter::once(least).chain(above) {
        let point = [density, curve.at(density)];
        while let [.., a, b] = hull[..]
            && (b[1] - a[1]) * (point[0] - a[0]) >= (point[1] - a[1]) * (b[0] - a[0])
        {
            hull.pop();
        }
        hull.push(point);
    }
    hull
}
