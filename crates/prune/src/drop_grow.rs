//! Masks that move while the number of weights stays: the smallest are dropped, as many others grow.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};
use sparse_sparsity::Mask;

use crate::schedule::Schedule;
use crate::{Error, Mode, Pruner, PrunerConfig, Ranking, Result, StepReport, Strategy, Weights};

/// Which weights grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Growth {
    /// Those with the largest gradients: RigL, Evci et al. 2020, arXiv:1911.11134, algorithm 1.
    Gradient,
    /// Any, by the seed: SET, Mocanu et al. 2018, arXiv:1707.04780, algorithm 1.
    Random,
}

/// Drop and grow: every `period` steps each variable drops the share `fraction / 2 · (1 + cos(π t / until))` of its kept weights, the
/// smallest, and as many of all that are then not kept grow, from zero. Those that were dropped may come back as they were.
///
/// Source: see [`Growth`]; the share falls along a cosine as in RigL, also for SET, whose paper has a fixed one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DropGrowConfig {
    /// Which weights grow.
    pub growth: Growth,
    /// Steps from one update to the next, ΔT, 1 or more.
    pub period: u64,
    /// The step from which masks stay, T_end.
    pub until: u64,
    /// Share of the kept weights that the first update would drop, α; a fraction.
    pub fraction: f64,
    /// What random growth follows from.
    pub seed: u64,
    /// Steps that were done before this run; 0 for a new one.
    pub resume_step: u64,
}

impl DropGrowConfig {
    /// Whether masks are updated after a step, counted from 0; the first mask of a run comes from magnitudes.
    pub(crate) fn is_update(&self, step: u64) -> bool {
        step > 0 && step < self.until && step.is_multiple_of(self.period.max(1))
    }

    /// Share of the kept weights to drop after a step.
    fn share(&self, step: u64) -> f64 {
        0.5 * self.fraction * (1.0 + (PI * step as f64 / self.until as f64).cos())
    }
}

/// Refuses settings that drop and grow cannot follow.
pub(crate) fn validate(config: &PrunerConfig) -> Result<()> {
    let needs = match config.mode {
        Mode::Ratio(_) if config.block != [1, 1] => "single weights, not blocks",
        Mode::Ratio(_) if !config.regrow => "weights that may come back (regrow)",
        Mode::Ratio(_) if config.ranking != Ranking::Magnitude => "the magnitude as criterion",
        Mode::Ratio(_) if config.paddle_compat => "paddle_compat turned off",
        Mode::Ratio(_) => return Ok(()),
        Mode::Threshold(_) | Mode::Pattern(_) => "a ratio",
    };
    Err(Error::StrategyNeeds { strategy: "drop and grow", needs })
}

impl Pruner {
    /// Whether the next step grows weights by their gradients, so that the passes must not leave out those of pruned weights.
    pub fn needs_dense_gradient(&self) -> bool {
        match (&self.config().strategy, self.schedule()) {
            (Strategy::DropGrow(config), Schedule::DropGrow(position)) => {
                config.growth == Growth::Gradient && !position.recompute && config.is_update(position.step)
            }
            _ => false,
        }
    }

    /// [`Pruner::step`] of drop and grow.
    pub(crate) fn drop_and_grow(&mut self, config: &DropGrowConfig) -> Result<StepReport> {
        let Schedule::DropGrow(mut position) = *self.schedule() else { return Ok(self.unchanged()) };
        let (first, due) = (position.recompute, config.is_update(position.step));
        let mut report = self.unchanged();
        if first {
            report = self.recompute(self.config().mode)?;
        } else if due {
            let gradients = std::mem::take(&mut self.watch_mut().gradients);
            let mut masks = std::collections::BTreeMap::new();
            for (place, variable) in self.prunable().enumerate() {
                let (reader, mask) = (variable.read(), &self.masks()[&variable.name]);
                let growth = match config.growth {
                    Growth::Gradient => {
                        let gradient = gradients.get(&variable.name).ok_or(Error::NothingObserved)?;
                        Scores::Gradient(gradient)
                    }
                    Growth::Random => Scores::Random(config.seed, position.step, place as u64),
                };
                let moved = moved(reader.weights()?, mask, &growth, config.share(position.step));
                masks.insert(variable.name.clone(), moved);
            }
            // What grows begins at zero: the optimizer may have moved it by the rest of its momentum.
            self.update_params()?;
            report.masks_recomputed = true;
            report.masks_changed = &masks != self.masks();
            self.set_masks(masks);
            self.set_thresholds(None, std::collections::BTreeMap::new());
            report.threshold = None;
        }
        position.step += 1;
        position.recompute = false;
        self.set_schedule(Schedule::DropGrow(position));
        Ok(report)
    }
}

/// What weights grow by; the greatest first.
enum Scores<'a> {
    /// The magnitudes of these.
    Gradient(&'a [f64]),
    /// Seed, step and variable.
    Random(u64, u64, u64),
}

impl Scores<'_> {
    fn of(&self, at: usize) -> f64 {
        match *self {
            Self::Gradient(gradient) => gradient[at].abs(),
            Self::Random(seed, step, place) => {
                let mixed = mix(mix(mix(seed) ^ step) ^ place);
                // 53 bits, which a double holds.
                (mix(mixed ^ at as u64) >> 11) as f64
            }
        }
    }
}

/// A bijection that scatters its argument.
///
/// Source: Steele et al. 2014, "Fast splittable pseudorandom number generators" (SplitMix64).
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The mask after an update: without the smallest of the kept weights, with as many of all others. Ties go by position, those that
/// come first are dropped first and grow first.
fn moved(weights: Weights<'_>, mask: &Mask, growth: &Scores<'_>, share: f64) -> Mask {
    let weights: Vec<f64> = weights.iter().map(f64::abs).collect();
    let mut kept: Vec<usize> = (0..mask.len()).filter(|&at| mask.get(at)).collect();
    let count = (share * kept.len() as f64).floor() as usize;
    kept.sort_by(|&a, &b| weights[a].total_cmp(&weights[b]).then(a.cmp(&b)));
    let mut next = Mask::all_pruned(mask.len());
    kept[count..].iter().for_each(|&at| next.keep_range(at..at + 1));
    let mut open: Vec<(f64, usize)> =
        (0..mask.len()).filter(|&at| !next.get(at)).map(|at| (growth.of(at), at)).collect();
    open.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    open.iter().take(count).for_each(|&(_, at)| next.keep_range(at..at + 1));
    next
}
