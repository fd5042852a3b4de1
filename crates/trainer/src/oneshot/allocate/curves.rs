//! How much the output of the network changes with the density of each layer, as if it alone were pruned.
//!
//! A layer is pruned quickly at several densities, each time beginning with the dense network, and the whole network is run with it, on images that its weights
//! were not chosen by: a layer with many inputs fits those well, and others less.

use super::super::activations::{Activations, Networks};
use super::super::layers::Layer;
use super::super::scores::Scores;
use super::super::seen::statistics;
use super::super::{OneshotConfig, OneshotObserver};
use crate::error::Result;
use crate::stop::StopFlag;
use sparse_engine::graph::Graph;
use sparse_oneshot::Support;

/// Densities at which layers are pruned to see what that does.
pub(in super::super) const DENSITIES: [f64; 8] = [0.7, 0.5, 0.35, 0.25, 0.16, 0.1, 0.06, 0.03];
/// Images whose scores are compared.
const SCORED: usize = 64;
/// How many times the loss at the lowest density is added where nothing is left.
const STEEP: f64 = 20.0;
/// Densities are chosen in steps of this.
pub(super) const STEP: f64 = 0.005;

/// What the output of the network loses at each density of a layer.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Curve {
    /// At [`DENSITIES`].
    losses: Vec<f64>,
}

impl Curve {
    /// The loss at any density: exponential between what was seen, and as the square of what is missing next to 1.
    pub(in super::super) fn at(&self, density: f64) -> f64 {
        let floor = |loss: f64| loss.max(f64::MIN_POSITIVE);
        let [first, .., last] = DENSITIES;
        let (dense, sparse) = (self.losses[0], self.losses[DENSITIES.len() - 1]);
        if density >= first {
            return dense * ((1.0 - density) / (1.0 - first)).powi(2);
        }
        let between = |[high, low]: [f64; 2], [above, below]: [f64; 2]| {
            let share = (high - density) / (high - low);
            (floor(above).ln() * (1.0 - share) + floor(below).ln() * share).exp()
        };
        if density <= last {
            // Nothing was seen there, and little is left: as steep as before, and never worth it.
            return sparse * (1.0 + STEEP * (last - density) / last);
        }
        let at = DENSITIES.iter().position(|&seen| seen <= density).unwrap_or(DENSITIES.len() - 1).max(1);
        between([DENSITIES[at - 1], DENSITIES[at]], [self.losses[at - 1], self.losses[at]])
    }
}

/// The curves of all layers.
///
/// # Errors
/// What the engine reports, [`super::super::OneshotError`] naming a layer, and if a signal asked to stop.
pub(in super::super) fn curves(
    dense: &Graph,
    layers: &[Layer],
    config: &OneshotConfig,
    mut activations: Activations,
    stop: &StopFlag,
    observer: &mut dyn OneshotObserver,
) -> Result<Vec<Curve>> {
    let networks = Networks { dense, pruned: None };
    let apart = SCORED.min(activations.images() / 2);
    let scores = |activations: &Activations, graph: &Graph| {
        activations.scores(graph, apart).map(|values| Scores { values, classes: 1 })
    };
    let before = scores(&activations, dense)?;
    let (mut curves, mut probed) = (Vec::with_capacity(layers.len()), dense.clone());
    for (index, layer) in layers.iter().enumerate() {
        observer.estimating(&layer.name, index, layers.len());
        let [_, statistics] = statistics(networks, layer, &mut activations, apart, stop)?;
        let supports: Vec<Support> =
            DENSITIES.iter().map(|density| layer.support(config, density * layer.len() as f64)).collect();
        let mut groups = Vec::with_capacity(layer.groups);
        for (group, statistics) in statistics.iter().enumerate() {
            let problem = layer.problem(statistics, dense, group, config)?;
            groups.push(problem.estimate(&supports).map_err(|source| layer.error(source))?);
        }
        let mut losses = Vec::with_capacity(DENSITIES.len());
        let mut greatest = 0.0;
        for at in 0..DENSITIES.len() {
            groups.iter().enumerate().for_each(|(group, pruned)| layer.set(&mut probed, group, &pruned[at]));
            // What more zeros seem to mend is chance.
            greatest = before.error(&scores(&activations, &probed)?).max(greatest);
            losses.push(greatest);
            layer.copy(dense, &mut probed);
            stop.check()?;
        }
        curves.push(Curve { losses });
    }
    Ok(curves)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_fall_with_density_and_meet_what_was_seen() {
        let losses: Vec<f64> = DENSITIES.iter().map(|density| (-5.0 * density).exp()).collect();
        let curve = Curve { losses: losses.clone() };
        for (density, loss) in DENSITIES.into_iter().zip(losses) {
            assert!((curve.at(density) - loss).abs() < 1e-9, "{density}");
        }
        let all: Vec<f64> = (0..=200).map(|at| curve.at(f64::from(at) / 200.0)).collect();
        assert!(all.is_sorted_by(|a, b| a >= b), "{all:?}");
        assert_eq!(curve.at(1.0), 0.0);
    }
}
