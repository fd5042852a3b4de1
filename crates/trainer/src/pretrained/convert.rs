//! `sparse-train convert`: weights of any known program as a file of ours.

use super::ours::Ours;
use super::{InputHint, WeightsAt};
use crate::config::{Activation, Padding};
use crate::error::Result;
use serde::Serialize;
use std::path::Path;

/// What was converted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Converted {
    /// The file or folder that was read.
    pub from: String,
    /// The keys that lead to the network in it; empty for the top.
    pub key: String,
    /// Its format.
    pub format: String,
    /// The program whose names it has.
    pub family: &'static str,
    /// The file that was written.
    pub to: String,
    /// Width multiplier.
    pub scale: f64,
    /// Input channels.
    pub channels: usize,
    /// Outputs of the head.
    pub classes: usize,
    /// What follows each batch norm.
    pub activation: Activation,
    /// Where the 3×3 convolutions have their border.
    pub padding: Padding,
    /// ε of batch norm.
    pub bn_epsilon: f64,
    /// Numbers in the file that was written.
    pub parameters: u64,
    /// Whether a background class was taken out of the head.
    pub background_dropped: bool,
    /// Tensors that had a mask beside them, which was applied.
    pub masked: usize,
    /// Tensors that belong to training and were left out.
    pub left_out: usize,
    /// What the network takes as input, as far as that is known.
    pub input: Option<InputHint>,
}

/// Reads weights of any known program and writes them as ours, atomically: our names and layouts, f32, no background
/// class, and the network in the metadata, so that training and testing need no other setting.
///
/// # Errors
/// As [`super::Pretrained::read`], [`crate::Error::OntoInput`] if `to` is what is read, and [`crate::Error::Formats`] if it
/// cannot be written.
pub fn convert<'a>(from: impl Into<WeightsAt<'a>>, to: &Path) -> Result<Converted> {
    let Ours { pretrained, background_dropped, tensors, metadata } = Ours::read(from.into(), to)?;
    sparse_formats::write(to, &tensors, Some(&metadata))?;
    let network = pretrained.network;
    Ok(Converted {
        from: pretrained.path.display().to_string(),
        key: pretrained.key.clone(),
        format: pretrained.format.to_string(),
        family: pretrained.family.name,
        to: to.display().to_string(),
        scale: network.scale,
        channels: network.channels,
        classes: network.classes,
        activation: network.activation.into(),
        padding: network.padding.into(),
        bn_epsilon: network.bn_epsilon,
        parameters: tensors.values().map(|tensor| tensor.shape.iter().product::<usize>() as u64).sum(),
        background_dropped,
        masked: pretrained.masked,
        left_out: pretrained.ignored.len(),
        input: pretrained.input,
    })
}
