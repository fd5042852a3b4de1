//! What `bench infer` measures.

use super::{check_network, require};
use crate::error::Result;
use std::path::PathBuf;

/// Numbers that products are computed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InferPrecision {
    /// 32-bit floating point; zeros anywhere.
    #[default]
    F32,
    /// Products of bf16, summed in f32; zeros of random weights in blocks of 1 × 2 over input channels, which can be left out.
    Bf16,
    /// Integers of 8 bits, summed in 32, of random weights alone (a file says itself which of its weights are integers); zeros in blocks of 1 × 4 over input channels,
    /// which can be left out.
    Int8,
}

/// Networks, batches and runs.
#[derive(Clone, Debug, PartialEq)]
pub struct InferConfig {
    /// Weights of any known program or an ONNX file; `None` = random weights.
    pub weights: Option<PathBuf>,
    /// The network to take of a file of weights that holds several, see [`crate::WeightsAt`].
    pub key: Option<String>,
    /// Name of the output with the scores, for an ONNX file with several.
    pub output: Option<String>,
    /// For random weights: fractions of each pointwise layer that are zero, each at least 0 and below 1.
    pub sparsities: Vec<f64>,
    /// What products are computed in that a file does not have in integers.
    pub precision: InferPrecision,
    /// Images at a time, each from 1 to 4096.
    pub batches: Vec<usize>,
    /// Height and width of the images, from 16 to 4096; `None` = as the weights say, 224 for random ones.
    pub size: Option<usize>,
    /// Threads, the caller among them, from 1 to 1024.
    pub threads: usize,
    /// Timed runs each way, 1 or more.
    pub runs: usize,
    /// Width multiplier of a network of random weights, from 1/32 to 8.
    pub scale: f64,
    /// Classes of a network of random weights, from 1 to 1000000.
    pub classes: usize,
}

impl Default for InferConfig {
    fn default() -> Self {
        Self {
            weights: None,
            key: None,
            output: None,
            sparsities: vec![0.0, 0.75, 0.9],
            precision: InferPrecision::F32,
            batches: vec![1, 16],
            size: None,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            runs: 60,
            scale: 1.0,
            classes: 1000,
        }
    }
}

impl InferConfig {
    /// Checks that every setting is in its range.
    ///
    /// # Errors
    /// [`crate::Error::BenchSetting`] naming the first that is not.
    pub fn check(&self) -> Result<()> {
        let Self { size, threads, runs, scale, classes, .. } = *self;
        let of_file = self.weights.is_some() && self.precision == InferPrecision::Int8;
        require(
            !of_file,
            "precision",
            &"int8",
            "f32 or bf16 with --weights: `sparse-train quantize` makes int8 weights, which are then timed as such",
        )?;
        let side = size.unwrap_or(16);
        require((16..=4096).contains(&side), "size", &side, "a whole number from 16 to 4096")?;
        require((1..=1024).contains(&threads), "threads", &threads, "a whole number from 1 to 1024")?;
        require(runs >= 1, "runs", &runs, "a whole number, 1 or more")?;
        for batch in &self.batches {
            let fits = (1..=4096).contains(batch);
            require(fits, "batch", batch, "whole numbers from 1 to 4096, with commas between")?;
        }
        check_network(scale, classes, &self.sparsities)
    }
}
