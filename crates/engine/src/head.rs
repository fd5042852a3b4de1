//! The layers at the end of a network: a chain on vectors, computed for a whole batch.

use crate::graph::{Function, Graph, Op, Quantization};
use crate::int8::Rows;
use sparse_inference::{Bounds, Finish};

/// A layer on vectors.
#[derive(Clone, Debug)]
pub(crate) struct VectorUnit {
    pub(crate) name: String,
    pub(crate) work: VectorWork,
}

#[derive(Clone, Debug)]
pub(crate) enum VectorWork {
    Linear {
        weight: Vec<f32>,
        bias: Vec<f32>,
        finish: Finish,
    },
    /// Of inputs that are rounded to bytes; `bias` in steps of the scale of the weights times that of the inputs.
    Int8 {
        weight: Vec<i8>,
        scales: Vec<f32>,
        bias: Vec<i32>,
        from: Quantization,
        finish: Finish,
    },
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
pub(crate) fn head(graph: &Graph, integers: bool) -> Head {
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
    if integers && let Some(before) = rounding(graph, at, &chain, &uses) {
        chain.push(at);
        at = before;
    }
    let mut head = Head { features: at, layers: Vec::new(), taken: vec![false; graph.nodes.len()] };
    let mut from = None;
    for &index in chain.iter().rev() {
        head.taken[index] = true;
        match graph.nodes[index].op {
            Op::Function(Function::Quantize(by)) => from = Some(by),
            Op::Flatten => (),
            _ => head.append(graph, index, from.take()),
        }
    }
    head
}

/// What is rounded to bytes at node `at`, if the first layer of the chain is a linear one of integers that alone reads it, perhaps flattened.
fn rounding(graph: &Graph, at: usize, chain: &[usize], uses: &[usize]) -> Option<usize> {
    let node = &graph.nodes[at];
    let first = chain.iter().rev().find(|&&node| !matches!(graph.nodes[node].op, Op::Flatten))?;
    let Op::Linear { weight, bias, scales } = &graph.nodes[*first].op else { return None };
    let Op::Function(Function::Quantize(from)) = node.op else { return None };
    let fits = uses[at] == 1 && linear_int8(weight, bias, scales.as_deref(), from).is_some();
    if fits { node.inputs.first().copied() } else { None }
}

/// A linear layer in integers, if it is one of whole multiples whose sums fit 32 bits.
fn linear_int8(
    weight: &[f32],
    bias: &[f32],
    scales: Option<&[f32]>,
    from: Quantization,
) -> Option<VectorWork> {
    let scales = scales.filter(|scales| scales.len() == bias.len())?;
    let Rows { weight, bias, scales } = Rows::new(weight, bias, scales, from)?;
    Some(VectorWork::Int8 { weight, scales, bias, from, finish: Finish::NONE })
}

/// Whether an operation is a layer on vectors, or part of the linear layer before it.
fn belongs(graph: &Graph, op: &Op, before: usize, uses: &[usize]) -> bool {
    let alone = uses[before] == 1;
    match op {
        Op::Linear { .. } | Op::Softmax | Op::LogSoftmax | Op::Flatten => true,
        Op::Clip { .. } => alone && matches!(graph.nodes[before].op, Op::Linear { .. }),
        Op::Function(function) if alone && !matches!(function, Function::Quantize(_)) => {
            match &graph.nodes[before].op {
                Op::Linear { .. } => true,
                Op::Clip { .. } => {
                    let linear = graph.nodes[before].inputs[0];
                    uses[linear] == 1 && matches!(graph.nodes[linear].op, Op::Linear { .. })
                }
                _ => false,
            }
        }
        _ => false,
    }
}

impl Head {
    /// `from` is what the inputs of the layer are rounded to, if they are.
    fn append(&mut self, graph: &Graph, index: usize, from: Option<Quantization>) {
        let node = &graph.nodes[index];
        let work = match &node.op {
            Op::Linear { weight, bias, scales } => {
                let int8 = from.and_then(|from| linear_int8(weight, bias, scales.as_deref(), from));
                int8.unwrap_or_else(|| {
                    let (weight, bias) = (weight.clone(), bias.clone());
                    VectorWork::Linear { weight, bias, finish: Finish::NONE }
                })
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
        if let Some(VectorUnit {
            work: VectorWork::Linear { finish, .. } | VectorWork::Int8 { finish, .. },
            ..
        }) = self.layers.last_mut()
        {
            finish.bounds = bounds.unwrap_or(finish.bounds);
            finish.function = function.or(finish.function);
        }
    }
}
