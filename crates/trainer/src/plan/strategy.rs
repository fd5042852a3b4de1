//! When masks are computed, counted in steps.

use sparse_prune::{AcdcConfig, DropGrowConfig, Growth, RewindConfig, Strategy};
use sparse_sparsity::schedule::GmpConfig;

use crate::config::{Criterion, PruningMode, PruningStrategy, Rewinds, TrainConfig};
use crate::strategy_error::StrategyError;

use super::TrainPlan;

impl TrainPlan {
    /// The pruner's strategy for a run that begins after `step` updates.
    pub(crate) fn strategy(&self, step: usize) -> Strategy {
        let (prune, resume_step) = (&self.config.prune, step as u64);
        let in_steps = |epochs: usize| epochs.saturating_mul(self.steps_per_epoch) as u64;
        let total = self.total_steps as u64;
        let moves = |growth| {
            Strategy::DropGrow(DropGrowConfig {
                growth,
                period: prune.update_period as u64,
                until: (prune.update_until * total as f64).round() as u64,
                fraction: prune.update_fraction,
                seed: self.config.train.seed,
                resume_step,
            })
        };
        match (prune.pruning_strategy, &self.gmp) {
            (PruningStrategy::Gmp, Some(gmp)) => Strategy::Gmp(GmpConfig { resume_step, ..gmp.clone() }),
            // Solved for once, after the first step: a ramp that begins at its end.
            (PruningStrategy::Base | PruningStrategy::Gmp, _) if prune.criterion() == Criterion::Obs => {
                Strategy::Gmp(GmpConfig {
                    stable_steps: 0,
                    pruning_steps: 1,
                    tunning_steps: 0,
                    updates: 1,
                    initial_ratio: prune.target(),
                    resume_step,
                })
            }
            (PruningStrategy::Base | PruningStrategy::Gmp, _) => Strategy::Base,
            (PruningStrategy::Acdc, _) => Strategy::Acdc(AcdcConfig {
                warmup_steps: in_steps(prune.stable_epochs),
                phase_steps: in_steps(prune.phase_epochs),
                last_from: total.saturating_sub(in_steps(prune.tunning_epochs)),
                resume_step,
            }),
            (PruningStrategy::Rewind, _) => {
                let rewind = rewind(&self.config, self.steps_per_epoch);
                Strategy::Rewind(RewindConfig { resume_step, ..rewind })
            }
            (PruningStrategy::Rigl, _) => moves(Growth::Gradient),
            (PruningStrategy::Set, _) => moves(Growth::Random),
        }
    }
}

/// The passes of a run: as long as the steps of all of it allow.
pub(super) fn rewind(config: &TrainConfig, steps_per_epoch: usize) -> RewindConfig {
    let prune = &config.prune;
    let total = steps_per_epoch.saturating_mul(config.train.num_epochs) as u64;
    let rewind_step = (prune.rewind_epoch * steps_per_epoch as f64).round() as u64;
    let rounds = prune.rewind_rounds as u64;
    RewindConfig {
        rewind_step,
        pass_steps: total.saturating_add(rounds.saturating_mul(rewind_step)) / (rounds.saturating_add(1)),
        rounds,
        weights: prune.rewind == Rewinds::Weights,
        resume_step: 0,
    }
}

/// Whether training goes back in rounds.
pub(super) fn rewinds(config: &TrainConfig) -> bool {
    config.prune.pruning_strategy == PruningStrategy::Rewind
        && config.prune.pruning_mode != PruningMode::Dense
}

/// Refuses what several processes do not do, and phases that have no room.
///
/// # Errors
/// [`StrategyError::ObsAlone`] of several processes; [`StrategyError::RewindTooShort`] without a step to repeat; [`StrategyError::AcdcTooShort`] unless a sparse and a dense phase fit between warm-up and last phase.
pub(super) fn check(config: &TrainConfig, ranks: usize, steps_per_epoch: usize) -> Result<(), StrategyError> {
    let prune = &config.prune;
    let passes = rewind(config, steps_per_epoch);
    if rewinds(config) && passes.pass_steps <= passes.rewind_step {
        return Err(StrategyError::RewindTooShort {
            rounds: prune.rewind_rounds,
            rewind_step: passes.rewind_step as usize,
            total_steps: steps_per_epoch.saturating_mul(config.train.num_epochs),
        });
    }
    if prune.criterion() == Criterion::Obs && ranks > 1 {
        return Err(StrategyError::ObsAlone { ranks });
    }
    if prune.pruning_strategy != PruningStrategy::Acdc || prune.pruning_mode == PruningMode::Dense {
        return Ok(());
    }
    let (warm_up, phase, last) = (prune.stable_epochs, prune.phase_epochs, prune.tunning_epochs);
    let needed = phase.saturating_mul(2).saturating_add(warm_up).saturating_add(last);
    let num_epochs = config.train.num_epochs;
    if needed > num_epochs {
        return Err(StrategyError::AcdcTooShort { warm_up, phase, last, needed, num_epochs });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::MNIST;
    use super::*;
    use crate::config::DataKind;

    fn plan(change: impl Fn(&mut TrainConfig)) -> crate::Result<TrainPlan> {
        let mut config = TrainConfig::defaults(DataKind::Mnist);
        config.prune.pruning_mode = PruningMode::Ratio;
        (config.train.num_epochs, config.train.batch_size) = (20, 600);
        change(&mut config);
        TrainPlan::resolve(&config, &MNIST)
    }

    #[test]
    fn phases_are_counted_in_steps_and_need_room() {
        let acdc = |last| {
            plan(|config| {
                config.prune.pruning_strategy = PruningStrategy::Acdc;
                (config.prune.stable_epochs, config.prune.phase_epochs) = (2, 3);
                config.prune.tunning_epochs = last;
            })
        };
        let expected = AcdcConfig { warmup_steps: 200, phase_steps: 300, last_from: 1000, resume_step: 7 };
        assert_eq!(acdc(10).unwrap().strategy(7), Strategy::Acdc(expected));
        assert!(acdc(12).is_ok());
        let error = acdc(13).unwrap_err();
        assert!(error.is_usage());
        let message = error.to_string();
        assert!(
            message.contains("21 epochs")
                && message.contains("--num_epochs")
                && message.contains("--phase_epochs"),
            "{message}"
        );
    }

    #[test]
    fn what_is_solved_for_at_once_is_a_ramp_of_one_step_in_one_process() {
        let mut config = TrainConfig::defaults(DataKind::Mnist);
        (config.prune.pruning_mode, config.prune.criterion) = (PruningMode::Ratio, Criterion::Obs);
        (config.prune.ratio, config.train.batch_size) = (0.9, 600);
        let Strategy::Gmp(gmp) = TrainPlan::resolve(&config, &MNIST).unwrap().strategy(3) else {
            unreachable!()
        };
        assert_eq!((gmp.stable_steps, gmp.pruning_steps, gmp.initial_ratio, gmp.resume_step), (0, 1, 0.9, 3));
        let place = crate::ranks::Place { rank: 0, ranks: 2 };
        let error = TrainPlan::resolve_shared(&config, &MNIST, place).unwrap_err();
        assert!(error.is_usage());
        let message = error.to_string();
        assert!(message.contains("prune.criterion") && message.contains("without mpirun"), "{message}");
        config.prune.pruning_mode = PruningMode::Dense;
        assert!(TrainPlan::resolve_shared(&config, &MNIST, place).is_ok());
    }

    #[test]
    fn passes_fill_the_run_and_need_a_step_to_repeat() {
        let passes = |epoch, rounds| {
            plan(|config| {
                config.prune.pruning_strategy = PruningStrategy::Rewind;
                (config.prune.rewind_epoch, config.prune.rewind_rounds) = (epoch, rounds);
                config.train.lr_strategy = crate::config::LrStrategy::CosineDecay;
            })
        };
        // 2000 steps: one pass of 575, and three times what comes after the first 100.
        let resolved = passes(1.0, 3).unwrap();
        let expected =
            RewindConfig { rewind_step: 100, pass_steps: 575, rounds: 3, weights: true, resume_step: 7 };
        assert_eq!(resolved.strategy(7), Strategy::Rewind(expected));
        assert_eq!(resolved.lr.at(574), resolved.lr.at(575 + 474));
        assert_eq!(resolved.lr.at(575), resolved.lr.at(100));
        let error = passes(20.0, 3).unwrap_err();
        assert!(error.is_usage());
        let message = error.to_string();
        assert!(
            message.contains("step 2000")
                && message.contains("--rewind_epoch")
                && message.contains("--num_epochs"),
            "{message}"
        );
        assert!(passes(0.0, 1999).is_ok() && passes(0.0, 2000).is_err());
    }

    #[test]
    fn masks_move_until_a_share_of_the_run() {
        for (strategy, growth) in
            [(PruningStrategy::Rigl, Growth::Gradient), (PruningStrategy::Set, Growth::Random)]
        {
            let plan =
                plan(|config| (config.prune.pruning_strategy, config.train.seed) = (strategy, 3)).unwrap();
            let Strategy::DropGrow(config) = plan.strategy(0) else { unreachable!() };
            assert_eq!((config.growth, config.period, config.until, config.seed), (growth, 100, 1500, 3));
        }
    }
}
