//! Where the time of a step goes.

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
    /// The convolutions, in their order; batch norm and ReLU are part of them.
    pub convolutions: Vec<LayerTimes>,
    /// Global mean, head and loss.
    pub head: LayerTimes,
    /// Building what sparse layers need from masks, and choosing paths.
    pub masks: Duration,
}

impl Times {
    /// The times of a convolution, to be added to.
    pub(super) fn convolution(&mut self, index: usize) -> &mut LayerTimes {
        if self.convolutions.len() <= index {
            self.convolutions.resize(index + 1, LayerTimes::default());
        }
        &mut self.convolutions[index]
    }
}
