//! Momentum SGD over named candle variables.

use crate::host::{Operand, by_dtype, elements_mut};
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, InplaceOp2, InplaceOp3, Layout, Result, Tensor, Var, bail};
use sparse_kernels::sgd::{self, Velocity};
use std::collections::BTreeMap;

/// Coefficients of the optimizer; the learning rate is given at each step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdConfig {
    /// μ, fraction of the old velocity kept.
    pub momentum: f64,
    /// λ of the L2 decay, on every trainable tensor.
    pub l2_decay: f64,
    /// Largest global norm of the gradient; a longer gradient is scaled down to it. `None`: off.
    pub clip_norm: Option<f64>,
}

/// How the mask of one variable acts on its update.
#[derive(Clone, Copy, Debug)]
pub struct GradientMask<'a> {
    /// Bit i of word i/64 belongs to weight i; 1 = kept.
    pub words: &'a [u64],
    /// Also keep the velocity of pruned weights at zero, so that they cannot come back.
    pub hold_pruned: bool,
}

/// `v = μ·v + (g + λ·w)`, `w −= lr·v` over all variables, in the order of their names.
///
/// Source: PaddlePaddle `Momentum` with `L2Decay` (no dampening, no Nesterov).
#[derive(Debug)]
pub struct Sgd {
    config: SgdConfig,
    variables: BTreeMap<String, Var>,
    velocities: BTreeMap<String, Var>,
}

impl Sgd {
    /// An optimizer with zero velocity.
    ///
    /// # Errors
    /// Candle's, on allocation.
    pub fn new(variables: BTreeMap<String, Var>, config: SgdConfig) -> Result<Self> {
        let velocities = variables
            .iter()
            .map(|(name, variable)| Ok((name.clone(), Var::from_tensor(&variable.zeros_like()?)?)))
            .collect::<Result<_>>()?;
        Ok(Self { config, variables, velocities })
    }

    /// The coefficients.
    pub fn config(&self) -> SgdConfig {
        self.config
    }

    /// The velocity of each variable, for checkpoints.
    pub fn velocities(&self) -> &BTreeMap<String, Var> {
        &self.velocities
    }

    /// One update with the gradient of each variable by name. `mask(name)` gives the mask of a variable whose gradient is to be masked.
    ///
    /// # Errors
    /// If a variable has no gradient or one of another shape, or candle's.
    pub fn step<'a>(
        &mut self,
        gradients: &BTreeMap<String, Tensor>,
        learning_rate: f64,
        mask: impl Fn(&str) -> Option<GradientMask<'a>>,
    ) -> Result<()> {
        let gradient_scale = self.gradient_scale(gradients, &mask)?;
        for (name, variable) in &self.variables {
            let gradient = gradient_of(gradients, name, variable)?;
            let mask = mask(name);
            let rule = Velocity {
                momentum: self.config.momentum,
                l2_decay: self.config.l2_decay,
                gradient_scale,
                mask: mask.map(|mask| mask.words),
                hold_pruned: mask.is_some_and(|mask| mask.hold_pruned),
            };
            let velocity = self.velocities[name].as_tensor();
            velocity.inplace_op3(&gradient, variable.as_tensor(), &UpdateVelocity(rule))?;
            variable.as_tensor().inplace_op2(velocity, &ApplyVelocity { learning_rate })?;
        }
        Ok(())
    }

    /// The factor that brings the global norm of the masked gradient down to `clip_norm`.
    fn gradient_scale<'a>(
        &self,
        gradients: &BTreeMap<String, Tensor>,
        mask: &impl Fn(&str) -> Option<GradientMask<'a>>,
    ) -> Result<f64> {
        let Some(limit) = self.config.clip_norm else { return Ok(1.0) };
        let mut square = 0.0;
        for (name, variable) in &self.variables {
            let words = mask(name).map(|mask| mask.words);
            square += squared_norm(&gradient_of(gradients, name, variable)?, words)?;
        }
        Ok((limit / square.sqrt()).min(1.0))
    }
}

fn gradient_of(gradients: &BTreeMap<String, Tensor>, name: &str, variable: &Var) -> Result<Tensor> {
    match gradients.get(name) {
        Some(gradient) if gradient.dims() == variable.dims() => gradient.contiguous(),
        Some(gradient) => {
            bail!("gradient of {name} is {:?}, the variable {:?}", gradient.dims(), variable.dims())
        }
        None => bail!("no gradient for {name}: it does not take part in the loss"),
    }
}

fn squared_norm(gradient: &Tensor, mask: Option<&[u64]>) -> Result<f64> {
    let (storage, layout) = gradient.storage_and_layout();
    let candle_core::Storage::Cpu(storage) = &*storage else { bail!("gradient is not on the CPU") };
    by_dtype!(storage.dtype(), "squared-norm", T => {
        Operand::<T>::new(storage, layout).map(|gradient| sgd::squared_norm(gradient.data, mask))
    })
}

struct UpdateVelocity<'a>(Velocity<'a>);

impl InplaceOp3 for UpdateVelocity<'_> {
    fn name(&self) -> &'static str {
        "sgd-update-velocity"
    }

    fn cpu_fwd(
        &self,
        velocity: &mut CpuStorage,
        layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<()> {
        by_dtype!(velocity.dtype(), "sgd-update-velocity", T => {
            let gradient = Operand::<T>::new(gradient, gradient_layout)?;
            let weight = Operand::<T>::new(weight, weight_layout)?;
            sgd::update_velocity(elements_mut::<T>(velocity, layout)?, gradient.data, weight.data, self.0);
            Ok(())
        })
    }
}

struct ApplyVelocity {
    learning_rate: f64,
}

impl InplaceOp2 for ApplyVelocity {
    fn name(&self) -> &'static str {
        "sgd-apply-velocity"
    }

    fn cpu_fwd(
        &self,
        weight: &mut CpuStorage,
        layout: &Layout,
        velocity: &CpuStorage,
        velocity_layout: &Layout,
    ) -> Result<()> {
        by_dtype!(weight.dtype(), "sgd-apply-velocity", T => {
            let velocity = Operand::<T>::new(velocity, velocity_layout)?;
            sgd::apply_velocity(elements_mut::<T>(weight, layout)?, velocity.data, self.learning_rate);
            Ok(())
        })
    }
}
