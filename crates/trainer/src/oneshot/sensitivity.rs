//! `sparse-train sensitivity`: what the network loses if one layer alone is pruned, layer by layer and ratio by ratio.
//!
//! Source: Li et al. 2017, "Pruning Filters for Efficient ConvNets", arXiv:1608.08710, section 3.2; PaddleSlim's `sensitivity`.

#[cfg(doc)]
use super::OneshotError;
use super::activations::{Activations, Networks};
use super::file::File;
use super::images::Pool;
use super::layers::{self, Layer};
use super::scores::Chosen;
use super::seen::statistics;
use super::{OneshotConfig, OneshotObserver, images, memory};
use crate::config::TrainConfig;
use crate::error::Result;
use crate::pretrained::WeightsAt;
use crate::stop::StopFlag;
use serde::Serialize;
use sparse_data::Split;
use sparse_engine::graph::Graph;
use sparse_engine::shapes;
use sparse_oneshot::Statistics;
use std::time::Instant;

/// What is looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct SensitivityConfig {
    /// How a layer is pruned; its ratio and how zeros are shared out do not count.
    pub oneshot: OneshotConfig,
    /// Shares of zeros, fractions.
    pub ratios: Vec<f64>,
}

/// What one layer costs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerSensitivity {
    /// Its parameter.
    pub name: String,
    /// Its weights.
    pub weights: usize,
    /// For each ratio.
    pub points: Vec<SensitivityPoint>,
}

/// What a layer costs at a ratio.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SensitivityPoint {
    /// Share of zeros of the layer that was asked for.
    pub ratio: f64,
    /// The share that it got: blocks do not give every one.
    pub sparsity: f64,
    /// Squared difference of the scores as a share of their variance.
    pub output_error: f64,
    /// Share of images whose first class is that of the dense network.
    pub agreement: f64,
    /// Top-1 accuracy, if the images have labels of this network.
    pub top1: Option<f64>,
}

/// What the layers cost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SensitivityReport {
    /// The file or folder that was read.
    pub from: String,
    /// Test images that were looked at.
    pub images: usize,
    /// Top-1 accuracy of the dense network, if the images have labels of it.
    pub top1: Option<f64>,
    /// Layer by layer, in their order.
    pub layers: Vec<LayerSensitivity>,
    /// Seconds that it took.
    pub seconds: f64,
}

/// Prunes each layer of a network alone, and looks at test images with it. Nothing is written.
///
/// # Errors
/// What reading weights and images reports, [`OneshotError`] naming a layer that cannot be pruned, and if a signal asked to stop.
pub fn sensitivity(
    config: &TrainConfig,
    wanted: &SensitivityConfig,
    from: WeightsAt<'_>,
    stop: &StopFlag,
    observer: &mut dyn OneshotObserver,
) -> Result<SensitivityReport> {
    let start = Instant::now();
    let oneshot = &wanted.oneshot;
    let file = File::read(from, None, None)?;
    let layers = layers::of(&file.graph, &file.raw, oneshot)?;
    let shape = file.input_shape();
    let per_image = shape.iter().product::<usize>();
    // Test images, and those to prune by.
    let splits = if oneshot.magnitude { 1 } else { 2 };
    let mut read = |split: Split| -> Result<(Activations, images::Images)> {
        let pool = Pool::open(config, split, shape)?;
        let wanted = splits * oneshot.images.min(pool.len());
        let memory = memory::for_activations(oneshot, &layers, per_image, wanted)? / splits;
        let mut images = pool.read(config, oneshot.images, stop, observer)?;
        if split == Split::Train {
            images.differ(per_image, &config.data.path)?;
        }
        let batches = std::mem::take(&mut images.batches);
        Ok((Activations::of(batches, per_image, memory, oneshot.threads), images))
    };
    let (mut test, images) = read(Split::Test)?;
    let mut own = if oneshot.magnitude { None } else { Some(read(Split::Train)?.0) };
    let outputs = shapes(&file.graph).map_err(sparse_engine::Error::from)?[file.graph.output].count();
    let chosen = Chosen::of(config.data.classes.as_deref(), outputs);
    let labels = (images.labelled && images.labels.iter().all(|&label| (label as usize) < chosen.classes()))
        .then_some(images.labels);
    let dense = chosen.scores(test.scores(&file.graph, usize::MAX)?);
    let mut done = Vec::with_capacity(layers.len());
    for (index, layer) in layers.iter().enumerate() {
        observer.layer(&layer.name, index, layers.len());
        test.approach(&file.graph, layer, stop)?;
        let statistics = own.as_mut().map(|own| {
            let networks = Networks { dense: &file.graph, pruned: None };
            statistics(networks, layer, own, 0, stop).map(|[_, statistics]| statistics)
        });
        let statistics = statistics.transpose()?;
        let mut points = Vec::with_capacity(wanted.ratios.len());
        for &ratio in &wanted.ratios {
            let pruned = alone(&file, layer, ratio, oneshot, statistics.as_deref())?;
            let weight = layers::weight(&pruned.nodes[layer.node].op).unwrap_or_default();
            let zeros = weight.iter().filter(|&&weight| weight == 0.0).count();
            let pruned = chosen.scores(test.scores(&pruned, usize::MAX)?);
            points.push(SensitivityPoint {
                ratio,
                sparsity: zeros as f64 / layer.len().max(1) as f64,
                output_error: dense.error(&pruned),
                agreement: dense.agreement(&pruned),
                top1: labels.as_deref().map(|labels| pruned.top1(labels)),
            });
            stop.check()?;
        }
        done.push(LayerSensitivity { name: layer.name.clone(), weights: layer.len(), points });
    }
    Ok(SensitivityReport {
        from: from.path.display().to_string(),
        images: test.images(),
        top1: labels.as_deref().map(|labels| dense.top1(labels)),
        layers: done,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// The network with one layer pruned: by `statistics` of what it reads, or else by the magnitude of its weights.
fn alone(
    file: &File,
    layer: &Layer,
    ratio: f64,
    config: &OneshotConfig,
    statistics: Option<&[Statistics]>,
) -> Result<Graph> {
    let mut graph = file.graph.clone();
    let support = layer.support(config, (1.0 - ratio) * layer.len() as f64);
    let Some(statistics) = statistics else {
        let masks = super::magnitude::by_support(file, std::slice::from_ref(layer), &[support]);
        if let (Some([weight, _]), Some(mask)) = (layer.parameters(&mut graph), masks.first()) {
            weight
                .iter_mut()
                .enumerate()
                .filter(|&(at, _)| !mask.get(at))
                .for_each(|(_, weight)| *weight = 0.0);
        }
        return Ok(graph);
    };
    for (group, statistics) in statistics.iter().enumerate() {
        let problem = layer.problem(statistics, &file.graph, group, config)?;
        let pruned = problem.estimate(&[support]).map_err(|source| layer.error(source))?;
        pruned.iter().for_each(|pruned| layer.set(&mut graph, group, pruned));
    }
    Ok(graph)
}
