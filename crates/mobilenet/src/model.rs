//! The network over candle variables.

use crate::init::initial_value;
use crate::{
    ConvKind, ConvLayer, Error, HEAD_BIAS, HEAD_WEIGHT, MobileNetConfig, Result, layers, parameters,
};
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::VarMap;
use sparse_ops::{
    ChannelStatistics, Form, batch_innermost, batch_norm_relu, conv3x3, depthwise3x3, global_mean_pool,
    linear, pointwise,
};
use std::collections::BTreeMap;

/// Smallest height and width the network takes.
const LEAST_SIZE: usize = 16;

/// How batch norm behaves in a forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Statistics of the batch; the running averages are updated.
    Train,
    /// Running averages; no gradient through them.
    Eval,
}

/// One convolution with its variables.
#[derive(Debug)]
pub(crate) struct Conv {
    pub(crate) layer: ConvLayer,
    pub(crate) weight: Var,
    pub(crate) scale: Var,
    pub(crate) offset: Var,
    pub(crate) running_mean: Var,
    pub(crate) running_variance: Var,
}

/// How the value of a variable enters a computation.
type View = fn(&Var) -> Tensor;

/// As a variable, so that candle's autograd follows it.
const TRACKED: View = |variable| variable.as_tensor().clone();
/// As a plain tensor.
const DETACHED: View = Var::as_detached_tensor;

/// MobileNetV1.
#[derive(Debug)]
pub struct MobileNet {
    config: MobileNetConfig,
    pub(crate) convolutions: Vec<Conv>,
    pub(crate) head_weight: Var,
    pub(crate) head_bias: Var,
    variables: BTreeMap<String, Var>,
}

impl MobileNet {
    /// A freshly initialised network; initial values are a function of `seed`.
    ///
    /// # Errors
    /// [`Error::Network`] if the configuration makes no network, or candle's.
    pub fn new(config: MobileNetConfig, seed: u64, dtype: DType, device: &Device) -> Result<Self> {
        let mut variables = BTreeMap::new();
        for (index, parameter) in parameters(&config)?.iter().enumerate() {
            let variable = initial_value(parameter, (seed, index), dtype, device)?;
            variables.insert(parameter.name.clone(), variable);
        }
        let convolutions = layers(&config)?.into_iter().map(|layer| Conv::new(layer, &variables)).collect();
        Ok(Self {
            config,
            convolutions,
            head_weight: variables[HEAD_WEIGHT].clone(),
            head_bias: variables[HEAD_BIAS].clone(),
            variables,
        })
    }

    /// Changes the fraction of the old running statistics that batch norm keeps at each step.
    pub fn set_bn_momentum(&mut self, momentum: f64) {
        self.config.bn_momentum = momentum;
    }

    /// What was built.
    pub fn config(&self) -> MobileNetConfig {
        self.config
    }

    /// All variables by name, running statistics included.
    pub fn variables(&self) -> &BTreeMap<String, Var> {
        &self.variables
    }

    /// The variables the optimizer moves.
    ///
    /// # Errors
    /// As [`parameters`].
    pub fn trainable(&self) -> Result<BTreeMap<String, Var>> {
        let names = parameters(&self.config)?.into_iter().filter(|p| p.trainable).map(|p| p.name);
        Ok(names.map(|name| (name.clone(), self.variables[&name].clone())).collect())
    }

    /// The variables as a candle `VarMap`, sharing storage with the model.
    pub fn var_map(&self) -> VarMap {
        let map = VarMap::new();
        if let Ok(mut data) = map.data().lock() {
            data.extend(self.variables.iter().map(|(name, variable)| (name.clone(), variable.clone())));
        }
        map
    }

    /// Class scores before softmax. In [`Mode::Train`] candle's autograd can follow them; [`crate::TrainPass`]
    /// gives the same loss and gradients faster.
    ///
    /// Shapes: `images: [N, C, H, W]` with H, W ≥ 16; result `[N, classes]`.
    ///
    /// # Errors
    /// [`Error::Images`] if the images do not fit, or candle's.
    pub fn forward(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
        self.check_images(images)?;
        let view = if mode == Mode::Train { TRACKED } else { DETACHED };
        let mut activations = batch_innermost(images)?;
        for convolution in &self.convolutions {
            activations = convolution.forward(&activations, &self.config, mode, view)?;
        }
        let features = global_mean_pool(&activations)?;
        Ok(linear(&features, &view(&self.head_weight), &view(&self.head_bias))?)
    }

    pub(crate) fn check_labels(&self, batch: usize, labels: &[u32]) -> Result<()> {
        let classes = self.config.classes;
        match labels.iter().find(|&&label| label as usize >= classes) {
            Some(&label) => Err(Error::Label { label, classes }),
            None if labels.len() != batch => Err(Error::Labels { labels: labels.len(), images: batch }),
            None => Ok(()),
        }
    }

    pub(crate) fn check_images(&self, images: &Tensor) -> Result<()> {
        let fits = matches!(images.dims(), &[_, channels, height, width]
            if channels == self.config.channels && height.min(width) >= LEAST_SIZE);
        if fits {
            Ok(())
        } else {
            Err(Error::Images { got: images.dims().to_vec(), channels: self.config.channels })
        }
    }
}

impl Conv {
    fn new(layer: ConvLayer, variables: &BTreeMap<String, Var>) -> Self {
        let variable = |suffix: &str| variables[&format!("{}_{suffix}", layer.name)].clone();
        Self {
            weight: variable("weights"),
            scale: variable("bn_scale"),
            offset: variable("bn_offset"),
            running_mean: variable("bn_mean"),
            running_variance: variable("bn_variance"),
            layer,
        }
    }

    /// Canonical name of the weight.
    pub(crate) fn weight_name(&self) -> String {
        format!("{}_weights", self.layer.name)
    }

    /// Convolution, batch norm, activation.
    fn forward(
        &self,
        x: &Tensor,
        network: &MobileNetConfig,
        mode: Mode,
        view: View,
    ) -> candle_core::Result<Tensor> {
        let weight = view(&self.weight);
        let y = match self.layer.kind {
            ConvKind::Stem => conv3x3(x, &weight, self.layer.stride, network.padding)?,
            ConvKind::Depthwise => depthwise3x3(x, &weight, self.layer.stride, network.padding)?,
            ConvKind::Pointwise => pointwise(x, &weight)?,
        };
        let statistics = match mode {
            Mode::Eval => {
                ChannelStatistics::given(self.running_mean.as_tensor(), self.running_variance.as_tensor())?
            }
            Mode::Train => {
                let statistics = ChannelStatistics::of_batch(&y)?;
                blend(&self.running_mean, &statistics.mean()?, network.bn_momentum)?;
                blend(&self.running_variance, &statistics.variance()?, network.bn_momentum)?;
                statistics
            }
        };
        let form = Form { epsilon: network.bn_epsilon, activation: network.activation };
        batch_norm_relu(&y, &statistics, [&view(&self.scale), &view(&self.offset)], form)
    }
}

/// `running = momentum·running + (1 − momentum)·batch`, in place.
fn blend(running: &Var, batch: &Tensor, momentum: f64) -> candle_core::Result<()> {
    let old = running.as_detached_tensor().affine(momentum, 0.0)?;
    running.set(&(old + batch.affine(1.0 - momentum, 0.0)?)?)
}
