//! The header of a safetensors file: which tensors lie where, and the metadata keys.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::Path;

use safetensors::tensor::{SafeTensors, TensorInfo};

use crate::explain::{LARGEST_HEADER, LENGTH_BYTES, explain};
use crate::file::RESERVED_NAME;
use crate::packed::{self, Layout, Stored};
use crate::{Dtype, Error, Result, TensorView};

/// A header whose every offset was checked against the bytes that are there.
#[derive(Debug)]
pub(crate) struct Header {
    entries: BTreeMap<String, Entry>,
    keys: HashMap<String, String>,
}

/// Where one tensor lies.
#[derive(Debug)]
struct Entry {
    dtype: Dtype,
    shape: Vec<usize>,
    /// Its bytes, counted from the start of the file.
    bytes: Range<usize>,
}

impl Header {
    /// Reads the header of a whole file. `path` only names it in errors.
    ///
    /// # Errors
    /// [`Error::BadHeader`], [`Error::WrongFileLength`], [`Error::UnsupportedDtype`], [`Error::WrongTensorLength`] or
    /// [`Error::WrongOffset`]: whatever is wrong with the file first.
    pub(crate) fn parse(path: &Path, file: &[u8]) -> Result<Self> {
        let (length, header) =
            SafeTensors::read_metadata(file).map_err(|error| explain(path, file, &error))?;
        let start = LENGTH_BYTES + length;
        let entries = header
            .tensors()
            .into_iter()
            .map(|(name, info)| Ok((name.clone(), entry(path, name, info, start)?)))
            .collect::<Result<_>>()?;
        Ok(Self { entries, keys: header.metadata().clone().unwrap_or_default() })
    }

    /// The value of a metadata key.
    pub(crate) fn key(&self, key: &str) -> Option<&str> {
        self.keys.get(key).map(String::as_str)
    }

    /// Whether the file is marked as packed.
    pub(crate) fn is_packed(&self) -> bool {
        self.keys.contains_key(packed::KEY)
    }

    /// Whether the file is marked as one of 8 bits.
    pub(crate) fn is_int8(&self) -> bool {
        self.key(packed::KEY) == Some(packed::VERSION_INT8)
    }

    /// The names of the tensors as they are stored, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// A tensor as it is stored, in the bytes of the file that the header is of.
    pub(crate) fn view<'a>(&'a self, file: &'a [u8], name: &str) -> Option<TensorView<'a>> {
        let Entry { dtype, shape, bytes } = self.entries.get(name)?;
        Some(TensorView { dtype: *dtype, shape, data: file.get(bytes.clone())? })
    }

    /// What the tensors of the file are: every one as it is stored, or some packed if the file is marked so.
    ///
    /// # Errors
    /// [`Error::PackedVersion`], and those of [`packed::stored`].
    pub(crate) fn stored(&self, path: &Path) -> Result<BTreeMap<&str, Stored>> {
        match self.key(packed::KEY) {
            None => Ok(self.names().map(|name| (name, Stored::Plain)).collect()),
            Some(packed::VERSION) => packed::stored(path, Layout::Floats, self.names()),
            Some(packed::VERSION_INT8) => packed::stored(path, Layout::Int8, self.names()),
            Some(other) => {
                Err(Error::PackedVersion { path: path.to_owned(), got: other.chars().take(40).collect() })
            }
        }
    }
}

fn entry(path: &Path, tensor: String, info: &TensorInfo, start: usize) -> Result<Entry> {
    let dtype_name = info.dtype.to_string();
    let Some(dtype) = Dtype::from_name(&dtype_name) else {
        return Err(Error::UnsupportedDtype { path: path.to_owned(), tensor, got: dtype_name });
    };
    let (begin, end) = info.data_offsets;
    Ok(Entry { dtype, shape: info.shape.clone(), bytes: start + begin..start + end })
}

/// Puts metadata keys, in their order, into the header of a file that has none: the library that writes files has no
/// fixed order for more than one.
///
/// # Errors
/// [`Error::BadHeader`] if the header would be larger than the format allows.
pub(crate) fn with_keys(path: &Path, mut file: Vec<u8>, keys: &BTreeMap<&str, &str>) -> Result<Vec<u8>> {
    let bad = |reason: String| Error::BadHeader { path: path.to_owned(), reason };
    let length = file.first_chunk().map(|length| u64::from_le_bytes(*length) as usize);
    let old = length.and_then(|length| Some(LENGTH_BYTES..LENGTH_BYTES.checked_add(length)?));
    let entries = old.clone().and_then(|old| file.get(old)).and_then(|header| header.strip_prefix(b"{"));
    let (Some(old), Some(entries)) = (old, entries) else {
        return Err(bad("it was written without one".to_owned()));
    };
    let map = serde_json::to_string(keys).map_err(|error| bad(error.to_string()))?;
    let comma = if entries.starts_with(b"}") { "" } else { "," };
    let mut header = format!(r#"{{"{RESERVED_NAME}":{map}{comma}"#).into_bytes();
    header.extend_from_slice(entries.trim_ascii_end());
    header.resize(header.len().next_multiple_of(LENGTH_BYTES), b' ');
    if header.len() as u64 > LARGEST_HEADER {
        return Err(bad(format!("it has {} bytes, expected at most {LARGEST_HEADER}", header.len())));
    }
    let length = (header.len() as u64).to_le_bytes();
    file.splice(..old.end, length.into_iter().chain(header));
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Tensor, Tensors};

    #[test]
    fn keys_are_put_in_front_and_the_rest_stays() {
        let path = Path::new("x");
        let keys = BTreeMap::from([("b", "2\""), ("a", "1")]);
        for tensors in [Tensors::new(), Tensors::from([("t".to_owned(), Tensor::from_u8([2], &[7, 8]))])] {
            let plain = safetensors::serialize(&tensors, None).unwrap();
            let file = with_keys(path, plain, &keys).unwrap();
            assert!(file[8..].starts_with(br#"{"__metadata__":{"a":"1","b":"2\""}"#));
            let header = Header::parse(path, &file).unwrap();
            assert_eq!((header.key("a"), header.key("b"), header.key("c")), (Some("1"), Some("2\""), None));
            assert_eq!(header.names().count(), tensors.len());
            for (name, tensor) in &tensors {
                assert_eq!(header.view(&file, name), Some(tensor.view()));
            }
        }
    }
}
