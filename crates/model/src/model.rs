//! The network over candle variables.

use crate::init::initial_value;
use crate::{Error, NetworkConfig, Result};
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::VarMap;
use sparse_network::{BatchNorm, Conv, ConvKind, Op, ParameterId, Plan, Shape, StepOp};
use sparse_ops::{ChannelStatistics, Form, Pool};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The share of the old running statistics that batch norm keeps at each step of training, as in PaddleSlim.
pub const BN_MOMENTUM: f64 = 0.9;

/// How batch norm behaves in a forward pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// Statistics of the batch; running averages become `momentum·running + (1 − momentum)·batch`.
    Train {
        /// The share kept, a fraction.
        momentum: f64,
    },
    /// Running averages; no gradient through them.
    Eval,
}

impl Mode {
    /// That of a step of training.
    pub const TRAIN: Self = Self::Train { momentum: BN_MOMENTUM };

    /// Whether statistics are those of the batch.
    pub const fn is_training(self) -> bool {
        matches!(self, Self::Train { .. })
    }
}

/// How the value of a variable enters a computation.
type View = fn(&Var) -> Tensor;

/// As a variable, so that candle's autograd follows it.
const TRACKED: View = |variable| variable.as_tensor().clone();
/// As a plain tensor.
const DETACHED: View = Var::as_detached_tensor;

/// A network with its variables.
#[derive(Debug)]
pub struct Model {
    config: NetworkConfig,
    plan: Arc<Plan>,
    /// In the order of the graph's parameters.
    parameters: Vec<Var>,
    variables: BTreeMap<String, Var>,
}

impl Model {
    /// A freshly initialised network; initial values are a function of `seed`.
    ///
    /// # Errors
    /// [`Error::Network`] if the configuration makes no network, or candle's.
    pub fn new(config: NetworkConfig, seed: u64, dtype: DType, device: &Device) -> Result<Self> {
        let plan = Plan::new(config.graph()?)?;
        let parameters: Vec<Var> = (plan.graph.parameters.iter().enumerate())
            .map(|(index, parameter)| initial_value(parameter, (seed, index), dtype, device))
            .collect::<Result<_>>()?;
        let names = plan.graph.parameters.iter().map(|parameter| parameter.name.clone());
        let variables = names.zip(parameters.iter().cloned()).collect();
        Ok(Self { config, plan: Arc::new(plan), parameters, variables })
    }

    /// What was built.
    pub fn config(&self) -> NetworkConfig {
        self.config
    }

    /// The steps in which it is trained, with its graph.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Element type of the variables.
    pub fn dtype(&self) -> DType {
        self.parameters.first().map_or(DType::F32, |variable| variable.dtype())
    }

    /// Classes of the head.
    pub fn classes(&self) -> usize {
        self.config.classes
    }

    /// A parameter of the graph.
    pub(crate) fn parameter(&self, id: ParameterId) -> &Var {
        &self.parameters[id]
    }

    /// Its name.
    pub(crate) fn name(&self, id: ParameterId) -> &str {
        &self.plan.graph.parameters[id].name
    }

    /// All variables by name, running statistics included.
    pub fn variables(&self) -> &BTreeMap<String, Var> {
        &self.variables
    }

    /// The variables the optimizer moves.
    pub fn trainable(&self) -> BTreeMap<String, Var> {
        let all = self.plan.graph.parameters.iter().zip(&self.parameters);
        let trainable = all.filter(|(parameter, _)| parameter.trainable);
        trainable.map(|(parameter, variable)| (parameter.name.clone(), variable.clone())).collect()
    }

    /// The variables as a candle `VarMap`, sharing storage with the model.
    pub fn var_map(&self) -> VarMap {
        let map = VarMap::new();
        if let Ok(mut data) = map.data().lock() {
            data.extend(self.variables.iter().map(|(name, variable)| (name.clone(), variable.clone())));
        }
        map
    }

    /// Class scores before softmax, node by node of the graph. In [`Mode::Train`] candle's autograd can follow them;
    /// [`crate::TrainPass`] gives the same scores, loss and gradients faster.
    ///
    /// Shapes: `images: [N, C, H, W]`; result `[N, classes]`.
    ///
    /// # Errors
    /// [`Error::Images`] if the images do not fit, or candle's.
    pub fn forward(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
        self.shapes(images)?;
        let view = if mode.is_training() { TRACKED } else { DETACHED };
        let graph = &self.plan.graph;
        let kinds: BTreeMap<&str, ConvKind> =
            self.plan.convolutions().map(|(step, _, kind)| (step.name.as_str(), kind)).collect();
        let mut results: Vec<Tensor> = Vec::with_capacity(graph.nodes.len());
        for node in &graph.nodes {
            let x = |index: usize| &results[node.inputs[index]];
            let result = match &node.op {
                Op::Input { .. } => sparse_ops::batch_innermost(images)?,
                Op::Conv(conv) => {
                    let kind = kinds.get(node.name.as_str()).copied().unwrap_or(ConvKind::Spatial);
                    self.convolve(x(0), conv, kind, view)?
                }
                Op::BatchNorm(norm) => self.normalise(x(0), norm, mode, view)?,
                Op::Clip(bounds) => sparse_ops::clip(x(0), *bounds)?,
                Op::Add => (x(0) + x(1))?,
                Op::MaxPool(window) => sparse_ops::pool(x(0), *window, Pool::Max)?,
                &Op::AveragePool { window, counts_padding } => {
                    sparse_ops::pool(x(0), window, Pool::Mean { counts_padding })?
                }
                Op::GlobalAveragePool => sparse_ops::global_mean_pool(x(0))?,
                // A global mean is a vector already.
                Op::Flatten | Op::Softmax => x(0).clone(),
                &Op::Linear { weight, bias } => {
                    let weight = view(self.parameter(weight));
                    let bias = match bias {
                        Some(bias) => view(self.parameter(bias)),
                        None => Tensor::zeros(weight.dim(1)?, weight.dtype(), weight.device())?,
                    };
                    sparse_ops::linear(x(0), &weight, &bias)?
                }
            };
            results.push(result);
        }
        Ok(results.swap_remove(graph.output))
    }

    fn convolve(&self, x: &Tensor, conv: &Conv, kind: ConvKind, view: View) -> candle_core::Result<Tensor> {
        let weight = view(self.parameter(conv.weight));
        let y = match kind {
            ConvKind::Spatial => sparse_ops::conv(x, &weight, conv.window)?,
            ConvKind::Depthwise => {
                sparse_ops::depthwise3x3(x, &weight, conv.window.stride[0], conv.window.padding)?
            }
            ConvKind::Pointwise => sparse_ops::pointwise(x, &weight)?,
        };
        match conv.bias {
            Some(bias) => y.broadcast_add(&view(self.parameter(bias)).reshape(((), 1, 1, 1))?),
            None => Ok(y),
        }
    }

    fn normalise(&self, x: &Tensor, norm: &BatchNorm, mode: Mode, view: View) -> candle_core::Result<Tensor> {
        let running = [norm.mean, norm.variance].map(|id| self.parameter(id));
        let statistics = match mode {
            Mode::Eval => ChannelStatistics::given(running[0].as_tensor(), running[1].as_tensor())?,
            Mode::Train { momentum } => {
                let statistics = ChannelStatistics::of_batch(x)?;
                blend(running[0], &statistics.mean()?, momentum)?;
                blend(running[1], &statistics.variance()?, momentum)?;
                statistics
            }
        };
        let [scale, offset] = [norm.scale, norm.offset].map(|id| view(self.parameter(id)));
        let form = Form { epsilon: norm.epsilon, bounds: sparse_network::Bounds::NONE };
        sparse_ops::batch_norm(x, &statistics, [&scale, &offset], form)
    }

    pub(crate) fn check_labels(&self, batch: usize, labels: &[u32]) -> Result<()> {
        let classes = self.classes();
        match labels.iter().find(|&&label| label as usize >= classes) {
            Some(&label) => Err(Error::Label { label, classes }),
            None if labels.len() != batch => Err(Error::Labels { labels: labels.len(), images: batch }),
            None => Ok(()),
        }
    }

    /// The shape of each node's result for these images.
    pub(crate) fn shapes(&self, images: &Tensor) -> Result<Vec<Shape>> {
        let (channels, least) = (self.plan.graph.channels(), self.config.kind.least_size());
        let refused = || Error::Images { got: images.dims().to_vec(), channels, least };
        match *images.dims() {
            [_, given, height, width] if given == channels && height.min(width) >= least => {
                Ok(self.plan.graph.shapes([height, width])?)
            }
            _ => Err(refused()),
        }
    }

    /// The steps of convolutions, with the place of each.
    pub(crate) fn convolutions(&self) -> impl Iterator<Item = (usize, &Conv, ConvKind)> {
        self.plan.steps.iter().enumerate().filter_map(|(index, step)| match &step.op {
            StepOp::Conv(conv, kind) => Some((index, conv, *kind)),
            _ => None,
        })
    }
}

/// `running = momentum·running + (1 − momentum)·batch`, in place.
fn blend(running: &Var, batch: &Tensor, momentum: f64) -> candle_core::Result<()> {
    let old = running.as_detached_tensor().affine(momentum, 0.0)?;
    running.set(&(old + batch.affine(1.0 - momentum, 0.0)?)?)
}
