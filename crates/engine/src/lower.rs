//! From a graph to what the kernels do: one unit for each step, with what can be done in the same pass.
//!
//! A convolution takes the addition and the bounds after it along, and a depthwise convolution the 1×1 convolution after
//! it. What is taken along must be read by nobody else.

use crate::error::{Error, Result};
use crate::graph::{Convolution, Graph, Node, Op, Window};
use crate::shape::GraphError;
use sparse_kernels::host::inference::{Bounds, Planes};

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
    pub(crate) work: Work,
}

/// What a unit does.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// A product, perhaps of the result of a depthwise convolution; then a second input may be added.
    Product {
        depthwise: Option<Depthwise>,
        convolution: Convolution,
        bounds: Bounds,
    },
    /// A depthwise convolution alone.
    Depthwise(Depthwise),
    MaxPool(Window),
    AveragePool {
        window: Window,
        counted: [usize; 4],
    },
    Mean,
    Add(Bounds),
    Affine {
        scale: Vec<f32>,
        offset: Vec<f32>,
        bounds: Bounds,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Depthwise {
    pub(crate) convolution: Convolution,
    pub(crate) bounds: Bounds,
}

/// A layer on vectors.
#[derive(Clone, Debug)]
pub(crate) struct VectorUnit {
    pub(crate) name: String,
    pub(crate) work: VectorWork,
}

#[derive(Clone, Debug)]
pub(crate) enum VectorWork {
    Linear { weight: Vec<f32>, bias: Vec<f32>, bounds: Bounds },
    Softmax,
}

/// A graph in units.
#[derive(Clone, Debug)]
pub(crate) struct Lowered {
    /// `[C, H, W]`.
    pub(crate) image: [usize; 3],
    pub(crate) units: Vec<Unit>,
    /// The node whose planes are the features.
    pub(crate) features: usize,
    pub(crate) layers: Vec<VectorUnit>,
}

/// Brings a graph into units.
///
/// # Errors
/// [`Error::Unsupported`] naming a node that cannot be brought into steps.
pub(crate) fn lower(graph: &Graph) -> Result<Lowered> {
    let Some(Op::Input { shape }) = graph.nodes.first().map(|node| &node.op) else {
        return Err(GraphError::Empty.into());
    };
    let mut lowering = Lowering {
        graph,
        uses: graph.uses(),
        planes: vec![None; graph.nodes.len()],
        taken: vec![false; graph.nodes.len()],
        units: Vec::new(),
    };
    let [channels, height, width] = *shape;
    lowering.planes[0] = Some(Planes::tight(channels, height, width));
    let (mut features, mut layers) = (graph.output, Vec::new());
    let mut index = 1;
    while index < graph.nodes.len() {
        let node = &graph.nodes[index];
        if matches!(node.op, Op::Flatten) {
            features = node.inputs[0];
            layers = vector_units(graph, index)?;
            break;
        }
        if !lowering.taken[index] {
            lowering.unit(index, node)?;
        }
        index += 1;
    }
    if lowering.planes.get(features).copied().flatten().is_none() {
        return Err(unsupported(&graph.nodes[features], "its result is not what one step makes"));
    }
    Ok(Lowered { image: *shape, units: lowering.units, features, layers })
}

fn unsupported(node: &Node, what: &'static str) -> Error {
    Error::Unsupported { node: node.name.clone(), what }
}

struct Lowering<'a> {
    graph: &'a Graph,
    /// Readers of each node.
    uses: Vec<usize>,
    /// How the values that units have made lie in memory.
    planes: Vec<Option<Planes>>,
    /// Nodes whose work a unit does on the way to its value.
    taken: Vec<bool>,
    units: Vec<Unit>,
}

impl Lowering<'_> {
    /// The only node that reads `index`.
    fn reader(&self, index: usize) -> Option<usize> {
        if self.uses[index] != 1 || self.graph.output == index {
            return None;
        }
        (index + 1..self.graph.nodes.len()).find(|&later| self.graph.nodes[later].inputs.contains(&index))
    }

    fn input(&self, node: &Node, which: usize) -> Result<Planes> {
        self.planes[node.inputs[which]].ok_or_else(|| unsupported(node, "it reads what no step makes"))
    }

    fn unit(&mut self, index: usize, node: &Node) -> Result<()> {
        let from = self.input(node, 0)?;
        let mut inputs = vec![node.inputs[0]];
        let (mut value, mut name) = (index, node.name.clone());
        let (work, planes) = match &node.op {
            Op::Convolution(convolution) => {
                let mut planes = windowed(node, from, &convolution.window, convolution.shape[0])?;
                let work = if is_depthwise(convolution, from) {
                    let bounds = self.take_bounds(&mut value);
                    let depthwise = Depthwise { convolution: convolution.clone(), bounds };
                    match self.take_pointwise(value) {
                        Some((pointwise, convolution)) => {
                            name.clone_from(&self.graph.nodes[pointwise].name);
                            planes = Planes::padded(convolution.shape[0], planes.height, planes.width);
                            self.product(
                                pointwise,
                                Some(depthwise),
                                convolution,
                                planes,
                                (&mut inputs, &mut value),
                            )
                        }
                        None => Work::Depthwise(depthwise),
                    }
                } else {
                    self.product(index, None, convolution.clone(), planes, (&mut inputs, &mut value))
                };
                (work, planes)
            }
            Op::MaxPool(window) => (Work::MaxPool(*window), windowed(node, from, window, from.channels)?),
            Op::AveragePool { window, counted } => {
                let work = Work::AveragePool { window: *window, counted: *counted };
                (work, windowed(node, from, window, from.channels)?)
            }
            Op::GlobalAveragePool => (Work::Mean, Planes::padded(from.channels, 1, 1)),
            Op::Add => {
                inputs.push(node.inputs[1]);
                (Work::Add(self.take_bounds(&mut value)), same(from))
            }
            Op::Affine { scale, offset } => {
                let bounds = self.take_bounds(&mut value);
                (Work::Affine { scale: scale.clone(), offset: offset.clone(), bounds }, same(from))
            }
            &Op::Clip { low, high } => {
                let (scale, offset) = (vec![1.0; from.channels], vec![0.0; from.channels]);
                (Work::Affine { scale, offset, bounds: Bounds { low, high } }, same(from))
            }
            Op::Input { .. } => return Err(unsupported(node, "a second input")),
            Op::Function(_)
            | Op::PRelu { .. }
            | Op::Sub
            | Op::Mul
            | Op::Div
            | Op::Concat
            | Op::Channels { .. }
            | Op::Pad { .. }
            | Op::GlobalMaxPool
            | Op::Reshape { .. } => return Err(unsupported(node, "the engine has no step for it yet")),
            Op::Linear { .. } | Op::Softmax | Op::LogSoftmax | Op::Flatten => {
                return Err(unsupported(
                    node,
                    "it works on vectors, but nothing before it flattens the image",
                ));
            }
        };
        self.planes[value] = Some(planes);
        self.units.push(Unit { name, inputs, value, planes, work });
        Ok(())
    }

    /// A product with what follows it: an addition of something that is there already, and bounds.
    fn product(
        &mut self,
        index: usize,
        depthwise: Option<Depthwise>,
        convolution: Convolution,
        planes: Planes,
        (inputs, value): (&mut Vec<usize>, &mut usize),
    ) -> Work {
        *value = index;
        if let Some(sum) = self.reader(index)
            && matches!(self.graph.nodes[sum].op, Op::Add)
            && let Some(&other) = self.graph.nodes[sum].inputs.iter().find(|&&input| input != index)
            && self.planes[other] == Some(planes)
        {
            inputs.push(other);
            self.taken[sum] = true;
            *value = sum;
        }
        let bounds = self.take_bounds(value);
        Work::Product { depthwise, convolution, bounds }
    }

    /// The bounds of a clip that alone reads `value`, which then is the clip's.
    fn take_bounds(&mut self, value: &mut usize) -> Bounds {
        if let Some(clip) = self.reader(*value)
            && let Op::Clip { low, high } = self.graph.nodes[clip].op
        {
            self.taken[clip] = true;
            *value = clip;
            return Bounds { low, high };
        }
        Bounds::NONE
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

/// Planes of the same shape with room for vectors.
fn same(planes: Planes) -> Planes {
    Planes::padded(planes.channels, planes.height, planes.width)
}

fn windowed(node: &Node, from: Planes, window: &Window, channels: usize) -> Result<Planes> {
    let size = window.output([from.height, from.width]);
    let [height, width] = size.ok_or_else(|| unsupported(node, "its window is larger than the image"))?;
    Ok(Planes::padded(channels, height, width))
}

fn is_depthwise(convolution: &Convolution, from: Planes) -> bool {
    let [outputs, inputs, ..] = convolution.shape;
    inputs == 1 && convolution.groups == outputs && outputs == from.channels && outputs > 1
}

/// Whether a convolution is a product with the pixels as they are.
pub(crate) fn is_pointwise(convolution: &Convolution) -> bool {
    let Window { kernel, stride, padding, .. } = convolution.window;
    convolution.groups == 1 && kernel == [1; 2] && stride == [1; 2] && padding == [0; 4]
}

/// The layers from a flattening on; each must read the one before.
fn vector_units(graph: &Graph, flatten: usize) -> Result<Vec<VectorUnit>> {
    let mut units: Vec<VectorUnit> = Vec::new();
    let mut value = flatten;
    for (index, node) in graph.nodes.iter().enumerate().skip(flatten + 1) {
        if node.inputs != [value] {
            return Err(unsupported(
                node,
                "after the image is flattened, layers must follow one after the other",
            ));
        }
        let name = node.name.clone();
        let work = match &node.op {
            Op::Linear { weight, bias } => {
                VectorWork::Linear { weight: weight.clone(), bias: bias.clone(), bounds: Bounds::NONE }
            }
            Op::Softmax => VectorWork::Softmax,
            &Op::Clip { low, high } => match units.last_mut() {
                Some(VectorUnit { work: VectorWork::Linear { bounds, .. }, .. })
                    if *bounds == Bounds::NONE =>
                {
                    *bounds = Bounds { low, high };
                    value = index;
                    continue;
                }
                _ => return Err(unsupported(node, "bounds on vectors must follow a linear layer")),
            },
            Op::Flatten => {
                value = index;
                continue;
            }
            _ => return Err(unsupported(node, "it does not work on a flattened image")),
        };
        units.push(VectorUnit { name, work });
        value = index;
    }
    if graph.output != value {
        return Err(unsupported(&graph.nodes[graph.output], "the output is not the last layer"));
    }
    Ok(units)
}
