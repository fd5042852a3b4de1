//! The schedule of PaddleSlim's GMP pruner.

use super::{GmpConfig, Ramp, Update};
use crate::Result;

/// PaddleSlim's gradual pruning, step for step.
///
/// Its ratios are a list: whole periods of the dense phase at 0, the ramp, whole periods of the fine-tune phase
/// at the target. At every step that the period divides, the next entry is taken, or the target once the list
/// is used up. So phases begin at multiples of the period only, and the target comes with the fine-tune phase.
/// A resumed run takes the entries due before it at the start, and recomputes the masks at its first step.
///
/// Source: PaddleSlim, unstructured_pruner (GMP).
#[derive(Debug, Clone, PartialEq)]
pub struct PaddleGmp {
    ramp: Ramp,
    /// Entries of the list for the dense phase, and for the fine-tune phase.
    stable_entries: u64,
    tunning_entries: u64,
    state: PaddleGmpState,
}

/// Where a [`PaddleGmp`] stands.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PaddleGmpState {
    /// The step that comes next, counted from 0.
    pub step: u64,
    /// Entries of the list that are taken.
    pub taken: u64,
    /// Whether the next step recomputes the masks whatever the ratio.
    pub recompute: bool,
}

impl PaddleGmp {
    /// Makes the schedule that ends at the ratio `target`, after `resume_step` steps.
    ///
    /// # Errors
    /// [`Error::NoUpdates`](crate::Error::NoUpdates);
    /// [`Error::PruningPhaseTooShort`](crate::Error::PruningPhaseTooShort) unless there are more than 10 steps
    /// per update; [`Error::Ratio`](crate::Error::Ratio) if a ratio lies outside [0, 1].
    pub fn new(config: &GmpConfig, target: f64) -> Result<Self> {
        let shortest_phase = config.updates.saturating_mul(10).saturating_add(1);
        let ramp = Ramp::new(config, target, shortest_phase)?;
        let updates = config.updates as f64;
        let entries = |steps: u64| (steps as f64 / config.pruning_steps as f64 * updates) as u64;
        let state = PaddleGmpState { step: config.resume_step, taken: 0, recompute: config.resume_step > 0 };
        let mut schedule = Self {
            stable_entries: entries(config.stable_steps),
            tunning_entries: entries(config.tunning_steps),
            ramp,
            state,
        };
        schedule.state.taken = config.resume_step.div_ceil(schedule.ramp.period).min(schedule.entries());
        Ok(schedule)
    }

    /// Does one step.
    pub fn advance(&mut self) -> Update {
        let before = self.ratio();
        if self.state.step.is_multiple_of(self.ramp.period) {
            // One beyond the list stands for the target.
            self.state.taken = (self.state.taken + 1).min(self.entries() + 1);
        }
        let ratio = self.ratio();
        let recompute = ratio != before || self.state.recompute;
        self.state.step += 1;
        self.state.recompute = false;
        Update { ratio, recompute }
    }

    /// The ratio that holds now: 0 before the first step.
    pub fn ratio(&self) -> f64 {
        self.state.taken.checked_sub(1).map_or(0.0, |entry| self.entry(entry))
    }

    /// Steps from one entry of the list to the next.
    pub fn period(&self) -> u64 {
        self.ramp.period
    }

    /// The entries of the list that are still to be taken, the next one first.
    pub fn remaining(&self) -> impl Iterator<Item = f64> + '_ {
        (self.state.taken..self.entries()).map(|entry| self.entry(entry))
    }

    /// Whether the next step recomputes the masks whatever the ratio.
    pub fn recompute_due(&self) -> bool {
        self.state.recompute
    }

    /// Where the schedule stands.
    pub fn state(&self) -> PaddleGmpState {
        self.state
    }

    /// Goes on from where a schedule with the same settings stood.
    pub fn restore(&mut self, state: PaddleGmpState) {
        self.state = PaddleGmpState { taken: state.taken.min(self.entries() + 1), ..state };
    }

    fn entries(&self) -> u64 {
        self.stable_entries.saturating_add(self.ramp.updates).saturating_add(self.tunning_entries)
    }

    fn entry(&self, entry: u64) -> f64 {
        match entry.checked_sub(self.stable_entries) {
            None => 0.0,
            Some(update) if update < self.ramp.updates => self.ramp.ratio(update),
            Some(_) => self.ramp.target,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    fn config() -> GmpConfig {
        GmpConfig {
            stable_steps: 17,
            pruning_steps: 60,
            tunning_steps: 31,
            updates: 5,
            initial_ratio: 0.15,
            resume_step: 0,
        }
    }

    fn recomputed(schedule: &mut PaddleGmp, steps: u64) -> Vec<u64> {
        (0..steps).filter(|_| schedule.advance().recompute).collect()
    }

    #[test]
    fn phases_are_whole_periods() {
        let mut schedule = PaddleGmp::new(&config(), 0.75).unwrap();
        assert_eq!(schedule.period(), 12);
        assert_eq!(schedule.remaining().count(), 1 + 5 + 2);
        assert_eq!(recomputed(&mut schedule, 140), [12, 24, 36, 48, 60, 72]);
        assert_eq!(schedule.ratio(), 0.75);
    }

    #[test]
    fn a_resumed_run_recomputes_first() {
        let mut schedule = PaddleGmp::new(&GmpConfig { resume_step: 13, ..config() }, 0.75).unwrap();
        assert!(schedule.recompute_due());
        assert_eq!(schedule.ratio(), 0.15);
        assert_eq!(recomputed(&mut schedule, 12), [0, 11]);
    }

    #[test]
    fn a_list_without_fine_tuning_ends_below_the_target_until_the_next_period() {
        let config = GmpConfig { tunning_steps: 0, stable_steps: 0, resume_step: 70, ..config() };
        let mut schedule = PaddleGmp::new(&config, 0.75).unwrap();
        assert_eq!((schedule.ratio(), schedule.advance().ratio), (0.7452, 0.7452));
        assert_eq!(recomputed(&mut schedule, 10), [1]);
        assert_eq!(schedule.ratio(), 0.75);
    }

    #[test]
    fn restoring_goes_on_as_if_nothing_had_happened() {
        let mut straight = PaddleGmp::new(&config(), 0.75).unwrap();
        for _ in 0..30 {
            straight.advance();
        }
        let mut resumed = PaddleGmp::new(&config(), 0.75).unwrap();
        resumed.restore(straight.state());
        for step in 30..140 {
            assert_eq!(straight.advance(), resumed.advance(), "step {step}");
        }
    }

    #[test]
    fn ten_steps_per_update_are_too_few() {
        let refused = PaddleGmp::new(&GmpConfig { pruning_steps: 50, ..config() }, 0.75);
        let error = Error::PruningPhaseTooShort { pruning_steps: 50, updates: 5, needed: 51 };
        assert_eq!(refused, Err(error));
        assert!(PaddleGmp::new(&GmpConfig { pruning_steps: 51, ..config() }, 0.75).is_ok());
        assert_eq!(PaddleGmp::new(&GmpConfig { updates: 0, ..config() }, 0.75), Err(Error::NoUpdates));
    }
}
