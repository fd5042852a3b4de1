//! What a pickle is made of.

use std::borrow::Cow;

use super::classes::Class;
use crate::Dtype;

/// Index of a value.
pub(in super::super) type Id = u32;

/// A value of a pickle; `'a` is the file.
#[derive(Clone, Debug)]
pub(in super::super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// A value that no tensor is made of: a fraction, a huge number, a set, a device.
    Opaque,
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    /// Keys and values in the order in which they were set.
    Dict(Vec<(Id, Id)>),
    /// A class or function of the list, not yet called.
    Class(Class),
    /// A class or function that is not in the list; module and name.
    Foreign(Box<[Cow<'a, str>; 2]>),
    /// What such a class would have made. It was not run.
    Object(Box<Object>),
    /// `numpy.dtype`.
    Dtype(NumpyType),
    /// `numpy.ndarray`; `None` until its state is set.
    Array(Option<Box<Array>>),
    /// A storage of torch, elsewhere in the file.
    Storage(Box<Storage>),
    /// A view of a storage of torch.
    Tensor(Box<StridedTensor>),
    /// A tensor or array that is not read, and why not.
    Refused(&'static str),
}

/// What a class that is not in the list was to make, as data.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Object {
    pub(in super::super) class: Id,
    pub(in super::super) arguments: Id,
    /// What would have been its attributes.
    pub(in super::super) state: Option<Id>,
    /// What was set in it as in a dictionary.
    pub(in super::super) entries: Vec<(Id, Id)>,
    /// What was appended to it as to a list.
    pub(in super::super) items: Vec<Id>,
}

/// Element type of a numpy array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct NumpyType {
    pub(in super::super) dtype: Dtype,
    pub(in super::super) big_endian: bool,
}

/// A numpy array.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Array {
    pub(in super::super) element: NumpyType,
    pub(in super::super) shape: Vec<usize>,
    /// In elements.
    pub(in super::super) strides: Vec<usize>,
    /// A [`Value::Bytes`].
    pub(in super::super) data: Id,
}

/// What `('storage', type, key, location, elements)` names.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Storage {
    /// The type of its numbers, or why they are not read.
    pub(in super::super) dtype: Result<Dtype, &'static str>,
    /// Bytes of a number.
    pub(in super::super) size: usize,
    pub(in super::super) key: String,
    /// The part that it is of the storage `key`, if it is not all of it: first element and their number.
    pub(in super::super) part: Option<[usize; 2]>,
}

/// A tensor of torch: a view of a storage, in elements.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct StridedTensor {
    pub(in super::super) storage: Storage,
    pub(in super::super) dtype: Dtype,
    pub(in super::super) offset: usize,
    pub(in super::super) shape: Vec<usize>,
    pub(in super::super) strides: Vec<usize>,
    /// Whether the numbers are stored with the other sign.
    pub(in super::super) negated: bool,
}

/// A pickle that was read.
#[derive(Debug)]
pub(in super::super) struct Pickle<'a> {
    /// Every value that was made.
    pub(in super::super) values: Vec<Value<'a>>,
    /// What it holds.
    pub(in super::super) root: Id,
    /// Bytes it took.
    pub(in super::super) length: usize,
}

impl<'a> Pickle<'a> {
    /// A value.
    pub(in super::super) fn get(&self, id: Id) -> &Value<'a> {
        self.values.get(id as usize).unwrap_or(&Value::None)
    }

    /// A text, or bytes that are one (Python 2 wrote names so).
    pub(in super::super) fn text(&self, id: Id) -> Option<&str> {
        text(&self.values, id)
    }

    /// What a class or function is called, short enough for a message.
    pub(in super::super) fn class_name(&self, id: Id) -> String {
        match self.get(id) {
            Value::Foreign(name) => super::machine::shortened(&name.join(".")),
            Value::Object(object) => match self.get(object.class) {
                Value::Foreign(name) => super::machine::shortened(&name.join(".")),
                _ => "a function".to_owned(),
            },
            _ => "a function".to_owned(),
        }
    }
}

/// Longest bytes that are looked at as a text.
const LONGEST_NAME: usize = 4096;

pub(super) fn text<'v>(values: &'v [Value<'_>], id: Id) -> Option<&'v str> {
    match values.get(id as usize)? {
        Value::Text(text) => Some(text),
        Value::Bytes(bytes) if bytes.len() <= LONGEST_NAME => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}
