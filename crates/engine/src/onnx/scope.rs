//! What is known by name while a file is read, and the graph that grows.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::call::Call;
use super::proto::{SparseTensorProto, TensorProto};
use super::tensor::Constant;
use super::{OnnxError, UnsupportedOperator};
use crate::graph::{Node, Op};
use crate::shape::{Shape, node_shape};

/// Most numbers in all weights, 2 GiB of `f32`; a file of protobuf can hold no more.
const MOST_WEIGHTS: usize = 1 << 29;
/// Most numbers of constants that a file stores without their zeros.
const MOST_SPARSE: usize = 1 << 28;
/// Nodes that an error names for each operator.
const NAMED_NODES: usize = 5;

/// What a name of the file stands for.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    /// A result of the graph.
    Node(usize),
    /// A result with zeros around it: lines at the top, left, bottom and right.
    Padded(usize, [usize; 4]),
    /// A constant of the file.
    Tensor(&'a TensorProto),
    /// A constant of the file that is stored without its zeros.
    Sparse(&'a SparseTensorProto),
    /// A constant computed from others.
    Constant(Rc<Constant>),
    /// Integers that shapes are computed with.
    Sizes(Sizes),
    /// The result of an operator that is not supported.
    Unknown,
}

/// A few integers, some of which may be the number of images.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sizes {
    pub(super) sizes: Vec<Size>,
    /// Whether it is one number and no list of one.
    pub(super) is_scalar: bool,
}

/// An integer that a shape is computed with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Size {
    /// The number of images.
    Batch,
    Known(i64),
}

/// Names and the graph so far.
pub(super) struct Scope<'a> {
    /// The number of images, if the file fixes it.
    pub(super) batch: Option<i64>,
    pub(super) values: HashMap<&'a str, Value<'a>>,
    pub(super) nodes: Vec<Node>,
    shapes: Vec<Shape>,
    unsupported: BTreeMap<String, UnsupportedOperator>,
    weights_left: usize,
    sparse_left: usize,
}

impl<'a> Scope<'a> {
    pub(super) fn new(batch: Option<i64>) -> Self {
        Self {
            batch,
            values: HashMap::new(),
            nodes: Vec::new(),
            shapes: Vec::new(),
            unsupported: BTreeMap::new(),
            weights_left: MOST_WEIGHTS,
            sparse_left: MOST_SPARSE,
        }
    }

    /// Gives a name to a value.
    pub(super) fn define(&mut self, name: &'a str, value: Value<'a>) -> Result<(), OnnxError> {
        match self.values.insert(name, value) {
            Some(_) => Err(OnnxError::Duplicate { tensor: name.to_owned() }),
            None => Ok(()),
        }
    }

    /// What an input stands for; none if it is left out.
    pub(super) fn optional(&self, call: &Call<'a>, index: usize) -> Result<Option<Value<'a>>, OnnxError> {
        let Some(name) = call.input(index) else { return Ok(None) };
        let undefined = || OnnxError::Undefined { node: call.name().to_owned(), tensor: name.to_owned() };
        self.values.get(name).cloned().map(Some).ok_or_else(undefined)
    }

    /// What an input stands for.
    pub(super) fn input(&self, call: &Call<'a>, index: usize) -> Result<Value<'a>, OnnxError> {
        self.optional(call, index)?.ok_or_else(|| call.error(format!("input {index} is missing")))
    }

    /// The node of the graph that an input stands for.
    pub(super) fn node(&self, call: &Call<'a>, index: usize) -> Result<usize, OnnxError> {
        match self.input(call, index)? {
            Value::Node(node) => Ok(node),
            Value::Padded(..) => Err(call.error("only convolutions and means read a padded image")),
            _ => Err(call.error(format!("input {index} must depend on the image"))),
        }
    }

    /// An input that is a constant.
    pub(super) fn constant(&mut self, call: &Call<'a>, index: usize) -> Result<Constant, OnnxError> {
        let value = self.input(call, index)?;
        self.floats(call, &value)?
            .ok_or_else(|| call.error(format!("input {index} must be a constant of real numbers")))
    }

    /// The real numbers that a value stands for; none if it is no such constant.
    pub(super) fn floats(
        &mut self,
        call: &Call<'a>,
        value: &Value<'a>,
    ) -> Result<Option<Constant>, OnnxError> {
        match value {
            Value::Tensor(tensor) if !tensor.is_integer() => {
                self.take(tensor.count()?)?;
                tensor.floats().map(Some)
            }
            Value::Sparse(tensor) => {
                let left = self.sparse_left.checked_sub(tensor.count()?);
                let limit = OnnxError::TooLarge { what: "numbers in sparse constants", limit: MOST_SPARSE };
                self.sparse_left = left.ok_or(limit)?;
                tensor.floats().map(Some)
            }
            Value::Constant(constant) => {
                self.take(constant.values.len())?;
                Ok(Some(Constant::clone(constant)))
            }
            Value::Tensor(_) | Value::Node(_) | Value::Padded(..) | Value::Sizes(_) => Ok(None),
            Value::Unknown => Err(call.error("an input is not known")),
        }
    }

    /// An input that is one real number; none if it is left out.
    pub(super) fn scalar(&mut self, call: &Call<'a>, index: usize) -> Result<Option<f32>, OnnxError> {
        if self.optional(call, index)?.is_none() {
            return Ok(None);
        }
        match self.constant(call, index)?.values[..] {
            [number] => Ok(Some(number)),
            _ => Err(call.error(format!("input {index} must be one number"))),
        }
    }

    /// Counts numbers that are about to be kept.
    pub(super) fn take(&mut self, count: usize) -> Result<(), OnnxError> {
        let left = self.weights_left.checked_sub(count);
        let limit = OnnxError::TooLarge { what: "numbers in weights", limit: MOST_WEIGHTS };
        self.weights_left = left.ok_or(limit)?;
        Ok(())
    }

    /// The shape of a node's result.
    pub(super) fn shape(&self, node: usize) -> Shape {
        self.shapes[node]
    }

    /// Appends a node to the graph.
    pub(super) fn push(&mut self, name: &str, op: Op, inputs: Vec<usize>) -> Result<Value<'a>, OnnxError> {
        let node = Node { name: name.to_owned(), op, inputs };
        let shapes: Vec<Shape> = node.inputs.iter().map(|&input| self.shapes[input]).collect();
        self.shapes.push(node_shape(&node, &shapes)?);
        self.nodes.push(node);
        Ok(Value::Node(self.nodes.len() - 1))
    }

    /// Notes an operator that is not supported, so that one error can name all of them.
    pub(super) fn unsupported(&mut self, call: &Call<'a>) -> Value<'a> {
        let operator = call.full_operator();
        let entry = self.unsupported.entry(operator.clone());
        let entry = entry.or_insert_with(|| UnsupportedOperator { operator, nodes: Vec::new(), count: 0 });
        entry.count += 1;
        if entry.nodes.len() < NAMED_NODES {
            entry.nodes.push(call.name().to_owned());
        }
        Value::Unknown
    }

    /// The error that names every operator that is not supported.
    pub(super) fn refuse_unsupported(&mut self) -> Result<(), OnnxError> {
        if self.unsupported.is_empty() {
            return Ok(());
        }
        let operators = std::mem::take(&mut self.unsupported).into_values().collect();
        Err(OnnxError::Unsupported { operators })
    }
}
