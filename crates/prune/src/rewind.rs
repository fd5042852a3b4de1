//! Iterative pruning: training is repeated from an early step, each time with fewer weights.

use serde::{Deserialize, Serialize};

use crate::{Error, Mode, PrunerConfig, Result};

/// When training goes back: the first pass trains all weights for `pass_steps`. Then, `rounds` times, the smallest of the weights that are left
/// are pruned, and the steps of a pass from `rewind_step` on are done again; after round n the share `(1 − ratio)^(n / rounds)` is left. What is
/// set back beside the step is up to the caller: the kept weights to their values at `rewind_step`, `W = W_k ⊙ m`, or the learning rate alone.
///
/// Source: Frankle et al. 2020, arXiv:1912.05671, section 2 and algorithm 2 (weights); Renda et al. 2020, arXiv:2003.02389, section 2 (learning
/// rate).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewindConfig {
    /// The step of a pass to which training goes back, k.
    pub rewind_step: u64,
    /// Steps of the first pass, T, above `rewind_step`; each later pass has `pass_steps − rewind_step`, the last one what is left of the run.
    pub pass_steps: u64,
    /// How many times weights are pruned, 1 or more.
    pub rounds: u64,
    /// Whether the kept weights are set back too, and not the learning rate alone.
    pub weights: bool,
    /// Steps that were done before this run; 0 for a new one.
    pub resume_step: u64,
}

impl RewindConfig {
    /// Rounds that are behind a run after so many steps.
    pub fn rounds_done(&self, steps: u64) -> u64 {
        match steps.checked_sub(self.pass_steps) {
            None => 0,
            Some(after) => (1 + after / self.steps_again()).min(self.rounds),
        }
    }

    /// Whether training goes back after so many steps.
    pub fn goes_back(&self, steps: u64) -> bool {
        steps > 0 && self.rounds_done(steps) != self.rounds_done(steps - 1)
    }

    /// Which step of a pass a step of the run is, both counted from 0.
    pub fn step_of_pass(&self, step: u64) -> u64 {
        match self.rounds_done(step).checked_sub(1) {
            None => step,
            Some(again) => self.rewind_step + (step - self.pass_steps - again * self.steps_again()),
        }
    }

    /// The ratio after so many steps.
    pub(crate) fn ratio(&self, target: f64, steps: u64) -> f64 {
        match self.rounds_done(steps) {
            0 => 0.0,
            done if done == self.rounds => target,
            done => 1.0 - (1.0 - target).powf(done as f64 / self.rounds as f64),
        }
    }

    fn steps_again(&self) -> u64 {
        self.pass_steps.saturating_sub(self.rewind_step).max(1)
    }

    /// Refuses settings that rewinding cannot follow.
    pub(crate) fn validate(&self, config: &PrunerConfig) -> Result<()> {
        let needs = match config.mode {
            Mode::Threshold(_) => "a ratio or a pattern",
            _ if config.regrow => "weights that stay pruned (regrow off)",
            _ if config.paddle_compat => "paddle_compat turned off",
            _ if self.rounds == 0 || self.pass_steps <= self.rewind_step => {
                "a round, and a pass that is longer than what it goes back to"
            }
            _ => return Ok(()),
        };
        Err(Error::StrategyNeeds { strategy: "rewinding", needs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_begin_again_at_the_step_to_go_back_to() {
        let rewind = RewindConfig { rewind_step: 2, pass_steps: 5, rounds: 2, weights: true, resume_step: 0 };
        let steps: Vec<u64> = (0..14).map(|step| rewind.step_of_pass(step)).collect();
        assert_eq!(steps, [0, 1, 2, 3, 4, 2, 3, 4, 2, 3, 4, 5, 6, 7]);
        let back: Vec<u64> = (0..14).filter(|&steps| rewind.goes_back(steps)).collect();
        assert_eq!(back, [5, 8]);
        let ratios = [4, 5, 7, 8, 14].map(|steps| rewind.ratio(0.75, steps));
        assert_eq!(ratios, [0.0, 0.5, 0.5, 0.75, 0.75]);
        let initial = RewindConfig { rewind_step: 0, ..rewind };
        assert_eq!([5, 9, 10].map(|step| initial.step_of_pass(step)), [0, 4, 0]);
    }
}
