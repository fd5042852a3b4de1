//! Alternating dense and sparse phases.

use serde::{Deserialize, Serialize};

/// When training is dense and when it is sparse: a dense warm-up, then sparse and dense phases of equal length in turn, then a last
/// sparse phase without end. A sparse phase begins with masks of the weights as they are and keeps them; in a dense phase every weight is
/// trained, those that were pruned from zero on.
///
/// Source: Peste et al. 2021, arXiv:2106.12379, algorithm 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcdcConfig {
    /// Steps of the warm-up.
    pub warmup_steps: u64,
    /// Steps of each phase, 1 or more.
    pub phase_steps: u64,
    /// The step with which the last sparse phase begins, at the latest.
    pub last_from: u64,
    /// Steps that were done before this run; 0 for a new one.
    pub resume_step: u64,
}

impl AcdcConfig {
    /// Whether weights are pruned after a step, counted from 0.
    pub(crate) fn is_sparse(&self, step: u64) -> bool {
        match step.checked_sub(self.warmup_steps) {
            _ if step >= self.last_from => true,
            None => false,
            Some(done) => (done / self.phase_steps.max(1)).is_multiple_of(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_take_turns_after_the_warm_up_and_end_sparse() {
        let acdc = AcdcConfig { warmup_steps: 2, phase_steps: 3, last_from: 12, resume_step: 0 };
        let phases: String = (0..20).map(|step| if acdc.is_sparse(step) { 's' } else { 'd' }).collect();
        assert_eq!(phases, "ddsssdddsssdssssssss");
    }
}
