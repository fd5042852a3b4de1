//! Which tensors a pickled dictionary holds, and under which names.

use std::collections::BTreeMap;
use std::path::Path;

use super::pickle::{Id, Pickle, Value};
use super::{Result, bad};

/// Where programs put the state dict of a model beside other things, the likeliest first.
const WRAPPERS: [&str; 5] = ["state_dict", "model_state_dict", "model", "state_dict_ema", "params"];
/// What wrappers of modules put before every name.
const PREFIXES: [&str; 2] = ["module.", "_orig_mod."];
/// The key under which Paddle's dygraph keeps the names of its parameters.
pub(super) const STRUCTURED_NAMES: &str = "StructuredToParameterName@@";

/// The tensors of the dictionary at the root of a pickle, or of the state dict inside it.
///
/// Values that are no tensors (epochs, optimizer states) are left out.
///
/// # Errors
/// [`crate::Error::BadWeights`] if there is no dictionary with tensors, or a name is there twice.
pub(super) fn named_tensors(path: &Path, pickle: &Pickle<'_>) -> Result<BTreeMap<String, Id>> {
    let root = entries(path, pickle, pickle.root)?.ok_or_else(|| {
        bad(path, "", "it holds no dictionary of tensors; save the state dict of the model")
    })?;
    let mut tensors = tensors_in(pickle, &root);
    for wrapper in WRAPPERS.iter().filter_map(|&wrapper| root.get(wrapper)) {
        if !tensors.is_empty() {
            break;
        }
        if let Some(inner) = entries(path, pickle, *wrapper)? {
            tensors = tensors_in(pickle, &inner);
        }
    }
    if tensors.is_empty() {
        let keys: Vec<String> = root.keys().take(8).map(|key| format!("{key:.40}")).collect();
        let reason = format!(
            "it holds no tensors at its top or under {}; its keys are {}",
            WRAPPERS.join(", "),
            keys.join(", ")
        );
        return Err(bad(path, "", reason));
    }
    for prefix in PREFIXES {
        if tensors.keys().all(|name| name.starts_with(prefix)) {
            tensors = tensors.into_iter().map(|(name, id)| (name[prefix.len()..].to_owned(), id)).collect();
        }
    }
    Ok(tensors)
}

/// Whether the root has the map that Paddle's dygraph writes.
pub(super) fn has_structured_names(pickle: &Pickle<'_>) -> bool {
    let Value::Dict(entries) = pickle.get(pickle.root) else { return false };
    entries.iter().any(|&(key, _)| pickle.text(key) == Some(STRUCTURED_NAMES))
}

/// A dictionary by its text keys; `None` if the value is no dictionary.
fn entries(path: &Path, pickle: &Pickle<'_>, id: Id) -> Result<Option<BTreeMap<String, Id>>> {
    let Value::Dict(entries) = pickle.get(id) else { return Ok(None) };
    let mut named = BTreeMap::new();
    for &(key, value) in entries {
        let Some(key) = pickle.text(key) else { continue };
        if named.insert(key.to_owned(), value).is_some() {
            return Err(bad(path, key, "the name is there twice; save the file again"));
        }
    }
    Ok(Some(named))
}

fn tensors_in(pickle: &Pickle<'_>, entries: &BTreeMap<String, Id>) -> BTreeMap<String, Id> {
    let found = |(name, &id): (&String, &Id)| Some((name.clone(), tensor(pickle, id)?));
    entries.iter().filter_map(found).collect()
}

/// The tensor that a value is: itself, or the second of (name, array) as `paddle.save` writes a lone tensor.
fn tensor(pickle: &Pickle<'_>, id: Id) -> Option<Id> {
    match pickle.get(id) {
        Value::Array(Some(_)) | Value::Tensor(_) => Some(id),
        Value::Tuple(pair) => match pair[..] {
            [name, array] if matches!(pickle.get(array), Value::Array(Some(_))) => {
                pickle.text(name).map(|_| array)
            }
            _ => None,
        },
        _ => None,
    }
}
