//! The arrays of numpy, and the bytes they are made of.

use std::borrow::Cow;

use super::classes::{Class, numpy_dtype};
use super::machine::{Machine, Step};
use super::value::{NumpyType, text};
use super::{Array, Id, Value};
use crate::Dtype;

const NO_NUMBERS: &str = "it is an array whose elements are no plain numbers";
const OBJECTS: &str = "it is an array of objects, not of numbers";
const DERIVED: &str = "it is of a class derived from numpy.ndarray: save it as a plain array";
const ORDER: &str = "its elements lie in an order that is not known here: save a contiguous copy of it";
const STATE: &str = "it is an array with a state that is not known here";

impl<'a> Machine<'a> {
    /// `numpy.dtype(name)`.
    pub(super) fn dtype(&self, name: Id) -> Value<'a> {
        if matches!(self.value(name), Value::Class(Class::NumpyBfloat16)) {
            return Value::Dtype(NumpyType { dtype: Dtype::BF16, big_endian: false });
        }
        let Some(name) = text(&self.values, name) else { return Value::Refused(NO_NUMBERS) };
        let (big_endian, plain) = match name.strip_prefix('>') {
            Some(plain) => (true, plain),
            None => (false, name.trim_start_matches(['<', '|', '='])),
        };
        match numpy_dtype(plain) {
            Some(dtype) => Value::Dtype(NumpyType { dtype, big_endian }),
            None => Value::Refused(NO_NUMBERS),
        }
    }

    /// The state of an element type: version, byte order, and what it is made of, if it is no plain number.
    pub(super) fn dtype_of_state(&self, element: NumpyType, state: Id) -> Value<'a> {
        let Ok(state) = self.items(state) else { return Value::Refused(NO_NUMBERS) };
        let order = state.get(1).and_then(|&order| text(&self.values, order));
        let plain = state.iter().skip(2).take(3).all(|&part| matches!(self.value(part), Value::None));
        match order {
            Some("<" | "|" | "=") if plain => Value::Dtype(NumpyType { big_endian: false, ..element }),
            Some(">") if plain => Value::Dtype(NumpyType { big_endian: true, ..element }),
            _ => Value::Refused(NO_NUMBERS),
        }
    }

    /// `_reconstruct(class, shape, type)`: an array without its state.
    pub(super) fn reconstruct(&self, kind: Id) -> Value<'a> {
        match self.value(kind) {
            Value::Class(Class::Ndarray) => Value::Array(None),
            _ => Value::Refused(DERIVED),
        }
    }

    /// The state of an array: version, shape, element type, whether its first axis is the fastest, and its bytes.
    pub(super) fn array_of_state(&self, state: Id) -> Step<Value<'a>> {
        let state = self.items(state)?;
        let ([shape, element, fortran, data] | [_, shape, element, fortran, data]) = *state.as_slice() else {
            return Ok(Value::Refused(STATE));
        };
        let shape = self.sizes(shape)?;
        let fortran = match self.value(fortran) {
            Value::Bool(true) | Value::Int(1) => true,
            Value::Bool(false) | Value::Int(0) => false,
            _ => return Ok(Value::Refused(STATE)),
        };
        let strides = if fortran { fortran_strides(&shape) } else { c_strides(&shape) };
        Ok(self.array(element, data, shape, strides))
    }

    /// `_frombuffer(bytes, type, shape, order, axes)`.
    pub(super) fn array_of_buffer(
        &self,
        [data, element, shape, order]: [Id; 4],
        axes: &[Id],
    ) -> Step<Value<'a>> {
        let shape = self.sizes(shape)?;
        let axes = match axes {
            &[axes] if !matches!(self.value(axes), Value::None) => Some(self.sizes(axes)?),
            _ => None,
        };
        let (shape, strides) = match (text(&self.values, order), axes) {
            (Some("C"), None) => (shape.clone(), c_strides(&shape)),
            (Some("F"), None) => (shape.clone(), fortran_strides(&shape)),
            (Some("K"), Some(axes)) => match transposed(&shape, &axes) {
                Some(transposed) => transposed,
                None => return Ok(Value::Refused(ORDER)),
            },
            _ => return Ok(Value::Refused(ORDER)),
        };
        Ok(self.array(element, data, shape, strides))
    }

    fn array(&self, element: Id, data: Id, shape: Vec<usize>, strides: Vec<usize>) -> Value<'a> {
        match (self.value(element), self.value(data)) {
            (&Value::Dtype(element), Value::Bytes(_)) => {
                Value::Array(Some(Box::new(Array { element, shape, strides, data })))
            }
            (Value::Dtype(_), _) => Value::Refused(OBJECTS),
            (_, Value::List(_)) => Value::Refused(OBJECTS),
            _ => Value::Refused(NO_NUMBERS),
        }
    }

    /// Bytes from a text whose characters are bytes.
    pub(super) fn encode(&mut self, letters: Id, encoding: Id) -> Step<Value<'a>> {
        if !matches!(text(&self.values, encoding), Some("latin1" | "latin-1")) {
            return Ok(Value::Refused("it is a text in another encoding than latin1"));
        }
        let length = text(&self.values, letters).map_or(0, str::len);
        self.pay_bytes(length)?;
        let letters = text(&self.values, letters).ok_or("something that is no text is encoded")?;
        let bytes: Option<Vec<u8>> = letters.chars().map(|letter| u8::try_from(letter).ok()).collect();
        Ok(Value::Bytes(Cow::Owned(bytes.ok_or("a text has characters that latin1 has not")?)))
    }
}

/// Shape and distances of an array of `shape`, in C order, with its axes in another order.
fn transposed(shape: &[usize], axes: &[usize]) -> Option<(Vec<usize>, Vec<usize>)> {
    let mut sorted = axes.to_vec();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..shape.len()) {
        return None;
    }
    let strides = c_strides(shape);
    let of = |from: &[usize]| axes.iter().filter_map(|&axis| from.get(axis).copied()).collect();
    Some((of(shape), of(&strides)))
}

/// Distances between neighbours along each axis, the last axis fastest.
pub(in super::super) fn c_strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = running(shape.iter().rev());
    strides.reverse();
    strides
}

/// The same with the first axis fastest.
fn fortran_strides(shape: &[usize]) -> Vec<usize> {
    running(shape.iter())
}

fn running<'s>(lengths: impl Iterator<Item = &'s usize>) -> Vec<usize> {
    let stride = |product: &mut usize, &length: &usize| {
        let stride = *product;
        *product = product.saturating_mul(length);
        Some(stride)
    };
    lengths.scan(1, stride).collect()
}
