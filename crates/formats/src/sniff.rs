//! What the first bytes of a file say about it.

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Safetensors,
    Zip,
    TorchLegacy,
    Pickle,
    PaddleVariable,
    /// Something else, named as well as it can be.
    Other(&'static str),
}

/// The number that opens files of `torch.save` before PyTorch 1.6, as binary pickles write it.
const TORCH_MAGIC: [u8; 13] = [0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, b'.'];
/// The same as pickles of the protocols 0 and 1 write it.
const TORCH_MAGIC_TEXT: &[u8] = b"L119547037146038801333356L\n.";
/// Bytes before the number that opens such a file: the protocol, and from 4 on the length of what follows.
const BEFORE_MAGIC: [usize; 2] = [2, 11];
/// Version 0, no level of detail, version 0: how every file of a Paddle variable starts.
const PADDLE_VARIABLE: [u8; 16] = [0; 16];
/// Where a tar archive has its mark.
const TAR: std::ops::Range<usize> = 257..262;

/// Openings of formats that are known and not read, with what to do.
const OTHERS: [(&[u8], &str); 7] = [
    (b"\x89HDF", "an HDF5 file (Keras); save the weights as safetensors"),
    (b"\x1f\x8b", "a gzip archive; unpack it and give what is inside"),
    (b"BZh", "a bzip2 archive; unpack it and give what is inside"),
    (b"\xfd7zXZ", "an xz archive; unpack it and give what is inside"),
    (b"\x28\xb5\x2f\xfd", "a zstandard archive; unpack it and give what is inside"),
    (b"\x93NUMPY", "one numpy array without a name; save a named set of tensors as safetensors"),
    (b"\x0a", "a protocol buffer (a Paddle or TensorFlow program); give the file with its weights"),
];

/// What is said of a network in ONNX where weights are read.
const ONNX: &str = "an ONNX network; predict and bench take it as it is, but its weights have no names of layers: give the weights that it \
     was exported from";
/// What is said of a file of which nothing is known.
const UNKNOWN: &str =
    "of no format known here: if it was cut, copy it again, else save the weights as safetensors";

/// What a file is that should be safetensors and is something else that is known, with what to do.
pub(crate) fn foreign(bytes: &[u8]) -> Option<&'static str> {
    match content(bytes) {
        Content::Safetensors => None,
        Content::Zip => {
            Some("a zip archive, as PyTorch saves weights; `sparse-train convert` makes safetensors of it")
        }
        Content::TorchLegacy | Content::Pickle => Some(
            "a pickle, as PyTorch and Paddle save weights; `sparse-train convert` makes safetensors of it",
        ),
        Content::PaddleVariable => Some(
            "a variable of PaddlePaddle; `sparse-train convert` makes safetensors of the folder it is in",
        ),
        Content::Other(UNKNOWN) => None,
        Content::Other(what) => Some(what),
    }
}

/// What weights of PyTorch or Paddle are said to be where a network is read; `None` for everything else.
///
/// `bytes` is the file or its start.
pub fn foreign_weights(bytes: &[u8]) -> Option<&'static str> {
    match content(bytes) {
        Content::Zip | Content::TorchLegacy => foreign(bytes),
        // Before protocol 2 a pickle may start as other files do.
        Content::Pickle if bytes.starts_with(b"\x80") => foreign(bytes),
        _ => None,
    }
}

/// Tells what a file holds from its content.
pub(crate) fn content(bytes: &[u8]) -> Content {
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        return Content::Zip;
    }
    if is_torch_legacy(bytes) {
        return Content::TorchLegacy;
    }
    if bytes.starts_with(&PADDLE_VARIABLE) && bytes.len() > PADDLE_VARIABLE.len() {
        return Content::PaddleVariable;
    }
    if bytes.get(8) == Some(&b'{') {
        return Content::Safetensors;
    }
    if bytes.get(TAR) == Some(b"ustar") {
        return Content::Other("a tar archive; unpack it and give the folder or file inside");
    }
    // Protocol 2 and later say so; before that a dictionary is `(d`, or `}` in the binary protocol 1, or of a class.
    let class = |module: &&[u8]| bytes.strip_prefix(b"c").is_some_and(|rest| rest.starts_with(module));
    if matches!(bytes, [0x80, 2..=5, ..] | [b'(', b'd', ..] | [b'}', ..])
        || [b"collections\n".as_slice(), b"copy_reg\n", b"copyreg\n"].iter().any(class)
    {
        return Content::Pickle;
    }
    if matches!(bytes, [0x08, version, 0x12 | 0x1a | 0x22 | 0x32 | 0x3a, ..] if *version < 0x80) {
        return Content::Other(ONNX);
    }
    match OTHERS.iter().find(|(opening, _)| bytes.starts_with(opening)) {
        Some((_, what)) => Content::Other(what),
        None if bytes.is_empty() => Content::Other("empty: nothing was written to it; save or copy it again"),
        None => Content::Other(UNKNOWN),
    }
}

/// Whether a file opens with the number of `torch.save` before PyTorch 1.6, in a pickle of any protocol.
fn is_torch_legacy(bytes: &[u8]) -> bool {
    let number = |&before: &usize| bytes.get(before..).is_some_and(|rest| rest.starts_with(&TORCH_MAGIC));
    bytes.starts_with(TORCH_MAGIC_TEXT) || bytes.first() == Some(&0x80) && BEFORE_MAGIC.iter().any(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_told_from_its_first_bytes() {
        assert_eq!(content(b"PK\x03\x04...."), Content::Zip);
        for opening in [b"\x80\x02".as_slice(), b"\x80\x04\x95\x0d\0\0\0\0\0\0\0"] {
            assert_eq!(content(&[opening, &TORCH_MAGIC].concat()), Content::TorchLegacy);
        }
        assert_eq!(content(TORCH_MAGIC_TEXT), Content::TorchLegacy);
        assert_eq!(content(b"\x80\x04\x95"), Content::Pickle);
        assert_eq!(content(b"(dp0\n"), Content::Pickle);
        assert_eq!(content(b"ccollections\nOrderedDict\n"), Content::Pickle);
        assert_eq!(content(&[0; 40]), Content::PaddleVariable);
        assert_eq!(content(b"\x02\0\0\0\0\0\0\0{}"), Content::Safetensors);
        for (bytes, word) in [
            (b"\x89HDF\r\n\x1a\n".as_slice(), "HDF5"),
            (b"\x1f\x8b\x08", "gzip"),
            (b"\x08\x0a\x12\x07pytorch", "ONNX"),
            (b"", "empty"),
            (b"hello", "no format"),
        ] {
            assert!(matches!(content(bytes), Content::Other(what) if what.contains(word)), "{word}");
        }
        let mut tar = [1_u8; 512];
        tar[TAR].copy_from_slice(b"ustar");
        assert!(matches!(content(&tar), Content::Other(what) if what.contains("tar")));
    }
}
