//! Which nodes the output needs, and an order in which they can be read.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use super::OnnxError;
use super::call::Call;
use super::proto::{GraphProto, NodeProto};

/// Nodes that an error about a cycle names.
const NAMED_NODES: usize = 8;

/// The node that makes each tensor.
pub(super) struct Makers<'a> {
    nodes: &'a [NodeProto],
    by_tensor: HashMap<&'a str, usize>,
}

impl<'a> Makers<'a> {
    /// Of all nodes of a graph.
    ///
    /// # Errors
    /// [`OnnxError::Duplicate`] for a name that is given twice: of two results, or of a result and a constant or input.
    pub(super) fn of(graph: &'a GraphProto) -> Result<Self, OnnxError> {
        let duplicate = |tensor: &str| OnnxError::Duplicate { tensor: tensor.to_owned() };
        let dense = graph.initializer.iter().map(|tensor| tensor.label());
        let constants = dense.chain(graph.sparse_initializer.iter().map(|tensor| tensor.label()));
        let mut given = HashSet::new();
        for name in constants {
            if !given.insert(name) {
                return Err(duplicate(name));
            }
        }
        let mut inputs = HashSet::new();
        for name in graph.input.iter().map(|input| input.name.as_deref().unwrap_or_default()) {
            if !inputs.insert(name) {
                return Err(duplicate(name));
            }
        }
        let mut by_tensor = HashMap::new();
        for (position, node) in graph.node.iter().enumerate() {
            for name in node.output.iter().map(String::as_str).filter(|name| !name.is_empty()) {
                let is_given = given.contains(name) || inputs.contains(name);
                if is_given || by_tensor.insert(name, position).is_some() {
                    return Err(duplicate(name));
                }
            }
        }
        Ok(Self { nodes: &graph.node, by_tensor })
    }

    /// The nodes that a tensor needs, in the order of the file.
    pub(super) fn needed(&self, output: &str) -> Vec<usize> {
        let mut is_needed = vec![false; self.nodes.len()];
        let mut open: Vec<usize> = self.by_tensor.get(output).copied().into_iter().collect();
        while let Some(position) = open.pop() {
            if !std::mem::replace(&mut is_needed[position], true) {
                open.extend(self.before(position));
            }
        }
        (0..self.nodes.len()).filter(|&position| is_needed[position]).collect()
    }

    /// These nodes so that each comes after those it reads; as they are, as far as that goes.
    ///
    /// # Errors
    /// [`OnnxError::Cycle`] with nodes that read each other in a circle.
    pub(super) fn sorted(&self, nodes: &[usize]) -> Result<Vec<usize>, OnnxError> {
        let mut waits = vec![0_usize; self.nodes.len()];
        let mut readers: HashMap<usize, Vec<usize>> = HashMap::new();
        for &node in nodes {
            for before in self.before(node) {
                waits[node] += 1;
                readers.entry(before).or_default().push(node);
            }
        }
        let mut ready: BinaryHeap<Reverse<usize>> =
            nodes.iter().filter(|&&node| waits[node] == 0).map(|&node| Reverse(node)).collect();
        let mut sorted = Vec::with_capacity(nodes.len());
        while let Some(Reverse(node)) = ready.pop() {
            sorted.push(node);
            for &reader in readers.get(&node).into_iter().flatten() {
                waits[reader] -= 1;
                if waits[reader] == 0 {
                    ready.push(Reverse(reader));
                }
            }
        }
        match nodes.iter().find(|&&node| waits[node] > 0) {
            Some(&stuck) => Err(self.cycle(stuck, &waits)),
            None => Ok(sorted),
        }
    }

    /// The nodes that make what a node reads, each once for each of their results.
    fn before(&self, node: usize) -> impl Iterator<Item = usize> + '_ {
        self.nodes[node].input.iter().filter_map(|name| self.by_tensor.get(name.as_str()).copied())
    }

    /// The circle that is met when one goes back from a node that waits.
    fn cycle(&self, from: usize, waits: &[usize]) -> OnnxError {
        let mut path = Vec::new();
        let mut places = HashMap::new();
        let mut node = from;
        while !places.contains_key(&node) {
            places.insert(node, path.len());
            path.push(node);
            match self.before(node).find(|&before| waits[before] > 0) {
                Some(before) => node = before,
                None => break,
            }
        }
        let circle = &mut path[places.get(&node).copied().unwrap_or_default()..];
        circle.reverse();
        let first = (0..circle.len()).min_by_key(|&at| circle[at]).unwrap_or_default();
        circle.rotate_left(first);
        let name = |&node: &usize| Call { node: &self.nodes[node], opset: 0 }.name().to_owned();
        let mut names: Vec<String> = circle.iter().take(NAMED_NODES).map(name).collect();
        if circle.len() > NAMED_NODES {
            names.push("…".to_owned());
        }
        OnnxError::Cycle { nodes: names.join(", ") }
    }
}
