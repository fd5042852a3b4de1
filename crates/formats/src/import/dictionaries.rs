//! The dictionaries of a pickle that have tensors in them, at any depth.
//!
//! Programs put the weights of a model beside other things: epochs, optimizers, settings, random states, averages of the
//! weights. All dictionaries are found, each once, and none is chosen here. What a class that is not in the list would have
//! made is looked through like a dictionary: its entries, its attributes and its arguments.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use super::choice::{Choice, Contents, Dictionary, Entry};
use super::pickle::{Id, Pickle, Value};
use super::{Budget, Format, Result, bad, modules};
use crate::Error;

/// The key under which Paddle's dygraph keeps the names of its parameters.
const STRUCTURED_NAMES: &str = "StructuredToParameterName@@";
/// How deep dictionaries are looked for; those of programs are at most some ten deep.
pub(super) const MOST_DEPTH: usize = 64;

/// A dictionary of a pickle.
pub(super) struct Found<'p> {
    pub(super) key: String,
    pub(super) tensors: BTreeMap<Cow<'p, str>, Id>,
    /// Why it cannot be used, if it cannot.
    pub(super) fault: Option<String>,
}

/// Lets `choose` choose among the dictionaries of a pickle; gives the tensors to be read.
///
/// # Errors
/// What `choose` reports, [`Error::BadWeights`] for a name that is there twice or a tensor that cannot be read, and
/// [`Error::TooLarge`].
pub(super) fn chosen<E: From<Error>>(
    path: &Path,
    format: Format,
    pickle: &Pickle<'_>,
    file_bytes: usize,
    choose: impl FnOnce(&Contents<'_>) -> Result<Choice, E>,
) -> Result<BTreeMap<String, Id>, E> {
    let found = find(path, pickle, file_bytes)?;
    let dictionaries = found.iter().map(|found| described(pickle, found)).collect();
    let Choice { dictionary, names, beside } = choose(&Contents { path, format, dictionaries })?;
    let mut named = BTreeMap::new();
    let own = names.into_iter().map(|name| (name.clone(), (dictionary, name)));
    for (given, (dictionary, name)) in own.chain(beside) {
        let Some(found) = found.get(dictionary) else { continue };
        if let Some(fault) = &found.fault {
            return Err(bad(path, &found.key, fault.as_str()).into());
        }
        let Some(&id) = found.tensors.get(name.as_str()) else { continue };
        if let Some(reason) = refusal(pickle, id) {
            return Err(bad(path, &name, reason).into());
        }
        named.insert(given, id);
    }
    Ok(named)
}

/// Whether the root has the map that Paddle's dygraph writes.
pub(super) fn has_structured_names(pickle: &Pickle<'_>) -> bool {
    let Value::Dict(entries) = pickle.get(pickle.root) else { return false };
    entries.iter().any(|&(key, _)| pickle.text(key) == Some(STRUCTURED_NAMES))
}

fn described<'p>(pickle: &'p Pickle<'_>, found: &Found<'p>) -> Dictionary<'p> {
    let entry = |(name, &id): (&Cow<'p, str>, &Id)| {
        let shape: &[usize] = match pickle.get(id) {
            Value::Array(Some(array)) => &array.shape,
            Value::Tensor(tensor) => &tensor.shape,
            _ => &[],
        };
        (name.clone(), Entry { shape, identity: identity(pickle, id), refused: refusal(pickle, id) })
    };
    Dictionary { key: found.key.clone(), tensors: found.tensors.iter().map(entry).collect() }
}

/// A number that two views of the same part of the file share.
fn identity(pickle: &Pickle<'_>, id: Id) -> u64 {
    let mut hasher = DefaultHasher::new();
    match pickle.get(id) {
        Value::Tensor(tensor) => {
            let storage = (&tensor.storage.key, tensor.storage.part, tensor.dtype.name());
            (storage, tensor.offset, &tensor.strides, tensor.negated).hash(&mut hasher);
        }
        Value::Array(Some(array)) => (array.data, &array.strides).hash(&mut hasher),
        _ => id.hash(&mut hasher),
    }
    hasher.finish()
}

/// Why the tensor that a value stands for cannot be read, if it cannot.
fn refusal(pickle: &Pickle<'_>, id: Id) -> Option<Cow<'static, str>> {
    match pickle.get(id) {
        Value::Refused(reason) => Some(Cow::Borrowed(reason)),
        Value::Array(None) => Some(Cow::Borrowed("it is an array without its state")),
        Value::Object(_) => {
            Some(Cow::Owned(format!("it is made by {}, which is not read", pickle.class_name(id))))
        }
        _ => None,
    }
}

/// A place that is still to be looked at.
struct Place {
    id: Id,
    depth: usize,
    /// The keys that lead there, by their place in the list of nodes.
    node: Option<usize>,
}

/// A key, and the keys before it.
struct Node<'p> {
    parent: Option<usize>,
    key: Cow<'p, str>,
}

struct Search<'p, 'a> {
    path: &'p Path,
    pickle: &'p Pickle<'a>,
    /// Values that were looked at: each is once, so that one in itself is no trouble.
    seen: Vec<bool>,
    places: VecDeque<Place>,
    nodes: Vec<Node<'p>>,
    /// Bytes of names and keys that may be made.
    budget: Budget,
    found: Vec<Found<'p>>,
}

/// Finds every dictionary that has tensors, those near the root first.
fn find<'p>(path: &'p Path, pickle: &'p Pickle<'_>, file_bytes: usize) -> Result<Vec<Found<'p>>> {
    let mut search = Search {
        path,
        pickle,
        seen: vec![false; pickle.values.len()],
        places: VecDeque::new(),
        nodes: Vec::new(),
        budget: Budget::of_file(file_bytes),
        found: Vec::new(),
    };
    search.visit(pickle.root, 0, None);
    while let Some(place) = search.places.pop_front() {
        search.look(&place)?;
    }
    Ok(search.found)
}

impl<'p> Search<'p, '_> {
    /// Puts a container into the queue, if it was not there yet.
    fn visit(&mut self, id: Id, depth: usize, node: Option<usize>) {
        let holds = matches!(
            self.pickle.get(id),
            Value::Dict(_) | Value::List(_) | Value::Tuple(_) | Value::Object(_)
        );
        let seen = self.seen.get_mut(id as usize);
        if let (true, Some(seen @ false)) = (holds && depth <= MOST_DEPTH, seen) {
            *seen = true;
            self.places.push_back(Place { id, depth, node });
        }
    }

    fn look(&mut self, place: &Place) -> Result<()> {
        let pickle = self.pickle;
        match pickle.get(place.id) {
            Value::Dict(entries) => self.dictionary(place, entries),
            Value::List(items) | Value::Tuple(items) => {
                for (index, &item) in items.iter().enumerate() {
                    self.below(place, item, || Cow::Owned(index.to_string()));
                }
                Ok(())
            }
            Value::Object(object) => {
                if let Some(module) = modules::Module::of(pickle, place.id) {
                    self.module(place, &module)?;
                } else if let Some(state) = object.state {
                    self.visit(state, place.depth + 1, place.node);
                }
                self.visit(object.arguments, place.depth + 1, place.node);
                for &item in &object.items {
                    self.visit(item, place.depth + 1, place.node);
                }
                self.dictionary(place, &object.entries)
            }
            _ => Ok(()),
        }
    }

    /// Looks at a value under a key.
    fn below(&mut self, place: &Place, id: Id, key: impl FnOnce() -> Cow<'p, str>) {
        let waiting = self.places.len();
        self.visit(id, place.depth + 1, Some(self.nodes.len()));
        if self.places.len() > waiting {
            self.nodes.push(Node { parent: place.node, key: key() });
        }
    }

    fn dictionary(&mut self, place: &Place, entries: &'p [(Id, Id)]) -> Result<()> {
        let (mut tensors, mut fault) = (BTreeMap::new(), None);
        for &(key, value) in entries {
            let Some(name) = self.pickle.text(key) else {
                let number = match self.pickle.get(key) {
                    Value::Int(number) => number.to_string(),
                    _ => "?".to_owned(),
                };
                self.below(place, value, || Cow::Owned(number));
                continue;
            };
            if let Some(tensor) = tensor(self.pickle, value)
                && tensors.insert(Cow::Borrowed(name), tensor).is_some()
            {
                fault = Some(format!("the name {name:.80} is there twice; save the file again"));
            }
            self.below(place, value, || Cow::Borrowed(name));
        }
        self.add(place, tensors, fault)
    }

    /// The state dict that a module would have, and what else its attributes hold.
    fn module(&mut self, place: &Place, module: &modules::Module<'p>) -> Result<()> {
        let mut walk = modules::Walk::new(self.pickle, &mut self.budget);
        walk.through(self.path, place.id, module)?;
        let modules::Walk { tensors, fault, modules, attributes, .. } = walk;
        for id in modules {
            if let Some(seen) = self.seen.get_mut(id as usize) {
                *seen = true;
            }
        }
        for (name, id) in attributes {
            self.below(place, id, || Cow::Borrowed(name));
        }
        self.add(place, tensors, fault)
    }

    fn add(
        &mut self,
        place: &Place,
        tensors: BTreeMap<Cow<'p, str>, Id>,
        fault: Option<String>,
    ) -> Result<()> {
        if tensors.is_empty() {
            return Ok(());
        }
        let mut keys = Vec::new();
        let mut node = place.node;
        while let Some(Node { parent, key }) = node.and_then(|node| self.nodes.get(node)) {
            self.budget.take(self.path, key.len() + 1)?;
            keys.push(key.as_ref());
            node = *parent;
        }
        keys.reverse();
        self.found.push(Found { key: keys.join("."), tensors, fault });
        Ok(())
    }
}

/// The tensor that a value is: itself, or the second of (name, array) as `paddle.save` writes a lone tensor. What cannot be
/// read is one too, so that it is named where it is missing.
pub(super) fn tensor(pickle: &Pickle<'_>, id: Id) -> Option<Id> {
    match pickle.get(id) {
        Value::Array(_) | Value::Tensor(_) | Value::Refused(_) => Some(id),
        // A list or dictionary of a class that is not known holds tensors, and is none.
        Value::Object(object) if object.entries.is_empty() && object.items.is_empty() => Some(id),
        Value::Tuple(pair) => match pair[..] {
            [name, array] if matches!(pickle.get(array), Value::Array(Some(_))) => {
                pickle.text(name).map(|_| array)
            }
            _ => None,
        },
        _ => None,
    }
}
