//! Where a network is rounded: what the layers that are computed in integers read, and what they make.
//!
//! A node is rounded once, whoever reads it. Until its range is known it stands for itself: `Reshape` to its own shape, so that the network with
//! nodes for all roundings gives the same as before.

use crate::error::Result;
use sparse_engine::graph::{Graph, Node, Op};
use sparse_engine::{Shape, shapes};
use std::collections::{BTreeMap, BTreeSet};

/// What a node's numbers are rounded by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rounding {
    /// Its own range.
    Own,
    /// That of another rounding, whose numbers it passes on.
    As(usize),
}

/// A network with room for roundings.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Its nodes are those of the network and, behind those that are rounded, one that passes them on.
    pub(super) graph: Graph,
    /// The nodes that are to round, in the order of the graph.
    pub(super) roundings: BTreeMap<usize, Rounding>,
    /// Where each node of the network is.
    places: Vec<usize>,
}

impl Plan {
    /// `whole`: the nodes of layers that are to be computed in integers.
    ///
    /// # Errors
    /// If the graph does not fit together.
    pub(super) fn new(graph: &Graph, whole: &BTreeSet<usize>) -> Result<Self> {
        let shapes = shapes(graph).map_err(sparse_engine::Error::from)?;
        let rounded = Rounded::of(graph, whole);
        let mut plan = Self {
            graph: Graph::default(),
            roundings: BTreeMap::new(),
            places: Vec::with_capacity(graph.nodes.len()),
        };
        // What readers of a node read in its place.
        let mut read: Vec<usize> = Vec::with_capacity(graph.nodes.len());
        for (index, node) in graph.nodes.iter().enumerate() {
            let at = plan.graph.nodes.len();
            let inputs = node.inputs.iter().map(|&input| read[input]).collect();
            plan.graph.nodes.push(Node { inputs, ..node.clone() });
            plan.places.push(at);
            read.push(at);
            let rounding = match rounded.points.get(&index) {
                None => continue,
                Some(None) => Rounding::Own,
                Some(Some(source)) => Rounding::As(read[*source]),
            };
            let op = match shapes[index] {
                Shape::Image(shape) => Op::Reshape { shape },
                Shape::Flat(_) => Op::Clip { low: f32::NEG_INFINITY, high: f32::INFINITY },
            };
            plan.graph.nodes.push(Node { name: format!("{}_quantized", node.name), op, inputs: vec![at] });
            plan.roundings.insert(at + 1, rounding);
            read[index] = at + 1;
        }
        plan.graph.output = plan.places[graph.output];
        Ok(plan)
    }

    /// Where a node of the network is.
    pub(super) fn place(&self, node: usize) -> usize {
        self.places[node]
    }

    /// The rounding whose numbers a node of the plan reads, if it is nothing else.
    pub(super) fn rounding_of(&self, node: usize) -> Option<usize> {
        let mut at = *self.graph.nodes[node].inputs.first()?;
        while !self.roundings.contains_key(&at) {
            at = passed(&self.graph.nodes[at])?;
        }
        Some(at)
    }

    /// The rounding of what a layer of the plan makes, if there is one.
    pub(super) fn rounding_after(&self, node: usize) -> Option<usize> {
        let end = end_of(&self.graph, node, |reader| self.roundings.contains_key(&reader));
        let mut readers =
            (end + 1..self.graph.nodes.len()).filter(|&at| self.graph.nodes[at].inputs.contains(&end));
        readers.find(|reader| self.roundings.contains_key(reader))
    }
}

/// Nodes of a network that are rounded, and for those that pass on the numbers of another whose.
struct Rounded<'a> {
    graph: &'a Graph,
    points: BTreeMap<usize, Option<usize>>,
}

impl<'a> Rounded<'a> {
    fn of(graph: &'a Graph, whole: &BTreeSet<usize>) -> Self {
        let mut rounded = Self { graph, points: BTreeMap::new() };
        // Nodes on which a layer in integers depends.
        let mut before = BTreeSet::new();
        for &layer in whole {
            before.extend(graph.nodes[layer].inputs.iter().copied());
        }
        for node in (0..graph.nodes.len()).rev() {
            if before.contains(&node) {
                before.extend(graph.nodes[node].inputs.iter().copied());
            }
        }
        for &layer in whole {
            graph.nodes[layer].inputs.iter().for_each(|&input| rounded.read(input));
            let end = end_of(graph, layer, |_| false);
            if !rounded.is_last(end) {
                rounded.points.entry(end).or_insert(None);
            }
        }
        for (index, node) in graph.nodes.iter().enumerate() {
            let rounds = |&input: &usize| rounded.points.contains_key(&rounded.source(input));
            let joins = matches!(node.op, Op::Add | Op::Concat) && before.contains(&index);
            if joins && node.inputs.iter().any(rounds) {
                node.inputs.iter().for_each(|&input| rounded.read(input));
                rounded.points.entry(end_of(graph, index, |_| false)).or_insert(None);
            }
        }
        rounded
    }

    /// The node whose numbers a node passes on.
    fn source(&self, mut node: usize) -> usize {
        while let Some(before) = passed(&self.graph.nodes[node]) {
            node = before;
        }
        node
    }

    /// A node that is read in integers is rounded, or the one whose numbers it passes on, and then both alike.
    fn read(&mut self, node: usize) {
        let mut chain = vec![node];
        while let Some(before) = chain.last().and_then(|&last| passed(&self.graph.nodes[last])) {
            chain.push(before);
        }
        let Some(source) = chain.pop() else { return };
        self.points.entry(source).or_insert(None);
        // A vector of the same numbers needs no rounding of its own.
        if let Some(&outer) = chain.first()
            && chain.iter().any(|&at| !matches!(self.graph.nodes[at].op, Op::Flatten))
        {
            self.points.entry(outer).or_insert(Some(source));
        }
    }

    /// Whether only the form of the numbers changes from here to the result.
    fn is_last(&self, mut node: usize) -> bool {
        loop {
            if node == self.graph.output {
                return true;
            }
            let mut readers =
                (node + 1..self.graph.nodes.len()).filter(|&at| self.graph.nodes[at].inputs.contains(&node));
            match (readers.next(), readers.next()) {
                (Some(reader), None)
                    if matches!(
                        self.graph.nodes[reader].op,
                        Op::Flatten | Op::Reshape { .. } | Op::Softmax | Op::LogSoftmax
                    ) =>
                {
                    node = reader;
                }
                _ => return false,
            }
        }
    }
}

/// What a node reads if its numbers are some of those.
fn passed(node: &Node) -> Option<usize> {
    let passes = match node.op {
        Op::MaxPool(_) | Op::GlobalMaxPool | Op::Flatten | Op::Reshape { .. } | Op::Channels { .. } => true,
        Op::Pad { value, .. } => value == 0.0,
        _ => false,
    };
    if passes { node.inputs.first().copied() } else { None }
}

/// The last of the functions of single numbers after a node, each the only reader of the one before; `stop` names nodes that are none.
fn end_of(graph: &Graph, mut node: usize, stop: impl Fn(usize) -> bool) -> usize {
    loop {
        if node == graph.output {
            return node;
        }
        let mut readers = (node + 1..graph.nodes.len()).filter(|&at| graph.nodes[at].inputs.contains(&node));
        match (readers.next(), readers.next()) {
            (Some(reader), None)
                if matches!(
                    graph.nodes[reader].op,
                    Op::Clip { .. } | Op::Function(_) | Op::PRelu { .. } | Op::Affine { .. }
                ) && !stop(reader) =>
            {
                node = reader;
            }
            _ => return node,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sparse_engine::graph::{Convolution, Function, Window};

    fn node(name: &str, op: Op, inputs: &[usize]) -> Node {
        Node { name: name.to_owned(), op, inputs: inputs.to_vec() }
    }

    fn convolution() -> Op {
        Op::Convolution(Convolution {
            weight: vec![1.0; 4],
            shape: [2, 2, 1, 1],
            bias: vec![0.0; 2],
            groups: 1,
            window: Window::square(1, 1, 0),
            scales: None,
        })
    }

    fn names(plan: &Plan) -> Vec<String> {
        plan.roundings.keys().map(|&at| plan.graph.nodes[at].name.clone()).collect()
    }

    /// A bottleneck with a shortcut, a function, a pool and a head.
    fn network() -> Graph {
        let relu6 = || Op::Clip { low: 0.0, high: 6.0 };
        let nodes = vec![
            node("image", Op::Input { shape: [2, 4, 4] }, &[]),
            node("first", convolution(), &[0]),
            node("relu", relu6(), &[1]),
            node("greatest", Op::MaxPool(Window::square(2, 2, 0)), &[2]),
            node("narrow", convolution(), &[3]),
            node("sum", Op::Add, &[4, 3]),
            node("second", convolution(), &[5]),
            node("silu", Op::Function(Function::Silu), &[6]),
            node("mean", Op::GlobalAveragePool, &[7]),
            node("flat", Op::Flatten, &[8]),
            node("head", Op::Linear { weight: vec![1.0; 4], bias: vec![0.0; 2], scales: None }, &[9]),
            node("softmax", Op::Softmax, &[10]),
        ];
        Graph { nodes, output: 11 }
    }

    #[test]
    fn what_layers_read_and_make_is_rounded_once() {
        let plan = Plan::new(&network(), &BTreeSet::from([1, 4, 6, 10])).unwrap();
        let expected = ["image", "relu", "greatest", "narrow", "sum", "silu", "mean"];
        assert_eq!(names(&plan), expected.map(|name| format!("{name}_quantized")));
        let of = |name: &str| plan.graph.nodes.iter().position(|node| node.name == name).unwrap();
        assert_eq!(plan.roundings[&of("greatest_quantized")], Rounding::As(of("relu_quantized")));
        assert_eq!(plan.graph.nodes[of("sum")].inputs, [of("narrow_quantized"), of("greatest_quantized")]);
        assert_eq!(plan.rounding_of(of("head")), Some(of("mean_quantized")));
        assert_eq!(plan.rounding_after(of("second")), Some(of("silu_quantized")));
        assert_eq!((plan.rounding_after(of("head")), plan.graph.output), (None, of("softmax")));
        assert_eq!(plan.place(10), of("head"));
        // Nothing changes yet.
        assert!(shapes(&plan.graph).is_ok());
    }

    #[test]
    fn around_layers_that_are_kept_nothing_is_rounded_for_them() {
        let plan = Plan::new(&network(), &BTreeSet::from([1])).unwrap();
        assert_eq!(names(&plan), ["image_quantized", "relu_quantized"]);
        let plan = Plan::new(&network(), &BTreeSet::from([10])).unwrap();
        assert_eq!(names(&plan), ["mean_quantized"]);
        assert!(Plan::new(&network(), &BTreeSet::new()).unwrap().roundings.is_empty());
    }
}
