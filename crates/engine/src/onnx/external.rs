//! Numbers that lie in files beside the model, of which only what is asked for is read.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use super::OnnxError;
use super::element::Element;
use super::proto::TensorProto;

/// The files beside a model.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// The folder of the model; none if it came as bytes.
    folder: Option<PathBuf>,
    opened: HashMap<String, Opened>,
}

/// A file beside the model.
#[derive(Debug)]
struct Opened {
    file: File,
    length: u64,
    /// Where constants lie: first byte and bytes.
    places: HashSet<[u64; 2]>,
    /// Bytes of these places together.
    taken: u64,
}

impl Files {
    /// Files beside a model in this folder.
    pub(super) fn beside(folder: &Path) -> Self {
        // The folder of a bare file name is the one that the program runs in.
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        Self { folder: Some(folder.to_owned()), opened: HashMap::new() }
    }

    /// The same folder, of which nothing was opened.
    pub(super) fn again(&self) -> Self {
        Self { folder: self.folder.clone(), opened: HashMap::new() }
    }

    /// Bytes of the files that were opened so far.
    pub(super) fn bytes(&self) -> u64 {
        self.opened.values().fold(0, |sum, file| sum.saturating_add(file.length))
    }

    /// Opens the file in which a constant lies, if that is another one and was not opened before.
    pub(super) fn open(&mut self, tensor: &TensorProto) -> Result<(), OnnxError> {
        let location = self.location(tensor)?;
        if !self.opened.contains_key(&location) {
            let refused = |reason: String| external(tensor, &location, reason);
            let folder = self.folder.as_deref().ok_or_else(|| {
                refused(
                    "the model was given as bytes, so that no folder is known; read it from its file"
                        .to_owned(),
                )
            })?;
            let opened = open(folder, &location).map_err(refused)?;
            self.opened.insert(location, opened);
        }
        Ok(())
    }

    /// The bytes of a constant of `count` numbers.
    pub(super) fn read(
        &mut self,
        tensor: &TensorProto,
        count: usize,
        element: Element,
    ) -> Result<Vec<u8>, OnnxError> {
        self.open(tensor)?;
        let location = self.location(tensor)?;
        let refused = |reason: String| external(tensor, &location, reason);
        let Some(opened) = self.opened.get_mut(&location) else {
            return Err(refused("it is not open".to_owned()));
        };
        let needed = count.checked_mul(element.bytes()).and_then(|bytes| u64::try_from(bytes).ok());
        let needed = needed.ok_or_else(|| refused("its shape is too large".to_owned()))?;
        let offset = number(tensor, "offset").map_err(refused)?.unwrap_or(0);
        let rest = opened.length.checked_sub(offset);
        let Some(rest) = rest else {
            return Err(refused(format!(
                "it begins at byte {offset} of a file of {} bytes; copy both files again",
                opened.length
            )));
        };
        let length = number(tensor, "length").map_err(refused)?;
        // Without a length it is what the shape needs.
        let length = length.unwrap_or(rest.min(needed));
        if length > rest {
            let reason =
                format!("bytes {offset} to {offset} + {length} of a file of {} bytes", opened.length);
            return Err(refused(format!("it claims {reason}; copy both files again")));
        }
        if length != needed {
            return Err(refused(format!(
                "{length} bytes for the shape {:?}, which needs {needed}; the file may belong to another model",
                tensor.dims
            )));
        }
        opened.take(offset, length).map_err(refused)?;
        opened.bytes(offset, length).map_err(|error| refused(format!("it cannot be read: {error}")))
    }

    fn location(&self, tensor: &TensorProto) -> Result<String, OnnxError> {
        let mut keys = HashSet::new();
        let twice =
            tensor.external_data.iter().find(|entry| !keys.insert(entry.key.as_deref().unwrap_or_default()));
        if let Some(entry) = twice {
            let key = entry.key.as_deref().unwrap_or_default();
            return Err(external(tensor, "", format!("`{key}` is given twice; save the model again")));
        }
        let location = entry(tensor, "location").unwrap_or_default();
        if location.is_empty() {
            return Err(external(
                tensor,
                "",
                "the name of the file is missing; save the model again".to_owned(),
            ));
        }
        Ok(location.to_owned())
    }
}

impl Opened {
    /// Notes where a constant lies. All of them together cannot have more bytes than the file, unless some lie on others.
    fn take(&mut self, offset: u64, length: u64) -> Result<(), String> {
        if self.places.insert([offset, length]) {
            self.taken = self.taken.saturating_add(length);
        }
        if self.taken > self.length {
            return Err("constants overlap in this file; save the model again".to_owned());
        }
        Ok(())
    }

    fn bytes(&mut self, offset: u64, length: u64) -> std::io::Result<Vec<u8>> {
        // The file had these bytes when it was opened.
        let mut bytes = vec![0; usize::try_from(length).map_err(std::io::Error::other)?];
        self.file.seek(SeekFrom::Start(offset))?;
        self.file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// Opens a regular file below a folder; why not, if it is something else or elsewhere.
fn open(folder: &Path, location: &str) -> Result<Opened, String> {
    let is_name = |component: Component<'_>| matches!(component, Component::Normal(_) | Component::CurDir);
    if !Path::new(location).components().all(is_name) || location.contains('\0') {
        return Err("it must lie in the folder of the model; put it there and save the model with its name"
            .to_owned());
    }
    let system = |error: std::io::Error| format!("{error}; it must lie beside the model");
    let folder = folder.canonicalize().map_err(system)?;
    let path = folder.join(location).canonicalize().map_err(system)?;
    if !path.starts_with(&folder) {
        return Err("it is a link out of the folder of the model; put a copy in its place".to_owned());
    }
    // A pipe would make the opening wait.
    let is_file = |metadata: fs::Metadata| metadata.is_file();
    let irregular = || "it is no regular file; put a copy in its place".to_owned();
    if !fs::metadata(&path).map(is_file).map_err(system)? {
        return Err(irregular());
    }
    let file = File::open(&path).map_err(system)?;
    let metadata = file.metadata().map_err(system)?;
    let length = metadata.len();
    if !is_file(metadata) {
        return Err(irregular());
    }
    Ok(Opened { file, length, places: HashSet::new(), taken: 0 })
}

fn entry<'a>(tensor: &'a TensorProto, key: &str) -> Option<&'a str> {
    let entry = tensor.external_data.iter().find(|entry| entry.key.as_deref() == Some(key));
    entry.map(|entry| entry.value.as_deref().unwrap_or_default())
}

fn number(tensor: &TensorProto, key: &str) -> Result<Option<u64>, String> {
    let wrong = |text: &str| format!("its {key} is `{text}`, expected a whole number of bytes");
    entry(tensor, key).map(|text| text.parse().map_err(|_| wrong(text))).transpose()
}

fn external(tensor: &TensorProto, location: &str, reason: String) -> OnnxError {
    OnnxError::External { tensor: tensor.label().to_owned(), location: location.to_owned(), reason }
}
