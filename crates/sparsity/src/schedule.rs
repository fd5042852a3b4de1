//! Gradual magnitude pruning: which ratio to prune to at which step.
//!
//! Training has three phases: dense, pruning and fine-tune (PaddleSlim: stable, pruning, tunning). In the pruning
//! phase the ratio climbs from the initial to the target ratio in a number of updates, steeply at first:
//! `s(t) = s_f + (s_i - s_f) * (1 - (t - t_0) / (t_1 - t_0))^3`.
//!
//! [`Gmp`] is that schedule; [`PaddleGmp`] is PaddleSlim's, with its quirks.
//!
//! Source: Zhu & Gupta 2017, arXiv:1710.01878, equation 1; PaddleSlim, unstructured_pruner.

mod gmp;
mod paddle_gmp;

pub use gmp::{Gmp, Phase};
pub use paddle_gmp::{PaddleGmp, PaddleGmpState};

use crate::{Error, Result};

/// Settings of gradual magnitude pruning; phases are counted in steps, ratios are fractions.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GmpConfig {
    /// Steps of the dense phase, at ratio 0. PaddleSlim: `stable_iterations`.
    pub stable_steps: u64,
    /// Steps of the pruning phase. PaddleSlim: `pruning_iterations`.
    pub pruning_steps: u64,
    /// Steps of the fine-tune phase, at the target ratio. PaddleSlim: `tunning_iterations`.
    pub tunning_steps: u64,
    /// How often the ratio is set anew in the pruning phase. PaddleSlim: `pruning_steps`.
    pub updates: u64,
    /// The ratio that the pruning phase begins with. It may lie above the target: then the ratio falls.
    pub initial_ratio: f64,
    /// Steps that were done before this run; 0 for a new one. PaddleSlim: `resume_iteration`.
    pub resume_step: u64,
}

/// What one step of a schedule says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Update {
    /// The ratio that holds after the step.
    pub ratio: f64,
    /// Whether the masks are to be computed anew: the ratio changed, or it is the first step of a resumed run.
    pub recompute: bool,
}

/// The ramp and its period, shared by both schedules.
#[derive(Debug, Clone, PartialEq)]
struct Ramp {
    initial: f64,
    target: f64,
    updates: u64,
    /// Steps from one update to the next, rounded down.
    period: u64,
}

impl Ramp {
    fn new(config: &GmpConfig, target: f64, shortest_phase: u64) -> Result<Self> {
        let &GmpConfig { pruning_steps, updates, initial_ratio, .. } = config;
        for (name, got) in [("target ratio", target), ("initial ratio", initial_ratio)] {
            if !(0.0..=1.0).contains(&got) {
                return Err(Error::Ratio { name, got });
            }
        }
        if updates == 0 {
            return Err(Error::NoUpdates);
        }
        if pruning_steps < shortest_phase {
            return Err(Error::PruningPhaseTooShort { pruning_steps, updates, needed: shortest_phase });
        }
        Ok(Self { initial: initial_ratio, target, updates, period: pruning_steps / updates })
    }

    /// Ratio after update number `update`, counted from 0.
    fn ratio(&self, update: u64) -> f64 {
        let progress = update as f64 / self.updates as f64;
        // The power function of the C library, as Python uses it: a product of three differs in the last bit.
        ((progress - 1.0).powf(3.0) + 1.0) * (self.target - self.initial) + self.initial
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_settings_are_refused() {
        let good = GmpConfig {
            stable_steps: 0,
            pruning_steps: 60,
            tunning_steps: 0,
            updates: 5,
            initial_ratio: 0.15,
            resume_step: 0,
        };
        assert!(Ramp::new(&good, 0.75, 60).is_ok());
        assert!(matches!(Ramp::new(&good, 1.5, 0), Err(Error::Ratio { name: "target ratio", .. })));
        assert!(matches!(Ramp::new(&good, 0.5, 61), Err(Error::PruningPhaseTooShort { needed: 61, .. })));
        let bad = GmpConfig { initial_ratio: -0.1, ..good.clone() };
        assert!(matches!(Ramp::new(&bad, 0.5, 0), Err(Error::Ratio { name: "initial ratio", .. })));
        assert_eq!(Ramp::new(&GmpConfig { updates: 0, ..good }, 0.5, 0), Err(Error::NoUpdates));
    }
}
