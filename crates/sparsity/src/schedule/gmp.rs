//! The schedule of gradual magnitude pruning.

use super::{GmpConfig, Ramp};
use crate::Result;

/// A phase of gradual pruning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing is pruned yet. PaddleSlim: stable.
    Dense,
    /// The ratio climbs.
    Pruning,
    /// The ratio stays at the target. PaddleSlim: tunning.
    FineTune,
}

/// Gradual magnitude pruning: a pure function from the step to the ratio.
///
/// The dense phase lasts exactly `stable_steps`, at ratio 0. In the pruning phase the ratio is set anew every
/// `pruning_steps / updates` steps (rounded down), `updates` times, along the cubic ramp, whose last value lies
/// below the target; the last step of the phase sets the target itself. The fine-tune phase has no end.
///
/// Source: Zhu & Gupta 2017, arXiv:1710.01878, equation 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Gmp {
    ramp: Ramp,
    stable_steps: u64,
    pruning_steps: u64,
}

impl Gmp {
    /// Makes the schedule that ends at the ratio `target`.
    ///
    /// # Errors
    /// [`Error::NoUpdates`](crate::Error::NoUpdates);
    /// [`Error::PruningPhaseTooShort`](crate::Error::PruningPhaseTooShort) unless every update has a step of its
    /// own; [`Error::Ratio`](crate::Error::Ratio) if a ratio lies outside [0, 1].
    pub fn new(config: &GmpConfig, target: f64) -> Result<Self> {
        let ramp = Ramp::new(config, target, config.updates)?;
        Ok(Self { ramp, stable_steps: config.stable_steps, pruning_steps: config.pruning_steps })
    }

    /// The ratio that holds after step `step`, counted from 0.
    pub fn at(&self, step: u64) -> f64 {
        match self.phase(step) {
            Phase::Dense => 0.0,
            Phase::FineTune => self.ramp.target,
            Phase::Pruning => {
                let done = step - self.stable_steps;
                if done == self.pruning_steps - 1 {
                    return self.ramp.target;
                }
                self.ramp.ratio((done / self.ramp.period).min(self.ramp.updates - 1))
            }
        }
    }

    /// The phase that step `step` belongs to.
    pub fn phase(&self, step: u64) -> Phase {
        match step.checked_sub(self.stable_steps) {
            None => Phase::Dense,
            Some(done) if done < self.pruning_steps => Phase::Pruning,
            Some(_) => Phase::FineTune,
        }
    }

    /// Steps from one update of the ratio to the next within the pruning phase.
    pub fn period(&self) -> u64 {
        self.ramp.period
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    fn config() -> GmpConfig {
        GmpConfig {
            stable_steps: 17,
            pruning_steps: 63,
            tunning_steps: 30,
            updates: 5,
            initial_ratio: 0.15,
            resume_step: 0,
        }
    }

    #[test]
    fn phases_begin_and_end_at_their_steps() {
        let gmp = Gmp::new(&config(), 0.75).unwrap();
        assert_eq!(gmp.period(), 12);
        assert_eq!((gmp.at(0), gmp.at(16), gmp.phase(16)), (0.0, 0.0, Phase::Dense));
        assert_eq!((gmp.at(17), gmp.phase(17)), (0.15, Phase::Pruning));
        assert_eq!((gmp.at(28), gmp.at(29)), (0.15, gmp.ramp.ratio(1)));
        assert!(gmp.at(78) < 0.75);
        assert_eq!((gmp.at(79), gmp.phase(79)), (0.75, Phase::Pruning));
        assert_eq!((gmp.at(80), gmp.at(u64::MAX), gmp.phase(80)), (0.75, 0.75, Phase::FineTune));
    }

    #[test]
    fn updates_follow_the_equation() {
        let gmp = Gmp::new(&config(), 0.75).unwrap();
        for update in 0..5 {
            let done = f64::from(update) / 5.0;
            let equation = 0.75 + (0.15 - 0.75) * (1.0 - done).powi(3);
            let got = gmp.at(17 + 12 * update as u64 + 5);
            assert!((got - equation).abs() < 1e-15, "update {update}: {got} {equation}");
        }
        let changes = (1..200).filter(|&step| gmp.at(step) != gmp.at(step - 1)).count();
        assert_eq!(changes, 5 + 1);
    }

    #[test]
    fn the_ratio_never_falls_on_the_way_up() {
        let gmp = Gmp::new(&config(), 0.75).unwrap();
        assert!((1..200).all(|step| gmp.at(step) >= gmp.at(step - 1)));
    }

    #[test]
    fn every_update_needs_a_step() {
        let short = GmpConfig { pruning_steps: 4, ..config() };
        assert_eq!(
            Gmp::new(&short, 0.75),
            Err(Error::PruningPhaseTooShort { pruning_steps: 4, updates: 5, needed: 5 })
        );
        let shortest = Gmp::new(&GmpConfig { pruning_steps: 5, ..config() }, 0.75).unwrap();
        assert_eq!((shortest.period(), shortest.at(17), shortest.at(21)), (1, 0.15, 0.75));
    }
}
