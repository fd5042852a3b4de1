//! What a run holds: weights, momentum, masks, and what goes along with them.

use crate::ema::Ema;
use crate::error::{Error, Result};
use crate::rewind::Rewind;
use candle_core::DType;
use sparse_model::Model;
use sparse_ops::Sgd;
use sparse_prune::{GradientMode, Pruner};

/// All that a step changes, on the host. Who reads it asks [`crate::learner::Learner::state`], which brings it from a device first.
pub struct State {
    pub(crate) model: Model,
    pub(crate) optimizer: Sgd,
    pub(crate) pruner: Pruner,
    /// False in a dense run: the pruner then only measures.
    pub(crate) prunes: bool,
    pub(crate) ema: Option<Ema>,
    pub(crate) rewind: Option<Rewind>,
}

impl State {
    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The optimizer.
    pub fn optimizer(&self) -> &Sgd {
        &self.optimizer
    }

    /// The pruner.
    pub fn pruner(&self) -> &Pruner {
        &self.pruner
    }

    /// The pruner, to restore its state.
    pub fn pruner_mut(&mut self) -> &mut Pruner {
        &mut self.pruner
    }

    /// Whether this run prunes.
    pub fn prunes(&self) -> bool {
        self.prunes
    }

    /// The averages of the weights, if they are kept.
    pub fn ema(&self) -> Option<&Ema> {
        self.ema.as_ref()
    }

    /// What the run goes back to, if it does.
    pub(crate) fn rewind(&self) -> Option<&Rewind> {
        self.rewind.as_ref()
    }

    /// Whether pruned weights get no gradient.
    pub(crate) fn masks_gradient(&self) -> bool {
        self.prunes && (!self.pruner.regrow() || self.pruner.gradient() == GradientMode::Masked)
    }

    /// Sets the pruned weights to zero.
    ///
    /// # Errors
    /// What the pruner reports.
    pub fn enforce(&self) -> Result<()> {
        if self.prunes {
            self.pruner.update_params()?;
        }
        Ok(())
    }

    /// Checks every weight, so that no broken state is saved.
    ///
    /// # Errors
    /// [`Error::WeightNotFinite`] naming the variable.
    pub fn check_finite(&self) -> Result<()> {
        for (name, variable) in self.model.variables() {
            let values = variable.as_tensor().flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?;
            if values.iter().any(|value| !value.is_finite()) {
                return Err(Error::WeightNotFinite { name: name.clone() });
            }
        }
        Ok(())
    }
}
