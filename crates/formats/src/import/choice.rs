//! What a file of weights holds, told before any of it is copied, so that who knows the names can choose.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Format;
use crate::{Error, Result, Tensors};

/// What a file holds.
#[derive(Debug)]
pub struct Contents<'a> {
    /// The file or folder.
    pub path: &'a Path,
    /// Its format.
    pub format: Format,
    /// Every dictionary that has tensors in it, those near the top first.
    pub dictionaries: Vec<Dictionary<'a>>,
}

/// A dictionary of tensors: all there is of a safetensors file, or one of the dictionaries of a checkpoint.
#[derive(Debug)]
pub struct Dictionary<'a> {
    /// The keys that lead to it, with dots between them; empty for the top.
    pub key: String,
    /// Its tensors by their names. What is no tensor is not among them.
    pub tensors: BTreeMap<Cow<'a, str>, Entry<'a>>,
}

/// A tensor that was not copied yet.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Lengths of its axes; empty if it is refused.
    pub shape: &'a [usize],
    /// The same for two tensors that are the same numbers of the file.
    pub identity: u64,
    /// Why it cannot be read, if it cannot.
    pub refused: Option<Cow<'static, str>>,
}

/// Which tensors are to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Place of the dictionary in [`Contents::dictionaries`].
    pub dictionary: usize,
    /// Names in it.
    pub names: BTreeSet<String>,
    /// Tensors of other dictionaries: the name that each gets, its dictionary and its name in there.
    pub beside: BTreeMap<String, (usize, String)>,
}

impl<'a> Contents<'a> {
    /// What tensors that were read already look like.
    pub(super) fn of(path: &'a Path, format: Format, tensors: &'a Tensors) -> Self {
        let entry = |(index, (name, tensor)): (usize, (&'a String, &'a crate::Tensor))| {
            let entry = Entry { shape: &tensor.shape, identity: index as u64, refused: None };
            (Cow::Borrowed(name.as_str()), entry)
        };
        let tensors = tensors.iter().enumerate().map(entry).collect();
        Self { path, format, dictionaries: vec![Dictionary { key: String::new(), tensors }] }
    }

    /// Everything in the only dictionary.
    ///
    /// # Errors
    /// [`Error::SeveralDictionaries`] if there are more, [`Error::NoDictionary`] if there is none.
    pub fn only(&self) -> Result<Choice> {
        let usable = |dictionary: &&Dictionary<'_>| {
            dictionary.tensors.is_empty() || dictionary.tensors.values().any(|entry| entry.refused.is_none())
        };
        let mut found = self.dictionaries.iter().filter(usable);
        let (first, more) = (found.next(), found.next());
        let path = self.path.to_owned();
        match (first, more) {
            (None, _) => Err(Error::NoDictionary { path }),
            (Some(first), None) => {
                let dictionary = self.dictionaries.iter().position(|one| std::ptr::eq(one, first));
                let names = first.tensors.keys().map(|name| name.clone().into_owned()).collect();
                Ok(Choice { dictionary: dictionary.unwrap_or(0), names, beside: BTreeMap::new() })
            }
            (Some(_), Some(_)) => {
                let keys = self.dictionaries.iter().filter(usable).take(8).map(Dictionary::name);
                Err(Error::SeveralDictionaries { path, keys: keys.collect::<Vec<_>>().join(", ") })
            }
        }
    }
}

impl Dictionary<'_> {
    /// Its key, or a dot for the top.
    pub fn name(&self) -> &str {
        if self.key.is_empty() { "." } else { &self.key }
    }
}
