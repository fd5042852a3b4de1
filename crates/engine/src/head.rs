//! The layers at the end of a network: a chain on vectors, computed for a whole batch.

use crate::graph::{Graph, Op};
use sparse_kernels::host::inference::{Bounds, Finish, Function};

/// A layer on vectors.
#[derive(Clone, Debug)]
pub(crate) struct VectorUnit {
    pub(crate) name: String,
    pub(crate) work: VectorWork,
}

#[derive(Clone, Debug)]
pub(crate) enum VectorWork {
    Linear { weight: Vec<f32>, bias: Vec<f32>, finish: Finish },
    Softmax,
    LogSoftmax,
}

/// The end of a graph.
pub(crate) struct Head {
    /// The node whose numbers the layers begin with.
    pub(crate) features: usize,
    pub(crate) layers: Vec<VectorUnit>,
    /// By node: whether it belongs to the layers.
    pub(crate) taken: Vec<bool>,
}

/// The longest chain of layers that ends with the output. Everything before it is computed image by image.
pub(crate) fn head(graph: &Graph) -> Head {
    let uses = graph.uses();
    let mut chain = Vec::new();
    let mut at = graph.output;
    while let Some(node) = graph.nodes.get(at)
        && (at == graph.output || uses[at] == 1)
        && let &[before] = node.inputs.as_slice()
        && belongs(graph, &node.op, before, &uses)
    {
        chain.push(at);
        at = before;
        if matches!(node.op, Op::Flatten) {
            break;
        }
    }
    let mut head = Head { features: at, layers: Vec::new(), taken: vec![false; graph.nodes.len()] };
    for &index in chain.iter().rev() {
        head.taken[index] = true;
        head.append(graph, index);
    }
    head
}

/// Whether an operation is a layer on vectors, or part of the linear layer before it.
fn belongs(graph: &Graph, op: &Op, before: usize, uses: &[usize]) -> bool {
    let alone = uses[before] == 1;
    match op {
        Op::Linear { .. } | Op::Softmax | Op::LogSoftmax | Op::Flatten => true,
        Op::Clip { .. } => alone && matches!(graph.nodes[before].op, Op::Linear { .. }),
        Op::Function(_) if alone => match &graph.nodes[before].op {
            Op::Linear { .. } => true,
            Op::Clip { .. } => {
                let linear = graph.nodes[before].inputs[0];
                uses[linear] == 1 && matches!(graph.nodes[linear].op, Op::Linear { .. })
            }
            _ => false,
        },
        _ => false,
    }
}

impl Head {
    fn append(&mut self, graph: &Graph, index: usize) {
        let node = &graph.nodes[index];
        let work = match &node.op {
            Op::Linear { weight, bias, .. } => {
                VectorWork::Linear { weight: weight.clone(), bias: bias.clone(), finish: Finish::NONE }
            }
            Op::Softmax => VectorWork::Softmax,
            Op::LogSoftmax => VectorWork::LogSoftmax,
            &Op::Clip { low, high } => return self.finish_last(Some(Bounds { low, high }), None),
            &Op::Function(function) => return self.finish_last(None, Some(function)),
            _ => return,
        };
        self.layers.push(VectorUnit { name: node.name.clone(), work });
    }

    /// Bounds or a function of the linear layer that was added last.
    fn finish_last(&mut self, bounds: Option<Bounds>, function: Option<Function>) {
        if let Some(VectorUnit { work: VectorWork::Linear { finish, .. }, .. }) = self.layers.last_mut() {
            finish.bounds = bounds.unwrap_or(finish.bounds);
            finish.function = function.or(finish.function);
        }
    }
}
