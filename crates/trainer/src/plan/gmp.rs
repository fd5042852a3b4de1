//! The phases of gradual pruning, counted in steps.

use sparse_sparsity::schedule::GmpConfig;

use crate::{
    config::TrainConfig,
    error::{Error, Result},
};

/// PaddleSlim wants more than this many training steps per ratio update.
const PADDLE_STEPS_PER_UPDATE: usize = 10;

/// The phases for this number of batches per epoch; `None` when the config has no gradual pruning.
///
/// # Errors
/// [`Error::GmpTooShort`] when the pruning phase has not a training step per ratio update (with `paddle_compat`:
/// more than ten), [`Error::GmpPastEnd`] when training ends before the pruning phase does (without it).
pub(super) fn in_steps(config: &TrainConfig, steps_per_epoch: usize) -> Result<Option<GmpConfig>> {
    let prune = &config.prune;
    if !prune.is_gmp() {
        return Ok(None);
    }
    let in_steps = |epochs: usize| epochs.saturating_mul(steps_per_epoch);
    let pruning_steps_total = in_steps(prune.pruning_epochs);
    let (most, rule) = if prune.paddle_compat {
        let most = pruning_steps_total.saturating_sub(1) / PADDLE_STEPS_PER_UPDATE;
        (most, "and with prune.paddle_compat each needs more than 10")
    } else {
        (pruning_steps_total, "and each needs one")
    };
    let ratio_updates = prune.ratio_updates();
    if ratio_updates > most {
        let epochs = prune.ratio_steps_per_epoch.map(|_| prune.pruning_epochs);
        return Err(Error::GmpTooShort { ratio_updates, pruning_steps_total, rule, most, epochs });
    }
    let num_epochs = config.train.num_epochs;
    let epochs_needed = prune.stable_epochs.saturating_add(prune.pruning_epochs);
    if epochs_needed > num_epochs && !prune.paddle_compat {
        return Err(Error::GmpPastEnd { epochs_needed, num_epochs });
    }
    Ok(Some(GmpConfig {
        stable_steps: in_steps(prune.stable_epochs) as u64,
        pruning_steps: pruning_steps_total as u64,
        tunning_steps: in_steps(prune.tunning_epochs) as u64,
        updates: ratio_updates as u64,
        initial_ratio: prune.initial_ratio,
        resume_step: 0,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DataKind, PruningMode, PruningStrategy};

    /// Ten epochs of GMP: 1 dense, 4 pruning, 5 fine-tuning.
    fn phases(steps_per_epoch: usize, change: impl Fn(&mut TrainConfig)) -> Result<Option<GmpConfig>> {
        let mut config = TrainConfig::defaults(DataKind::Mnist);
        config.train.num_epochs = 10;
        config.prune.pruning_mode = PruningMode::Ratio;
        config.prune.pruning_strategy = PruningStrategy::Gmp;
        (config.prune.stable_epochs, config.prune.pruning_epochs, config.prune.tunning_epochs) = (1, 4, 5);
        change(&mut config);
        in_steps(&config, steps_per_epoch)
    }

    #[test]
    fn phases_are_epochs_times_batches() {
        let gmp = phases(30, |_| ()).unwrap().unwrap();
        assert_eq!(
            (gmp.stable_steps, gmp.pruning_steps, gmp.tunning_steps, gmp.updates),
            (30, 120, 150, 120)
        );
    }

    #[test]
    fn updates_may_be_counted_by_the_epoch() {
        let per_epoch =
            |updates| move |config: &mut TrainConfig| config.prune.ratio_steps_per_epoch = Some(updates);
        assert_eq!(phases(30, per_epoch(2)).unwrap().unwrap().updates, 8);
        assert!(phases(30, per_epoch(30)).is_ok());
        let error = phases(30, per_epoch(31)).unwrap_err().to_string();
        assert!(
            error.contains("lower prune.ratio_steps_per_epoch (--ratio_steps_per_epoch) to at most 30"),
            "{error}"
        );
        let none = |config: &mut TrainConfig| {
            (config.prune.ratio_steps_per_epoch, config.prune.pruning_epochs) = (Some(2), 0);
        };
        let error = phases(30, none).unwrap_err().to_string();
        assert!(error.contains("each needs one: raise prune.pruning_epochs"), "{error}");
    }

    #[test]
    fn the_base_strategy_and_dense_training_have_no_phases() {
        assert_eq!(phases(30, |config| config.prune.pruning_strategy = PruningStrategy::Base).unwrap(), None);
        assert_eq!(phases(30, |config| config.prune.pruning_mode = PruningMode::Dense).unwrap(), None);
    }

    #[test]
    fn every_update_needs_a_step() {
        let error = phases(30, |config| config.prune.pruning_steps = 121).unwrap_err();
        assert_eq!(
            error.to_string(),
            "GMP spreads 121 ratio updates over 120 training steps, and each needs one: \
             lower prune.pruning_steps (--pruning_steps) to at most 120, or \
             raise prune.pruning_epochs (--pruning_epochs), or make more batches of an epoch (a lower --batch_size)"
        );
        let error = phases(30, |config| config.prune.pruning_epochs = 0).unwrap_err();
        assert!(error.to_string().contains("each needs one: raise prune.pruning_epochs"), "{error}");
    }

    #[test]
    fn paddle_compat_wants_more_than_ten_steps_per_update() {
        let compat = |pruning_steps| {
            move |config: &mut TrainConfig| {
                (config.prune.paddle_compat, config.prune.pruning_steps) = (true, pruning_steps);
            }
        };
        assert!(phases(30, compat(11)).is_ok());
        let error = phases(30, compat(12)).unwrap_err();
        assert!(matches!(error, Error::GmpTooShort { pruning_steps_total: 120, most: 11, .. }), "{error}");
    }

    #[test]
    fn the_target_is_reached_before_training_ends() {
        assert!(phases(30, |config| config.train.num_epochs = 5).is_ok());
        let error = phases(30, |config| config.train.num_epochs = 4).unwrap_err();
        assert!(matches!(error, Error::GmpPastEnd { epochs_needed: 5, num_epochs: 4 }), "{error}");
    }
}
