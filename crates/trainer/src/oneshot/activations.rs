//! What the images have become on their way through the network.
//!
//! They are held at one node that all that comes after goes through, and move on from layer to layer as far as memory allows, so that no
//! part of the network is computed more often than it has to be.

use super::images::BATCH;
use super::layers::Layer;
use crate::error::Result;
use crate::stop::StopFlag;
use sparse_engine::graph::{Graph, Node, Op};
use sparse_engine::{Engine, Options, Products, Session, Shape, shapes};
use std::collections::VecDeque;

/// The networks that the images go through: as it was, and as it is pruned so far.
#[derive(Clone, Copy)]
pub(super) struct Networks<'a> {
    pub(super) dense: &'a Graph,
    /// Nothing as long as nothing is pruned.
    pub(super) pruned: Option<&'a Graph>,
}

/// Takes the number of an image, and what a layer reads of it in the dense network and, if that is not the same, in the pruned one.
type Each<'a> = &'a mut dyn FnMut(usize, &[f32], Option<&[f32]>) -> Result<()>;

/// Results of a node for all images.
pub(super) struct Activations {
    node: usize,
    batches: VecDeque<Batch>,
    images: usize,
    /// Bytes that they may take.
    memory: usize,
    threads: usize,
}

/// Results for some images, those of the pruned network if they are others.
struct Batch {
    dense: Vec<f32>,
    pruned: Option<Vec<f32>>,
}

impl Activations {
    /// The images themselves.
    pub(super) fn of(images: Vec<Vec<f32>>, per_image: usize, memory: usize, threads: usize) -> Self {
        let count = images.iter().map(Vec::len).sum::<usize>() / per_image.max(1);
        let batches = images.into_iter().map(|dense| Batch { dense, pruned: None }).collect();
        Self { node: 0, batches, images: count, memory, threads }
    }

    pub(super) fn images(&self) -> usize {
        self.images
    }

    /// Calls `each` with the number of an image and the results of the node that a layer `reads`, in the dense network and, if it is not the same, in the pruned one; before that
    /// moves on towards the layer.
    ///
    /// # Errors
    /// What the engine and `each` report, and if a signal asked to stop.
    pub(super) fn look(
        &mut self,
        networks: Networks<'_>,
        reads: usize,
        stop: &StopFlag,
        each: Each<'_>,
    ) -> Result<()> {
        self.advance(networks, reads, stop)?;
        let mut dense = Part::new(networks.dense, self.node, reads, self.threads)?;
        let mut pruned = Part::of_pruned(networks, self.node, reads, self.threads)?;
        let numbers = dense.outputs;
        for (number, batch) in self.batches.iter().enumerate() {
            let x = dense.run(&batch.dense)?;
            let from = batch.pruned.as_ref().unwrap_or(&batch.dense);
            let y = pruned.as_mut().map(|part| part.run(from)).transpose()?;
            for (image, x) in x.chunks_exact(numbers).enumerate() {
                each(number * BATCH + image, x, y.map(|y| &y[image * numbers..][..numbers]))?;
            }
            stop.check()?;
        }
        Ok(())
    }

    /// Calls `each` with what a node of the pruned network makes of some images; before that moves on towards it.
    ///
    /// # Errors
    /// What the engine reports, and if a signal asked to stop.
    pub(super) fn values(
        &mut self,
        networks: Networks<'_>,
        node: usize,
        stop: &StopFlag,
        each: &mut dyn FnMut(&[f32]),
    ) -> Result<()> {
        self.advance(networks, node, stop)?;
        let mut part = Part::new(networks.pruned.unwrap_or(networks.dense), self.node, node, self.threads)?;
        for batch in &self.batches {
            each(part.run(batch.pruned.as_ref().unwrap_or(&batch.dense))?);
            stop.check()?;
        }
        Ok(())
    }

    /// Moves on towards a layer of the dense network.
    ///
    /// # Errors
    /// What the engine reports, and if a signal asked to stop.
    pub(super) fn approach(&mut self, dense: &Graph, layer: &Layer, stop: &StopFlag) -> Result<()> {
        self.advance(Networks { dense, pruned: None }, layer.reads, stop)
    }

    /// The scores that a network, which up to here is the dense one, gives the first images, one image after the other.
    ///
    /// # Errors
    /// What the engine reports.
    pub(super) fn scores(&self, graph: &Graph, images: usize) -> Result<Vec<f32>> {
        let mut part = Part::new(graph, self.node, graph.output, self.threads)?;
        let mut scores = Vec::new();
        for batch in self.batches.iter().take(images.div_ceil(BATCH)) {
            scores.extend_from_slice(part.run(&batch.dense)?);
        }
        Ok(scores)
    }

    /// Moves to the last node up to `to` that all that comes after goes through and whose results fit into memory.
    fn advance(&mut self, networks: Networks<'_>, to: usize, stop: &StopFlag) -> Result<()> {
        let shapes = shapes(networks.dense).map_err(sparse_engine::Error::from)?;
        let each = if networks.pruned.is_some() { 2 } else { 1 } * size_of::<f32>() * self.images;
        let gates = gates(networks.dense);
        let fits = |&node: &usize| {
            gates[node]
                && matches!(shapes[node], Shape::Image(_))
                && shapes[node].count() * each <= self.memory
        };
        let Some(node) = (self.node + 1..=to).rev().find(fits) else { return Ok(()) };
        let mut dense = Part::new(networks.dense, self.node, node, self.threads)?;
        let mut pruned = Part::of_pruned(networks, self.node, node, self.threads)?;
        for _ in 0..self.batches.len() {
            // What was there goes as what is new comes.
            let Some(batch) = self.batches.pop_front() else { break };
            let from = batch.pruned.as_ref().unwrap_or(&batch.dense);
            let after = pruned.as_mut().map(|part| part.run(from).map(<[f32]>::to_vec)).transpose()?;
            let dense = dense.run(&batch.dense)?.to_vec();
            self.batches.push_back(Batch { dense, pruned: after });
            stop.check()?;
        }
        self.node = node;
        Ok(())
    }
}

/// Which nodes all that comes after goes through.
fn gates(graph: &Graph) -> Vec<bool> {
    let mut least = usize::MAX;
    let mut gates = vec![false; graph.nodes.len()];
    for node in (0..graph.nodes.len()).rev() {
        gates[node] = least >= node;
        least = graph.nodes[node].inputs.iter().copied().fold(least, usize::min);
    }
    gates
}

/// The part of a network from one node to another.
struct Part {
    /// None if both are the same.
    session: Option<Session>,
    inputs: usize,
    /// Numbers of an image.
    outputs: usize,
    values: Vec<f32>,
}

impl Part {
    fn of_pruned(networks: Networks<'_>, from: usize, to: usize, threads: usize) -> Result<Option<Self>> {
        networks.pruned.map(|graph| Self::new(graph, from, to, threads)).transpose()
    }

    fn new(graph: &Graph, from: usize, to: usize, threads: usize) -> Result<Self> {
        let shapes = shapes(graph).map_err(sparse_engine::Error::from)?;
        let (inputs, outputs) = (shapes[from].count(), shapes[to].count());
        let session = match shapes[from] {
            Shape::Image(shape) if from < to => Some(session(graph, [from, to], shape, shapes[to], threads)?),
            _ => None,
        };
        Ok(Self { session, inputs, outputs, values: Vec::new() })
    }

    /// Of each image of a batch, one behind the other.
    fn run<'a>(&'a mut self, images: &'a [f32]) -> Result<&'a [f32]> {
        let Some(session) = &mut self.session else { return Ok(images) };
        self.values.resize(images.len() / self.inputs.max(1) * self.outputs, 0.0);
        session.run(images, &mut self.values)?;
        Ok(&self.values)
    }
}

fn session(
    graph: &Graph,
    [from, to]: [usize; 2],
    image: [usize; 3],
    result: Shape,
    threads: usize,
) -> Result<Session> {
    let place = |node: &usize| node.saturating_sub(from);
    let mut nodes =
        vec![Node { name: "image".to_owned(), op: Op::Input { shape: image }, inputs: Vec::new() }];
    for node in &graph.nodes[from + 1..=to] {
        nodes.push(Node { inputs: node.inputs.iter().map(place).collect(), ..node.clone() });
    }
    if matches!(result, Shape::Image(_)) {
        nodes.push(Node { name: "reads".to_owned(), op: Op::Flatten, inputs: vec![nodes.len() - 1] });
    }
    let output = nodes.len() - 1;
    let options = Options { threads, products: Products::Sparse, ..Options::default() };
    // The same bits wherever the images stopped on their way.
    Ok(Engine::in_numbers(Graph { nodes, output }, options)?.session()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shortcut_passes_by_is_no_gate() {
        let node = |op, inputs: &[usize]| Node { name: String::new(), op, inputs: inputs.to_vec() };
        let relu = || Op::Clip { low: 0.0, high: f32::INFINITY };
        let nodes = vec![
            node(Op::Input { shape: [1, 1, 1] }, &[]),
            node(relu(), &[0]),
            node(relu(), &[1]),
            node(Op::Add, &[1, 2]),
            node(relu(), &[3]),
        ];
        assert_eq!(gates(&Graph { nodes, output: 4 }), [true, true, false, true, true]);
    }
}
