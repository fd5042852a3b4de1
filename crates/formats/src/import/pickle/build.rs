//! What calling a class of the list makes, and what setting the state of a value does to it.

use std::borrow::Cow;

use super::classes::{Class, numpy_dtype};
use super::machine::{Machine, Step};
use super::value::{NumpyType, text};
use super::{Array, Id, Storage, StridedTensor, Value};

/// Most axes of an array.
const MOST_AXES: usize = 32;
/// Bytes in the longest key of a storage, which every tensor that views it repeats.
const LONGEST_KEY: usize = 64;

impl<'a> Machine<'a> {
    /// `REDUCE` and `NEWOBJ`: what `callee(*arguments)` makes.
    pub(super) fn call(&mut self, callee: Id, arguments: Id) -> Step<Id> {
        let Value::Class(class) = *self.value(callee) else {
            return Err("something that is no class is called".into());
        };
        let arguments = self.items(arguments)?;
        let first = arguments.first().copied();
        let value = match (class, arguments.as_slice()) {
            (Class::OrderedDict, []) => Value::Dict(Vec::new()),
            (Class::OrderedDict, &[pairs]) => Value::Dict(self.pairs(pairs)?),
            (Class::Counter | Class::Set | Class::TorchDevice | Class::NumpyScalar, _) => Value::Opaque,
            (Class::Tuple, &[items]) => Value::Tuple(self.items(items)?),
            (Class::TorchSize, &[size]) => return Ok(size),
            (Class::RebuildParameter, &[data, ..]) => return Ok(data),
            (Class::Encode, &[letters, encoding]) => self.encode(letters, encoding)?,
            (Class::NumpyDtype, &[name, ..]) => Value::Dtype(self.dtype(name)?),
            (Class::Reconstruct, _) => match first.map(|id| self.value(id)) {
                Some(Value::Class(Class::Ndarray)) => Value::Array(None),
                _ => return Err("an array is made of another class than numpy.ndarray".into()),
            },
            (Class::FromBuffer, &[data, element, shape, order]) => {
                let fortran = text(&self.values, order) == Some("F");
                self.array(element, shape, fortran, data)?
            }
            (Class::RebuildTensor, &[storage, offset, shape, strides, ..]) => {
                self.tensor(storage, offset, shape, strides)?
            }
            _ => return Err(format!("{class:?} is called with {} arguments", arguments.len()).into()),
        };
        Ok(self.add(value))
    }

    /// `BUILD`.
    pub(super) fn set_state(&mut self, object: Id, state: Id) -> Step<()> {
        let new = match self.value(object) {
            // The attribute `_metadata` of a state dict, and what counters and the like remember.
            Value::Dict(_) | Value::Opaque => return Ok(()),
            Value::Array(None) => {
                let &[_version, shape, element, fortran, data] = self.items(state)?.as_slice() else {
                    return Err("the state of an array has not five parts".into());
                };
                let fortran = matches!(self.value(fortran), Value::Bool(true) | Value::Int(1));
                self.array(element, shape, fortran, data)?
            }
            &Value::Dtype(element) => {
                let order = self.items(state)?.get(1).and_then(|&order| text(&self.values, order));
                let big_endian = match order {
                    Some("<" | "|") => false,
                    Some(">") => true,
                    _ => return Err("an element type has no byte order".into()),
                };
                Value::Dtype(NumpyType { big_endian, ..element })
            }
            _ => return Err("the state of something is set that has none".into()),
        };
        if let Some(slot) = self.values.get_mut(object as usize) {
            *slot = new;
        }
        Ok(())
    }

    /// `BINPERSID`: the storage that `('storage', type, key, location, elements)` names.
    pub(super) fn persistent(&self, name: Id) -> Step<Value<'a>> {
        let parts = self.items(name)?;
        let &[kind, class, key, _location, elements, ref view @ ..] = parts.as_slice() else {
            return Err("a persistent id has not five parts".into());
        };
        let whole = view.iter().all(|&view| matches!(self.value(view), Value::None));
        match (text(&self.values, kind), self.value(class), text(&self.values, key)) {
            (Some("storage"), &Value::Class(Class::Storage(dtype)), Some(key))
                if whole && key.len() <= LONGEST_KEY =>
            {
                let (key, elements) = (key.to_owned(), self.whole(elements)?);
                Ok(Value::Storage(Box::new(Storage { dtype, key, elements })))
            }
            (Some("storage"), _, Some(_)) if !whole => {
                Err("a storage is a part of another one; save it again with PyTorch 1.6 or later".into())
            }
            _ => Err("a persistent id is no storage of torch".into()),
        }
    }

    fn array(&self, element: Id, shape: Id, fortran: bool, data: Id) -> Step<Value<'a>> {
        let &Value::Dtype(element) = self.value(element) else {
            return Err("an array has no element type of plain numbers".into());
        };
        if !matches!(self.value(data), Value::Bytes(_)) {
            return Err("an array has no bytes (it holds objects)".into());
        }
        let shape = self.sizes(shape)?;
        Ok(Value::Array(Some(Box::new(Array { element, shape, fortran, data }))))
    }

    fn tensor(&self, storage: Id, offset: Id, shape: Id, strides: Id) -> Step<Value<'a>> {
        let Value::Storage(storage) = self.value(storage) else {
            return Err("a tensor has no storage".into());
        };
        let (shape, strides) = (self.sizes(shape)?, self.sizes(strides)?);
        if shape.len() != strides.len() {
            return Err("a tensor has not one stride per axis".into());
        }
        let (storage, offset) = ((**storage).clone(), self.whole(offset)?);
        Ok(Value::Tensor(Box::new(StridedTensor { storage, offset, shape, strides })))
    }

    /// Bytes from a text whose characters are bytes.
    fn encode(&mut self, letters: Id, encoding: Id) -> Step<Value<'a>> {
        if !matches!(text(&self.values, encoding), Some("latin1" | "latin-1")) {
            return Err("a text is encoded in another way than latin1".into());
        }
        let length = text(&self.values, letters).map_or(0, str::len);
        self.pay_bytes(length)?;
        let letters = text(&self.values, letters).ok_or("something that is no text is encoded")?;
        let bytes: Option<Vec<u8>> = letters.chars().map(|letter| u8::try_from(letter).ok()).collect();
        Ok(Value::Bytes(Cow::Owned(bytes.ok_or("a text has characters that latin1 has not")?)))
    }

    fn dtype(&self, name: Id) -> Step<NumpyType> {
        let name = text(&self.values, name).ok_or("an element type has no name")?;
        let (big_endian, plain) = match name.strip_prefix('>') {
            Some(plain) => (true, plain),
            None => (false, name.trim_start_matches(['<', '|'])),
        };
        let dtype =
            numpy_dtype(plain).ok_or_else(|| format!("`{name:.40}` is no element type of plain numbers"))?;
        Ok(NumpyType { dtype, big_endian })
    }

    fn value(&self, id: Id) -> &Value<'a> {
        self.values.get(id as usize).unwrap_or(&Value::None)
    }

    fn items(&self, id: Id) -> Step<Vec<Id>> {
        match self.value(id) {
            Value::Tuple(items) | Value::List(items) if items.len() <= MOST_AXES => Ok(items.clone()),
            Value::Tuple(_) | Value::List(_) => {
                Err(format!("a list of more than {MOST_AXES} stands where a few values belong").into())
            }
            _ => Err("a list is missing".into()),
        }
    }

    /// `[[key, value], ...]`, as Python 2 writes an ordered dictionary.
    fn pairs(&self, id: Id) -> Step<Vec<(Id, Id)>> {
        let Value::List(items) = self.value(id) else {
            return Err("an ordered dictionary is made of something that is no list".into());
        };
        if !items.is_empty() {
            return Err("an ordered dictionary is made of a list; save the file again with Python 3".into());
        }
        Ok(Vec::new())
    }

    fn sizes(&self, id: Id) -> Step<Vec<usize>> {
        self.items(id)?.into_iter().map(|item| self.whole(item)).collect()
    }

    fn whole(&self, id: Id) -> Step<usize> {
        match *self.value(id) {
            Value::Int(number) => usize::try_from(number).map_err(|_| format!("a size is {number}").into()),
            _ => Err("a size is no whole number".into()),
        }
    }
}
