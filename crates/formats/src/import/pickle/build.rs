//! What calling a class of the list makes, and what setting the state of a value does to it.

use super::classes::Class;
use super::machine::{Machine, Step, Stop};
use super::value::text;
use super::{Fault, Id, Object, Storage, StridedTensor, Value};

/// Most axes of an array, and most arguments of a class of the list.
pub(super) const MOST_AXES: usize = 64;
/// Bytes in the longest key of a storage, which every tensor that views it repeats.
const LONGEST_KEY: usize = 64;

const UNKNOWN_CALL: &str = "it is made with arguments that are not known here";
const UNKNOWN_STATE: &str = "it has a state that is not known here";
const OTHER_DTYPE: &str = "it is stored in another element type than it has: save it from the CPU";
const UNKNOWN_MARK: &str = "it is marked in a way that is not known here: clone() it and save it again";
const CONJUGATED: &str = "it is marked as conjugated: resolve_conj() it and save it again";
const SUBCLASS: &str = "it is of a class derived from torch.Tensor: save the plain tensor";
const NO_STORAGE: &str = "a persistent id is no storage of torch";
const PART: &str = "it is a part of a storage in a way that is not known here: clone() it and save it again";

impl<'a> Machine<'a> {
    /// `REDUCE`, `NEWOBJ` and the like: what `callee(*arguments)` makes. A class that is not in the list is not called.
    pub(super) fn call(&mut self, callee: Id, arguments: Id) -> Step<Id> {
        let class = match *self.value(callee) {
            Value::Class(class) => class,
            Value::Foreign(_) | Value::Object(_) => {
                let nothing =
                    Object { class: callee, arguments, state: None, entries: Vec::new(), items: Vec::new() };
                return Ok(self.add(Value::Object(Box::new(nothing))));
            }
            Value::Refused(_) => return Ok(callee),
            _ => return Err("something that is no class is called".into()),
        };
        let Ok(arguments) = self.items(arguments) else {
            if class == Class::Eval {
                return Err(eval());
            }
            return Ok(self.add(Value::Refused(UNKNOWN_CALL)));
        };
        self.made(class, &arguments)
    }

    fn made(&mut self, class: Class, arguments: &[Id]) -> Step<Id> {
        let value = match (class, arguments) {
            (Class::OrderedDict, []) | (Class::DefaultDict, [] | [_]) => Value::Dict(Vec::new()),
            (Class::OrderedDict, &[pairs]) | (Class::DefaultDict, &[_, pairs]) => {
                Value::Dict(self.pairs(pairs)?)
            }
            (Class::Opaque, _) | (Class::ByteArray, []) => Value::Opaque,
            (Class::Tuple, &[items]) => Value::Tuple(self.items(items)?),
            (Class::Eval, arguments) => return self.looked_up(arguments),
            (Class::TorchSize, &[size]) => return Ok(size),
            (Class::RebuildParameter, &[data, ..]) => return Ok(data),
            (Class::RebuildFromType, &[function, kind, ref arguments @ ..]) => {
                return self.tensor_of_type(function, kind, arguments);
            }
            (Class::RebuildDeviceTensor, &[data, dtype, ..]) => {
                if self.is_of(data, dtype) {
                    return Ok(data);
                }
                Value::Refused(OTHER_DTYPE)
            }
            (Class::ByteArray, &[data]) if matches!(self.value(data), Value::Bytes(_)) => return Ok(data),
            (Class::Encode | Class::ByteArray, &[letters, encoding]) => self.encode(letters, encoding)?,
            (Class::NumpyDtype, &[name, ..]) => self.dtype(name),
            (Class::Reconstruct, &[kind, ..]) => self.reconstruct(kind),
            (Class::FromBuffer, &[data, element, shape, order, ref axes @ ..]) => {
                self.array_of_buffer([data, element, shape, order], axes)?
            }
            (Class::RebuildTensor, &[storage, offset, shape, strides, ref more @ ..]) => {
                self.tensor([storage, offset, shape, strides], None, more.get(2).copied())?
            }
            (Class::RebuildTensorV3, &[storage, offset, shape, strides, _, _, dtype, ref more @ ..]) => {
                self.tensor([storage, offset, shape, strides], Some(dtype), more.first().copied())?
            }
            (Class::Unreadable(reason), _) => Value::Refused(reason),
            _ => Value::Refused(UNKNOWN_CALL),
        };
        Ok(self.add(value))
    }

    /// `BUILD`.
    pub(super) fn set_state(&mut self, object: Id, state: Id) -> Step<()> {
        let new = match self.value(object) {
            // The attribute `_metadata` of a state dict, and what counters and the like remember.
            Value::Dict(_) | Value::Opaque | Value::Refused(_) => return Ok(()),
            Value::Array(None) => self.array_of_state(state)?,
            &Value::Dtype(element) => self.dtype_of_state(element, state),
            Value::Object(_) => {
                if let Some(Value::Object(object)) = self.values.get_mut(object as usize) {
                    object.state = Some(state);
                }
                return Ok(());
            }
            Value::Tensor(_) | Value::Array(_) => Value::Refused(UNKNOWN_STATE),
            _ => return Err("the state of something is set that has none".into()),
        };
        if let Some(slot) = self.values.get_mut(object as usize) {
            *slot = new;
        }
        Ok(())
    }

    /// `BINPERSID`: the storage that `('storage', type, key, location, elements)` names, or the class that
    /// `('module', class, file, source)` does.
    pub(super) fn persistent(&mut self, name: Id) -> Step<Id> {
        let parts = self.items(name)?;
        let text = |id: Option<&Id>| id.and_then(|&id| text(&self.values, id));
        let value = match (text(parts.first()), parts.as_slice()) {
            (Some("module"), &[_, class, _, _]) => return Ok(class),
            (Some("storage"), &[_, class, key, _location, _elements, ref view @ ..]) => {
                let Value::Class(class) = *self.value(class) else { return Err(NO_STORAGE.into()) };
                let key = text(Some(&key)).ok_or(NO_STORAGE)?;
                storage(class, key, self.part(view)?)?
            }
            _ => return Err(NO_STORAGE.into()),
        };
        Ok(self.add(value))
    }

    /// `PERSID`: the same as the text that Python prints of it, as protocol 0 has it.
    pub(super) fn persistent_text(line: &str) -> Step<Value<'a>> {
        let rest = line.strip_prefix("('storage', <class '").ok_or(NO_STORAGE)?;
        let (class, rest) = rest.split_once("'>, '").ok_or(NO_STORAGE)?;
        let (key, rest) = rest.split_once("', '").ok_or(NO_STORAGE)?;
        let (module, name) = class.rsplit_once('.').ok_or(NO_STORAGE)?;
        let class = super::classes::find(module, name).ok_or(NO_STORAGE)?;
        let part = if rest.contains('(') { Err(PART) } else { Ok(None) };
        storage(class, key, part)
    }

    /// The part of a storage: none given, `None`, or `(key, first element, elements)`.
    fn part(&self, view: &[Id]) -> Step<Result<Option<[usize; 2]>, &'static str>> {
        match view {
            [] => Ok(Ok(None)),
            &[view] if matches!(self.value(view), Value::None) => Ok(Ok(None)),
            &[view] => match self.items(view)?.as_slice() {
                &[_, first, elements] => Ok(Ok(Some([self.whole(first)?, self.whole(elements)?]))),
                _ => Ok(Err(PART)),
            },
            _ => Ok(Err(PART)),
        }
    }

    /// `_rebuild_from_type_v2(function, type, arguments, state)`: a tensor with attributes, if the type is torch's own.
    fn tensor_of_type(&mut self, function: Id, kind: Id, arguments: &[Id]) -> Step<Id> {
        let plain = matches!(self.value(kind), Value::Class(Class::TorchTensor));
        match (self.value(function), arguments) {
            // One in another would be followed without end.
            (Value::Class(class), &[arguments, ..]) if plain && *class != Class::RebuildFromType => {
                self.call(function, arguments)
            }
            _ => Ok(self.add(Value::Refused(SUBCLASS))),
        }
    }

    /// `eval('data', {'data': array})`, which is the array. No other is looked at.
    fn looked_up(&self, arguments: &[Id]) -> Step<Id> {
        let named = |id: Id| text(&self.values, id) == Some("data");
        match arguments {
            &[code, names] if named(code) => match self.value(names) {
                Value::Dict(entries) => match entries.as_slice() {
                    &[(name, value)] if named(name) => Ok(value),
                    _ => Err(eval()),
                },
                _ => Err(eval()),
            },
            _ => Err(eval()),
        }
    }

    fn is_of(&self, data: Id, dtype: Id) -> bool {
        let has = match self.value(data) {
            Value::Array(Some(array)) => array.element.dtype,
            Value::Tensor(tensor) => tensor.dtype,
            _ => return false,
        };
        matches!(self.value(dtype), &Value::Class(Class::TorchDtype(dtype)) if dtype == has)
    }

    fn tensor(
        &self,
        [storage, offset, shape, strides]: [Id; 4],
        dtype: Option<Id>,
        marks: Option<Id>,
    ) -> Step<Value<'a>> {
        let storage = match self.value(storage) {
            Value::Storage(storage) => (**storage).clone(),
            &Value::Refused(reason) => return Ok(Value::Refused(reason)),
            _ => return Ok(Value::Refused(UNKNOWN_CALL)),
        };
        let dtype = match (storage.dtype, dtype.map(|dtype| self.value(dtype))) {
            (Err(reason), _) => return Ok(Value::Refused(reason)),
            (Ok(dtype), None) => dtype,
            (_, Some(&Value::Class(Class::TorchDtype(dtype)))) => dtype,
            (_, Some(&Value::Class(Class::Unreadable(reason)))) => return Ok(Value::Refused(reason)),
            (_, Some(_)) => return Ok(Value::Refused("it is of an element type that is not known here")),
        };
        let (shape, strides) = (self.sizes(shape)?, self.sizes(strides)?);
        if shape.len() != strides.len() {
            return Err("a tensor has not one stride per axis".into());
        }
        let negated = match self.is_negated(marks) {
            Ok(negated) => negated,
            Err(reason) => return Ok(Value::Refused(reason)),
        };
        let offset = self.whole(offset)?;
        Ok(Value::Tensor(Box::new(StridedTensor { storage, dtype, offset, shape, strides, negated })))
    }

    /// What the marks of a tensor say: `{'neg': True}` for numbers that are stored with the other sign.
    fn is_negated(&self, marks: Option<Id>) -> Result<bool, &'static str> {
        let marks = match marks.map(|marks| self.value(marks)) {
            None | Some(Value::None) => return Ok(false),
            Some(Value::Dict(marks)) => marks,
            Some(_) => return Err(UNKNOWN_MARK),
        };
        let mut negated = false;
        for &(name, set) in marks {
            match (text(&self.values, name), self.value(set)) {
                (Some("neg"), &Value::Bool(set)) => negated = set,
                (Some("conj"), Value::Bool(true)) => return Err(CONJUGATED),
                (Some("conj"), Value::Bool(false)) => {}
                _ => return Err(UNKNOWN_MARK),
            }
        }
        Ok(negated)
    }

    pub(super) fn value(&self, id: Id) -> &Value<'a> {
        self.values.get(id as usize).unwrap_or(&Value::None)
    }

    /// A few values.
    pub(super) fn items(&self, id: Id) -> Step<Vec<Id>> {
        match self.value(id) {
            Value::Tuple(items) | Value::List(items) if items.len() <= MOST_AXES => Ok(items.clone()),
            Value::Tuple(_) | Value::List(_) => {
                Err(format!("a list of more than {MOST_AXES} stands where a few values belong").into())
            }
            _ => Err("a list is missing".into()),
        }
    }

    /// The entries of `[[key, value], ...]`, as Python 2 writes an ordered dictionary, or of another dictionary.
    fn pairs(&mut self, id: Id) -> Step<Vec<(Id, Id)>> {
        let pairs = match self.value(id) {
            Value::Dict(entries) => entries.clone(),
            Value::List(items) | Value::Tuple(items) => {
                let pair = |&item: &Id| match self.value(item) {
                    Value::List(pair) | Value::Tuple(pair) => <[Id; 2]>::try_from(pair.as_slice()).ok(),
                    _ => None,
                };
                let pairs: Option<Vec<_>> = items.iter().map(pair).collect();
                let pairs = pairs.ok_or("a dictionary is made of something else than pairs")?;
                pairs.into_iter().map(|[key, value]| (key, value)).collect()
            }
            _ => return Err("a dictionary is made of something that holds no pairs".into()),
        };
        self.pay_bytes(pairs.len().saturating_mul(size_of::<(Id, Id)>()))?;
        Ok(pairs)
    }

    pub(super) fn sizes(&self, id: Id) -> Step<Vec<usize>> {
        self.items(id)?.into_iter().map(|item| self.whole(item)).collect()
    }

    fn whole(&self, id: Id) -> Step<usize> {
        match *self.value(id) {
            Value::Int(number) => usize::try_from(number).map_err(|_| format!("a size is {number}").into()),
            _ => Err("a size is no whole number".into()),
        }
    }
}

/// The storage of a class.
fn storage<'a>(class: Class, key: &str, part: Result<Option<[usize; 2]>, &'static str>) -> Step<Value<'a>> {
    let (dtype, size) = match class {
        Class::Storage(dtype) => (Ok(dtype), dtype.size()),
        Class::UnreadableStorage(reason, size) => (Err(reason), size),
        _ => return Err(NO_STORAGE.into()),
    };
    if key.len() > LONGEST_KEY {
        return Err(NO_STORAGE.into());
    }
    let (part, dtype) = match part {
        Ok(part) => (part, dtype),
        Err(reason) => (None, Err(reason)),
    };
    Ok(Value::Storage(Box::new(Storage { dtype, size, key: key.to_owned(), part })))
}

/// What is asked for that only a program can do.
fn eval() -> Stop {
    Stop::Fault(Fault::Class("builtins.eval".to_owned()))
}
