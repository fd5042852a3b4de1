//! Batch norms become part of the convolution or linear layer before them, zeros around an image padding of what reads
//! it, and products with a gate of the same number one function.
//!
//! `(w·x + b)·s + o = (w·s)·x + (b·s + o)`. A weight of zero stays zero, and whole multiples of a scale are such of `s` times it.

use crate::graph::{Convolution, Function, Graph, Node, Op, Window};
use crate::multiples::scale_outputs;
use crate::roundings::join_roundings;
use crate::shape::{node_shape, shapes};

/// The graph without the [`Op::Affine`] nodes that follow a convolution or linear layer whose result nobody else reads,
/// without [`Op::Pad`] nodes that are padding of the convolutions and pools after them, and without nodes that the output
/// does not depend on. `x · sigmoid(x)` becomes [`Function::Silu`], and its hard kind [`Function::HardSwish`]. Roundings to bytes
/// that come twice are one.
pub fn fold(mut graph: Graph) -> Graph {
    let shapes = shapes(&graph).unwrap_or_default();
    for index in 0..graph.nodes.len() {
        let (earlier, later) = graph.nodes.split_at_mut(index);
        let node = &mut later[0];
        // Of several pads in a row each is taken.
        while let Some(joined) = with_pad(node, earlier)
            && let Some(&shape) = shapes.get(joined.inputs[0])
            && node_shape(&joined, &[shape]).is_ok()
        {
            *node = joined;
        }
        if let Some((function, x)) = gated(node, earlier) {
            (node.op, node.inputs) = (Op::Function(function), vec![x]);
        }
    }
    join_roundings(&mut graph);
    fold_affine(graph)
}

/// A convolution or pool that reads what a pad before it reads, if its padding can be lines of that value.
fn with_pad(node: &Node, earlier: &[Node]) -> Option<Node> {
    let &[pad] = node.inputs.as_slice() else { return None };
    let Op::Pad { lines, value } = earlier.get(pad)?.op else { return None };
    let more = |window: Window| {
        let sum = |axis: usize| window.padding[axis].checked_add(lines[axis]);
        Some(Window { padding: [sum(0)?, sum(1)?, sum(2)?, sum(3)?], ..window })
    };
    let op = match &node.op {
        Op::Convolution(convolution) if value == 0.0 => {
            let window = more(convolution.window)?;
            Op::Convolution(Convolution { window, ..convolution.clone() })
        }
        // Lines that did not count lay outside of those that now do.
        Op::AveragePool { window, counted } if value == 0.0 => {
            let counted = more(Window { padding: *counted, ..*window })?.padding;
            Op::AveragePool { window: more(*window)?, counted }
        }
        Op::MaxPool(window) if value == f32::NEG_INFINITY => Op::MaxPool(more(*window)?),
        _ => return None,
    };
    Some(Node { name: node.name.clone(), op, inputs: earlier[pad].inputs.clone() })
}

/// The function that a product of a number with a gate of it is, and of what.
fn gated(node: &Node, earlier: &[Node]) -> Option<(Function, usize)> {
    let (Op::Mul, &[a, b]) = (&node.op, node.inputs.as_slice()) else { return None };
    [(a, b), (b, a)].into_iter().find_map(|(x, gate)| {
        let Op::Function(function) = earlier[gate].op else { return None };
        let whole = match function {
            Function::Sigmoid => Function::Silu,
            Function::HardSigmoid { alpha, beta } if beta == 0.5 && (alpha * 6.0 - 1.0).abs() < 1e-6 => {
                Function::HardSwish
            }
            _ => return None,
        };
        (earlier[gate].inputs == [x]).then_some((whole, x))
    })
}

fn fold_affine(graph: Graph) -> Graph {
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
    let (weight, bias, scales) = match op {
        Op::Convolution(Convolution { weight, bias, scales, .. }) | Op::Linear { weight, bias, scales } => {
            (weight, bias, scales)
        }
        _ => return false,
    };
    if bias.len() != scale.len() || bias.is_empty() {
        return false;
    }
    scale_outputs(weight, scales, scale);
    for (bias, (&scale, &offset)) in bias.iter_mut().zip(scale.iter().zip(offset)) {
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
            scales: None,
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
    fn weights_that_are_multiples_stay_such_and_padding_leaves_their_scales() {
        let Op::Convolution(plain) = convolution() else { panic!("a convolution") };
        let nodes = |factor: f32| {
            let scaled = Convolution {
                weight: vec![-1.0, 0.0, -64.0, 0.5],
                scales: Some(vec![1.0, 0.5]),
                ..plain.clone()
            };
            vec![
                node("image", Op::Input { shape: [2, 1, 1] }, &[]),
                node("pad", Op::Pad { lines: [1; 4], value: 0.0 }, &[0]),
                node("convolution", Op::Convolution(scaled), &[1]),
                node("norm", Op::Affine { scale: vec![-2.0, factor], offset: vec![0.5, 0.25] }, &[2]),
            ]
        };
        let folded = |factor| match fold(Graph { nodes: nodes(factor), output: 3 }).nodes.swap_remove(1).op {
            Op::Convolution(convolution) => {
                (convolution.weight, convolution.scales, convolution.window.padding)
            }
            _ => panic!("a convolution"),
        };
        assert_eq!(folded(3.0), (vec![2.0, 0.0, -192.0, 1.5], Some(vec![2.0, 1.5]), [1; 4]));
        // −128 times −1 is 128.
        assert_eq!(folded(-1.0), (vec![2.0, 0.0, 64.0, -0.5], None, [1; 4]));
    }

    #[test]
    fn zeros_around_an_image_become_padding() {
        let pad = |lines, value| Op::Pad { lines, value };
        let window = Window::square(3, 1, 1);
        let nodes = vec![
            node("image", Op::Input { shape: [2, 5, 5] }, &[]),
            node("pad", pad([1, 0, 0, 2], 0.0), &[0]),
            node("again", pad([0, 3, 0, 0], 0.0), &[1]),
            node("mean", Op::AveragePool { window, counted: [0, 1, 0, 1] }, &[2]),
            node("low", pad([1, 1, 1, 1], f32::NEG_INFINITY), &[3]),
            node("greatest", Op::MaxPool(window), &[4]),
            node("zeros", pad([1, 1, 1, 1], 0.0), &[5]),
            node("kept", Op::MaxPool(window), &[6]),
        ];
        let folded = fold(Graph { nodes, output: 7 });
        let kinds: Vec<&str> = folded.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(kinds, ["image", "mean", "greatest", "zeros", "kept"]);
        let expected =
            Op::AveragePool { window: Window { padding: [2, 4, 1, 3], ..window }, counted: [1, 4, 0, 3] };
        assert_eq!(folded.nodes[1].op, expected);
        assert_eq!(folded.nodes[2].op, Op::MaxPool(Window::square(3, 1, 2)));
        assert_eq!(folded.nodes[4].op, Op::MaxPool(window));
    }

    #[test]
    fn a_number_times_its_own_gate_is_one_function() {
        let hard = |alpha| Op::Function(Function::HardSigmoid { alpha, beta: 0.5 });
        let nodes = vec![
            node("image", Op::Input { shape: [2, 5, 5] }, &[]),
            node("gate", Op::Function(Function::Sigmoid), &[0]),
            node("silu", Op::Mul, &[0, 1]),
            node("hard", hard(0.166_666_7), &[2]),
            node("swish", Op::Mul, &[3, 2]),
            node("other", hard(0.2), &[4]),
            node("kept", Op::Mul, &[4, 5]),
            node("of another", Op::Mul, &[1, 6]),
        ];
        let folded = fold(Graph { nodes, output: 7 });
        let ops: Vec<&Op> = folded.nodes.iter().map(|node| &node.op).collect();
        assert_eq!(*ops[2], Op::Function(Function::Silu));
        assert_eq!(*ops[3], Op::Function(Function::HardSwish));
        assert_eq!(folded.nodes.len(), 7);
        assert_eq!(folded.nodes[6].inputs, [1, 5]);
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
