//! What the first bytes of a file say about it.

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Safetensors,
    Zip,
    TorchLegacy,
    Pickle,
    PaddleVariable,
    /// Something else, named as well as it can be.
    Other(&'static str),
}

/// A pickle of protocol 2 with the number that opens files of `torch.save` before PyTorch 1.6.
pub(super) const TORCH_MAGIC: [u8; 15] =
    [0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, b'.'];
/// Version 0, no level of detail, version 0: how every file of a Paddle variable starts.
const PADDLE_VARIABLE: [u8; 16] = [0; 16];
/// Where a tar archive has its mark.
const TAR: std::ops::Range<usize> = 257..262;

/// Openings of formats that are known and not read, with what to do.
const OTHERS: [(&[u8], &str); 8] = [
    (b"\x89HDF", "an HDF5 file (Keras); save the weights as safetensors"),
    (b"\x1f\x8b", "a gzip archive; unpack it and give what is inside"),
    (b"BZh", "a bzip2 archive; unpack it and give what is inside"),
    (b"\xfd7zXZ", "an xz archive; unpack it and give what is inside"),
    (b"\x28\xb5\x2f\xfd", "a zstandard archive; unpack it and give what is inside"),
    (b"\x93NUMPY", "one numpy array without a name; save a named set of tensors as safetensors"),
    (b"\x08\x00\x12", "a protocol buffer (ONNX or TensorFlow graph); save the weights as safetensors"),
    (b"\x0a", "a protocol buffer (a Paddle or TensorFlow program); give the file with its weights"),
];

/// Tells what a file holds from its content.
pub(super) fn content(bytes: &[u8]) -> Content {
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        return Content::Zip;
    }
    if bytes.starts_with(&TORCH_MAGIC) {
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
    // Protocol 2 and later say so; before that a dictionary is `(d`, or `}` in the binary protocol 1.
    if matches!(bytes, [0x80, 2..=5, ..] | [b'(', b'd', ..] | [b'}', ..]) {
        return Content::Pickle;
    }
    match OTHERS.iter().find(|(opening, _)| bytes.starts_with(opening)) {
        Some((_, what)) => Content::Other(what),
        None if bytes.is_empty() => Content::Other("empty; copy it again"),
        None => Content::Other(
            "of no format known here; if it was cut copy it again, else save the weights as safetensors",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_told_from_its_first_bytes() {
        assert_eq!(content(b"PK\x03\x04...."), Content::Zip);
        assert_eq!(content(&TORCH_MAGIC), Content::TorchLegacy);
        assert_eq!(content(b"\x80\x04\x95"), Content::Pickle);
        assert_eq!(content(b"(dp0\n"), Content::Pickle);
        assert_eq!(content(&[0; 40]), Content::PaddleVariable);
        assert_eq!(content(b"\x02\0\0\0\0\0\0\0{}"), Content::Safetensors);
        for (bytes, word) in [
            (b"\x89HDF\r\n\x1a\n".as_slice(), "HDF5"),
            (b"\x1f\x8b\x08", "gzip"),
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
