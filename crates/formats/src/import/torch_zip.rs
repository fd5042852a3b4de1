//! `torch.save` since PyTorch 1.6: a zip archive with `data.pkl` and one stored entry per storage.
//!
//! Source: PyTorch, `torch/serialization.py`.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::Path;

use zip::{CompressionMethod, ZipArchive};

use super::pickle::{Storage, unpickle};
use super::{Budget, Result, bad, state_dict, torch};
use crate::{Error, Tensors};

/// The entry with the pickle, below one folder.
const PICKLE: &str = "data.pkl";

type Archive<'a> = ZipArchive<Cursor<&'a [u8]>>;

/// Reads the tensors of an archive.
///
/// # Errors
/// [`Error::UnknownContent`] for TorchScript, `.npz` and other archives, [`Error::ForbiddenClass`],
/// [`Error::BadPickle`], [`Error::BadWeights`], [`Error::TooLarge`].
pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<Tensors> {
    let archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| damaged(path, &error))?;
    let names: Vec<String> =
        archive.file_names().filter_map(|name| name.ok().map(|name| name.into_owned())).collect();
    let folder = folder(path, &names)?;
    let mut entries = Entries { path, archive, folder, budget: Budget::of_file(bytes.len()) };
    if names.iter().any(|name| name.strip_prefix(&entries.folder) == Some("byteorder"))
        && entries.read("byteorder")? == b"big"
    {
        return Err(bad(
            path,
            "",
            "it was saved on a big-endian machine; save it again on a little-endian one",
        ));
    }
    let text = entries.read(PICKLE)?;
    let pickle = unpickle(&text).map_err(|fault| fault.in_file(path))?;
    let named = state_dict::named_tensors(path, &pickle)?;
    let mut storages = BTreeMap::new();
    for storage in torch::storages(&pickle, &named) {
        if !storages.contains_key(&storage.key) {
            storages.insert(storage.key.clone(), entries.read(&format!("data/{}", storage.key))?);
        }
    }
    torch::tensors(path, &pickle, &named, bytes.len(), |storage: &Storage| {
        Ok(storages.get(&storage.key).map(Vec::as_slice).unwrap_or_default())
    })
}

/// The folder that holds the pickle, with its slash.
fn folder(path: &Path, names: &[String]) -> Result<String> {
    let has = |part: &str| names.iter().any(|name| name.contains(part));
    let unknown = |what| Err(Error::UnknownContent { path: path.to_owned(), what });
    if has("/constants.pkl") || has("/code/") {
        return unknown(
            "a TorchScript archive, which holds a program; save the state dict of the model instead",
        );
    }
    let pickle = names.iter().find_map(|name| {
        let folder = name.strip_suffix(PICKLE)?;
        (folder.is_empty() || folder.find('/') == Some(folder.len() - 1)).then(|| folder.to_owned())
    });
    match pickle {
        Some(folder) => Ok(folder),
        None if has(".npy") => unknown("an archive of numpy arrays (.npz); save them as safetensors"),
        None if has(".keras") || has("model.weights.h5") => {
            unknown("a Keras archive; save the weights as safetensors")
        }
        None => unknown("a zip archive without data.pkl; unpack it and give the file inside"),
    }
}

/// The entries of an archive, read within a budget.
struct Entries<'a> {
    path: &'a Path,
    archive: Archive<'a>,
    folder: String,
    budget: Budget,
}

impl Entries<'_> {
    /// The bytes of one entry.
    fn read(&mut self, name: &str) -> Result<Vec<u8>> {
        let full = format!("{}{name}", self.folder);
        let path = self.path;
        let mut entry = self
            .archive
            .by_name(&full)
            .map_err(|error| bad(path, &full, format!("{error}: copy the file again")))?;
        if entry.compression() != CompressionMethod::Stored || entry.compressed_size() != entry.size() {
            return Err(bad(path, &full, "it is compressed; torch.save stores entries as they are"));
        }
        // A stored entry lies in the file, so that its size is bounded once it was read; its claim is checked first.
        let size = usize::try_from(entry.size()).unwrap_or(usize::MAX);
        self.budget.take(path, size)?;
        let mut bytes = Vec::new();
        entry
            .read_to_end(&mut bytes)
            .map_err(|error| bad(path, &full, format!("{error}: copy the file again")))?;
        if bytes.len() != size {
            return Err(bad(
                path,
                &full,
                format!("it has {} bytes of {size}: the file was cut", bytes.len()),
            ));
        }
        Ok(bytes)
    }
}

fn damaged(path: &Path, error: &zip::result::ZipError) -> Error {
    bad(path, "", format!("it starts as a zip archive and is none ({error}): it was cut; copy it again"))
}
