//! One pass over a network: ranges of activations and weights of layers, in their order.

use super::super::activations::{Activations, Networks};
use super::super::layers::{Layer, parameters};
use super::super::partial::Partial;
use super::super::seen::{Seen, picked};
use super::super::{OneshotError, OneshotObserver, PrunedLayer, chosen, nothing_to_choose_by};
use super::plan::{Plan, Rounding};
use super::range::Histogram;
use super::rounded::Rounded;
use super::{Asked, QuantizedLayer};
use crate::error::Result;
use rayon::prelude::*;
use sparse_engine::graph::{Function, Graph, Op, Quantization};
use sparse_engine::shapes;
use sparse_oneshot::{Problem, Pruned, Statistics, Support};
use std::collections::BTreeSet;

/// Places of a channel that are enough to see what its kernel reads.
const PLACES_OF_A_CHANNEL: usize = 65536;

/// Places for each input from which on a layer repairs what those before it have changed by more than its bias.
const PLACES_FOR_AN_INPUT: usize = 8;

/// What came of a pass.
pub(super) struct Passed {
    pub(super) plan: Plan,
    pub(super) graph: Graph,
    pub(super) layers: Vec<QuantizedLayer>,
    /// The same layers in the plan, in their order.
    pub(super) places: Vec<Layer>,
    pub(super) pruned: Vec<PrunedLayer>,
    pub(super) images: usize,
}

/// What became of a layer.
struct Done {
    kept: usize,
    relative_error: f64,
    /// Empty if it stays f32.
    scales: Vec<f32>,
}

/// A pass under way.
struct Walk<'a> {
    asked: &'a Asked<'a>,
    plan: &'a Plan,
    activations: Activations,
    graph: Graph,
    step: usize,
}

/// Prunes and rounds the layers in their order; those of `f32`, by their place among the layers, are not rounded.
///
/// # Errors
/// What the engine reports, [`OneshotError`] naming a layer, and if a signal asked to stop.
pub(super) fn pass(
    asked: &Asked<'_>,
    f32: &BTreeSet<usize>,
    activations: Activations,
    partial: &mut Partial,
    observer: &mut dyn OneshotObserver,
) -> Result<Passed> {
    let layers = || asked.layers.iter().enumerate();
    let whole = layers().filter(|(at, _)| !f32.contains(at)).map(|(_, (layer, _))| layer.node).collect();
    let plan = Plan::new(&asked.job.file.graph, &whole)?;
    let places: Vec<Layer> = layers()
        .map(|(_, (layer, support))| layer.moved(&plan.graph, plan.place(layer.node), support.is_some()))
        .collect();
    let images = activations.images();
    let mut walk = Walk { asked, plan: &plan, activations, graph: plan.graph.clone(), step: 0 };
    let (mut quantized, mut pruned) = (Vec::with_capacity(places.len()), Vec::new());
    for node in 0..plan.graph.nodes.len() {
        if let Some(&rounding) = plan.roundings.get(&node) {
            walk.range(node, rounding, partial)?;
        }
        let Some(index) = places.iter().position(|layer| layer.node == node) else { continue };
        let (layer, support) = (&places[index], asked.layers[index].1);
        observer.layer(&layer.name, index, places.len());
        let done = walk.layer(layer, support, !f32.contains(&index), partial)?;
        let (name, shape) = (layer.name.clone(), [layer.outputs * layer.groups, layer.inputs]);
        let Done { kept, relative_error, scales } = done;
        let least = scales.iter().copied().reduce(f32::min);
        let found = QuantizedLayer {
            name: name.clone(),
            shape,
            bits: if scales.is_empty() { 32 } else { 8 },
            scales: least.zip(scales.iter().copied().reduce(f32::max)).map(|(least, most)| [least, most]),
            kept,
            weights: layer.len(),
            relative_error,
            ms: None,
        };
        observer.quantized(&found);
        if support.is_some() {
            let weights = layer.len();
            pruned.push(PrunedLayer { name, shape, kept, weights, relative_error, ms: None });
        }
        quantized.push(found);
    }
    let graph = walk.graph;
    Ok(Passed { plan, graph, layers: quantized, places, pruned, images })
}

impl Walk<'_> {
    /// Finds out what a node is rounded by.
    fn range(&mut self, node: usize, rounding: Rounding, partial: &mut Partial) -> Result<()> {
        let name = self.graph.nodes[node].name.clone();
        let quantization = match rounding {
            Rounding::As(other) => match self.graph.nodes[other].op {
                Op::Function(Function::Quantize(quantization)) => quantization,
                _ => return Ok(()),
            },
            Rounding::Own => match partial.step(self.step, &name, &["quantization"]) {
                Some(saved) => saved_quantization(&saved.values),
                None => {
                    let found = self.look(node)?;
                    partial.note(&name, (0, 0.0), &[("quantization", &[found.scale, f32::from(found.zero)])]);
                    found
                }
            },
        };
        self.step += usize::from(rounding == Rounding::Own);
        self.graph.nodes[node].op = Op::Function(Function::Quantize(quantization));
        Ok(())
    }

    /// The best range of what is rounded, by all images.
    fn look(&mut self, node: usize) -> Result<Quantization> {
        let read = self.graph.nodes[node].inputs[0];
        let mut histogram = Histogram::new();
        let networks = Networks { dense: &self.plan.graph, pruned: Some(&self.graph) };
        self.activations.values(networks, read, self.asked.job.stop, &mut |values| histogram.add(values))?;
        if !histogram.is_finite() {
            let node = self.plan.graph.nodes[read].name.clone();
            return Err(OneshotError::NotFiniteActivation { node }.into());
        }
        Ok(match self.asked.quantizing.percentile {
            Some(percentile) => histogram.percentile(1.0 - percentile / 100.0),
            None => histogram.least_error(),
        })
    }

    /// Prunes a layer that has a support, and rounds it if it is `whole`.
    fn layer(
        &mut self,
        layer: &Layer,
        support: Option<Support>,
        whole: bool,
        partial: &mut Partial,
    ) -> Result<Done> {
        let step = self.step;
        self.step += 1;
        if let Some(done) = self.saved(step, layer, partial) {
            return Ok(done);
        }
        let done = match (support, whole) {
            (None, false) => {
                let weights = (0..layer.groups).flat_map(|group| layer.weight(&self.graph, group));
                let kept = weights.filter(|&&weight| weight != 0.0).count();
                Done { kept, relative_error: 0.0, scales: Vec::new() }
            }
            _ => self.change(layer, support, whole)?,
        };
        let now = parameters(&self.graph.nodes[layer.node].op);
        let &[weight, bias] = now.as_slice() else { return Ok(done) };
        let parts = [("weight", weight), ("bias", bias), ("scales", &done.scales[..])];
        partial.note(&layer.name, (done.kept, done.relative_error), &parts);
        partial.save()?;
        Ok(done)
    }

    /// Puts what was saved of a layer into the graph.
    fn saved(&mut self, step: usize, layer: &Layer, partial: &Partial) -> Option<Done> {
        let saved = partial.step(step, &layer.name, &["weight", "bias", "scales"])?;
        let [weight, bias, scales] = <[Vec<f32>; 3]>::try_from(saved.values).ok()?;
        set(layer, &mut self.graph, weight, bias, &scales);
        Some(Done { kept: saved.kept, relative_error: saved.relative_error, scales })
    }

    fn change(&mut self, layer: &Layer, support: Option<Support>, whole: bool) -> Result<Done> {
        let mut seen = self.seen(layer, support.is_some())?;
        let few = |statistics: &Statistics| statistics.count() < (PLACES_FOR_AN_INPUT * layer.inputs) as u64;
        if support.is_none() && seen.statistics.iter().any(few) {
            seen.statistics = seen.statistics.into_iter().map(Statistics::means_alone).collect();
        }
        let input = self.plan.rounding_of(layer.node).and_then(|node| match self.graph.nodes[node].op {
            Op::Function(Function::Quantize(quantization)) => Some(quantization.scale),
            _ => None,
        });
        let job = self.asked.job;
        let group = |group: usize| {
            let problem = layer.problem(&seen.statistics[group], &self.graph, group, job.oneshot)?;
            let constant = problem.is_constant();
            let found = match support {
                Some(support) => chosen(layer, &problem, seen.places.get(group), &support)?,
                None => problem.unpruned().map_err(|source| layer.error(source))?,
            };
            Ok((rounded(layer, &problem, found, whole)?, constant))
        };
        let groups = (0..layer.groups).into_par_iter().map(group).collect::<Result<Vec<_>>>()?;
        if support.is_some() && groups.iter().all(|(_, constant)| *constant) {
            return Err(nothing_to_choose_by(layer, &seen.statistics));
        }
        let Some([weight, bias]) = layer.parameters(&mut self.graph) else {
            return Ok(Done { kept: 0, relative_error: 0.0, scales: Vec::new() });
        };
        let (mut all, mut relative_error) = (Rounded::default(), 0.0);
        for (group, (found, _)) in groups.into_iter().enumerate() {
            relative_error += found.relative_error / layer.groups as f64;
            all.extend(found, &bias[group * layer.outputs..][..layer.outputs]);
        }
        if whole {
            all.settle(input);
        }
        let kept = all.weight.iter().filter(|&&weight| weight != 0.0).count();
        debug_assert_eq!(weight.len(), all.weight.len());
        let Rounded { weight, bias, scales, .. } = all;
        set(layer, &mut self.graph, weight, bias, &scales);
        Ok(Done { kept, relative_error, scales })
    }

    /// What a layer reads.
    fn seen(&mut self, layer: &Layer, is_pruned: bool) -> Result<Seen> {
        let networks = Networks { dense: &self.plan.graph, pruned: Some(&self.graph) };
        let stop = self.asked.job.stop;
        if layer.groups == 1 || is_pruned {
            return Seen::of(networks, layer, &mut self.activations, stop);
        }
        let shape = shapes(networks.dense).map_err(sparse_engine::Error::from)?[layer.reads];
        let mut statistics = vec![Statistics::new(layer.inputs); layer.groups];
        let images = self.activations.images();
        self.activations.look(networks, layer.reads, stop, &mut |image, dense, rounded| {
            let places = picked(image, layer.pixels, images, PLACES_OF_A_CHANNEL);
            let part =
                |values: &[f32], group: usize| layer.unfold_at(values, shape, group, places.iter().copied());
            statistics.par_iter_mut().enumerate().try_for_each(|(group, statistics)| {
                let rounded = rounded.map(|rounded| part(rounded, group));
                let added = statistics.add(&part(dense, group), rounded.as_deref());
                added.map_err(|source| layer.error(source))
            })
        })?;
        Ok(Seen { statistics, places: Vec::new() })
    }
}

/// The weights of a group as multiples, or as they were chosen.
fn rounded(layer: &Layer, problem: &Problem, found: Pruned, whole: bool) -> Result<Rounded> {
    if !whole {
        return Ok(Rounded::of_f32(found));
    }
    Ok(Rounded::of(problem.quantize(&found).map_err(|source| layer.error(source))?))
}

/// Puts weights, biases and scales into a layer of a graph.
pub(super) fn set(layer: &Layer, graph: &mut Graph, weight: Vec<f32>, bias: Vec<f32>, scales: &[f32]) {
    if let Some([old_weight, old_bias]) = layer.parameters(graph) {
        (*old_weight, *old_bias) = (weight, bias);
    }
    let new = (!scales.is_empty()).then(|| scales.to_vec());
    match &mut graph.nodes[layer.node].op {
        Op::Convolution(convolution) => convolution.scales = new,
        Op::Linear { scales, .. } => *scales = new,
        _ => (),
    }
}

fn saved_quantization(values: &[Vec<f32>]) -> Quantization {
    let numbers = values.first().map_or(&[][..], Vec::as_slice);
    let at = |place: usize| numbers.get(place).copied().unwrap_or_default();
    Quantization { scale: at(0), zero: at(1) as u8 }
}
