//! What was pruned.

use super::quantize::{QuantizeReport, QuantizedLayer};
use serde::Serialize;

/// What became of a layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PrunedLayer {
    /// Its parameter.
    pub name: String,
    /// Outputs and inputs, those of a kernel's positions among these.
    pub shape: [usize; 2],
    /// Weights that are left.
    pub kept: usize,
    /// Its weights.
    pub weights: usize,
    /// By how much its output changes: squared error as a share of its variance.
    pub relative_error: f64,
    /// What it takes for one image, dense and as it is now, in milliseconds; a layer that the engine computes as part of another has none.
    pub ms: Option<[f64; 2]>,
}

impl PrunedLayer {
    /// Share of its weights that is left.
    #[must_use]
    pub fn density(&self) -> f64 {
        self.kept as f64 / self.weights.max(1) as f64
    }
}

/// What was pruned.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OneshotReport {
    /// The file or folder that was read.
    pub from: String,
    /// The file that was written.
    pub to: String,
    /// Images that were looked at.
    pub images: usize,
    /// Layer by layer, in their order.
    pub layers: Vec<PrunedLayer>,
    /// Zeros over the weights that could be pruned.
    pub sparsity: f64,
    /// What the network takes for one image, dense and as it is now, in milliseconds.
    pub network_ms: [f64; 2],
    /// Seconds that it took.
    pub seconds: f64,
    /// The most memory that the process has had at a time; `None` where the system does not tell.
    pub peak_bytes: Option<u64>,
    /// What rounding to integers did, if layers were rounded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantized: Option<QuantizeReport>,
}

/// Listens to the pruning.
pub trait OneshotObserver {
    /// So many images of all are read.
    fn image(&mut self, _done: usize, _total: usize) {}
    /// A layer is looked at, to share the zeros out; counted from 0.
    fn estimating(&mut self, _name: &str, _index: usize, _total: usize) {}
    /// A layer begins, counted from 0.
    fn layer(&mut self, _name: &str, _index: usize, _total: usize) {}
    /// A layer is done.
    fn pruned(&mut self, _layer: &PrunedLayer) {}
    /// A layer is rounded.
    fn quantized(&mut self, _layer: &QuantizedLayer) {}
    /// Layers stay f32, as more is lost otherwise than may be; all is done anew.
    fn keeping(&mut self, _names: &[String]) {}
}
