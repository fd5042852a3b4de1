//! Batch norms become part of the convolution or linear layer before them.
//!
//! `(w·x + b)·s + o = (w·s)·x + (b·s + o)`. A weight of zero stays zero.

use crate::graph::{Graph, Node, Op};

/// The graph without the [`Op::Affine`] nodes that follow a convolution or linear layer whose result nobody else reads,
/// and without nodes that the output does not depend on.
pub fn fold(graph: Graph) -> Graph {
    let uses = graph.uses();
    let Graph { mut nodes, output } = graph;
    // What each node is replaced by.
    let mut stands_for: Vec<usize> = (0..nodes.len()).collect();
    for index in 0..nodes.len() {
        for input in &mut nodes[index].inputs {
            *input = stands_for[*input];
        }
        let &[before] = nodes[index].inputs.as_slice() else { continue };
        let (earlier, later) = nodes.split_at_mut(index);
        let Op::Affine { scale, offset } = &later[0].op else { continue };
        // A node that took in an affine one is read as often as that one was.
        let read_once = last_reader(&uses, &stands_for, before, index);
        if read_once && take_in(&mut earlier[before].op, scale, offset) {
            stands_for[index] = before;
        }
    }
    without_dead(&nodes, stands_for[output])
}

/// Whether `reader` is the only node that reads what is now at `at`.
fn last_reader(uses: &[usize], stands_for: &[usize], at: usize, reader: usize) -> bool {
    let newest = (at..reader).rev().find(|&node| stands_for[node] == at);
    newest.is_some_and(|node| uses[node] == 1)
}

/// Puts a scale and an offset per channel into an operation, if it has such.
fn take_in(op: &mut Op, scale: &[f32], offset: &[f32]) -> bool {
    let (weight, bias) = match op {
        Op::Convolution(convolution) => (&mut convolution.weight, &mut convolution.bias),
        Op::Linear { weight, bias } => (weight, bias),
        _ => return false,
    };
    if bias.len() != scale.len() || bias.is_empty() {
        return false;
    }
    let row = weight.len() / bias.len();
    for (channel, bias) in bias.iter_mut().enumerate() {
        let (scale, offset) = (scale[channel], offset[channel]);
        weight[channel * row..][..row].iter_mut().for_each(|weight| *weight *= scale);
        *bias = bias.mul_add(scale, offset);
    }
    true
}

/// The nodes that `output` depends on, and the input, with new indices.
fn without_dead(nodes: &[Node], output: usize) -> Graph {
    let mut alive = vec![false; nodes.len()];
    alive[output] = true;
    if let Some(input) = alive.first_mut() {
        *input = true;
    }
    for index in (0..nodes.len()).rev() {
        if alive[index] {
            nodes[index].inputs.iter().for_each(|&input| alive[input] = true);
        }
    }
    let mut place = vec![0; nodes.len()];
    let mut kept = Vec::new();
    for (index, node) in nodes.iter().enumerate().filter(|&(index, _)| alive[index]) {
        place[index] = kept.len();
        let inputs = node.inputs.iter().map(|&input| place[input]).collect();
        kept.push(Node { inputs, ..node.clone() });
    }
    Graph { output: place[output], nodes: kept }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Convolution, Window};

    fn node(name: &str, op: Op, inputs: &[usize]) -> Node {
        Node { name: name.to_owned(), op, inputs: inputs.to_vec() }
    }

    fn convolution() -> Op {
        Op::Convolution(Convolution {
            weight: vec![1.0, 0.0, 2.0, -3.0],
            shape: [2, 2, 1, 1],
            bias: vec![1.0, 2.0],
            groups: 1,
            window: Window::square(1, 1, 0),
        })
    }

    fn affine() -> Op {
        Op::Affine { scale: vec![2.0, 10.0], offset: vec![0.5, 0.25] }
    }

    #[test]
    fn two_affine_nodes_in_a_row_end_up_in_the_convolution() {
        let nodes = vec![
            node("image", Op::Input { shape: [2, 1, 1] }, &[]),
            node("convolution", convolution(), &[0]),
            node("first", affine(), &[1]),
            node("second", affine(), &[2]),
            node("dead", affine(), &[0]),
        ];
        let folded = fold(Graph { nodes, output: 3 });
        assert_eq!((folded.nodes.len(), folded.output), (2, 1));
        let Op::Convolution(convolution) = &folded.nodes[1].op else { panic!("a convolution") };
        assert_eq!(convolution.weight, [4.0, 0.0, 200.0, -300.0]);
        assert_eq!(convolution.bias, [5.5, 202.75]);
    }

    #[test]
    fn a_convolution_that_others_read_too_stays_as_it_is() {
        let nodes = vec![
            node("image", Op::Input { shape: [2, 1, 1] }, &[]),
            node("convolution", convolution(), &[0]),
            node("affine", affine(), &[1]),
            node("sum", Op::Add, &[1, 2]),
        ];
        let graph = Graph { nodes, output: 3 };
        assert_eq!(fold(graph.clone()), graph);
    }
}
