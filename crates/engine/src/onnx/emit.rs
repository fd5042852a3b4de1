//! The messages of a file that is written: nodes, attributes and constants, each under a name of its own.

use std::collections::HashSet;

use super::proto::{
    AttributeProto, DimensionProto, FLOAT, FLOAT_ATTRIBUTE, GraphProto, INT_ATTRIBUTE, INT64, INTS_ATTRIBUTE,
    NodeProto, SparseTensorProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};

/// A graph that grows, and the names it has used.
pub(super) struct Emitter {
    pub(super) graph: GraphProto,
    node_names: HashSet<String>,
    tensor_names: HashSet<String>,
    stores_sparse: bool,
}

impl Emitter {
    /// Name of the image.
    pub(super) const INPUT: &str = "input";
    /// Name of the result.
    pub(super) const OUTPUT: &str = "logits";

    pub(super) fn new(stores_sparse: bool) -> Self {
        let tensor_names = [Self::INPUT, Self::OUTPUT].map(str::to_owned).into();
        Self { graph: GraphProto::default(), node_names: HashSet::new(), tensor_names, stores_sparse }
    }

    /// A name for a node that no other has.
    pub(super) fn unique_node(&mut self, name: &str) -> String {
        unique(&mut self.node_names, name)
    }

    /// Adds a node, and returns the name of its result.
    pub(super) fn node(
        &mut self,
        operator: &str,
        name: &str,
        inputs: Vec<String>,
        is_output: bool,
    ) -> String {
        let output = if is_output { Self::OUTPUT.to_owned() } else { unique(&mut self.tensor_names, name) };
        self.graph.node.push(NodeProto {
            input: inputs,
            output: vec![output.clone()],
            name: Some(name.to_owned()),
            op_type: Some(operator.to_owned()),
            ..NodeProto::default()
        });
        output
    }

    /// Gives the last node an integer attribute, if there is a value.
    pub(super) fn int(&mut self, name: &str, value: Option<usize>) {
        let value = value.map(|value| value as i64);
        let attribute = AttributeProto { i: value, r#type: Some(INT_ATTRIBUTE), ..AttributeProto::default() };
        self.attribute(name, value.map(|_| attribute));
    }

    /// Gives the last node a list of integers as an attribute, if there is one.
    pub(super) fn ints(&mut self, name: &str, values: Option<Vec<usize>>) {
        let attribute = values.map(|values| AttributeProto {
            ints: values.into_iter().map(|value| value as i64).collect(),
            r#type: Some(INTS_ATTRIBUTE),
            ..AttributeProto::default()
        });
        self.attribute(name, attribute);
    }

    /// Gives the last node a real attribute, if there is a value.
    pub(super) fn float(&mut self, name: &str, value: Option<f32>) {
        let attribute =
            AttributeProto { f: value, r#type: Some(FLOAT_ATTRIBUTE), ..AttributeProto::default() };
        self.attribute(name, value.map(|_| attribute));
    }

    fn attribute(&mut self, name: &str, attribute: Option<AttributeProto>) {
        if let (Some(node), Some(attribute)) = (self.graph.node.last_mut(), attribute) {
            node.attribute.push(AttributeProto { name: Some(name.to_owned()), ..attribute });
        }
    }

    /// Adds a weight, without its zeros if that is asked for and half of it or more is zeros; returns its name.
    pub(super) fn weight(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        let kept = values.iter().filter(|&&value| value != 0.0).count();
        if !self.stores_sparse || kept == 0 || 2 * kept > values.len() {
            return self.constant(name, shape, values);
        }
        let name = unique(&mut self.tensor_names, name);
        let (places, kept): (Vec<i64>, Vec<f32>) = values
            .iter()
            .enumerate()
            .filter(|(_, value)| **value != 0.0)
            .map(|(place, &value)| (place as i64, value))
            .unzip();
        let indices = TensorProto {
            dims: vec![places.len() as i64],
            data_type: Some(INT64),
            raw_data: Some(places.iter().flat_map(|place| place.to_le_bytes()).collect()),
            ..TensorProto::default()
        };
        self.graph.sparse_initializer.push(SparseTensorProto {
            values: Some(tensor(&name, &[kept.len()], &kept)),
            indices: Some(indices),
            dims: sides(shape),
        });
        name
    }

    /// Adds a list of integers and returns its name.
    pub(super) fn integers(&mut self, name: &str, values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.raw(name, INT64, &[values.len()], bytes)
    }

    /// Adds a constant of any type, of which these are the bytes, and returns its name.
    pub(super) fn raw(&mut self, name: &str, data_type: i32, shape: &[usize], bytes: Vec<u8>) -> String {
        let name = unique(&mut self.tensor_names, name);
        self.graph.initializer.push(TensorProto {
            dims: sides(shape),
            data_type: Some(data_type),
            name: Some(name.clone()),
            raw_data: Some(bytes),
            ..TensorProto::default()
        });
        name
    }

    /// Adds a constant and returns its name.
    pub(super) fn constant(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        let name = unique(&mut self.tensor_names, name);
        self.graph.initializer.push(tensor(&name, shape, values));
        name
    }
}

/// A tensor of `f32` of these dimensions, as an input or output.
pub(super) fn value_info(name: &str, dim: Vec<DimensionProto>) -> ValueInfoProto {
    let tensor = TensorTypeProto { elem_type: Some(FLOAT), shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto { name: Some(name.to_owned()), r#type: Some(TypeProto { tensor_type: Some(tensor) }) }
}

fn tensor(name: &str, shape: &[usize], values: &[f32]) -> TensorProto {
    TensorProto {
        dims: sides(shape),
        data_type: Some(FLOAT),
        name: Some(name.to_owned()),
        raw_data: Some(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        ..TensorProto::default()
    }
}

fn sides(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|&side| side as i64).collect()
}

/// The name, or the first of `name_1`, `name_2`, … that is free.
fn unique(used: &mut HashSet<String>, name: &str) -> String {
    let name = if name.is_empty() { "node" } else { name };
    let mut candidate = name.to_owned();
    let mut number = 0;
    while !used.insert(candidate.clone()) {
        number += 1;
        candidate = format!("{name}_{number}");
    }
    candidate
}
