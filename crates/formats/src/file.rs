//! A safetensors file as a whole: tensors and metadata to bytes and back.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::View;

use crate::header::{Header, with_keys};
use crate::{Dtype, Error, Result, Tensor, Tensors, atomic, packed, read_regular};

/// Bytes in the largest file of another program that is read, and that a packed file unpacks to.
pub const LARGEST_FILE: u64 = 2 << 30;

/// The one metadata key that this crate writes and looks for.
pub const METADATA_KEY: &str = "sparse_train";

/// The name that the format keeps for the metadata map.
pub(crate) const RESERVED_NAME: &str = "__metadata__";

/// Reads a safetensors file: its tensors, and its metadata text if it has one under [`METADATA_KEY`].
///
/// Packed tensors come unpacked, see [`packed`]. Memory: the file once as bytes and once as tensors, whatever its header
/// claims.
///
/// # Errors
/// The errors of [`read_regular`] and of [`decode`].
pub fn read(path: impl AsRef<Path>) -> Result<(Tensors, Option<String>)> {
    let path = path.as_ref();
    decode(path, &read_regular(path, u64::MAX)?)
}

/// Writes a safetensors file atomically: `path` holds either its old content or all of the new.
///
/// `metadata` is a JSON text, stored under [`METADATA_KEY`].
///
/// # Errors
/// The errors of [`encode`] and of [`atomic::write_file`].
pub fn write(path: impl AsRef<Path>, tensors: &Tensors, metadata: Option<&str>) -> Result<()> {
    let path = path.as_ref();
    atomic::write_file(path, &encode(path, tensors, metadata)?)
}

/// The bytes of a safetensors file; the same input always gives the same bytes.
///
/// Tensors lie by descending element size and, within one dtype, by name, so that every tensor is aligned to its
/// elements. `path` only names the file in errors.
///
/// # Errors
/// [`Error::WrongTensorLength`], [`Error::ReservedName`], [`Error::BadMetadata`], and [`Error::BadHeader`] if the header
/// would be larger than the format allows.
pub fn encode(path: impl AsRef<Path>, tensors: &Tensors, metadata: Option<&str>) -> Result<Vec<u8>> {
    encode_with_keys(path.as_ref(), tensors, metadata, &[])
}

/// As [`encode`], with more metadata keys.
///
/// # Errors
/// As [`encode`].
pub(crate) fn encode_with_keys<'a>(
    path: &Path,
    tensors: &Tensors,
    metadata: Option<&'a str>,
    more: &[(&'a str, &'a str)],
) -> Result<Vec<u8>> {
    for (name, tensor) in tensors {
        check(path, name, tensor)?;
    }
    let mut keys: BTreeMap<&str, &str> = more.iter().copied().collect();
    if let Some(text) = metadata {
        check_metadata(path, text)?;
        keys.insert(METADATA_KEY, text);
    }
    let file = safetensors::serialize(tensors, None)
        .map_err(|error| Error::BadHeader { path: path.to_owned(), reason: error.to_string() })?;
    if keys.is_empty() { Ok(file) } else { with_keys(path, file, &keys) }
}

/// The tensors and the metadata text in the bytes of a safetensors file. `path` only names the file in errors.
///
/// Packed tensors come unpacked, see [`packed`].
///
/// # Errors
/// [`Error::BadHeader`], [`Error::WrongFileLength`], [`Error::UnsupportedDtype`], [`Error::WrongTensorLength`] or
/// [`Error::WrongOffset`]: whatever is wrong with the file first. Of a packed file also [`Error::PackedVersion`],
/// [`Error::BadPacked`] and [`Error::TooLarge`].
pub fn decode(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(Tensors, Option<String>)> {
    let path = path.as_ref();
    decode_after(path, &Header::parse(path, bytes)?, bytes)
}

/// As [`decode`], when the header has been read.
///
/// # Errors
/// [`Error::PackedVersion`], [`Error::BadPacked`] and [`Error::TooLarge`].
pub(crate) fn decode_after(path: &Path, header: &Header, bytes: &[u8]) -> Result<(Tensors, Option<String>)> {
    let tensors = packed::read(path, &header.stored(path)?, |name| header.view(bytes, name))?;
    Ok((tensors, header.key(METADATA_KEY).map(str::to_owned)))
}

/// Checks that a tensor may be written under this name.
///
/// # Errors
/// [`Error::ReservedName`], [`Error::WrongTensorLength`].
pub(crate) fn check(path: &Path, name: &str, tensor: &Tensor) -> Result<()> {
    if name == RESERVED_NAME {
        return Err(Error::ReservedName { path: path.to_owned(), tensor: name.to_owned() });
    }
    let expected = Tensor::expected_bytes(tensor.dtype, &tensor.shape);
    if expected == tensor.data.len() as u128 {
        return Ok(());
    }
    Err(Error::WrongTensorLength {
        path: path.to_owned(),
        tensor: name.to_owned(),
        dtype: tensor.dtype,
        shape: tensor.shape.clone(),
        expected,
        got: tensor.data.len(),
    })
}

fn check_metadata(path: &Path, text: &str) -> Result<()> {
    serde_json::from_str::<serde_json::Value>(text)
        .map_err(|source| Error::BadMetadata { path: path.to_owned(), source })?;
    Ok(())
}

impl View for &Tensor {
    fn dtype(&self) -> safetensors::Dtype {
        match self.dtype {
            Dtype::Bool => safetensors::Dtype::BOOL,
            Dtype::U8 => safetensors::Dtype::U8,
            Dtype::I8 => safetensors::Dtype::I8,
            Dtype::U16 => safetensors::Dtype::U16,
            Dtype::I16 => safetensors::Dtype::I16,
            Dtype::F16 => safetensors::Dtype::F16,
            Dtype::BF16 => safetensors::Dtype::BF16,
            Dtype::U32 => safetensors::Dtype::U32,
            Dtype::I32 => safetensors::Dtype::I32,
            Dtype::F32 => safetensors::Dtype::F32,
            Dtype::U64 => safetensors::Dtype::U64,
            Dtype::I64 => safetensors::Dtype::I64,
            Dtype::F64 => safetensors::Dtype::F64,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.data)
    }

    fn data_len(&self) -> usize {
        self.data.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Tensors {
        Tensors::from([
            ("mask".to_owned(), Tensor::from_u8([3], &[1, 0, 1])),
            ("a".to_owned(), Tensor::from_f32([2, 2], &[1.0, 2.0, 3.0, 4.0])),
            ("b".to_owned(), Tensor::from_f32([1], &[5.0])),
            ("loss".to_owned(), Tensor::from_f64([], &[0.5])),
        ])
    }

    #[test]
    fn the_layout_is_the_same_every_time_and_aligned() {
        let first = encode("x", &sample(), Some("{}")).unwrap();
        for _ in 0..20 {
            assert_eq!(encode("x", &sample(), Some("{}")).unwrap(), first);
        }
        let header_length = u64::from_le_bytes(first[..8].try_into().unwrap()) as usize;
        let header = std::str::from_utf8(&first[8..8 + header_length]).unwrap();
        assert_eq!(
            header.trim_end(),
            concat!(
                r#"{"__metadata__":{"sparse_train":"{}"},"#,
                r#""loss":{"dtype":"F64","shape":[],"data_offsets":[0,8]},"#,
                r#""a":{"dtype":"F32","shape":[2,2],"data_offsets":[8,24]},"#,
                r#""b":{"dtype":"F32","shape":[1],"data_offsets":[24,28]},"#,
                r#""mask":{"dtype":"U8","shape":[3],"data_offsets":[28,31]}}"#
            )
        );
        assert_eq!(header_length % 8, 0);
    }

    #[test]
    fn every_dtype_survives_under_its_own_name() {
        for dtype in Dtype::ALL {
            let tensor = Tensor { dtype, shape: vec![3], data: vec![1; 3 * dtype.size()] };
            assert_eq!((&tensor).dtype().to_string(), dtype.name());
            let tensors = Tensors::from([("t".to_owned(), tensor)]);
            assert_eq!(decode("x", &encode("x", &tensors, None).unwrap()).unwrap(), (tensors, None));
        }
    }

    #[test]
    fn a_tensor_that_does_not_fit_its_shape_is_not_written() {
        let tensors = Tensors::from([("w".to_owned(), Tensor::from_f32([2, 2], &[1.0; 3]))]);
        let error = encode("out/w.safetensors", &tensors, None).unwrap_err();
        assert!(matches!(error, Error::WrongTensorLength { expected: 16, got: 12, .. }));
        let message = error.to_string();
        for fact in ["`w`", "`out/w.safetensors`", "12 bytes", "needs 16", "F32", "[2, 2]"] {
            assert!(message.contains(fact), "{fact} missing in: {message}");
        }
    }

    #[test]
    fn the_reserved_name_and_broken_metadata_are_not_written() {
        let tensors = Tensors::from([(RESERVED_NAME.to_owned(), Tensor::from_u8([1], &[0]))]);
        assert!(matches!(encode("x", &tensors, None), Err(Error::ReservedName { .. })));
        assert!(matches!(encode("x", &Tensors::new(), Some("{\"a\":")), Err(Error::BadMetadata { .. })));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read("no/such/file.safetensors").unwrap_err();
        assert!(matches!(error, Error::Io { action: "read", .. }));
        assert!(error.to_string().contains("`no/such/file.safetensors`"), "{error}");
    }
}
