//! `torch.save` since PyTorch 1.6: a zip archive with `data.pkl` and one stored entry per storage.
//!
//! Source: PyTorch, `torch/serialization.py`.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;

use zip::read::{ArchiveOffset, Config};
use zip::{CompressionMethod, ZipArchive};

use super::choice::{Choice, Contents};
use super::pickle::{Storage, unpickle};
use super::torch::{self, ByteOrder};
use super::{Format, bad, dictionaries};
use crate::{Error, Result, Tensors};

/// The entry with the pickle, below one folder.
const PICKLE: &str = "data.pkl";

type Archive<'a> = ZipArchive<Cursor<&'a [u8]>>;

/// Reads the chosen tensors of an archive.
///
/// # Errors
/// What `choose` reports, [`Error::UnknownContent`] for TorchScript, `.npz` and other archives,
/// [`Error::ForbiddenClass`], [`Error::BadPickle`], [`Error::BadWeights`], [`Error::TooLarge`].
pub(super) fn read<E: From<Error>>(
    path: &Path,
    bytes: &[u8],
    choose: impl FnOnce(&Contents<'_>) -> Result<Choice, E>,
) -> Result<Tensors, E> {
    // The archive starts with the file. Left to guess, the library takes the place of another entry for the start of
    // the list of entries where the first one has as many bytes there as the marks behind the list.
    let config = Config { archive_offset: ArchiveOffset::Known(0) };
    let archive =
        ZipArchive::with_config(config, Cursor::new(bytes)).map_err(|error| damaged(path, &error))?;
    if archive.has_duplicate_names() {
        return Err(
            bad(path, "", "two entries of the archive have the same name; save the file again").into()
        );
    }
    let names: Vec<String> =
        archive.file_names().filter_map(|name| name.ok().map(|name| name.into_owned())).collect();
    let folder = folder(path, &names)?;
    let mut entries = Entries { path, bytes, archive, folder };
    let order = entries.byte_order(&names)?;
    let pickle = unpickle(entries.read(PICKLE)?).map_err(|fault| fault.in_file(path))?;
    let named = dictionaries::chosen(path, Format::TorchZip, &pickle, bytes.len(), choose)?;
    let mut storages = BTreeMap::new();
    let tensors = torch::tensors(path, &pickle, &named, (bytes.len(), order), |storage: &Storage| {
        if let Some(&storage) = storages.get(&storage.key) {
            return Ok(storage);
        }
        let bytes = entries.read(&format!("data/{}", storage.key))?;
        storages.insert(storage.key.clone(), bytes);
        Ok(bytes)
    })?;
    Ok(tensors)
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

/// The entries of an archive, which lie in the file as they are.
struct Entries<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    archive: Archive<'a>,
    folder: String,
}

impl<'a> Entries<'a> {
    /// How the machine that saved the file writes numbers.
    fn byte_order(&mut self, names: &[String]) -> Result<ByteOrder> {
        if !names.iter().any(|name| name.strip_prefix(&self.folder) == Some("byteorder")) {
            return Ok(ByteOrder::Little);
        }
        match self.read("byteorder")? {
            b"little" => Ok(ByteOrder::Little),
            b"big" => Ok(ByteOrder::Big),
            _ => Err(bad(self.path, "byteorder", "it is neither `little` nor `big`")),
        }
    }

    /// The bytes of one entry.
    fn read(&mut self, name: &str) -> Result<&'a [u8]> {
        let full = format!("{}{name}", self.folder);
        let path = self.path;
        let Some(index) = self.archive.index_for_name(&full) else {
            return Err(bad(path, &full, "it is not in the archive; save the weights again"));
        };
        let entry = self.archive.by_index_raw(index).map_err(|error| damaged(path, &error))?;
        if entry.compression() != CompressionMethod::Stored || entry.compressed_size() != entry.size() {
            return Err(bad(path, &full, "it is compressed; torch.save stores entries as they are"));
        }
        let (start, size, checksum) = (entry.data_start(), entry.size(), entry.crc32());
        let end = start.and_then(|start| start.checked_add(size));
        let place = start
            .zip(end)
            .and_then(|(start, end)| Some(usize::try_from(start).ok()?..usize::try_from(end).ok()?));
        let Some(data) = place.and_then(|place| self.bytes.get(place)) else {
            return Err(bad(
                path,
                &full,
                format!("it has {size} bytes, which are not there: the file was cut; copy it again"),
            ));
        };
        // torch writes zeros if it is told to save without checksums.
        let found = if checksum == 0 { 0 } else { crc32fast::hash(data) };
        if found != checksum {
            let reason = format!(
                "its bytes give the checksum {found:#010x} and were saved with {checksum:#010x}: the file was damaged; \
                 copy it again"
            );
            return Err(bad(path, &full, reason));
        }
        Ok(data)
    }
}

fn damaged(path: &Path, error: &zip::result::ZipError) -> Error {
    // A format of the library would be told by the name of a type of it.
    let error = error.to_string();
    let why = if error.contains("::") { String::new() } else { format!(" ({error})") };
    bad(
        path,
        "",
        format!("it starts as a zip archive and cannot be read as one{why}: if it was cut, copy it again"),
    )
}
