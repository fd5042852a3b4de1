//! From a graph to what the kernels do: one unit for each step, with what can be done in the same pass.
//!
//! A convolution takes the addition, the bounds and the function after it along, and a depthwise convolution the 1×1
//! convolution after it. What is taken along must be read by nobody else. Concatenations, ranges of channels and other
//! shapes of the same numbers are no steps where memory can be laid out so that they are there already ([`crate::place`]).
//! Vectors are images of one pixel, except for the layers at the end, which work on a whole batch.

use crate::error::{Error, Result};
use crate::graph::{Convolution, Function, Graph, Node, Op, Quantization, Window};
use crate::head::{Head, VectorUnit, head};
use crate::int8::Int8;
use crate::place::{Alias, Placed, place};
use crate::shape::{GraphError, Shape, shapes};
use sparse_inference::{Bounds, Combination, Finish, Planes, Precision};
use std::collections::BTreeMap;

/// A step to be, whose products are not chosen yet.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    /// The node that gives it its name.
    pub(crate) name: String,
    /// Nodes it reads.
    pub(crate) inputs: Vec<usize>,
    /// The node whose value it makes.
    pub(crate) value: usize,
    /// How that lies in memory.
    pub(crate) planes: Planes,
    /// Its channels; bytes lie in planes of four.
    pub(crate) channels: usize,
    pub(crate) work: Work,
}

/// What a unit does.
#[allow(clippy::large_enum_variant, reason = "a network has some dozens")]
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// A product, perhaps of the result of a depthwise convolution; then a second input may be added.
    Product {
        depthwise: Option<Depthwise>,
        convolution: Convolution,
        finish: Finish,
    },
    /// A depthwise convolution alone.
    Depthwise(Depthwise),
    MaxPool(Window),
    AveragePool {
        window: Window,
        counted: [usize; 4],
    },
    Mean,
    Greatest,
    /// Of the first input, which has the shape of the result, and the second.
    Combine(Combination, Finish),
    Affine {
        scale: Vec<f32>,
        offset: Vec<f32>,
        finish: Finish,
    },
    Slope(Vec<f32>),
    Finish(Finish),
    Pad {
        lines: [usize; 4],
        value: f32,
    },
    /// For each channel which input, and which channel of it.
    Channels(Vec<(usize, usize)>),
    Reshape,
    /// A step that reads or makes bytes.
    Int8(Box<Int8>),
}

#[derive(Clone, Debug)]
pub(crate) struct Depthwise {
    pub(crate) convolution: Convolution,
    pub(crate) finish: Finish,
}

/// A graph in units.
#[derive(Clone, Debug)]
pub(crate) struct Lowered {
    /// `[C, H, W]`.
    pub(crate) image: [usize; 3],
    /// What products multiply that are not in integers.
    pub(crate) precision: Precision,
    pub(crate) units: Vec<Unit>,
    /// Where the values of nodes are to lie.
    pub(crate) placed: Placed,
    /// The node whose planes are the features.
    pub(crate) features: usize,
    pub(crate) layers: Vec<VectorUnit>,
}

/// Brings a graph into units; with `integers`, what can be computed in them is, and other products in `precision`.
///
/// # Errors
/// [`Error::Unsupported`] naming a node that cannot be brought into steps.
pub(crate) fn lower(graph: &Graph, integers: bool, precision: Precision) -> Result<Lowered> {
    let Some(Op::Input { shape }) = graph.nodes.first().map(|node| &node.op) else {
        return Err(GraphError::Empty.into());
    };
    let Head { features, layers, taken } = head(graph, integers);
    let [channels, height, width] = *shape;
    let mut lowering = Lowering {
        graph,
        shapes: shapes(graph)?,
        uses: graph.uses(),
        planes: vec![None; graph.nodes.len()],
        integers,
        bytes: vec![None; graph.nodes.len()],
        as_numbers: BTreeMap::new(),
        taken,
        units: Vec::new(),
        aliases: BTreeMap::new(),
    };
    lowering.planes[0] = Some(Planes::tight(channels, height, width));
    for (index, node) in graph.nodes.iter().enumerate().skip(1) {
        if lowering.taken[index] || lowering.int8(index) {
            continue;
        }
        let inputs = node.inputs.iter().map(|&input| lowering.numbers(input)).collect();
        let node = &Node { name: node.name.clone(), op: node.op.clone(), inputs };
        if !lowering.alias(index, node)? {
            lowering.unit(index, node)?;
        }
    }
    let features = lowering.numbers(features);
    let Lowering { planes, units, aliases, .. } = lowering;
    if planes.get(features).copied().flatten().is_none() {
        let node = graph.nodes.get(features).or_else(|| graph.nodes.last());
        return Err(node.map_or(GraphError::Empty.into(), |node| {
            unsupported(node, "its result is not what one step makes")
        }));
    }
    let (units, placed) = place(units, &planes, &aliases);
    Ok(Lowered { image: *shape, precision, units, placed, features, layers })
}

fn unsupported(node: &Node, what: &'static str) -> Error {
    Error::Unsupported { node: node.name.clone(), what }
}

/// A graph on its way to units. Values are those of nodes, and behind them those of bytes that became numbers.
pub(crate) struct Lowering<'a> {
    pub(crate) graph: &'a Graph,
    /// By value.
    pub(crate) shapes: Vec<Shape>,
    /// Readers of each node.
    uses: Vec<usize>,
    /// How the values that units have made lie in memory.
    pub(crate) planes: Vec<Option<Planes>>,
    /// Whether anything is computed in integers.
    pub(crate) integers: bool,
    /// What the bytes of those values that are bytes stand for.
    pub(crate) bytes: Vec<Option<Quantization>>,
    /// The values in which nodes of bytes are numbers.
    pub(crate) as_numbers: BTreeMap<usize, usize>,
    /// Nodes whose work another unit or a layer does.
    pub(crate) taken: Vec<bool>,
    pub(crate) units: Vec<Unit>,
    /// Nodes whose values are those of others.
    aliases: BTreeMap<usize, Alias>,
}

/// What a unit reads and makes, while it takes along what follows.
struct Reach {
    inputs: Vec<usize>,
    value: usize,
}

impl Lowering<'_> {
    /// The only node that reads `index`.
    pub(crate) fn reader(&self, index: usize) -> Option<usize> {
        if self.uses[index] != 1 || self.graph.output == index {
            return None;
        }
        let reader = (index + 1..self.graph.nodes.len())
            .find(|&later| self.graph.nodes[later].inputs.contains(&index));
        reader.filter(|&reader| !self.taken[reader])
    }

    fn input(&self, node: &Node, which: usize) -> Result<Planes> {
        self.planes[node.inputs[which]].ok_or_else(|| unsupported(node, "it reads what no step makes"))
    }

    /// How the result of a node lies in memory that steps write.
    pub(crate) fn planes_of(&self, index: usize) -> Planes {
        match self.shapes[index] {
            Shape::Image([channels, height, width]) => Planes::padded(channels, height, width),
            Shape::Flat(channels) => Planes::padded(channels, 1, 1),
        }
    }

    /// Notes a node whose result is nothing but channels of others, if they lie in planes with room for vectors.
    fn alias(&mut self, index: usize, node: &Node) -> Result<bool> {
        let from = self.input(node, 0)?;
        let planes = self.planes_of(index);
        let is_same = from.is_padded() && (from.height, from.width) == (planes.height, planes.width);
        let alias = match &node.op {
            Op::Flatten | Op::Reshape { .. } if is_same => Alias::Part { of: node.inputs[0], first: 0 },
            Op::Channels { order } if is_same && is_range(order) => {
                Alias::Part { of: node.inputs[0], first: order[0] }
            }
            Op::Concat => {
                let shuffled = self.reader(index).filter(|&reader| match &self.graph.nodes[reader].op {
                    Op::Channels { order } => !is_range(order),
                    _ => false,
                });
                if shuffled.is_some() {
                    // Who brings the channels into another order reads them where they are.
                    self.planes[index] = Some(planes);
                    return Ok(true);
                }
                Alias::Whole(node.inputs.clone())
            }
            _ => return Ok(false),
        };
        self.aliases.insert(index, alias);
        self.planes[index] = Some(planes);
        Ok(true)
    }

    fn unit(&mut self, index: usize, node: &Node) -> Result<()> {
        let from = self.input(node, 0)?;
        let mut reach = Reach { inputs: vec![node.inputs[0]], value: index };
        let mut name = node.name.clone();
        let work = match &node.op {
            Op::Convolution(convolution) if is_depthwise(convolution, from.channels) => {
                self.depthwise(convolution, &mut reach, &mut name)
            }
            Op::Convolution(convolution) => self.product(index, None, convolution.clone(), &mut reach),
            Op::Linear { weight, bias, scales } => {
                let shape = [bias.len(), from.channels, 1, 1];
                let convolution = Convolution {
                    weight: weight.clone(),
                    shape,
                    bias: bias.clone(),
                    groups: 1,
                    window: Window::square(1, 1, 0),
                    scales: scales.clone(),
                };
                self.product(index, None, convolution, &mut reach)
            }
            Op::MaxPool(window) => Work::MaxPool(*window),
            &Op::AveragePool { window, counted } => Work::AveragePool { window, counted },
            Op::GlobalAveragePool => Work::Mean,
            Op::GlobalMaxPool => Work::Greatest,
            Op::Add | Op::Sub | Op::Mul | Op::Div => {
                self.input(node, 1)?;
                let how = self.combination(index, node, &mut reach.inputs);
                Work::Combine(how, self.take_finish(&mut reach.value))
            }
            Op::Affine { scale, offset } => {
                let finish = self.take_finish(&mut reach.value);
                Work::Affine { scale: scale.clone(), offset: offset.clone(), finish }
            }
            &Op::Clip { low, high } => {
                let bounds = Bounds { low, high };
                Work::Finish(Finish { bounds, function: self.take_function(&mut reach.value) })
            }
            &Op::Function(function) => {
                Work::Finish(Finish { bounds: Bounds::NONE, function: Some(function) })
            }
            Op::PRelu { slope } => Work::Slope(slope.clone()),
            &Op::Pad { lines, value } => Work::Pad { lines, value },
            Op::Channels { order } => self.channels(node, order, &mut reach.inputs)?,
            Op::Flatten | Op::Reshape { .. } => Work::Reshape,
            Op::Input { .. } | Op::Concat => return Err(unsupported(node, "a second input")),
            Op::Softmax | Op::LogSoftmax => {
                return Err(unsupported(
                    node,
                    "a softmax must be the last layer, after the image is flattened",
                ));
            }
        };
        let Reach { inputs, value } = reach;
        let planes = self.planes_of(value);
        self.planes[value] = Some(planes);
        self.units.push(Unit { name, inputs, value, planes, channels: planes.channels, work });
        Ok(())
    }

    /// How two nodes are combined; the one that has the shape of the result becomes the first input.
    fn combination(&self, index: usize, node: &Node, inputs: &mut Vec<usize>) -> Combination {
        let &[left, right] = node.inputs.as_slice() else { return Combination::Add };
        let swapped = self.shapes[left] != self.shapes[index];
        *inputs = if swapped { vec![right, left] } else { vec![left, right] };
        match (&node.op, swapped) {
            (Op::Mul, _) => Combination::Mul,
            (Op::Sub, false) => Combination::Sub,
            (Op::Sub, true) => Combination::SubFrom,
            (Op::Div, false) => Combination::Div,
            (Op::Div, true) => Combination::DivInto,
            _ => Combination::Add,
        }
    }

    /// Channels in another order, read where they are if they come from a concatenation.
    fn channels(&self, node: &Node, order: &[usize], inputs: &mut Vec<usize>) -> Result<Work> {
        if let Some(whole) = self.graph.nodes.get(node.inputs[0])
            && matches!(whole.op, Op::Concat)
        {
            let numbers = |&input: &usize| self.as_numbers.get(&input).copied().unwrap_or(input);
            *inputs = whole.inputs.iter().map(numbers).collect();
        }
        let mut all = Vec::new();
        for (input, &from) in inputs.iter().enumerate() {
            let planes = self.planes[from].ok_or_else(|| unsupported(node, "it reads what no step makes"))?;
            all.extend((0..planes.channels).map(|channel| (input, channel)));
        }
        Ok(Work::Channels(order.iter().map(|&channel| all[channel]).collect()))
    }

    /// A depthwise convolution with the 1×1 convolution after it, if that alone reads it.
    fn depthwise(&mut self, convolution: &Convolution, reach: &mut Reach, name: &mut String) -> Work {
        let finish = self.take_finish(&mut reach.value);
        let depthwise = Depthwise { convolution: convolution.clone(), finish };
        match self.take_pointwise(reach.value) {
            Some((pointwise, convolution)) => {
                name.clone_from(&self.graph.nodes[pointwise].name);
                self.product(pointwise, Some(depthwise), convolution, reach)
            }
            None => Work::Depthwise(depthwise),
        }
    }

    /// A product with what follows it: an addition of something that is there already, bounds and a function.
    fn product(
        &mut self,
        index: usize,
        depthwise: Option<Depthwise>,
        convolution: Convolution,
        reach: &mut Reach,
    ) -> Work {
        reach.value = index;
        if let Some(sum) = self.reader(index)
            && matches!(self.graph.nodes[sum].op, Op::Add)
            && let Some(&other) = self.graph.nodes[sum].inputs.iter().find(|&&input| input != index)
            && self.bytes[other].is_none()
            && self.planes[other] == Some(self.planes_of(index))
        {
            reach.inputs.push(other);
            self.taken[sum] = true;
            reach.value = sum;
        }
        let finish = self.take_finish(&mut reach.value);
        Work::Product { depthwise, convolution, finish }
    }

    /// The bounds of a clip that alone reads `value`, which then is the clip's, and a function after it.
    fn take_finish(&mut self, value: &mut usize) -> Finish {
        let mut bounds = Bounds::NONE;
        if let Some(clip) = self.reader(*value)
            && let Op::Clip { low, high } = self.graph.nodes[clip].op
        {
            self.taken[clip] = true;
            *value = clip;
            bounds = Bounds { low, high };
        }
        Finish { bounds, function: self.take_function(value) }
    }

    /// The function that alone reads `value`, which then is its.
    fn take_function(&mut self, value: &mut usize) -> Option<sparse_inference::Function> {
        let reader = self.reader(*value)?;
        let Op::Function(function) = self.graph.nodes[reader].op else { return None };
        if self.integers && matches!(function, Function::Quantize(_)) {
            // It makes bytes.
            return None;
        }
        self.taken[reader] = true;
        *value = reader;
        Some(function)
    }

    /// The 1×1 convolution that alone reads `value`.
    fn take_pointwise(&mut self, value: usize) -> Option<(usize, Convolution)> {
        let reader = self.reader(value)?;
        match &self.graph.nodes[reader].op {
            Op::Convolution(convolution) if is_pointwise(convolution) => {
                self.taken[reader] = true;
                Some((reader, convolution.clone()))
            }
            _ => None,
        }
    }
}

/// Whether channels follow each other.
fn is_range(order: &[usize]) -> bool {
    order.windows(2).all(|pair| pair[1] == pair[0] + 1)
}

/// Whether each output reads one of so many `channels`.
pub(crate) fn is_depthwise(convolution: &Convolution, channels: usize) -> bool {
    let [outputs, inputs, ..] = convolution.shape;
    inputs == 1 && convolution.groups == outputs && outputs == channels && outputs > 1
}

/// Whether a convolution is a product with the pixels as they are.
pub(crate) fn is_pointwise(convolution: &Convolution) -> bool {
    let Window { kernel, stride, padding, .. } = convolution.window;
    convolution.groups == 1 && kernel == [1; 2] && stride == [1; 2] && padding == [0; 4]
}
