//! The densities that lose least within a time: dynamic programming over the time that is left.
//!
//! Source: Frantar & Alistarh 2022, "SPDY: Accurate Pruning with Speedup Guarantees", arXiv:2201.13096, section 4.

use super::super::OneshotError;
use super::super::layers::Layer;
use super::super::timings::Timings;
use super::curves::Curve;
use crate::error::Result;

/// Parts into which the time is cut.
const BUCKETS: usize = 4000;
/// Densities that a layer may have.
const STEPS: usize = 100;

/// How fast the network is to be.
pub(in super::super) struct Wanted<'a> {
    pub(in super::super) speedup: f64,
    pub(in super::super) timings: &'a Timings,
}

/// Weights that each layer keeps.
///
/// # Errors
/// [`OneshotError::Speedup`] if no densities are so fast.
pub(in super::super) fn within_time(
    layers: &[Layer],
    curves: &[Curve],
    wanted: &Wanted<'_>,
) -> Result<Vec<f64>> {
    let timings = wanted.timings;
    let allowed = timings.dense() / wanted.speedup - timings.others();
    let least: f64 = layers.iter().map(|layer| timings.of_layer(&layer.node_name, 1.0 / STEPS as f64)).sum();
    if allowed <= least {
        let most = timings.dense() / (timings.others() + least);
        return Err(OneshotError::Speedup { wanted: wanted.speedup, most }.into());
    }
    let cost = |time: f64| (time / allowed * BUCKETS as f64).ceil() as usize;
    // The least loss of the layers so far within each time, and the density of the last that gives it.
    let mut losses = vec![0.0; BUCKETS + layers.len() + 1];
    let mut choices: Vec<Vec<usize>> = Vec::new();
    for (layer, curve) in layers.iter().zip(curves) {
        let options: Vec<(usize, usize, f64)> = (1..=STEPS)
            .map(|step| {
                let density = step as f64 / STEPS as f64;
                (step, cost(timings.of_layer(&layer.node_name, density)), curve.at(density))
            })
            .collect();
        let mut next = vec![f64::INFINITY; losses.len()];
        let mut choice = vec![0; losses.len()];
        for time in 0..losses.len() {
            for &(step, cost, loss) in &options {
                let Some(before) = time.checked_sub(cost) else { continue };
                if losses[before] + loss < next[time] {
                    (next[time], choice[time]) = (losses[before] + loss, step);
                }
            }
        }
        losses = next;
        choices.push(choice);
    }
    let mut time = losses.len() - 1;
    let mut kept = vec![0.0; layers.len()];
    for (index, layer) in layers.iter().enumerate().rev() {
        let density = choices[index][time].max(1) as f64 / STEPS as f64;
        kept[index] = density * layer.len() as f64;
        time = time.saturating_sub(cost(timings.of_layer(&layer.node_name, density)));
    }
    Ok(kept)
}
