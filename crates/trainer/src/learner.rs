//! One training step: masks, forward, backward, optimizer, pruner, in the order of PaddleSlim's demo.

use crate::error::{Error, Result};
use candle_core::{DType, Tensor};
use sparse_mobilenet::MobileNet;
use sparse_ops::{GradientMask, Sgd, SgdConfig};
use sparse_prune::{GradientMode, Pruner, PrunerConfig, StepReport};

/// The model with its optimizer and its pruner.
pub struct Learner {
    model: MobileNet,
    optimizer: Sgd,
    pruner: Pruner,
    /// False in a dense run: the pruner then only measures.
    prunes: bool,
    label_smoothing: f64,
}

/// How a [`Learner`] is to learn.
#[derive(Clone, Debug)]
pub struct LearnerConfig {
    /// Momentum, L2 decay, clipping.
    pub sgd: SgdConfig,
    /// ε of label smoothing, fraction; 0 = off.
    pub label_smoothing: f64,
    /// What to prune; `None` trains densely.
    pub pruner: Option<PrunerConfig>,
}

/// What one step did.
#[derive(Clone, Debug)]
pub struct Step {
    /// Mean loss of the batch before the update.
    pub loss: f64,
    /// Class scores of the batch, `[N, classes]`.
    pub logits: Tensor,
    /// What the pruner did; `None` in a dense run.
    pub pruned: Option<StepReport>,
}

impl Learner {
    /// A learner at step 0 of a run.
    ///
    /// # Errors
    /// What the pruner refuses, or candle's on allocation.
    pub fn new(model: MobileNet, config: LearnerConfig) -> Result<Self> {
        let optimizer = Sgd::new(model.trainable()?, config.sgd)?;
        let prunes = config.pruner.is_some();
        let measure_only = || PrunerConfig::new(sparse_prune::Mode::Threshold(0.0));
        let pruner = Pruner::new(&model.var_map(), config.pruner.unwrap_or_else(measure_only))?;
        Ok(Self { model, optimizer, pruner, prunes, label_smoothing: config.label_smoothing })
    }

    /// The model.
    pub fn model(&self) -> &MobileNet {
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

    /// One update on one batch: weights × mask → forward → backward → momentum SGD → masks anew.
    ///
    /// Shapes: `images: [N, C, H, W]`, `labels: [N]`.
    ///
    /// # Errors
    /// [`Error::LossNotFinite`] before the weights are touched, or what an operation reports.
    pub fn step(&mut self, images: &Tensor, labels: &[u32], learning_rate: f64) -> Result<Step> {
        self.enforce()?;
        let pass = self.model.train_pass(images, labels, self.label_smoothing)?;
        let (loss, logits) = (pass.loss, pass.logits.clone());
        if !loss.is_finite() {
            return Err(Error::LossNotFinite { loss });
        }
        let gradients = pass.gradients()?;
        let (pruner, prunes) = (&self.pruner, self.prunes);
        self.optimizer.step(&gradients, learning_rate, |name| {
            let hold_pruned = !pruner.regrow();
            let masked = prunes && (hold_pruned || pruner.gradient() == GradientMode::Masked);
            let mask = if masked { pruner.masks().get(name) } else { None };
            mask.map(|mask| GradientMask { words: mask.words(), hold_pruned })
        })?;
        let pruned = if self.prunes { Some(self.pruner.step()?) } else { None };
        Ok(Step { loss, logits, pruned })
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
}
