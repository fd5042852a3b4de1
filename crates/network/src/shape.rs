//! The shape of every node's result, and what follows from shapes: multiply-adds and numbers to keep.

use crate::{Conv, Error, Graph, Node, Op, Result, Window};
use std::fmt;

/// Shape of one node's result for one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `[C, H, W]`.
    Image([usize; 3]),
    /// `[C]`, after a flatten.
    Flat(usize),
}

impl Shape {
    /// How many numbers; what is beyond all numbers is the largest of them.
    pub const fn count(self) -> usize {
        match self {
            Self::Image([channels, height, width]) => channels.saturating_mul(height).saturating_mul(width),
            Self::Flat(channels) => channels,
        }
    }

    /// `C`.
    pub const fn channels(self) -> usize {
        match self {
            Self::Image([channels, ..]) | Self::Flat(channels) => channels,
        }
    }

    /// Height and width; 1 × 1 of a vector.
    pub const fn size(self) -> [usize; 2] {
        match self {
            Self::Image([_, height, width]) => [height, width],
            Self::Flat(_) => [1; 2],
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(shape) => write!(f, "{shape:?}"),
            Self::Flat(channels) => write!(f, "[{channels}]"),
        }
    }
}

impl Graph {
    /// The shape of each node's result for images of this height and width, in the order of the nodes.
    ///
    /// # Errors
    /// [`Error::Graph`] for the first node that does not fit what it reads, and why.
    pub fn shapes(&self, size: [usize; 2]) -> Result<Vec<Shape>> {
        let mut shapes: Vec<Shape> = Vec::with_capacity(self.nodes.len());
        for (position, node) in self.nodes.iter().enumerate() {
            let wrong = |reason: String| Error::Graph { node: node.name.clone(), reason };
            if matches!(node.op, Op::Input { .. }) != (position == 0) {
                return Err(wrong("the first node, and no other, is the input".to_owned()));
            }
            let inputs: Option<Vec<Shape>> =
                node.inputs.iter().map(|&input| shapes.get(input).copied()).collect();
            let inputs = inputs.ok_or_else(|| wrong("reads a node that comes later".to_owned()))?;
            shapes.push(self.shape(node, &inputs, size).map_err(wrong)?);
        }
        match shapes.get(self.output) {
            Some(_) => Ok(shapes),
            None => {
                Err(Error::Graph { node: "output".to_owned(), reason: "there is no such node".to_owned() })
            }
        }
    }

    fn shape(&self, node: &Node, inputs: &[Shape], size: [usize; 2]) -> Result<Shape, String> {
        let expected = match node.op {
            Op::Input { .. } => 0,
            Op::Add => 2,
            _ => 1,
        };
        if inputs.len() != expected {
            return Err(format!("reads {} results, and needs {expected}", inputs.len()));
        }
        let Some(&x) = inputs.first() else {
            return Ok(Shape::Image([self.channels(), size[0], size[1]]));
        };
        match &node.op {
            Op::Input { .. } | Op::Clip(_) => Ok(x),
            Op::Conv(conv) => self.convolved(conv, image(x)?),
            Op::BatchNorm(norm) => {
                for id in [norm.scale, norm.offset, norm.mean, norm.variance] {
                    self.holds(id, &[x.channels()])?;
                }
                Ok(x)
            }
            Op::Add if inputs[1] == x => Ok(x),
            Op::Add => Err(format!("adds {x} and {}", inputs[1])),
            Op::MaxPool(window) | Op::AveragePool { window, .. } => {
                let [channels, height, width] = image(x)?;
                let [height, width] = windows(window, [height, width])?;
                Ok(Shape::Image([channels, height, width]))
            }
            Op::GlobalAveragePool => Ok(Shape::Image([image(x)?[0], 1, 1])),
            Op::Flatten => Ok(Shape::Flat(x.count())),
            &Op::Linear { weight, bias } => {
                let Shape::Flat(inputs) = x else { return Err(format!("reads {x}, which is not flat")) };
                let outputs = self.sides(weight)?.get(1).copied().unwrap_or(0);
                self.holds(weight, &[inputs, outputs])?;
                bias.map_or(Ok(()), |bias| self.holds(bias, &[outputs]))?;
                Ok(Shape::Flat(outputs))
            }
            Op::Softmax => Ok(x),
        }
    }

    fn convolved(&self, conv: &Conv, [channels, height, width]: [usize; 3]) -> Result<Shape, String> {
        let Conv { weight, bias, outputs, groups, window } = conv;
        if *groups == 0 || !channels.is_multiple_of(*groups) || !outputs.is_multiple_of(*groups) {
            return Err(format!("{groups} groups of {channels} and {outputs} channels"));
        }
        self.holds(*weight, &[*outputs, channels / groups, window.kernel[0], window.kernel[1]])?;
        bias.map_or(Ok(()), |bias| self.holds(bias, &[*outputs]))?;
        let [height, width] = windows(window, [height, width])?;
        Ok(Shape::Image([*outputs, height, width]))
    }

    fn sides(&self, id: usize) -> Result<&[usize], String> {
        let parameter = self.parameters.get(id).ok_or_else(|| format!("there is no parameter {id}"))?;
        Ok(&parameter.shape)
    }

    fn holds(&self, id: usize, shape: &[usize]) -> Result<(), String> {
        match self.sides(id)? {
            sides if sides == shape => Ok(()),
            sides => Err(format!(
                "`{}` has the shape {sides:?}, and {shape:?} is needed",
                self.parameters[id].name
            )),
        }
    }

    /// Multiply-adds of each node for one image: those of convolutions and linear layers, as papers count them.
    ///
    /// # Errors
    /// As [`Graph::shapes`].
    pub fn macs(&self, size: [usize; 2]) -> Result<Vec<u64>> {
        let shapes = self.shapes(size)?;
        let of = |(node, shape): (&Node, &Shape)| match node.op {
            Op::Conv(Conv { weight, .. }) => {
                let [height, width] = shape.size();
                (self.parameters[weight].count() as u64).saturating_mul((height * width) as u64)
            }
            Op::Linear { weight, .. } => self.parameters[weight].count() as u64,
            _ => 0,
        };
        Ok(self.nodes.iter().zip(&shapes).map(of).collect())
    }
}

fn image(x: Shape) -> Result<[usize; 3], String> {
    match x {
        Shape::Image(shape) => Ok(shape),
        Shape::Flat(_) => Err(format!("reads {x}, which is no image")),
    }
}

/// How many windows there are along both axes.
fn windows(window: &Window, size: [usize; 2]) -> Result<[usize; 2], String> {
    let outputs = [0, 1].map(|axis| window.outputs(axis, size[axis]));
    match outputs.contains(&0) {
        true => Err(format!("no window of {:?} fits into {size:?}", window.kernel)),
        false => Ok(outputs),
    }
}
