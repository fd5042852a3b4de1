//! Channels in another order, so that blocks of zeros cost less.
//!
//! What a convolution reads may come in any order if the convolution that makes it puts it out so, and the depthwise convolution and batch norms
//! in between follow. The network computes the same; what changes is which weights lie in a block.

use super::activations::Networks;
use super::file::File;
use super::layers::Layer;
use super::report::OneshotObserver;
use super::seen::statistics;
use super::{Allocation, Job};
use crate::error::Result;
use sparse_engine::graph::{Convolution, Graph, Op};
use sparse_oneshot::order;

/// The share of zeros that is looked at where it follows from what is measured later.
const RATIO_BY_TIME: f64 = 0.75;
/// Images that are enough to see which channels belong together.
const IMAGES: usize = 128;

/// The order of the channels that a layer reads: which comes at each place.
pub(super) struct Order {
    /// The node of the layer, in graphs with batch norms folded.
    node: usize,
    order: Vec<usize>,
}

/// Orders for all layers whose blocks are wider than a channel and whose inputs come from one convolution for them alone.
///
/// # Errors
/// What reading images and the engine report, and if a signal asked to stop.
pub(super) fn orders(job: &Job<'_>, observer: &mut dyn OneshotObserver) -> Result<Vec<Order>> {
    let graph = &job.file.graph;
    let is_movable = |layer: &&Layer| {
        layer.groups == 1
            && !layer.is_linear()
            && matches!(job.oneshot.block, [1, 2..=usize::MAX])
            && in_raw(job.file, layer.node).is_some()
    };
    let layers: Vec<&Layer> = job.layers.iter().filter(is_movable).collect();
    if layers.is_empty() {
        tracing::warn!("there is no layer whose channels can be put into another order");
        return Ok(Vec::new());
    }
    tracing::info!("putting the channels that {} layers read into another order", layers.len());
    let mut activations = job.activations(IMAGES.min(job.oneshot.images), observer)?;
    let networks = Networks { dense: graph, pruned: None };
    let mut orders = Vec::new();
    for layer in layers {
        let [_, statistics] = statistics(networks, layer, &mut activations, 0, job.stop)?;
        let Some(statistics) = statistics.first() else { continue };
        let costs = layer
            .problem(statistics, graph, 0, job.oneshot)?
            .costs()
            .map_err(|source| layer.error(source))?;
        let kernels = costs.chunks_exact(layer.positions);
        let scores: Vec<f32> = kernels.map(|kernel| kernel.iter().sum::<f64>() as f32).collect();
        let channels = layer.inputs / layer.positions;
        let ratio = match job.oneshot.allocation {
            Allocation::Time => RATIO_BY_TIME,
            _ => job.oneshot.ratio,
        };
        let order = order(&scores, channels, job.oneshot.block[1], ratio);
        orders.push(Order { node: layer.node, order });
    }
    Ok(orders)
}

/// Puts the channels of a network into these orders.
///
/// # Errors
/// If the file lacks a tensor that it should have.
pub(super) fn apply(file: &mut File, orders: &[Order]) -> Result<()> {
    for Order { node, order } in orders {
        let name = file.graph.nodes[*node].name.clone();
        let names: Vec<String> = way(&file.graph, *node)
            .into_iter()
            .flatten()
            .filter(|&node| matches!(file.graph.nodes[node].op, Op::Convolution(_)))
            .map(|node| file.graph.nodes[node].name.clone())
            .collect();
        file.reorder(&names, &name, order)?;
        if let Some(raw) = in_raw(file, *node) {
            permute(&mut file.raw, raw, order);
        }
        permute(&mut file.graph, *node, order);
    }
    Ok(())
}

/// The node of the same name in the graph with batch norms, if there is one only and what it reads is made by the same convolutions.
fn in_raw(file: &File, node: usize) -> Option<usize> {
    let named = |graph: &Graph, node: usize| -> Option<Vec<String>> {
        let convolutions = way(graph, node)?.into_iter().chain([node]);
        let convolutions = convolutions.filter(|&node| matches!(graph.nodes[node].op, Op::Convolution(_)));
        Some(convolutions.map(|node| graph.nodes[node].name.clone()).collect())
    };
    let names = named(&file.graph, node)?;
    let same = |name: &String| file.raw.nodes.iter().filter(|node| node.name == *name).count();
    if names.iter().any(|name| same(name) != 1) {
        return None;
    }
    let raw = file.raw.nodes.iter().position(|raw| raw.name == file.graph.nodes[node].name)?;
    (named(&file.raw, raw)? == names).then_some(raw)
}

/// The nodes that make what `node` reads, from the last one back to the convolution that decides on the order: each with one reader.
fn way(graph: &Graph, node: usize) -> Option<Vec<usize>> {
    let mut nodes = Vec::new();
    let mut at = *graph.nodes[node].inputs.first()?;
    loop {
        let readers = graph.nodes.iter().flat_map(|node| &node.inputs).filter(|&&input| input == at).count();
        if readers != 1 || at == graph.output {
            return None;
        }
        nodes.push(at);
        match &graph.nodes[at].op {
            Op::Convolution(convolution) if is_depthwise(convolution) => {}
            Op::Convolution(Convolution { groups: 1, .. }) => return Some(nodes),
            Op::Clip { .. } | Op::Function(_) | Op::Affine { .. } | Op::PRelu { .. } | Op::MaxPool(_) => {}
            Op::AveragePool { .. } => {}
            _ => return None,
        }
        at = *graph.nodes[at].inputs.first()?;
    }
}

fn is_depthwise(convolution: &Convolution) -> bool {
    let [outputs, inputs, ..] = convolution.shape;
    inputs == 1 && convolution.groups == outputs
}

/// Puts the channels that `node` reads into another order, and all that makes them.
fn permute(graph: &mut Graph, node: usize, order: &[usize]) {
    for at in way(graph, node).unwrap_or_default() {
        match &mut graph.nodes[at].op {
            Op::Convolution(Convolution { weight, bias, scales, .. }) => {
                in_order(weight, order);
                in_order(bias, order);
                scales.iter_mut().for_each(|scales| in_order(scales, order));
            }
            Op::Affine { scale, offset } => {
                in_order(scale, order);
                in_order(offset, order);
            }
            Op::PRelu { slope } => in_order(slope, order),
            _ => {}
        }
    }
    if let Op::Convolution(Convolution { weight, shape, .. }) = &mut graph.nodes[node].op {
        let row = weight.len() / shape[0].max(1);
        weight.chunks_exact_mut(row.max(1)).for_each(|row| in_order(row, order));
    }
}

/// `values: [channels, …]` with the channels in another order.
pub(super) fn in_order(values: &mut [f32], order: &[usize]) {
    let size = values.len() / order.len().max(1);
    let before = values.to_vec();
    for (to, &from) in values.chunks_exact_mut(size.max(1)).zip(order) {
        to.copy_from_slice(&before[from * size..][..size]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::layers::weight;
    use super::*;
    use sparse_engine::graph::{Node, Window};
    use sparse_engine::{Engine, Options};

    /// A network of random weights: a stem, a depthwise convolution between others, a batch norm, and a convolution that two read.
    fn network() -> Graph {
        let mut state = 1_u32;
        let mut numbers = |len: usize| -> Vec<f32> {
            (0..len)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 8) as f32 / (1 << 23) as f32 - 1.0
                })
                .collect()
        };
        let mut graph = Graph::default();
        let mut add = |op: Op, inputs: &[usize]| {
            let name = format!("n{}", graph.nodes.len());
            graph.nodes.push(Node { name, op, inputs: inputs.to_vec() });
            graph.nodes.len() - 1
        };
        let mut convolution = |outputs: usize, inputs: usize, kernel: usize, groups: usize| {
            Op::Convolution(Convolution {
                weight: numbers(outputs * inputs * kernel * kernel),
                shape: [outputs, inputs, kernel, kernel],
                bias: numbers(outputs),
                groups,
                window: Window::square(kernel, 1, kernel / 2),
                scales: None,
            })
        };
        let image = add(Op::Input { shape: [3, 9, 7] }, &[]);
        let stem = add(convolution(8, 3, 3, 1), &[image]);
        let stem = add(Op::Clip { low: 0.0, high: 6.0 }, &[stem]);
        let depthwise = add(convolution(8, 1, 3, 8), &[stem]);
        let (scale, offset) = ((1..9).map(|x| x as f32).collect(), vec![0.5; 8]);
        let depthwise = add(Op::Affine { scale, offset }, &[depthwise]);
        let first = add(convolution(12, 8, 1, 1), &[depthwise]);
        let second = add(convolution(12, 12, 3, 1), &[first]);
        let sum = add(Op::Add, &[first, second]);
        let output = add(Op::Flatten, &[sum]);
        graph.output = output;
        graph
    }

    fn scores(graph: &Graph) -> Vec<f32> {
        let engine = Engine::new(graph.clone(), Options::default()).unwrap();
        let image: Vec<f32> = (0..3 * 9 * 7).map(|at| (at * 37 % 64) as f32 / 32.0 - 1.0).collect();
        let mut scores = vec![0.0; engine.outputs()];
        engine.session().unwrap().run(&image, &mut scores).unwrap();
        scores
    }

    #[test]
    fn a_network_in_another_order_computes_the_same() {
        let graph = network();
        let node = |name: &str| graph.nodes.iter().position(|node| node.name == name).unwrap();
        // What the first pointwise convolution reads comes from the stem, by way of the depthwise one.
        assert_eq!(way(&graph, node("n5")), Some(vec![node("n4"), node("n3"), node("n2"), node("n1")]));
        // The image cannot be put into another order, nor what two read.
        assert_eq!(way(&graph, node("n1")), None);
        assert_eq!(way(&graph, node("n6")), None);
        let mut moved = graph.clone();
        permute(&mut moved, node("n5"), &[3, 7, 1, 0, 2, 6, 5, 4]);
        assert_ne!(weight(&moved.nodes[node("n5")].op), weight(&graph.nodes[node("n5")].op));
        for (before, after) in scores(&graph).into_iter().zip(scores(&moved)) {
            assert!((before - after).abs() < 1e-3 * before.abs().max(1.0), "{before} {after}");
        }
    }
}
