//! Where the time of a step goes.

use sparse_network::{Step, StepOp};
use std::collections::BTreeMap;
use std::time::Duration;

/// Time in the two passes of one layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerTimes {
    /// Forward.
    pub forward: Duration,
    /// Backward, gradients to input and weight together.
    pub backward: Duration,
}

/// Time in each layer, summed over the steps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Moving the batch innermost.
    pub layout: Duration,
    /// The convolutions, by name; batch norm and bounds are part of them.
    pub convolutions: BTreeMap<String, LayerTimes>,
    /// Sums and pools of windows.
    pub between: LayerTimes,
    /// Global mean, head and loss.
    pub head: LayerTimes,
    /// Building what sparse layers need from masks, and choosing paths.
    pub masks: Duration,
}

impl Times {
    /// The times of a step, to be added to.
    pub(super) fn step(&mut self, step: &Step) -> &mut LayerTimes {
        match step.op {
            StepOp::Conv(..) => self.convolutions.entry(step.name.clone()).or_default(),
            StepOp::Add | StepOp::MaxPool(_) | StepOp::AveragePool { .. } => &mut self.between,
            StepOp::Mean | StepOp::Linear { .. } => &mut self.head,
        }
    }
}
