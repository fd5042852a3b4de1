//! Whole modules of torch in a pickle (`torch.save(model)`): the tensors that their state dict would have.
//!
//! A module is data: its attributes `_parameters`, `_buffers` and `_modules` are dictionaries. Nothing of it is run.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use super::dictionaries::{MOST_DEPTH, tensor};
use super::pickle::{Id, Pickle, Value};
use super::{Budget, Result};

/// Where a module keeps what its state dict has.
const KEPT: [&str; 3] = ["_parameters", "_buffers", "_modules"];

/// The dictionaries of a module, in the order of [`KEPT`], and its other attributes.
pub(super) struct Module<'p> {
    kept: [&'p [(Id, Id)]; 3],
    others: Vec<(&'p str, Id)>,
}

impl<'p> Module<'p> {
    /// The module that a value is, if it is one.
    pub(super) fn of(pickle: &'p Pickle<'_>, id: Id) -> Option<Self> {
        let Value::Object(object) = pickle.get(id) else { return None };
        let state = object.state?;
        let Value::Dict(attributes) = pickle.get(state) else { return None };
        let (mut kept, mut others) = ([None; 3], Vec::new());
        for &(key, value) in attributes {
            let Some(name) = pickle.text(key) else { continue };
            match (KEPT.iter().position(|&kept| kept == name), pickle.get(value)) {
                (Some(place), Value::Dict(entries)) => kept[place] = Some(entries.as_slice()),
                _ => others.push((name, value)),
            }
        }
        let [Some(parameters), Some(buffers), Some(modules)] = kept else { return None };
        Some(Self { kept: [parameters, buffers, modules], others })
    }
}

/// The way through a module and those in it.
pub(super) struct Walk<'p, 'b, 'a> {
    pickle: &'p Pickle<'a>,
    budget: &'b mut Budget,
    /// The tensors by the names of a state dict.
    pub(super) tensors: BTreeMap<Cow<'p, str>, Id>,
    /// The modules that were walked through.
    pub(super) modules: Vec<Id>,
    /// What else they hold.
    pub(super) attributes: Vec<(&'p str, Id)>,
    pub(super) fault: Option<String>,
}

impl<'p, 'b, 'a> Walk<'p, 'b, 'a> {
    pub(super) fn new(pickle: &'p Pickle<'a>, budget: &'b mut Budget) -> Self {
        let (tensors, modules, attributes) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { pickle, budget, tensors, modules, attributes, fault: None }
    }

    /// Walks through a module. One that is there twice is walked through once.
    ///
    /// # Errors
    /// [`crate::Error::TooLarge`] if the names take too much.
    pub(super) fn through(&mut self, path: &Path, id: Id, module: &Module<'p>) -> Result<()> {
        let mut seen = HashSet::new();
        let mut waiting = self.one(path, id, module, "", &mut seen)?;
        while let Some((id, name)) = waiting.pop() {
            let Some(module) = Module::of(self.pickle, id) else { continue };
            if name.bytes().filter(|&byte| byte == b'.').count() >= MOST_DEPTH {
                self.fault = Some(format!("its modules nest deeper than {MOST_DEPTH}"));
                break;
            }
            waiting.extend(self.one(path, id, &module, &format!("{name}."), &mut seen)?);
        }
        Ok(())
    }

    /// Takes the tensors of one module, whose names begin with `prefix`; gives the modules in it.
    fn one(
        &mut self,
        path: &Path,
        id: Id,
        module: &Module<'p>,
        prefix: &str,
        seen: &mut HashSet<Id>,
    ) -> Result<Vec<(Id, String)>> {
        seen.insert(id);
        self.modules.push(id);
        self.budget.take(path, size_of::<(&str, Id)>() * module.others.len())?;
        self.attributes.extend(&module.others);
        let [parameters, buffers, modules] = module.kept;
        for &(key, value) in parameters.iter().chain(buffers) {
            let (Some(name), Some(tensor)) = (self.pickle.text(key), tensor(self.pickle, value)) else {
                continue;
            };
            self.budget.take(path, prefix.len() + name.len() + 1)?;
            self.tensors.insert(Cow::Owned(format!("{prefix}{name}")), tensor);
        }
        let mut inner = Vec::new();
        for &(key, value) in modules {
            let Some(name) = self.pickle.text(key) else { continue };
            if seen.insert(value) {
                self.budget.take(path, prefix.len() + name.len() + 1)?;
                inner.push((value, format!("{prefix}{name}")));
            }
        }
        Ok(inner)
    }
}
