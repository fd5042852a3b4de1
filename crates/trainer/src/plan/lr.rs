//! The learning rate as a pure function of the step.

use std::f64::consts::PI;

use sparse_prune::RewindConfig;

use crate::config::{LrStrategy, TrainSection};

/// The learning rate of every step of a run.
///
/// Piecewise decay: `lr · 0.1^i` after `i` boundaries, which lie at exactly `epoch · steps_per_epoch`. Cosine decay:
/// `lr / 2 · (1 + cos(π · step / total))`. Warm-up multiplies either by `(step + 1) / warmup_steps` while that is
/// below 1. Step 0 is the first update and uses the base rate.
///
/// Source: PaddleSlim's unstructured pruning demo, with its index counted from 0 and its boundaries exact;
/// Loshchilov & Hutter 2017, arXiv:1608.03983, equation 5, without restarts.
#[derive(Debug, Clone, PartialEq)]
pub struct LrSchedule {
    base: f64,
    decay: Decay,
    warmup_steps: usize,
    /// The passes of a run that goes back.
    passes: Option<RewindConfig>,
}

#[derive(Debug, Clone, PartialEq)]
enum Decay {
    Piecewise { boundaries: Vec<usize> },
    Cosine { total_steps: usize },
}

impl LrSchedule {
    /// The schedule of a checked `train` section; `steps_per_epoch` is 1 or more.
    #[must_use]
    pub fn new(train: &TrainSection, steps_per_epoch: usize) -> Self {
        let in_steps = |epochs: usize| epochs.saturating_mul(steps_per_epoch);
        let decay = match train.lr_strategy {
            LrStrategy::PiecewiseDecay => {
                Decay::Piecewise { boundaries: train.step_epochs.iter().copied().map(in_steps).collect() }
            }
            LrStrategy::CosineDecay => Decay::Cosine { total_steps: in_steps(train.num_epochs) },
        };
        let warmup_steps = (train.warmup_epochs * steps_per_epoch as f64).round() as usize;
        Self { base: train.lr, decay, warmup_steps, passes: None }
    }

    /// The same schedule over the steps of a pass, of which a run that goes back has some; a cosine ends with the first pass.
    #[must_use]
    pub(super) fn in_passes(self, passes: RewindConfig) -> Self {
        let decay = match self.decay {
            Decay::Cosine { .. } => Decay::Cosine { total_steps: passes.pass_steps as usize },
            boundaries => boundaries,
        };
        Self { decay, passes: Some(passes), ..self }
    }

    /// The learning rate of the update number `step`, counted from 0 over the whole run.
    #[must_use]
    pub fn at(&self, step: usize) -> f64 {
        let step = self.passes.as_ref().map_or(step, |passes| passes.step_of_pass(step as u64) as usize);
        let decayed = match &self.decay {
            Decay::Piecewise { boundaries } => {
                let passed = boundaries.iter().filter(|&&boundary| step >= boundary).count();
                (0..passed).fold(1.0, |factor, _| factor * 0.1) * self.base
            }
            Decay::Cosine { total_steps } => {
                let progress = step.min(*total_steps) as f64 / *total_steps as f64;
                0.5 * self.base * (1.0 + (PI * progress).cos())
            }
        };
        if step < self.warmup_steps {
            decayed * ((step + 1) as f64 / self.warmup_steps as f64)
        } else {
            decayed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: f64, expected: f64) {
        assert!((got - expected).abs() <= 1e-15, "{got} is not {expected}");
    }

    fn piecewise(steps_per_epoch: usize) -> LrSchedule {
        LrSchedule::new(&TrainSection::default(), steps_per_epoch)
    }

    fn cosine(num_epochs: usize, warmup_epochs: f64) -> LrSchedule {
        let train = TrainSection {
            lr_strategy: LrStrategy::CosineDecay,
            num_epochs,
            warmup_epochs,
            ..TrainSection::default()
        };
        LrSchedule::new(&train, 10)
    }

    #[test]
    fn piecewise_decay_falls_exactly_at_its_boundaries() {
        let lr = piecewise(117);
        for (step, expected) in [
            (0, 0.1),
            (30 * 117 - 1, 0.1),
            (30 * 117, 0.01),
            (30 * 117 + 1, 0.01),
            (60 * 117 - 1, 0.01),
            (60 * 117, 0.001),
            (90 * 117 - 1, 0.001),
            (90 * 117, 0.0001),
            (usize::MAX, 0.0001),
        ] {
            close(lr.at(step), expected);
        }
    }

    #[test]
    fn cosine_decay_goes_from_the_base_rate_to_zero() {
        let lr = cosine(2, 0.0);
        assert_eq!(lr.at(0), 0.1);
        close(lr.at(1), 0.05 * (1.0 + (PI / 20.0).cos()));
        close(lr.at(10), 0.05);
        close(lr.at(19), 0.05 * (1.0 + (19.0 * PI / 20.0).cos()));
        close(lr.at(20), 0.0);
        close(lr.at(21), 0.0);
    }

    #[test]
    fn the_rates_are_those_that_paddle_computes() {
        let lr = cosine(2, 0.0);
        for (step, expected) in [(1, 0.099_384_417_029_756_9), (2, 0.097_552_825_814_757_69)] {
            close(lr.at(step), expected);
        }
        assert_eq!(piecewise(1).at(30), 0.010_000_000_000_000_002);
    }

    #[test]
    fn a_run_that_goes_back_repeats_its_rates() {
        let passes = RewindConfig { rewind_step: 2, pass_steps: 8, rounds: 2, weights: true, resume_step: 0 };
        let (lr, once) = (
            cosine(2, 0.1).in_passes(passes),
            LrSchedule { decay: Decay::Cosine { total_steps: 8 }, ..cosine(2, 0.1) },
        );
        let of = [0, 1, 2, 3, 4, 5, 6, 7, 2, 3, 4, 5, 6, 7, 2, 3, 4, 5, 6, 7];
        assert!((0..20).all(|step| lr.at(step) == once.at(of[step])));
    }

    #[test]
    fn warm_up_rises_linearly_and_joins_the_schedule() {
        let train = TrainSection { warmup_epochs: 0.5, ..TrainSection::default() };
        let lr = LrSchedule::new(&train, 10);
        for (step, expected) in [(0, 0.02), (1, 0.04), (3, 0.08), (4, 0.1), (5, 0.1)] {
            close(lr.at(step), expected);
        }
        let (warm, cold) = (cosine(2, 0.3), cosine(2, 0.0));
        close(warm.at(1), cold.at(1) * 2.0 / 3.0);
        assert_eq!(warm.at(2), cold.at(2));
    }
}
