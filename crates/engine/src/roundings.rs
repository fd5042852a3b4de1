//! Roundings to bytes that a file has more often than its numbers need become one, with the same bits.

use crate::graph::{Function, Graph, Op};

/// Joins roundings ([`Function::Quantize`]) of one result by the same parameters, and takes away one before a clip that is rounded
/// again in the same way: `round(clip(round(x)))` is `round(clip(x))`, as rounding keeps the order of numbers and rounds none
/// twice.
pub(crate) fn join_roundings(graph: &mut Graph) {
    join_twins(graph);
    let uses = graph.uses();
    for last in 0..graph.nodes.len() {
        let Some((clip, first)) = rounded_twice(graph, last) else { continue };
        let only = |node: usize| uses[node] == 1 && node != graph.output;
        if only(clip) && only(first) {
            graph.nodes[clip].inputs = graph.nodes[first].inputs.clone();
        }
    }
}

/// The clip that a rounding reads, and the same rounding that this reads.
fn rounded_twice(graph: &Graph, last: usize) -> Option<(usize, usize)> {
    let read = |node: usize| graph.nodes[node].inputs.first().copied();
    let op = &graph.nodes[last].op;
    let clip = read(last).filter(|_| is_rounding(op))?;
    let first = read(clip).filter(|_| matches!(graph.nodes[clip].op, Op::Clip { .. }))?;
    (graph.nodes[first].op == *op).then_some((clip, first))
}

fn join_twins(graph: &mut Graph) {
    let mut place: Vec<usize> = (0..graph.nodes.len()).collect();
    for index in 0..graph.nodes.len() {
        let (earlier, later) = graph.nodes.split_at_mut(index);
        let node = &mut later[0];
        node.inputs.iter_mut().for_each(|input| *input = place[*input]);
        if is_rounding(&node.op) {
            let twin = earlier.iter().position(|other| other.op == node.op && other.inputs == node.inputs);
            place[index] = twin.unwrap_or(index);
        }
    }
    graph.output = place[graph.output];
}

fn is_rounding(op: &Op) -> bool {
    matches!(op, Op::Function(Function::Quantize(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold;
    use crate::graph::{Node, Quantization};

    const STEPS: Quantization = Quantization { scale: 0.3, zero: 77 };

    fn rounding(scale: f32) -> Op {
        Op::Function(Function::Quantize(Quantization { scale, ..STEPS }))
    }

    fn names(nodes: &[(&str, Op, &[usize])], output: usize) -> Vec<String> {
        let node = |(name, op, inputs): &(&str, Op, &[usize])| Node {
            name: (*name).to_owned(),
            op: op.clone(),
            inputs: inputs.to_vec(),
        };
        let folded = fold(Graph { nodes: nodes.iter().map(node).collect(), output });
        let name = |&input: &usize| folded.nodes[input].name.clone();
        let line = |node: &Node| {
            format!("{} {}", node.name, node.inputs.iter().map(name).collect::<Vec<_>>().join(" "))
        };
        folded.nodes.iter().map(line).collect()
    }

    #[test]
    fn twins_are_one_and_a_clip_is_rounded_once() {
        let image = ("x", Op::Input { shape: [2, 3, 3] }, &[][..]);
        let clip = || Op::Clip { low: 0.0, high: 1.1 };
        let twins = [
            image.clone(),
            ("a", rounding(0.3), &[0]),
            ("b", rounding(0.3), &[0]),
            ("other", rounding(0.2), &[0]),
            ("pool", Op::GlobalMaxPool, &[2]),
            ("sum", Op::Add, &[1, 2]),
            ("all", Op::Concat, &[5, 3]),
            ("last", Op::Mul, &[6, 6]),
        ];
        assert_eq!(names(&twins, 7), ["x ", "a x", "other x", "sum a a", "all sum other", "last all all"]);
        let clipped = |second, read: &'static [usize]| {
            let nodes = [
                image.clone(),
                ("a", rounding(0.3), &[0]),
                ("clip", clip(), &[1]),
                ("b", rounding(second), &[2]),
                ("sum", Op::Add, read),
            ];
            names(&nodes, 4)
        };
        assert_eq!(clipped(0.3, &[3, 3]), ["x ", "clip x", "b clip", "sum b b"]);
        assert_eq!(clipped(0.2, &[3, 3]), ["x ", "a x", "clip a", "b clip", "sum b b"]);
        assert_eq!(clipped(0.3, &[3, 1])[..3], ["x ", "a x", "clip a"]);
        assert_eq!(clipped(0.3, &[3, 2])[..3], ["x ", "a x", "clip a"]);
    }

    #[test]
    fn a_clip_of_rounded_numbers_rounds_to_the_same() {
        let round = |x: f32| STEPS.number(STEPS.byte(x));
        for (low, high) in [(0.0, f32::INFINITY), (-1.0, 6.0), (-0.45, 0.16), (0.149, 0.151), (1.0, -1.0)] {
            for x in (-4000..8000).map(|at| at as f32 / 100.0 + 0.001) {
                let clip = |x: f32| x.max(low).min(high);
                assert_eq!(
                    round(clip(round(x))).to_bits(),
                    round(clip(x)).to_bits(),
                    "{x} in {low} … {high}"
                );
            }
        }
    }
}
