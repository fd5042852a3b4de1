//! `sparse-train export`: weights for where they are used, small.

use super::WeightsAt;
use super::ours::Ours;
use crate::error::Result;
use serde::Serialize;
use sparse_formats::packed::{self, Values};
use std::path::Path;

/// What was exported, and how small it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Packed {
    /// The file or folder that was read.
    pub from: String,
    /// The keys that lead to the network in it; empty for the top.
    pub key: String,
    /// Its format.
    pub format: String,
    /// The file that was written.
    pub to: String,
    /// The type of the stored numbers: "f32", "f16" or "bf16".
    pub values: String,
    /// Tensors of the file.
    pub tensors: usize,
    /// Tensors that are packed; for the others it would not pay.
    pub packed_tensors: usize,
    /// Zeros of the packed tensors over their weights.
    pub sparsity: f64,
    /// Bytes that the packed tensors would take as f32, and those that they take.
    pub tensor_bytes: [u64; 2],
    /// The second over the first.
    pub tensor_ratio: f64,
    /// Bytes that the file would have with no tensor packed, and those that it has.
    pub file_bytes: [u64; 2],
    /// The second over the first.
    pub file_ratio: f64,
    /// The greatest relative error of a weight by rounding.
    pub rounding_error: f64,
    /// Weights that rounding made zero.
    pub rounded_to_zero: usize,
}

/// Reads weights of any known program and writes them as a packed file, atomically; it is read like any other.
///
/// # Errors
/// As [`super::Pretrained::read`], [`crate::Error::OntoInput`] if `to` is what is read, and [`crate::Error::Formats`] if
/// a weight is too large for `values` or the file cannot be written.
pub fn export_packed<'a>(from: impl Into<WeightsAt<'a>>, to: &Path, values: Values) -> Result<Packed> {
    let Ours { pretrained, tensors, metadata, .. } = Ours::read(from.into(), to)?;
    let report = packed::write(to, &tensors, Some(&metadata), values)?;
    Ok(Packed {
        from: pretrained.path.display().to_string(),
        key: pretrained.key.clone(),
        format: pretrained.format.to_string(),
        to: to.display().to_string(),
        values: values.to_string(),
        tensors: report.tensors,
        packed_tensors: report.packed_tensors,
        sparsity: report.sparsity(),
        tensor_bytes: [report.packed_dense_bytes, report.packed_bytes],
        tensor_ratio: report.ratio(),
        file_bytes: [report.dense_file_bytes, report.file_bytes],
        file_ratio: report.file_ratio(),
        rounding_error: report.rounding_error,
        rounded_to_zero: report.rounded_to_zero,
    })
}
