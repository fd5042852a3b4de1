//! `torch.save` before PyTorch 1.6: a magic number, a version, facts about the machine, the object and the keys of its
//! storages, each a pickle; then per key the number of elements (i64) and the elements.
//!
//! Source: PyTorch, `_legacy_save` in `torch/serialization.py`.

use std::collections::BTreeMap;
use std::path::Path;

use super::pickle::{Pickle, Storage, Value, unpickle};
use super::{Result, bad, state_dict, torch};
use crate::{Dtype, Tensors};

/// Pickles before the one with the object.
const PREAMBLE: usize = 3;

/// Reads the tensors of a file.
///
/// # Errors
/// [`crate::Error::ForbiddenClass`], [`crate::Error::BadPickle`], [`crate::Error::BadWeights`],
/// [`crate::Error::TooLarge`].
pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<Tensors> {
    let mut at = 0;
    let mut next = || -> Result<Pickle<'_>> {
        let rest = bytes.get(at..).unwrap_or_default();
        let pickle = unpickle(rest).map_err(|fault| fault.in_file(path))?;
        at += pickle.length;
        Ok(pickle)
    };
    for _ in 0..PREAMBLE {
        next()?;
    }
    let (object, keys) = (next()?, next()?);
    let named = state_dict::named_tensors(path, &object)?;
    let dtypes: BTreeMap<String, Dtype> =
        torch::all_storages(&object).map(|storage| (storage.key.clone(), storage.dtype)).collect();
    let storages = storages(path, &keys, &dtypes, bytes.get(at..).unwrap_or_default())?;
    torch::tensors(path, &object, &named, bytes.len(), |storage: &Storage| {
        Ok(storages.get(storage.key.as_str()).copied().unwrap_or_default())
    })
}

/// The bytes of every storage, by its key.
fn storages<'k, 'a>(
    path: &Path,
    keys: &'k Pickle<'_>,
    dtypes: &BTreeMap<String, Dtype>,
    mut rest: &'a [u8],
) -> Result<BTreeMap<&'k str, &'a [u8]>> {
    let Value::List(list) = keys.get(keys.root) else {
        return Err(bad(path, "", "it has no list of storages: it was cut"));
    };
    let mut storages = BTreeMap::new();
    for &key in list {
        let key = keys.text(key).ok_or_else(|| bad(path, "", "the key of a storage is no text"))?;
        let dtype =
            dtypes.get(key).ok_or_else(|| bad(path, "", format!("no tensor uses storage {key:.40}")))?;
        let cut = || bad(path, "", format!("it ends in storage {key:.40}: it was cut; copy it again"));
        let (count, after) = rest.split_first_chunk().ok_or_else(cut)?;
        let bytes = usize::try_from(i64::from_le_bytes(*count))
            .ok()
            .and_then(|count| count.checked_mul(dtype.size()));
        let (data, after) = after.split_at_checked(bytes.ok_or_else(cut)?).ok_or_else(cut)?;
        storages.insert(key, data);
        rest = after;
    }
    Ok(storages)
}
