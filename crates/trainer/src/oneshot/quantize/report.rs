//! What became of a network that was rounded.

use serde::Serialize;

/// What became of a layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QuantizedLayer {
    /// Its parameter.
    pub name: String,
    /// Outputs and inputs, those of a kernel's positions among these.
    pub shape: [usize; 2],
    /// Bits of a weight: 8, or 32 if it stays f32.
    pub bits: u8,
    /// The least and the greatest scale of its outputs; `None` if it stays f32.
    pub scales: Option<[f32; 2]>,
    /// Weights that are not zero.
    pub kept: usize,
    /// Its weights.
    pub weights: usize,
    /// By how much its output changes by what became of its weights: squared error as a share of its variance.
    pub relative_error: f64,
    /// What it takes for one image, as f32 and as it is now, in milliseconds; a layer that the engine computes as part of another has none.
    pub ms: Option<[f64; 2]>,
}

/// What was rounded.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QuantizeReport {
    /// The file or folder that was read.
    pub from: String,
    /// The file that was written.
    pub to: String,
    /// Images that were looked at.
    pub images: usize,
    /// Layer by layer, in their order.
    pub layers: Vec<QuantizedLayer>,
    /// Other images, on which both networks were compared.
    pub compared: usize,
    /// The squared difference of the scores on these as a share of their variance.
    pub output_error: f64,
    /// Share of these whose first class is the same.
    pub agreement: f64,
    /// Share of these whose first class is the label, as f32 and as it is now; `None` if they have no labels for it.
    pub top1: Option<[f64; 2]>,
    /// Bytes of all weights and biases as f32, and of the file that was written.
    pub bytes: [u64; 2],
    /// What the network takes for one image, as f32 and as it is now, in milliseconds.
    pub network_ms: [f64; 2],
    /// Seconds that it took.
    pub seconds: f64,
    /// The most memory that the process has had at a time; `None` where the system does not tell.
    pub peak_bytes: Option<u64>,
}
