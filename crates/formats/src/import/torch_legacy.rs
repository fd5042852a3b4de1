//! `torch.save` before PyTorch 1.6: a magic number, a version, facts about the machine, the object and the keys of its
//! storages, each a pickle; then per key the number of elements (i64) and the elements.
//!
//! Source: PyTorch, `_legacy_save` in `torch/serialization.py`.

use std::collections::BTreeMap;
use std::path::Path;

use super::choice::{Choice, Contents};
use super::pickle::{Pickle, Storage, Value, unpickle};
use super::torch::{self, ByteOrder};
use super::{Format, bad, dictionaries};
use crate::{Error, Result, Tensors};

/// Pickles before the one with the object.
const PREAMBLE: usize = 3;

/// Reads the chosen tensors of a file.
///
/// # Errors
/// What `choose` reports, [`Error::ForbiddenClass`], [`Error::BadPickle`], [`Error::BadWeights`], [`Error::TooLarge`].
pub(super) fn read<E: From<Error>>(
    path: &Path,
    bytes: &[u8],
    choose: impl FnOnce(&Contents<'_>) -> Result<Choice, E>,
) -> Result<Tensors, E> {
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
    let named = dictionaries::chosen(path, Format::TorchLegacy, &object, bytes.len(), choose)?;
    let sizes: BTreeMap<&str, usize> =
        torch::all_storages(&object).map(|storage| (storage.key.as_str(), storage.size)).collect();
    let storages = storages(path, &keys, &sizes, bytes.get(at..).unwrap_or_default())?;
    // The storages are little-endian on every machine.
    let tensors =
        torch::tensors(path, &object, &named, (bytes.len(), ByteOrder::Little), |storage: &Storage| {
            let missing = || bad(path, "", format!("it has no storage {:.40}: it was cut", storage.key));
            storages.get(storage.key.as_str()).copied().ok_or_else(missing)
        })?;
    Ok(tensors)
}

/// The bytes of every storage, by its key.
fn storages<'k, 'a>(
    path: &Path,
    keys: &'k Pickle<'_>,
    sizes: &BTreeMap<&str, usize>,
    mut rest: &'a [u8],
) -> Result<BTreeMap<&'k str, &'a [u8]>> {
    let Value::List(list) = keys.get(keys.root) else {
        return Err(bad(path, "", "it has no list of storages: it was cut"));
    };
    let mut storages = BTreeMap::new();
    for &key in list {
        let key = keys.text(key).ok_or_else(|| bad(path, "", "the key of a storage is no text"))?;
        let size =
            sizes.get(key).ok_or_else(|| bad(path, "", format!("no tensor uses storage {key:.40}")))?;
        let cut = || bad(path, "", format!("it ends in storage {key:.40}: it was cut; copy it again"));
        let (count, after) = rest.split_first_chunk().ok_or_else(cut)?;
        let bytes =
            usize::try_from(i64::from_le_bytes(*count)).ok().and_then(|count| count.checked_mul(*size));
        let (data, after) = after.split_at_checked(bytes.ok_or_else(cut)?).ok_or_else(cut)?;
        storages.insert(key, data);
        rest = after;
    }
    Ok(storages)
}
