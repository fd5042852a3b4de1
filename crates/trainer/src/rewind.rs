//! Going back to an early step of training with the weights that are left (`prune.pruning_strategy = "rewind"`).
//!
//! Source: see [`RewindConfig`].

use crate::error::Result;
use crate::strategy_error::StrategyError;
use crate::weights::{WEIGHTS_FILE, set_variables, to_tensors};
use sparse_formats::Tensors;
use sparse_model::Model;
use sparse_ops::Sgd;
use sparse_prune::{Pruner, RewindConfig, Strategy};
use std::path::Path;

/// The variables as they were at the step to go back to.
pub(crate) struct Rewind {
    config: RewindConfig,
    /// Until the step they are of, and after the last round, there are none.
    early: Option<Tensors>,
}

impl Rewind {
    /// What a pruner's strategy asks for; nothing if it is another one.
    ///
    /// # Errors
    /// If the variables cannot be read.
    pub(crate) fn of(pruner: &Pruner, model: &Model) -> Result<Option<Self>> {
        let Strategy::Rewind(config) = &pruner.config().strategy else { return Ok(None) };
        let mut rewind = Self { config: config.clone(), early: None };
        rewind.remember(config.resume_step, model)?;
        Ok(Some(rewind))
    }

    /// Takes the variables if these are the steps to go back to.
    fn remember(&mut self, steps: u64, model: &Model) -> Result<()> {
        if self.config.weights && steps == self.config.rewind_step {
            self.early = Some(to_tensors(model.variables())?);
        }
        Ok(())
    }

    /// What is due after the pruner's step number `steps`: at the end of a round weights go back, those that are pruned to zero, and the momentum
    /// to nothing. Whether they did.
    ///
    /// # Errors
    /// [`StrategyError::NothingToRewindTo`]; if variables cannot be read or set.
    pub(crate) fn after(&mut self, steps: u64, model: &Model, sgd: &Sgd, pruner: &Pruner) -> Result<bool> {
        self.remember(steps, model)?;
        if !self.config.goes_back(steps) {
            return Ok(false);
        }
        if self.config.weights {
            let early = self.early.as_ref().ok_or(StrategyError::NothingToRewindTo)?;
            set_variables(model.variables(), early, Path::new(WEIGHTS_FILE))?;
        }
        for velocity in sgd.velocities().values() {
            velocity.set(&velocity.zeros_like()?)?;
        }
        pruner.update_params()?;
        if self.config.rounds_done(steps) == self.config.rounds {
            self.early = None;
        }
        Ok(true)
    }

    /// The variables to go back to, to be saved.
    pub(crate) fn early(&self) -> Option<&Tensors> {
        self.early.as_ref()
    }

    /// Goes on from what was saved after so many steps.
    ///
    /// # Errors
    /// [`StrategyError::NothingToRewindTo`] if something is missing that is needed.
    pub(crate) fn restore(&mut self, steps: u64, early: Option<Tensors>) -> Result<()> {
        self.early = early;
        self.check(steps)
    }

    /// Checks that a run which has done so many steps has what it will need.
    ///
    /// # Errors
    /// [`StrategyError::NothingToRewindTo`].
    pub(crate) fn check(&self, steps: u64) -> Result<()> {
        let config = &self.config;
        let due = config.weights && steps >= config.rewind_step && config.rounds_done(steps) < config.rounds;
        if due && self.early.is_none() { Err(StrategyError::NothingToRewindTo.into()) } else { Ok(()) }
    }
}
