//! The layers of a graph that can be pruned, as matrices.

use super::{OneshotConfig, OneshotError};
use crate::config::ParamsType;
use crate::error::{Error, Result};
use regex::RegexSet;
use sparse_engine::graph::{Convolution, Function, Graph, Op, Window};
use sparse_engine::{Shape, shapes};
use sparse_oneshot::{Places, Problem, Pruned, Statistics, Support};
use sparse_sparsity::Mask;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A convolution or linear layer, whose weight is a matrix for each group of channels.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub(super) node: usize,
    /// Its node's name, as the engine reports it.
    pub(super) node_name: String,
    /// The node that it reads.
    pub(super) reads: usize,
    /// Its parameter.
    pub(super) name: String,
    pub(super) groups: usize,
    /// Outputs of a group.
    pub(super) outputs: usize,
    /// Inputs of a group, with the positions of the kernel.
    pub(super) inputs: usize,
    /// Positions of the kernel.
    pub(super) positions: usize,
    /// Where the kernel goes; none for a linear layer.
    window: Option<Window>,
    /// Beyond which bounds the activation that alone reads its output is flat.
    pub(super) bounds: Option<[f32; 2]>,
    /// Pixels of its output.
    pub(super) pixels: usize,
}

/// Those that may be pruned, in their order; `raw`: the graph with weights as the file has them.
///
/// # Errors
/// [`OneshotError::NothingToPrune`] if there are none, [`OneshotError::Pattern`] of a pattern that is no regular expression,
/// [`OneshotError::NotFinite`] if a layer, to be pruned or not, has weights that are no numbers, [`OneshotError::SharedWeight`] if two
/// that may be pruned are the same weight.
pub(super) fn of(graph: &Graph, raw: &Graph, config: &OneshotConfig) -> Result<Vec<Layer>> {
    let patterns = |given: &[String]| {
        RegexSet::new(given).map_err(|error| OneshotError::Pattern { reason: error.to_string() })
    };
    let (include, exclude) = (patterns(&config.include)?, patterns(&config.exclude)?);
    let chosen = |layer: &&Layer| {
        let pointwise = layer.window.is_some_and(|window| window.kernel == [1, 1]) && layer.groups == 1;
        let kind = match config.params_type {
            ParamsType::Conv1x1Only => pointwise,
            // A kernel for each channel has nothing to choose from; who wants it names it.
            ParamsType::All => layer.outputs > 1 || layer.groups == 1 || !include.is_empty(),
        };
        kind && (include.is_empty() || include.is_match(&layer.name)) && !exclude.is_match(&layer.name)
    };
    let all = all(graph)?;
    let layers: Vec<Layer> = all.iter().filter(chosen).cloned().collect();
    if layers.is_empty() {
        let names: Vec<&str> = all.iter().map(|layer| layer.name.as_str()).collect();
        return Err(OneshotError::NothingToPrune { found: names.join(", ") }.into());
    }
    refuse_not_finite(graph, &all)?;
    refuse_shared(raw, &layers)?;
    Ok(layers)
}

/// Weights and biases that are no numbers spoil all that comes after them, or are hidden by a bound: no layer may have any.
pub(super) fn refuse_not_finite(graph: &Graph, layers: &[Layer]) -> Result<()> {
    for layer in layers {
        for (what, values) in ["weight", "bias"].into_iter().zip(parameters(&graph.nodes[layer.node].op)) {
            if let Some(index) = values.iter().position(|value| !value.is_finite()) {
                return Err(OneshotError::NotFinite { layer: layer.name.clone(), what, index }.into());
            }
        }
    }
    Ok(())
}

/// All that have weights, in their order.
///
/// # Errors
/// If the graph does not fit together.
pub(super) fn all(graph: &Graph) -> Result<Vec<Layer>> {
    let shapes = shapes(graph).map_err(sparse_engine::Error::from)?;
    let of = |(node, &shape): (usize, &Shape)| Layer::of(graph, node, shape);
    Ok(shapes.iter().enumerate().filter_map(of).collect())
}

/// Two layers with the same numbers have one weight: the file holds it once, or that of one was copied for the other.
fn refuse_shared(raw: &Graph, layers: &[Layer]) -> Result<()> {
    let mut seen: BTreeMap<Vec<u32>, &Layer> = BTreeMap::new();
    for layer in layers {
        let Some(weight) = layer.raw(raw) else { continue };
        // Constants and single numbers are alike by chance.
        if weight.iter().all(|value| Some(value) == weight.first()) {
            continue;
        }
        let bits = weight.iter().map(|value| value.to_bits()).collect();
        if let Some(first) = seen.insert(bits, layer) {
            let (first, second) = (first.name.clone(), layer.name.clone());
            return Err(OneshotError::SharedWeight { first, second }.into());
        }
    }
    Ok(())
}

/// What became of a layer.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// Weights that are left.
    pub(super) kept: usize,
    /// By how much its output changed.
    pub(super) relative_error: f64,
    /// What comes out of it; empty if its weights are as they were.
    pub(super) spread: Spread,
}

/// Mean and variance of each output of a layer, without its bias, for what it reads in the pruned network.
pub(super) type Spread = Vec<[f32; 2]>;

/// The spread of a group.
pub(super) fn spread(problem: &Problem, weight: &[f32]) -> Spread {
    problem.outputs(weight).into_iter().map(|output| output.map(|value| value as f32)).collect()
}

/// The weight of an operation that has one.
pub(super) fn weight(op: &Op) -> Option<&[f32]> {
    parameters(op).first().copied()
}

/// The weight and the bias of an operation that has them.
pub(super) fn parameters(op: &Op) -> Vec<&[f32]> {
    match op {
        Op::Convolution(convolution) => vec![&convolution.weight, &convolution.bias],
        Op::Linear { weight, bias, .. } => vec![weight, bias],
        _ => Vec::new(),
    }
}

/// Where what reads a node is flat: at or below the first and at or above the second bound, if that is one activation that has any.
fn bounds_after(graph: &Graph, node: usize) -> Option<[f32; 2]> {
    let mut readers = graph.nodes.iter().filter(|reader| reader.inputs.contains(&node));
    let (Some(reader), None) = (readers.next(), readers.next()) else { return None };
    match reader.op {
        _ if node == graph.output => None,
        Op::Clip { low, high } => Some([low, high]),
        Op::Function(Function::HardSwish) => Some([-3.0, f32::INFINITY]),
        Op::Function(Function::HardSigmoid { alpha, beta }) if alpha > 0.0 => {
            Some([-beta / alpha, (1.0 - beta) / alpha])
        }
        _ => None,
    }
}

impl Layer {
    fn of(graph: &Graph, node: usize, shape: Shape) -> Option<Self> {
        let pixels = match shape {
            Shape::Image([_, height, width]) => height * width,
            _ => 1,
        };
        let node_name = graph.nodes[node].name.clone();
        let name = format!("{node_name}_weights");
        let &reads = graph.nodes[node].inputs.first()?;
        let bounds = bounds_after(graph, node);
        match &graph.nodes[node].op {
            Op::Convolution(Convolution {
                shape: [outputs, inputs, height, width], groups, window, ..
            }) => Some(Self {
                node,
                node_name,
                reads,
                name,
                groups: *groups,
                outputs: outputs / groups,
                inputs: inputs * height * width,
                positions: height * width,
                window: Some(*window),
                bounds,
                pixels,
            }),
            Op::Linear { weight, bias, .. } => Some(Self {
                node,
                node_name,
                reads,
                name,
                groups: 1,
                outputs: bias.len(),
                inputs: weight.len() / bias.len().max(1),
                positions: 1,
                window: None,
                bounds,
                pixels,
            }),
            _ => None,
        }
    }

    /// Its weights.
    pub(super) fn len(&self) -> usize {
        self.groups * self.outputs * self.inputs
    }

    /// The weights of a group, `[outputs, inputs]`.
    pub(super) fn weight<'a>(&self, graph: &'a Graph, group: usize) -> &'a [f32] {
        let size = self.outputs * self.inputs;
        weight(&graph.nodes[self.node].op).map_or(&[], |weight| &weight[group * size..][..size])
    }

    /// Whether it is a linear layer.
    pub(super) fn is_linear(&self) -> bool {
        self.window.is_none()
    }

    /// The support of a group that keeps so many weights of the layer, one weight or block at least.
    pub(super) fn support(&self, config: &OneshotConfig, kept: f64) -> Support {
        let kept = kept / self.groups as f64;
        match config.pattern {
            Some([n, m]) => Support::Pattern { n, m, apart: self.positions },
            None => match self.block(config.block) {
                [1, 1] => Support::Count((kept.round() as usize).max(1)),
                size => {
                    let (blocks, weights) =
                        (Support::blocks(size, self.outputs, self.inputs), self.outputs * self.inputs);
                    Support::Blocks {
                        size,
                        count: ((kept / weights as f64 * blocks as f64).round() as usize).max(1),
                    }
                }
            },
        }
    }

    /// A block as rows and columns of the matrix: it holds the whole kernel, as in training.
    pub(super) fn block(&self, [rows, columns]: [usize; 2]) -> [usize; 2] {
        match [rows, columns] {
            [1, 1] => [1, 1],
            // Training has the head's weight as `[inputs, outputs]`.
            _ if self.is_linear() => [columns, rows],
            _ => [rows, columns * self.positions],
        }
    }

    /// The mask of its weight as our training has it, in the order of the matrix: there a linear layer is `[inputs, outputs]`.
    pub(super) fn mask_from_training(&self, mask: &Mask) -> Mask {
        if !self.is_linear() {
            return mask.clone();
        }
        Mask::from_fn(mask.len(), |at| mask.get(at % self.inputs * self.outputs + at / self.inputs))
    }

    /// The reverse of [`Layer::mask_from_training`].
    pub(super) fn mask_for_training(&self, mask: &Mask) -> Mask {
        if !self.is_linear() {
            return mask.clone();
        }
        Mask::from_fn(mask.len(), |at| mask.get(at % self.outputs * self.inputs + at / self.outputs))
    }

    /// The part of a mask that belongs to a group.
    pub(super) fn mask_of_group(&self, mask: &Mask, group: usize) -> Mask {
        let size = self.outputs * self.inputs;
        Mask::from_fn(size, |at| mask.get(group * size + at))
    }

    /// Its weight in a graph with nodes of the same names, groups one behind the other.
    pub(super) fn raw<'a>(&self, raw: &'a Graph) -> Option<&'a [f32]> {
        raw.nodes.iter().find(|node| node.name == self.node_name).and_then(|node| weight(&node.op))
    }

    /// Takes what was pruned.
    pub(super) fn set(&self, graph: &mut Graph, group: usize, pruned: &Pruned) {
        let Some([weight, bias]) = self.parameters(graph) else { return };
        let size = self.outputs * self.inputs;
        weight[group * size..][..size].copy_from_slice(&pruned.weight);
        let bias = &mut bias[group * self.outputs..][..self.outputs];
        bias.iter_mut().zip(&pruned.bias).for_each(|(bias, shift)| *bias = (f64::from(*bias) + shift) as f32);
    }

    /// Takes its weights and biases from another graph.
    pub(super) fn copy(&self, from: &Graph, to: &mut Graph) {
        to.nodes[self.node].op.clone_from(&from.nodes[self.node].op);
    }

    /// The same layer in another graph, at `node`; `bounded`: whether what comes after it matters.
    pub(super) fn moved(&self, graph: &Graph, node: usize, bounded: bool) -> Self {
        let reads = graph.nodes[node].inputs.first().copied().unwrap_or(self.reads);
        Self { node, reads, bounds: self.bounds.filter(|_| bounded), ..self.clone() }
    }

    /// What to minimise for a group.
    ///
    /// # Errors
    /// [`OneshotError::Layer`].
    pub(super) fn problem(
        &self,
        statistics: &Statistics,
        graph: &Graph,
        group: usize,
        config: &OneshotConfig,
    ) -> Result<Problem> {
        statistics.problem(self.weight(graph, group), config.damp).map_err(|source| self.error(source))
    }

    /// Places of a group to look at beside its statistics, if an activation with bounds comes next.
    pub(super) fn places(&self, graph: &Graph, group: usize) -> Option<Places> {
        let bias = match &graph.nodes[self.node].op {
            Op::Convolution(convolution) => &convolution.bias,
            Op::Linear { bias, .. } => bias,
            _ => return None,
        };
        let bias = &bias[group * self.outputs..][..self.outputs];
        self.bounds.map(|bounds| Places::new(self.weight(graph, group), bias, bounds))
    }

    /// A group whose weights stay as they are, or go by the mask of the layer.
    pub(super) fn masked(
        &self,
        problem: &Problem,
        places: Option<&Places>,
        graph: &Graph,
        group: usize,
        mask: &Mask,
    ) -> Pruned {
        let weight = self.weight(graph, group);
        let mask = Mask::from_fn(weight.len(), |at| mask.get(group * weight.len() + at));
        let masked = weight.iter().enumerate().map(|(at, &value)| if mask.get(at) { value } else { 0.0 });
        let (weight, bias): (Vec<f32>, _) = (masked.collect(), vec![0.0; self.outputs]);
        let relative_error = match places {
            Some(places) => places.relative_error(&weight, &bias),
            None => problem.relative_error(&weight),
        };
        Pruned { bias, relative_error, mask, weight }
    }

    /// An error of this layer.
    pub(super) fn error(&self, source: sparse_oneshot::Error) -> Error {
        OneshotError::Layer { layer: self.name.clone(), source }.into()
    }

    /// Its weight and bias, to be changed: what the weights were multiples of is forgotten.
    pub(super) fn parameters<'a>(&self, graph: &'a mut Graph) -> Option<[&'a mut Vec<f32>; 2]> {
        match &mut graph.nodes[self.node].op {
            Op::Convolution(Convolution { weight, bias, scales, .. })
            | Op::Linear { weight, bias, scales } => {
                *scales = None;
                Some([weight, bias])
            }
            _ => None,
        }
    }

    /// What a group reads of an image at each place of its output, `[inputs, places]`.
    pub(super) fn unfold<'a>(&self, values: &'a [f32], shape: Shape, group: usize) -> Cow<'a, [f32]> {
        let (Some(window), Shape::Image([channels, height, width])) = (self.window, shape) else {
            return Cow::Borrowed(values);
        };
        if window == Window::square(1, 1, 0) {
            let own = channels / self.groups;
            return Cow::Borrowed(&values[group * own * height * width..][..own * height * width]);
        }
        let Some([rows, columns]) = window.output([height, width]) else { return Cow::Borrowed(&[]) };
        Cow::Owned(self.unfold_at(values, shape, group, 0..rows * columns))
    }

    /// The same at some places of its output.
    pub(super) fn unfold_at(
        &self,
        values: &[f32],
        shape: Shape,
        group: usize,
        places: impl Iterator<Item = usize> + Clone,
    ) -> Vec<f32> {
        let (Some(window), Shape::Image([channels, height, width])) = (self.window, shape) else {
            return values.to_vec();
        };
        let own = channels / self.groups;
        let values = &values[group * own * height * width..][..own * height * width];
        let Some([_, columns]) = window.output([height, width]) else { return Vec::new() };
        let mut unfolded = Vec::with_capacity(self.inputs * places.size_hint().0);
        for input in 0..self.inputs {
            let [down, right] = window.kernel;
            let (channel, position) = (input / (down * right), input % (down * right));
            let offset = [position / right * window.dilation[0], position % right * window.dilation[1]];
            let plane = &values[channel * height * width..][..height * width];
            for place in places.clone() {
                let at = |axis: usize, step: usize| {
                    (step * window.stride[axis] + offset[axis]).checked_sub(window.padding[axis])
                };
                let (y, x) = (at(0, place / columns), at(1, place % columns));
                let value = match (y, x) {
                    (Some(y), Some(x)) if y < height && x < width => plane[y * width + x],
                    _ => 0.0,
                };
                unfolded.push(value);
            }
        }
        unfolded
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sparse_engine::graph::Node;

    #[test]
    fn bounds_are_those_of_the_only_reader() {
        let relu6 = Op::Clip { low: 0.0, high: 6.0 };
        let hard = Op::Function(Function::HardSigmoid { alpha: 0.25, beta: 0.5 });
        let after = |readers: &[&Op], output: usize| {
            let node = |op: &Op, inputs: Vec<usize>| Node { name: String::new(), op: op.clone(), inputs };
            let mut nodes = vec![node(&Op::Input { shape: [1, 1, 1] }, vec![]), node(&Op::Flatten, vec![0])];
            nodes.extend(readers.iter().map(|op| node(op, vec![1])));
            bounds_after(&Graph { nodes, output }, 1)
        };
        assert_eq!(after(&[&relu6], 2), Some([0.0, 6.0]));
        assert_eq!(after(&[&Op::Function(Function::HardSwish)], 2), Some([-3.0, f32::INFINITY]));
        assert_eq!(after(&[&hard], 2), Some([-2.0, 2.0]));
        // Someone else sees the output as it is.
        assert_eq!(after(&[&relu6, &hard], 3), None);
        assert_eq!(after(&[&relu6], 1), None);
        assert_eq!(after(&[], 1), None);
    }
}
