//! The exponential moving average of the weights over the steps of a run, kept beside the weights themselves.
//!
//! Every variable is averaged, in f32: the trainable ones, and batch norm's running averages by the same rule, as timm's `ModelEmaV2` and
//! EfficientNet's training do. So an average always holds statistics as old as its weights. A weight that is pruned now is zero in the
//! average as well; one that grows back begins there at zero.
//!
//! Source: Tarvainen & Valpola 2017, arXiv:1703.01780, equation 1; the warm-up of the decay is that of TensorFlow's
//! `ExponentialMovingAverage(num_updates)`.

use crate::error::Result;
use crate::weights::set_variables;
use candle_core::{Device, Tensor};
use sparse_formats::Tensors;
use sparse_model::{Mode, Model};
use sparse_ops::move_average;
use sparse_prune::{Pruner, PrunerConfig, Sparsity};
use sparse_sparsity::Mask;
use std::collections::BTreeMap;
use std::path::Path;

/// Name of the averaged weights in a run folder.
pub const EMA_WEIGHTS_FILE: &str = "weights_ema.safetensors";

/// The averaged network.
pub struct Ema {
    /// Its variables are the averages.
    model: Model,
    decay: f64,
    updates: u64,
}

impl Ema {
    /// Averages that begin at the weights of `model`; `decay` is the fraction of an average that a step keeps, in [0, 1).
    ///
    /// # Errors
    /// Candle's, on allocation.
    pub(crate) fn new(model: &Model, decay: f64) -> Result<Self> {
        let dtype = model.variables().values().next().map_or(candle_core::DType::F32, |first| first.dtype());
        let mut ema = Self { model: Model::new(model.config(), 0, dtype, &Device::Cpu)?, decay, updates: 0 };
        ema.restart(model)?;
        Ok(ema)
    }

    /// Begins anew at the weights of `model`.
    ///
    /// # Errors
    /// Candle's.
    pub(crate) fn restart(&mut self, model: &Model) -> Result<()> {
        self.updates = 0;
        for (name, average) in self.model.variables() {
            average.set(&model.variables()[name].as_detached_tensor().copy()?)?;
        }
        Ok(())
    }

    /// Takes the weights after a step in: `a = d·a + (1 − d)·w`, and 0 where a mask prunes.
    ///
    /// # Errors
    /// Candle's.
    pub(crate) fn update(&mut self, model: &Model, masks: Option<&BTreeMap<String, Mask>>) -> Result<()> {
        let share = 1.0 - decay_at(self.decay, self.updates);
        self.updates += 1;
        for (name, average) in self.model.variables() {
            let mask = masks.and_then(|masks| masks.get(name)).map(Mask::words);
            move_average(average, &model.variables()[name], share, mask)?;
        }
        Ok(())
    }

    /// Goes on from averages that were saved after so many updates.
    ///
    /// # Errors
    /// Naming the tensor that does not fit.
    pub(crate) fn restore(&mut self, updates: u64, averages: &Tensors, path: &Path) -> Result<()> {
        self.updates = updates;
        set_variables(self.model.variables(), averages, path)
    }

    /// The fraction of an average that a step keeps once there are many.
    pub fn decay(&self) -> f64 {
        self.decay
    }

    /// Steps that went into the averages.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// The network whose variables are the averages.
    pub fn model(&self) -> &Model {
        &self.model
    }

    pub(crate) fn model_mut(&mut self) -> &mut Model {
        &mut self.model
    }

    /// Class scores of images, `[N, classes]`, by the averages.
    ///
    /// Shapes: `images: [N, C, H, W]`.
    ///
    /// # Errors
    /// What an operation reports.
    pub fn scores(&self, images: &Tensor) -> Result<Tensor> {
        Ok(self.model.forward(images, Mode::Eval)?)
    }

    /// The fraction of zeros in the averages.
    ///
    /// # Errors
    /// What reading them reports.
    pub(crate) fn sparsity(&self) -> Result<Sparsity> {
        let measure = PrunerConfig::new(sparse_prune::Mode::Threshold(0.0));
        Ok(Pruner::new(&self.model.var_map(), measure)?.sparsity()?)
    }
}

/// The fraction of an average that is kept when `updates` steps went into it: as `decay` says, and less while there are few.
fn decay_at(decay: f64, updates: u64) -> f64 {
    let updates = updates as f64;
    decay.min((1.0 + updates) / (10.0 + updates))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::DType;
    use sparse_model::NetworkConfig;

    fn values(model: &Model, name: &str) -> Vec<f32> {
        model.variables()[name].flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn few_steps_have_a_lower_decay() {
        let at = |updates| decay_at(0.99, updates);
        assert_eq!([at(0), at(8), at(80)], [0.1, 0.5, 0.9]);
        assert_eq!([at(890), at(891), at(u64::MAX)], [0.99; 3]);
        assert_eq!(decay_at(0.0, 5), 0.0);
    }

    #[test]
    fn every_variable_is_averaged_and_what_is_pruned_is_zero() {
        let network = |seed| {
            Model::new(NetworkConfig::mobilenet(0.0625, 1, 2), seed, DType::F32, &Device::Cpu).unwrap()
        };
        let (first, second) = (network(1), network(2));
        let mean = &second.variables()["conv1_bn_mean"];
        mean.set(&mean.ones_like().unwrap()).unwrap();
        let name = "conv1_weights";
        let mut masks = BTreeMap::new();
        let mut mask = Mask::all_kept(values(&first, name).len());
        mask.words_mut()[0] &= !0b10;
        masks.insert(name.to_owned(), mask);
        let mut ema = Ema::new(&first, 0.99).unwrap();
        assert_eq!(values(&ema.model, name), values(&first, name));
        ema.update(&second, Some(&masks)).unwrap();
        // An average is no view of the weights.
        assert!(values(&ema.model, name) != values(&first, name) && ema.updates() == 1);
        let expected = values(&first, name).into_iter().zip(values(&second, name)).enumerate();
        let expected = expected.map(|(i, (a, w))| if i == 1 { 0.0 } else { a + (w - a) * 0.9 });
        assert_eq!(values(&ema.model, name), expected.collect::<Vec<f32>>());
        assert!(values(&ema.model, "conv1_bn_mean").iter().all(|&mean| mean == 0.9));
    }
}
