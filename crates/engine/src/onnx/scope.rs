//! What is known by name while a file is read, and the graph that grows.

use std::collections::HashMap;
use std::rc::Rc;

use super::OnnxError;
use super::call::Call;
use super::constant::{Constant, Number, Size, count};
use super::external::Files;
use super::findings::Findings;
use super::proto::{SparseTensorProto, TensorProto};
use super::quantised::{Bytes, Steps};
use super::view::View;
use crate::graph::{Node, Op};
use crate::shape::{Shape, node_shape};

/// Most numbers in all constants that are computed or kept, 2 GiB of `f32`.
const MOST_NUMBERS: usize = 1 << 29;
/// Numbers that every file may have.
const FREE_NUMBERS: usize = 1 << 24;
/// Further numbers for each byte of the file and of those beside it: it takes some copies of a constant to compute others.
const NUMBERS_PER_BYTE: usize = 16;

/// What a name of the file stands for.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    /// A result of the graph.
    View(View),
    /// An image with lines around it.
    Padded(Padded),
    /// A constant of the file.
    Tensor(&'a TensorProto),
    /// A constant of the file that is stored without its zeros.
    Sparse(&'a SparseTensorProto),
    /// A constant computed from others.
    Constant(Rc<Constant>),
    /// The result of a node that cannot be read.
    Unknown,
}

/// An image with lines of one number around it.
#[derive(Clone, Debug)]
pub(super) struct Padded {
    pub(super) view: View,
    /// Lines at the top, left, bottom and right.
    pub(super) lines: [usize; 4],
    pub(super) number: f32,
}

impl Value<'_> {
    /// Whether it depends on the image.
    pub(super) const fn is_result(&self) -> bool {
        matches!(self, Value::View(_) | Value::Padded(_) | Value::Unknown)
    }
}

/// Names and the graph so far.
pub(super) struct Scope<'a> {
    /// The number of images, if the file fixes it.
    pub(super) batch: Option<i64>,
    values: HashMap<&'a str, Value<'a>>,
    /// Results that the file has as bytes, by their names.
    quantised: HashMap<&'a str, Bytes>,
    /// Constants that are whole multiples of scales, by their names.
    steps: HashMap<&'a str, Steps>,
    pub(super) nodes: Vec<Node>,
    shapes: Vec<Shape>,
    /// What the node that is being read makes besides its first output.
    pub(super) more: Vec<Value<'a>>,
    pub(super) findings: Findings,
    files: Files,
    /// Bytes of the model.
    bytes: usize,
    numbers: usize,
}

impl<'a> Scope<'a> {
    pub(super) fn new(batch: Option<i64>, bytes: usize, files: Files, findings: Findings) -> Self {
        Self {
            batch,
            values: HashMap::new(),
            quantised: HashMap::new(),
            steps: HashMap::new(),
            nodes: Vec::new(),
            shapes: Vec::new(),
            more: Vec::new(),
            findings,
            files,
            bytes,
            numbers: 0,
        }
    }

    /// Gives a name to a value.
    pub(super) fn define(&mut self, name: &'a str, value: Value<'a>) {
        if !name.is_empty() {
            self.values.insert(name, value);
        }
    }

    /// What a name stands for.
    pub(super) fn value(&self, name: &str) -> Option<&Value<'a>> {
        self.values.get(name)
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

    /// The result that an input stands for.
    pub(super) fn view(&mut self, call: &Call<'a>, index: usize) -> Result<View, OnnxError> {
        match self.input(call, index)? {
            Value::View(view) => Ok(view),
            Value::Padded(padded) => self.with_lines(call, &padded),
            _ => Err(call.error(format!("input {index} must depend on the image"))),
        }
    }

    /// An input that is a constant.
    pub(super) fn constant(&mut self, call: &Call<'a>, index: usize) -> Result<Constant, OnnxError> {
        let value = self.input(call, index)?;
        self.constant_of(&value)?.ok_or_else(|| {
            call.error(format!("input {index} must be a constant; export the model with constants folded"))
        })
    }

    /// An input that is a constant of real numbers: its shape and its numbers.
    pub(super) fn reals(
        &mut self,
        call: &Call<'a>,
        index: usize,
    ) -> Result<(Vec<usize>, Vec<f32>), OnnxError> {
        let mut constant = self.constant(call, index)?;
        let shape = std::mem::take(&mut constant.shape);
        let numbers = constant.into_reals();
        Ok((shape, numbers.ok_or_else(|| call.error(format!("input {index} must be real numbers")))?))
    }

    /// The constant that a value is; none if it depends on the image.
    pub(super) fn constant_of(&mut self, value: &Value<'a>) -> Result<Option<Constant>, OnnxError> {
        match value {
            Value::Tensor(tensor) => {
                if tensor.is_external() {
                    self.files.open(tensor)?;
                }
                self.take(&tensor.shape()?)?;
                tensor.constant(&mut self.files).map(Some)
            }
            Value::Sparse(tensor) => {
                self.take(&tensor.shape()?)?;
                tensor.constant(&mut self.files).map(Some)
            }
            Value::Constant(constant) => {
                self.take(&constant.shape)?;
                Ok(Some(Constant::clone(constant)))
            }
            Value::View(_) | Value::Padded(_) | Value::Unknown => Ok(None),
        }
    }

    /// The shape of a constant; none if the value depends on the image.
    pub(super) fn constant_shape(&self, value: &Value<'a>) -> Result<Option<Vec<usize>>, OnnxError> {
        match value {
            Value::Tensor(tensor) => tensor.shape().map(Some),
            Value::Sparse(tensor) => tensor.shape().map(Some),
            Value::Constant(constant) => Ok(Some(constant.shape.clone())),
            Value::View(_) | Value::Padded(_) | Value::Unknown => Ok(None),
        }
    }

    /// An input as integers of a shape; none if it is left out.
    pub(super) fn sizes(&mut self, call: &Call<'a>, index: usize) -> Result<Option<Vec<Size>>, OnnxError> {
        if call.input(index).is_none() {
            return Ok(None);
        }
        let sizes = self.constant(call, index)?.as_sizes();
        let wrong = || call.error(format!("input {index} must be a short list of integers"));
        sizes.map(Some).ok_or_else(wrong)
    }

    /// An input as integers, none of which is the number of images; none if it is left out.
    pub(super) fn integers(&mut self, call: &Call<'a>, index: usize) -> Result<Option<Vec<i64>>, OnnxError> {
        let Some(sizes) = self.sizes(call, index)? else { return Ok(None) };
        let known = |size| match size {
            Size::Known(number) => Some(number),
            Size::Batch => None,
        };
        let known: Option<Vec<i64>> = sizes.into_iter().map(known).collect();
        let open = || {
            call.error(format!(
                "input {index} depends on the number of images; export the model for one image"
            ))
        };
        known.map(Some).ok_or_else(open)
    }

    /// An input that is one real number; none if it is left out.
    pub(super) fn scalar(&mut self, call: &Call<'a>, index: usize) -> Result<Option<f32>, OnnxError> {
        if call.input(index).is_none() {
            return Ok(None);
        }
        match self.reals(call, index)?.1[..] {
            [number] => Ok(Some(number)),
            _ => Err(call.error(format!("input {index} must be one number"))),
        }
    }

    /// An input that is one integer or truth; none if it is left out.
    pub(super) fn whole(&mut self, call: &Call<'a>, index: usize) -> Result<Option<i64>, OnnxError> {
        if call.input(index).is_none() {
            return Ok(None);
        }
        let constant = self.constant(call, index)?;
        match (constant.len(), constant.get(0)) {
            (1, Some(Number::Whole(number))) => Ok(Some(number)),
            _ => Err(call.error(format!("input {index} must be one integer or truth value"))),
        }
    }

    /// Notes that the file has the results of a node as bytes.
    pub(super) fn note_bytes(&mut self, call: &Call<'a>, bytes: Bytes) {
        call.node.output.iter().for_each(|name| _ = self.quantised.insert(name, bytes));
    }

    /// How an input is bytes in the file, if it is.
    pub(super) fn bytes(&self, call: &Call<'a>, index: usize) -> Option<Bytes> {
        self.quantised.get(call.input(index)?).copied()
    }

    /// Whether the file has a tensor as bytes.
    pub(super) fn is_bytes(&self, name: &str) -> bool {
        self.quantised.contains_key(name)
    }

    /// Notes what the constants that a node makes are whole multiples of.
    pub(super) fn note_steps(&mut self, call: &Call<'a>, steps: Steps) {
        call.node.output.iter().for_each(|name| _ = self.steps.insert(name, steps.clone()));
    }

    /// What an input is a whole multiple of, if that is known.
    pub(super) fn steps(&self, call: &Call<'a>, index: usize) -> Option<&Steps> {
        self.steps.get(call.input(index)?)
    }

    /// Counts the numbers of a constant that is about to be made.
    pub(super) fn take(&mut self, shape: &[usize]) -> Result<(), OnnxError> {
        let beside = usize::try_from(self.files.bytes()).unwrap_or(usize::MAX);
        let bytes = self.bytes.saturating_add(beside);
        let limit = bytes.saturating_mul(NUMBERS_PER_BYTE).saturating_add(FREE_NUMBERS).min(MOST_NUMBERS);
        let sum = count(shape).and_then(|count| self.numbers.checked_add(count));
        let too_large = OnnxError::TooLarge { what: "numbers in constants for a model of its size", limit };
        self.numbers = sum.filter(|&sum| sum <= limit).ok_or(too_large)?;
        Ok(())
    }

    /// The shape of a node's result.
    pub(super) fn shape(&self, node: usize) -> Shape {
        self.shapes[node]
    }

    /// Appends a node to the graph, and returns its index.
    pub(super) fn push(&mut self, name: &str, op: Op, inputs: Vec<usize>) -> Result<usize, OnnxError> {
        let node = Node { name: name.to_owned(), op, inputs };
        let shapes: Vec<Shape> = node.inputs.iter().map(|&input| self.shapes[input]).collect();
        self.shapes.push(node_shape(&node, &shapes)?);
        self.nodes.push(node);
        Ok(self.nodes.len() - 1)
    }

    /// Appends a node, the result of which has all its axes in their places.
    pub(super) fn result(
        &mut self,
        call: &Call<'a>,
        op: Op,
        inputs: Vec<usize>,
    ) -> Result<Value<'a>, OnnxError> {
        let node = self.push(call.name(), op, inputs)?;
        Ok(Value::View(View::of(node, self.shapes[node])))
    }

    /// Notes an operator that is not supported, so that one error can name all of them.
    pub(super) fn unsupported(&mut self, call: &Call<'a>) -> Value<'a> {
        self.findings.unsupported(call);
        Value::Unknown
    }
}
