//! The convolutions and the head of a graph, one by one.

use crate::{ConvKind, Graph, NetworkConfig, Op, Parameter, Plan, Result, StepOp};

/// One convolution of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvLayer {
    /// Name of the node: `conv2_1_dw`.
    pub name: String,
    /// Name of its weight.
    pub weight: String,
    /// Kind of convolution.
    pub kind: ConvKind,
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// Pixels from one window to the next, down.
    pub stride: usize,
    /// Shape of the weight: `[outputs, inputs per group, kernel height, kernel width]`.
    pub shape: [usize; 4],
}

impl Plan {
    /// The convolutions, in order.
    pub fn layers(&self) -> Vec<ConvLayer> {
        let of = |step: &crate::Step| {
            let StepOp::Conv(conv, kind) = step.op else { return None };
            let weight = &self.graph.parameters[conv.weight];
            let [outputs, inputs] = [weight.shape[0], weight.shape[1]];
            Some(ConvLayer {
                name: step.name.clone(),
                weight: weight.name.clone(),
                kind,
                inputs: inputs * conv.groups,
                outputs,
                stride: conv.window.stride[0],
                shape: [outputs, inputs, weight.shape[2], weight.shape[3]],
            })
        };
        self.steps.iter().filter_map(of).collect()
    }
}

impl Graph {
    /// The weight `[features, classes]` and the bias of the last linear layer.
    pub fn head(&self) -> Option<(&Parameter, Option<&Parameter>)> {
        self.nodes.iter().rev().find_map(|node| match node.op {
            Op::Linear { weight, bias } => {
                Some((self.parameters.get(weight)?, bias.and_then(|bias| self.parameters.get(bias))))
            }
            _ => None,
        })
    }
}

/// The convolutions of a network, in order.
///
/// # Errors
/// As [`NetworkConfig::graph`].
pub fn layers(config: &NetworkConfig) -> Result<Vec<ConvLayer>> {
    Ok(Plan::new(config.graph()?)?.layers())
}

/// All parameters of a network in canonical order: for each convolution the weight and four of batch norm, then the head.
///
/// # Errors
/// As [`NetworkConfig::graph`].
pub fn parameters(config: &NetworkConfig) -> Result<Vec<Parameter>> {
    Ok(config.graph()?.parameters)
}
