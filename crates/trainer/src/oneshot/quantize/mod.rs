//! `sparse-train quantize`: weights and activations of 8 bits, by data, without labels and without training.
//!
//! The layers of the engine's graph are rounded in their order, as `prune` prunes them: what a layer reads is computed by the network as it was and by the one
//! that is rounded so far, activations too, and each layer repairs what those before it have changed. Where both are asked for a layer is pruned, and
//! then rounded, before the next one is looked at.

mod images;
mod loss;
mod plan;
mod range;
mod report;
mod rounded;
mod walk;
mod written;

pub(super) use loss::is_quantized;
pub use report::{QuantizeReport, QuantizedLayer};

use super::file::File;
use super::images::Pool;
use super::layers::{self, Layer};
use super::partial::Partial;
use super::{Job, OneshotConfig, OneshotError, OneshotObserver, Supports};
use crate::config::TrainConfig;
use crate::error::Result;
use crate::pretrained::WeightsAt;
use crate::stop::StopFlag;
use regex::RegexSet;
use sparse_data::Split;
use sparse_oneshot::Support;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;
use written::Found;

/// How layers are rounded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QuantizeConfig {
    /// Regular expressions: these layers stay f32.
    pub keep: Vec<String>,
    /// The most that the squared error of the scores may be as a share of their variance; layers that lose most stay f32 until it is no more.
    pub loss: Option<f64>,
    /// The share of the values of an activation that lies within its range, in percent; `None`: the range of the least squared error.
    pub percentile: Option<f64>,
}

/// Rounds the network in a file to 8 bits by images of the training split, and writes it: weights of ours as a packed file, or as ONNX if `to` ends so; ONNX as
/// ONNX.
///
/// What is done is kept beside `to`, and the same call goes on from it after an early end.
///
/// # Errors
/// What reading weights and images reports, [`OneshotError`] naming the layer that cannot be rounded, [`crate::Error::Stopped`] if a signal asked to
/// stop; nothing is written to `to` then.
pub fn quantize(
    config: &TrainConfig,
    oneshot: &OneshotConfig,
    from: WeightsAt<'_>,
    to: &Path,
    stop: &StopFlag,
    observer: &mut dyn OneshotObserver,
) -> Result<QuantizeReport> {
    let start = Instant::now();
    let file = File::read(from, None, Some(to))?;
    let pool = Pool::open(config, Split::Train, file.input_shape())?;
    let job = Job { config, oneshot, file: &file, layers: &[], pool: &pool, stop };
    let mut partial = Partial::open(to, job.asked()?)?;
    let none = Supports { supports: Vec::new(), kept: Vec::new() };
    let found = both(&job, &none, &mut partial, observer)?;
    let (report, _) = found.finish(&job, to, start)?;
    partial.remove();
    Ok(report)
}

/// Prunes the layers of the job, if there are any, and rounds these and all others.
///
/// # Errors
/// As [`quantize`].
pub(super) fn both(
    job: &Job<'_>,
    supports: &Supports,
    partial: &mut Partial,
    observer: &mut dyn OneshotObserver,
) -> Result<Found> {
    let asked = Asked::of(job, supports)?;
    let images = images::Read::of(&asked, observer)?;
    loss::within(&asked, images, partial, observer)
}

/// What is to be done with which layer.
struct Asked<'a> {
    job: &'a Job<'a>,
    quantizing: QuantizeConfig,
    /// All layers of the network, and what those keep that are to be pruned.
    layers: Vec<(Layer, Option<Support>)>,
    /// Those that are named to stay f32, by their place among the layers.
    named: BTreeSet<usize>,
}

impl<'a> Asked<'a> {
    fn of(job: &'a Job<'a>, supports: &Supports) -> Result<Self> {
        let graph = &job.file.graph;
        let all = layers::all(graph)?;
        layers::refuse_not_finite(graph, &all)?;
        let quantizing = job.oneshot.quantize.clone().unwrap_or_default();
        let keep = RegexSet::new(&quantizing.keep)
            .map_err(|error| OneshotError::KeepPattern { reason: error.to_string() })?;
        let named = (0..all.len()).filter(|&at| keep.is_match(&all[at].name)).collect::<BTreeSet<usize>>();
        let names = || all.iter().map(|layer| layer.name.as_str()).collect::<Vec<_>>().join(", ");
        for pattern in &quantizing.keep {
            let one = RegexSet::new([pattern]).unwrap_or_default();
            if !all.iter().any(|layer| one.is_match(&layer.name)) {
                return Err(OneshotError::NothingKept { pattern: pattern.clone(), found: names() }.into());
            }
        }
        if named.len() == all.len() {
            return Err(OneshotError::NothingToQuantize { found: names() }.into());
        }
        let support = |layer: &Layer| {
            let place = job.layers.iter().position(|pruned| pruned.node == layer.node)?;
            supports.supports.get(place).copied()
        };
        let layers = all.into_iter().map(|layer| {
            let support = support(&layer);
            (layer, support)
        });
        Ok(Self { job, quantizing, layers: layers.collect(), named })
    }
}
