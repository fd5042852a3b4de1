//! How far the scores may be off, and which layers stay f32 so that they are not farther.

use super::super::layers::weight;
use super::super::partial::Partial;
use super::super::scores::{Chosen, Scores};
use super::super::{OneshotError, OneshotObserver};
use super::Asked;
use super::images::Read;
use super::walk::{Passed, pass};
use super::written::Found;
use crate::error::Result;
use sparse_engine::graph::{Function, Graph, Op};
use sparse_engine::shapes;

/// Images on which each layer is judged.
const IMAGES_OF_RANKS: usize = 64;

/// How far the scores are off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Compared {
    pub(super) images: usize,
    pub(super) output_error: f64,
    pub(super) agreement: f64,
    pub(super) top1: Option<[f64; 2]>,
}

/// Rounds all layers but those that are named to stay f32; as long as the scores are farther off than they may be, those layers that do most to it stay f32
/// too, twice as many each time.
///
/// # Errors
/// What [`pass`] reports; [`OneshotError::LossOutOfReach`] if no layer would be rounded.
pub(super) fn within(
    asked: &Asked<'_>,
    images: Read,
    partial: &mut Partial,
    observer: &mut dyn OneshotObserver,
) -> Result<Found> {
    let graph = &asked.job.file.graph;
    let outputs = shapes(graph).map_err(sparse_engine::Error::from)?[graph.output].count();
    let chosen = Chosen::of(asked.job.config.data.classes.as_deref(), outputs);
    let dense = images.compared.scores(graph, usize::MAX)?;
    let Read { compared, labels, looked_at: mut images } = images;
    let judge = Judge { chosen: &chosen, dense: chosen.scores(dense), images: &compared };
    let fits = |labels: &&Vec<u32>| labels.iter().all(|&label| (label as usize) < chosen.classes());
    let labels = labels.as_ref().filter(fits);
    // As it was decided before an early end.
    let mut f32 = match partial.f32() {
        Some(f32) => f32.iter().copied().collect(),
        None => asked.named.clone(),
    };
    loop {
        let passed = pass(asked, &f32, images.activations(), partial, observer)?;
        let scores = judge.scores(&passed.graph)?;
        let compared = Compared {
            images: scores.values.len() / scores.classes.max(1),
            output_error: judge.dense.error(&scores),
            agreement: judge.dense.agreement(&scores),
            top1: labels.map(|labels| [judge.dense.top1(labels), scores.top1(labels)]),
        };
        let loss = asked.quantizing.loss.unwrap_or(f64::INFINITY);
        if compared.output_error <= loss {
            return Ok(Found { passed, compared });
        }
        let names = |at: &usize| asked.layers[*at].0.name.clone();
        let more = (f32.len() - asked.named.len()).max(1);
        let next: Vec<usize> = judge.ranks(asked, &passed)?.into_iter().take(more).collect();
        observer.keeping(&next.iter().map(names).collect::<Vec<_>>());
        f32.extend(next);
        if f32.len() >= asked.layers.len() {
            return Err(OneshotError::LossOutOfReach { wanted: loss, found: compared.output_error }.into());
        }
        partial.restart(f32.iter().copied().collect());
    }
}

/// Compares networks with the dense one.
struct Judge<'a> {
    chosen: &'a Chosen<'a>,
    dense: Scores,
    images: &'a super::super::activations::Activations,
}

impl Judge<'_> {
    fn scores(&self, graph: &Graph) -> Result<Scores> {
        Ok(self.chosen.scores(self.images.scores(graph, usize::MAX)?))
    }

    /// The layers that are rounded, those first without whose rounding the scores are nearest.
    fn ranks(&self, asked: &Asked<'_>, passed: &Passed) -> Result<Vec<usize>> {
        let mut found = Vec::new();
        let whole = passed.layers.iter().enumerate().filter(|(_, layer)| layer.bits == 8);
        for (at, _) in whole {
            asked.job.stop.check()?;
            let layer = &passed.places[at];
            let mut graph = passed.graph.clone();
            // A layer that was pruned has no f32 weights to go back to; what it makes does.
            if asked.layers[at].1.is_none() {
                layer.copy(&passed.plan.graph, &mut graph);
            }
            if let Some(rounding) = passed.plan.rounding_after(layer.node) {
                graph.nodes[rounding].op.clone_from(&passed.plan.graph.nodes[rounding].op);
            }
            let some = self.chosen.scores(self.images.scores(&graph, IMAGES_OF_RANKS)?);
            let dense =
                Scores { values: self.dense.values[..some.values.len()].to_vec(), classes: some.classes };
            found.push((dense.error(&some), at));
        }
        found.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        Ok(found.into_iter().map(|(_, at)| at).collect())
    }
}

/// Whether weights of a graph are multiples of scales already, or what it computes is rounded.
pub(in super::super) fn is_quantized(graph: &Graph) -> bool {
    graph.nodes.iter().any(|node| match &node.op {
        Op::Function(Function::Quantize(_)) => true,
        Op::Convolution(convolution) => convolution.scales.is_some(),
        Op::Linear { scales, .. } => scales.is_some(),
        _ => false,
    })
}

/// Bytes of all weights and biases as f32.
pub(super) fn f32_bytes(graph: &Graph) -> u64 {
    let numbers = graph.nodes.iter().map(|node| match &node.op {
        Op::Convolution(convolution) => convolution.weight.len() + convolution.bias.len(),
        Op::Linear { bias, .. } => weight(&node.op).map_or(0, <[f32]>::len) + bias.len(),
        _ => 0,
    });
    4 * numbers.sum::<usize>() as u64
}
