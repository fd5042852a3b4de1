//! Last steps of reading: a matrix's bias joins it, products with an own gate become one function, and what nobody reads goes.

use crate::graph::{Function, Graph, Node, Op};

/// The graph without nodes that its output does not need. Sums with a constant behind a matrix become its bias, and
/// `x · sigmoid(x)` is one function.
pub(super) fn finish(nodes: Vec<Node>, output: usize) -> Graph {
    let mut graph = Graph { nodes, output };
    join_biases(&mut graph);
    join_gates(&mut graph);
    prune(graph)
}

/// Which nodes the output needs; the input is always one of them.
pub(super) fn needed(graph: &Graph) -> Vec<bool> {
    let mut needed = vec![false; graph.nodes.len()];
    needed[graph.output] = true;
    needed[0] = true;
    for (position, node) in graph.nodes.iter().enumerate().rev() {
        if needed[position] {
            node.inputs.iter().for_each(|&input| needed[input] = true);
        }
    }
    needed
}

fn join_biases(graph: &mut Graph) {
    let needed = needed(graph);
    let mut readers = vec![0; graph.nodes.len()];
    readers[graph.output] += 1;
    for (node, _) in graph.nodes.iter().zip(&needed).filter(|(_, needed)| **needed) {
        node.inputs.iter().for_each(|&input| readers[input] += 1);
    }
    // What stands in the place of each node.
    let mut place: Vec<usize> = (0..graph.nodes.len()).collect();
    for position in 0..graph.nodes.len() {
        let (before, rest) = graph.nodes.split_at_mut(position);
        let node = &mut rest[0];
        node.inputs.iter_mut().for_each(|input| *input = place[*input]);
        let (Op::Affine { scale, offset }, &[x]) = (&node.op, &node.inputs[..]) else { continue };
        let Op::Linear { bias, .. } = &mut before[x].op else { continue };
        if readers[x] == 1 && needed[position] && scale.iter().all(|&scale| scale == 1.0) {
            bias.iter_mut().zip(offset).for_each(|(bias, offset)| *bias += *offset);
            place[position] = x;
            readers[x] = readers[position];
        }
    }
    graph.output = place[graph.output];
}

/// Products of a node with a function of it that nobody else reads.
fn join_gates(graph: &mut Graph) {
    let (needed, output) = (needed(graph), graph.output);
    let mut readers = vec![0; graph.nodes.len()];
    readers[output] += 1;
    for (node, _) in graph.nodes.iter().zip(&needed).filter(|(_, needed)| **needed) {
        node.inputs.iter().for_each(|&input| readers[input] += 1);
    }
    for position in 0..graph.nodes.len() {
        let (Op::Mul, &[a, b]) = (&graph.nodes[position].op, &graph.nodes[position].inputs[..]) else {
            continue;
        };
        let joined = [(a, b), (b, a)].into_iter().find_map(|(x, gate)| {
            let gates = graph.nodes[gate].inputs == [x] && readers[gate] == 1;
            gated(&graph.nodes[gate].op).filter(|_| gates).map(|function| (x, function))
        });
        if let Some((x, function)) = joined {
            let node = &mut graph.nodes[position];
            (node.op, node.inputs) = (Op::Function(function), vec![x]);
        }
    }
}

/// The product of a number with this function of it, if that has a name.
fn gated(op: &Op) -> Option<Function> {
    const SIXTH: f32 = 1.0 / 6.0;
    match *op {
        Op::Function(Function::Sigmoid) => Some(Function::Silu),
        Op::Function(Function::HardSigmoid { alpha: SIXTH, beta: 0.5 }) => Some(Function::HardSwish),
        _ => None,
    }
}

fn prune(graph: Graph) -> Graph {
    let needed = needed(&graph);
    let mut place = vec![0; graph.nodes.len()];
    let mut nodes = Vec::new();
    for (position, mut node) in graph.nodes.into_iter().enumerate() {
        if needed[position] {
            place[position] = nodes.len();
            node.inputs.iter_mut().for_each(|input| *input = place[*input]);
            nodes.push(node);
        }
    }
    Graph { nodes, output: place[graph.output] }
}
