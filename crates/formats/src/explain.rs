//! Why a file was refused: the first thing that is wrong with it, by name and with numbers.
//!
//! The parser only says that a file is bad. This walks the same header again, after a refusal only, and finds the
//! tensor and the numbers that do not agree.

use std::path::Path;

use safetensors::SafeTensorError;
use serde_json::Value;

use crate::file::RESERVED_NAME;
use crate::{Dtype, Error, Tensor, sniff};

/// The length of the header stands before it, in so many bytes.
pub(crate) const LENGTH_BYTES: usize = size_of::<u64>();

/// The limit of the format itself, in bytes.
pub(crate) const LARGEST_HEADER: u64 = 100_000_000;

/// The error for a file whose parser said `error`.
pub(crate) fn explain(path: &Path, bytes: &[u8], error: &SafeTensorError) -> Error {
    if let Some(what) = sniff::foreign(bytes) {
        return Error::UnknownContent { path: path.to_owned(), what };
    }
    walk(path, bytes)
        .err()
        .unwrap_or_else(|| Error::BadHeader { path: path.to_owned(), reason: error.to_string() })
}

fn walk(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let bad = |reason: String| Error::BadHeader { path: path.to_owned(), reason };
    let wrong_length =
        |expected: u128| Error::WrongFileLength { path: path.to_owned(), expected, got: bytes.len() };

    let (length, rest) = bytes.split_first_chunk().ok_or_else(|| wrong_length(LENGTH_BYTES as u128))?;
    let header_length = u64::from_le_bytes(*length);
    if header_length > LARGEST_HEADER {
        return Err(bad(format!("it claims {header_length} bytes, expected at most {LARGEST_HEADER}")));
    }
    let data_start = LENGTH_BYTES as u128 + u128::from(header_length);
    let header = rest.get(..header_length as usize).ok_or_else(|| wrong_length(data_start))?;
    let header: Value = serde_json::from_slice(header).map_err(|error| bad(error.to_string()))?;
    let entries = header.as_object().ok_or_else(|| bad("it is not a JSON object".to_owned()))?;

    let mut tensors = Vec::with_capacity(entries.len());
    for (name, entry) in entries.iter().filter(|(name, _)| *name != RESERVED_NAME) {
        tensors.push(tensor_entry(path, name, entry)?);
    }
    tensors.sort_by_key(|entry| (entry.begin, entry.end));
    let mut data_end = 0;
    for entry in &tensors {
        entry.check(path, data_end)?;
        data_end = entry.end;
    }
    let expected = data_start + data_end as u128;
    if expected == bytes.len() as u128 { Ok(()) } else { Err(wrong_length(expected)) }
}

/// What the header says about one tensor; offsets count from the end of the header.
struct Entry<'a> {
    name: &'a str,
    dtype: Dtype,
    shape: Vec<usize>,
    begin: usize,
    end: usize,
}

impl Entry<'_> {
    fn check(&self, path: &Path, expected_begin: usize) -> Result<(), Error> {
        let (path, tensor) = (path.to_owned(), self.name.to_owned());
        if self.begin != expected_begin {
            return Err(Error::WrongOffset { path, tensor, expected: expected_begin, got: self.begin });
        }
        let expected = Tensor::expected_bytes(self.dtype, &self.shape);
        let got = self.end.saturating_sub(self.begin);
        if expected == got as u128 {
            return Ok(());
        }
        let (dtype, shape) = (self.dtype, self.shape.clone());
        Err(Error::WrongTensorLength { path, tensor, dtype, shape, expected, got })
    }
}

fn tensor_entry<'a>(path: &Path, name: &'a str, entry: &Value) -> Result<Entry<'a>, Error> {
    let bad = |what: &str| Error::BadHeader {
        path: path.to_owned(),
        reason: format!("tensor `{name}` has no usable {what}"),
    };
    let dtype_name = entry.get("dtype").and_then(Value::as_str).ok_or_else(|| bad("dtype"))?;
    let dtype = Dtype::from_name(dtype_name).ok_or_else(|| Error::UnsupportedDtype {
        path: path.to_owned(),
        tensor: name.to_owned(),
        got: dtype_name.to_owned(),
    })?;
    let shape = entry.get("shape").and_then(numbers).ok_or_else(|| bad("shape"))?;
    let offsets = entry.get("data_offsets").and_then(numbers);
    let Some(&[begin, end]) = offsets.as_deref() else {
        return Err(bad("data_offsets"));
    };
    Ok(Entry { name, dtype, shape, begin, end })
}

fn numbers(value: &Value) -> Option<Vec<usize>> {
    value.as_array()?.iter().map(|number| number.as_u64().and_then(|n| usize::try_from(n).ok())).collect()
}

#[cfg(test)]
mod tests {
    use crate::{Error, Result, decode};

    /// Decodes a file made of this header and `data_length` zero bytes.
    fn decode_header(header: &str, data_length: usize) -> Result<()> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.resize(bytes.len() + data_length, 0);
        decode("f.safetensors", &bytes).map(|_| ())
    }

    #[test]
    fn a_sound_header_passes() {
        decode_header(r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 8).unwrap();
    }

    #[test]
    fn a_cut_file_gives_both_lengths() {
        let header = r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        let whole = 8 + header.len() + 8;
        for (data_length, got_length) in [(3, whole - 5), (9, whole + 1)] {
            let error = decode_header(header, data_length).unwrap_err();
            assert!(
                matches!(error, Error::WrongFileLength { expected, got, .. } if expected == whole as u128 && got == got_length),
                "{error}"
            );
        }
        let error = decode("f.safetensors", &[9, 0, 0, 0, 0, 0, 0, 0, b'{']).unwrap_err();
        assert!(matches!(error, Error::WrongFileLength { expected: 17, got: 9, .. }), "{error}");
    }

    #[test]
    fn what_is_no_safetensors_file_is_told_by_what_it_is() {
        for (bytes, what) in [
            (b"this is no tensor file".as_slice(), "`notes` is text"),
            (b"abc", "`notes` is text"),
            (b"\xff\xd8\xff\xe0\0\x10JFIF\0", "`notes` is a JPEG image"),
            (&[9, 0, 0], "`notes` is of no format known here"),
            (&[0xee; 64], "`notes` is of no format known here"),
        ] {
            let error = decode("notes", bytes).unwrap_err();
            assert!(matches!(error, Error::UnknownContent { .. }), "{error}");
            assert!(error.to_string().contains(what), "{error}");
        }
        assert!(matches!(decode_header("[1,2]", 0), Err(Error::UnknownContent { .. })));
        assert!(matches!(decode_header(r#"{"w":3}"#, 0), Err(Error::BadHeader { .. })));
    }

    #[test]
    fn weights_of_another_program_are_told_by_what_they_are() {
        for (bytes, words) in [
            (b"PK\x03\x04\0\0\0\0\x08\x08\0\0".as_slice(), ["PyTorch", "convert"]),
            (b"\x80\x04\x95\x0d\0\0\0\0\0\0\0}.", ["Paddle", "convert"]),
            (b"\x08\x08\x12\x07pytorch", ["ONNX", "predict"]),
        ] {
            let error = decode("weights", bytes).unwrap_err();
            assert!(matches!(error, Error::UnknownContent { .. }), "{error}");
            assert!(words.iter().all(|word| error.to_string().contains(word)), "{error}");
        }
    }

    #[test]
    fn an_unknown_dtype_is_named_whether_the_parser_knows_it_or_not() {
        for dtype in ["F8_E4M3", "Q4_K"] {
            let header = format!(r#"{{"w":{{"dtype":"{dtype}","shape":[2],"data_offsets":[0,2]}}}}"#);
            let error = decode_header(&header, 2).unwrap_err();
            assert!(
                matches!(&error, Error::UnsupportedDtype { tensor, got, .. } if tensor == "w" && got == dtype)
            );
            let message = error.to_string();
            for fact in ["`w`", "`f.safetensors`", dtype, "BF16"] {
                assert!(message.contains(fact), "{fact} missing in: {message}");
            }
        }
    }

    #[test]
    fn a_wrong_length_names_the_tensor() {
        let header = concat!(
            r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"#,
            r#""w":{"dtype":"F32","shape":[3],"data_offsets":[4,12]}}"#
        );
        let error = decode_header(header, 12).unwrap_err();
        assert!(
            matches!(&error, Error::WrongTensorLength { tensor, expected: 12, got: 8, .. } if tensor == "w"),
            "{error}"
        );
    }

    #[test]
    fn a_gap_and_an_overlap_name_the_tensor() {
        for begin in [3, 5] {
            let header = format!(
                r#"{{"a":{{"dtype":"U8","shape":[4],"data_offsets":[0,4]}},"w":{{"dtype":"U8","shape":[4],"data_offsets":[{begin},{}]}}}}"#,
                begin + 4
            );
            let error = decode_header(&header, begin + 4).unwrap_err();
            assert!(
                matches!(&error, Error::WrongOffset { tensor, expected: 4, got, .. } if tensor == "w" && *got == begin),
                "{error}"
            );
        }
    }

    #[test]
    fn sizes_beyond_memory_are_refused_without_allocating_them() {
        let header =
            r#"{"w":{"dtype":"F64","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,8]}}"#;
        assert!(matches!(decode_header(header, 8), Err(Error::WrongTensorLength { got: 8, .. })));
        let header =
            r#"{"w":{"dtype":"U8","shape":[1152921504606846976],"data_offsets":[0,1152921504606846976]}}"#;
        assert!(matches!(decode_header(header, 8), Err(Error::WrongFileLength { .. })));
        let error = decode("f", b"\xff\xff\xff\xff\xff\xff\xff\xff{}").unwrap_err();
        assert!(matches!(error, Error::BadHeader { .. }), "{error}");
    }
}
