//! The learning rate as a pure function of the step.

use std::f64::consts::PI;

use sparse_prune::RewindConfig;

use crate::config::{LrStrategy, TrainConfig};

/// Where a linear decay ends: the default of Paddle's `PolynomialDecay`.
const LINEAR_END: f64 = 1e-4;
/// By how much PaddleSlim's demo begins its warm-up below the base rate.
const PADDLE_RISE: f64 = 1e-5;

/// The learning rate of every step of a run.
///
/// Piecewise decay: `lr · 0.1^i` after `i` boundaries, which lie at exactly `epoch · steps_per_epoch`. Cosine decay:
/// `lr / 2 · (1 + cos(π · step / total))`. Linear decay: `end + (lr − end) · (1 − done / over)` with `end` = 1e-4, or `lr`
/// if that is less, where `done` of `over` steps of GMP's fine-tuning are past, and `lr` before; of the whole run where there
/// is no GMP. Warm-up multiplies each by `(step + 1) / warmup_steps` while that is
/// below 1. Step 0 is the first update and uses the base rate.
///
/// Source: PaddleSlim's unstructured pruning demo, with its index counted from 0 and its boundaries exact;
/// Loshchilov & Hutter 2017, arXiv:1608.03983, equation 5, without restarts; for the line `PolynomialDecay` of Paddle with
/// power 1, as PaddleSlim's CIFAR-100 demo takes it.
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
    Linear(Line),
}

/// A line down to [`linear_end`].
#[derive(Debug, Clone, Copy, PartialEq)]
struct Line {
    /// The step at which it begins.
    from: usize,
    /// Steps that it takes, 1 or more.
    over: usize,
    /// How far below the base rate the steps before begin, from where they rise to it.
    rise: f64,
}

impl LrSchedule {
    /// The schedule of a checked config; `steps_per_epoch` is 1 or more.
    #[must_use]
    pub fn new(config: &TrainConfig, steps_per_epoch: usize) -> Self {
        let train = &config.train;
        let in_steps = |epochs: usize| epochs.saturating_mul(steps_per_epoch);
        let decay = match train.lr_strategy {
            LrStrategy::PiecewiseDecay => {
                Decay::Piecewise { boundaries: train.step_epochs.iter().copied().map(in_steps).collect() }
            }
            LrStrategy::CosineDecay => Decay::Cosine { total_steps: in_steps(train.num_epochs) },
            LrStrategy::LinearDecay => Decay::Linear(Line::of(config, in_steps)),
        };
        let warmup_steps = (train.warmup_epochs * steps_per_epoch as f64).round() as usize;
        Self { base: train.lr, decay, warmup_steps, passes: None }
    }

    /// The same schedule over the steps of a pass, of which a run that goes back has some; a cosine and a line end with the first pass.
    #[must_use]
    pub(super) fn in_passes(self, passes: RewindConfig) -> Self {
        let decay = match self.decay {
            Decay::Cosine { .. } => Decay::Cosine { total_steps: passes.pass_steps as usize },
            Decay::Linear(line) => Decay::Linear(Line { over: (passes.pass_steps as usize).max(1), ..line }),
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
            Decay::Linear(line) => line.at(self.base, step),
        };
        if step < self.warmup_steps {
            decayed * ((step + 1) as f64 / self.warmup_steps as f64)
        } else {
            decayed
        }
    }
}

impl Line {
    /// Over the fine-tuning of GMP, or the whole run. As PaddleSlim counts it, the epochs of dense training and pruning are
    /// taken for steps, so that the line begins in the first epoch and is over before the end of the run.
    fn of(config: &TrainConfig, in_steps: impl Fn(usize) -> usize) -> Self {
        let prune = &config.prune;
        let before =
            if prune.is_gmp() { prune.stable_epochs.saturating_add(prune.pruning_epochs) } else { 0 };
        if prune.is_gmp() && prune.paddle_compat {
            return Self { from: before, over: in_steps(prune.tunning_epochs).max(1), rise: PADDLE_RISE };
        }
        let left = config.train.num_epochs.saturating_sub(before);
        Self { from: in_steps(before), over: in_steps(left).max(1), rise: 0.0 }
    }

    fn at(self, base: f64, step: usize) -> f64 {
        let Some(done) = step.checked_sub(self.from) else {
            return base - self.rise * (1.0 - step as f64 / self.from as f64);
        };
        let end = linear_end(base);
        (base - end) * (1.0 - done.min(self.over) as f64 / self.over as f64) + end
    }
}

/// The rate at which a linear decay from `base` ends.
pub(super) fn linear_end(base: f64) -> f64 {
    base.min(LINEAR_END)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DataKind, PruningMode, PruningStrategy, TrainSection};

    fn close(got: f64, expected: f64) {
        assert!((got - expected).abs() <= 1e-15, "{got} is not {expected}");
    }

    fn schedule(train: TrainSection, steps_per_epoch: usize) -> LrSchedule {
        LrSchedule::new(&TrainConfig { train, ..TrainConfig::defaults(DataKind::Mnist) }, steps_per_epoch)
    }

    fn piecewise(steps_per_epoch: usize) -> LrSchedule {
        schedule(TrainSection::default(), steps_per_epoch)
    }

    fn cosine(num_epochs: usize, warmup_epochs: f64) -> LrSchedule {
        let train = TrainSection {
            lr_strategy: LrStrategy::CosineDecay,
            num_epochs,
            warmup_epochs,
            ..TrainSection::default()
        };
        schedule(train, 10)
    }

    /// 2 dense epochs, 3 of pruning and 4 of fine-tuning, of 10 steps each, at a rate of 0.01.
    fn linear(change: impl Fn(&mut TrainConfig)) -> LrSchedule {
        let mut config = TrainConfig::defaults(DataKind::Mnist);
        let (train, prune) = (&mut config.train, &mut config.prune);
        (train.lr_strategy, train.lr, train.num_epochs) = (LrStrategy::LinearDecay, 0.01, 9);
        (prune.pruning_mode, prune.pruning_strategy) = (PruningMode::Ratio, PruningStrategy::Gmp);
        (prune.stable_epochs, prune.pruning_epochs, prune.tunning_epochs) = (2, 3, 4);
        change(&mut config);
        LrSchedule::new(&config, 10)
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
    fn linear_decay_waits_for_the_fine_tuning_and_ends_at_1e_4() {
        let lr = linear(|_| ());
        for (step, expected) in [
            (0, 0.01),
            (49, 0.01),
            (50, 0.01),
            (51, 0.01 - 0.0099 / 40.0),
            (70, 0.005_05),
            (89, 0.0001 + 0.0099 / 40.0),
            (90, 0.0001),
            (usize::MAX, 0.0001),
        ] {
            close(lr.at(step), expected);
        }
        let without = linear(|config| config.prune.pruning_strategy = PruningStrategy::Base);
        for (step, expected) in [(0, 0.01), (45, 0.005_05), (90, 0.0001)] {
            close(without.at(step), expected);
        }
        // No rate rises.
        assert!((0..100).all(|step| linear(|config| config.train.lr = 1e-5).at(step) == 1e-5));
        let untuned = linear(|config| config.train.num_epochs = 5);
        assert_eq!([0, 49].map(|step| untuned.at(step)), [0.01, 0.01]);
    }

    #[test]
    fn as_paddle_counts_it_linear_decay_begins_after_as_many_steps_as_there_are_epochs() {
        let lr = linear(|config| config.prune.paddle_compat = true);
        for (step, expected) in [
            (0, 0.009_99),
            (2, 0.009_994),
            (5, 0.01),
            (6, 0.01 - 0.0099 / 40.0),
            (25, 0.005_05),
            (45, 0.0001),
            (89, 0.0001),
        ] {
            close(lr.at(step), expected);
        }
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
            cosine(2, 0.1).in_passes(passes.clone()),
            LrSchedule { decay: Decay::Cosine { total_steps: 8 }, ..cosine(2, 0.1) },
        );
        let of = [0, 1, 2, 3, 4, 5, 6, 7, 2, 3, 4, 5, 6, 7, 2, 3, 4, 5, 6, 7];
        assert!((0..20).all(|step| lr.at(step) == once.at(of[step])));
        let straight = |num_epochs| {
            linear(|config| {
                config.prune.pruning_strategy = PruningStrategy::Rewind;
                config.train.num_epochs = num_epochs;
            })
        };
        let lr = straight(2).in_passes(passes);
        close(lr.at(4), 0.005_05);
        assert!((0..20).all(|step| lr.at(step) == lr.at(of[step])));
    }

    #[test]
    fn warm_up_rises_linearly_and_joins_the_schedule() {
        let train = TrainSection { warmup_epochs: 0.5, ..TrainSection::default() };
        let lr = schedule(train, 10);
        for (step, expected) in [(0, 0.02), (1, 0.04), (3, 0.08), (4, 0.1), (5, 0.1)] {
            close(lr.at(step), expected);
        }
        let (warm, cold) = (cosine(2, 0.3), cosine(2, 0.0));
        close(warm.at(1), cold.at(1) * 2.0 / 3.0);
        assert_eq!(warm.at(2), cold.at(2));
    }
}
