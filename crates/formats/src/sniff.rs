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
/// Version 0, no level of detail, version 0: how every file of a Paddle variable starts. The length of a description
/// follows, and the description, which begins with the type of the elements.
const PADDLE_VARIABLE: [u8; 16] = [0; 16];
const DESCRIPTION: usize = 20;
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

/// The same for what is no format of weights and opens with bytes that nothing else does: where they are, and they.
const STRANGERS: [(usize, &[u8], &str); 13] = [
    (0, b"\xff\xd8\xff", JPEG),
    (0, b"\x89PNG\r\n", "a PNG image; give a file of weights here"),
    (0, b"GIF8", "a GIF image; give a file of weights here"),
    (8, b"WEBP", "a WebP image; give a file of weights here"),
    (0, b"\x7fELF", "a program or library (ELF); give a file of weights here"),
    (0, b"GGUF", "a GGUF file, a format of language models; save the weights as safetensors"),
    (4, b"TFL3", "a network in TFLite; save its weights as safetensors, or export the network as ONNX"),
    (0, b"%PDF", "a PDF document; give a file of weights here"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it and give what is inside"),
    (0, b"Rar!", "a RAR archive; unpack it and give what is inside"),
    (0, b"PAR1", "a parquet file, as data sets are; give a file of weights here"),
    (0, b"SQLite format 3", "an SQLite database; give a file of weights here"),
    (0, LFS, "a pointer of Git LFS and not the file itself; fetch the file with `git lfs pull`"),
];
const JPEG: &str = "a JPEG image; give a file of weights here";
/// How the text begins that Git LFS leaves where a file was not fetched.
const LFS: &[u8] = b"version https://git-lfs";
/// What a text is, by how it begins.
const TEXTS: [(&[u8], &str); 4] = [
    (b"<!doctype", WEB_PAGE),
    (b"<html", WEB_PAGE),
    (b"{", "JSON text and holds no weights; give a file of weights here"),
    (b"[", "JSON text and holds no weights; give a file of weights here"),
];
const WEB_PAGE: &str = "a web page in place of a file; see what it says, and download the file itself";
const TEXT: &str = "text and holds no weights; give a file of weights here";
const IDX: &str = "an IDX file, as the images and labels of MNIST are; give a file of weights here";
const ZEROS: &str = "nothing but zeros where it begins: it was not written to its end; save or copy it again";
/// Bytes that are looked at to tell a text.
const LOOKED_AT: usize = 512;

/// What is said of a network in ONNX where weights are read.
const ONNX: &str = "an ONNX network; predict, inspect and bench take it as it is, but its weights have no names of layers: give the weights that it \
     was exported from";
/// What is said of a file of which nothing is known.
const UNKNOWN: &str =
    "of no format known here: if it was cut, copy it again, else save the weights as safetensors";

/// What a file is that should be safetensors and is something else, with what to do.
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
        Content::Other(what) => Some(what),
    }
}

/// What a file that is no network is said to be where a network is read: weights of PyTorch or Paddle, and what is known by
/// how it opens; `None` for everything else.
///
/// `bytes` is the file or its start.
pub fn foreign_weights(bytes: &[u8]) -> Option<&'static str> {
    match content(bytes) {
        Content::Zip | Content::TorchLegacy => foreign(bytes),
        // Before protocol 2 a pickle may start as other files do.
        Content::Pickle if bytes.starts_with(b"\x80") => foreign(bytes),
        _ => stranger(bytes),
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
    if bytes.starts_with(&PADDLE_VARIABLE) && bytes.get(DESCRIPTION) == Some(&0x08) {
        return Content::PaddleVariable;
    }
    // In a text the first eight bytes are no length.
    let is_length = |length: &[u8]| !is_text(length);
    if bytes.get(8) == Some(&b'{') && bytes.get(..8).is_some_and(is_length) {
        return Content::Safetensors;
    }
    if bytes.get(TAR) == Some(b"ustar") {
        return Content::Other("a tar archive; unpack it and give the folder or file inside");
    }
    if is_pickle(bytes) {
        return Content::Pickle;
    }
    if matches!(bytes, [0x08, version, 0x12 | 0x1a | 0x22 | 0x32 | 0x3a, ..] if *version < 0x80) {
        return Content::Other(ONNX);
    }
    Content::Other(other(bytes))
}

/// What a file is that is not read.
fn other(bytes: &[u8]) -> &'static str {
    if bytes.is_empty() {
        return "empty: nothing was written to it; save or copy it again";
    }
    if let Some(what) = stranger(bytes) {
        return what;
    }
    let start = bytes.get(..LOOKED_AT).unwrap_or(bytes);
    if start.iter().all(|&byte| byte == 0) {
        return ZEROS;
    }
    if is_text(start) {
        let begins = start.trim_ascii_start().to_ascii_lowercase();
        let text = TEXTS.iter().find(|(opening, _)| begins.starts_with(opening));
        return text.map_or(TEXT, |(_, what)| what);
    }
    let known = OTHERS.iter().find(|(opening, _)| bytes.starts_with(opening));
    known.map_or(UNKNOWN, |(_, what)| what)
}

/// What a file is that is known by how it opens and has nothing to do with weights.
fn stranger(bytes: &[u8]) -> Option<&'static str> {
    // Two zeros, the type of the elements, the number of axes and the first length.
    if let [0, 0, 0x08..=0x0e, 1..=4, 0, _, _, _, ..] = bytes {
        return Some(IDX);
    }
    let opens = |at: usize, opening: &[u8]| bytes.get(at..).is_some_and(|rest| rest.starts_with(opening));
    STRANGERS.iter().find(|&&(at, opening, _)| opens(at, opening)).map(|&(_, _, what)| what)
}

/// Whether bytes are text, of which the last letter may be cut.
fn is_text(bytes: &[u8]) -> bool {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(bytes.get(..error.valid_up_to()).unwrap_or_default()).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !text.is_empty()
        && !text.contains(|letter: char| letter.is_control() && !matches!(letter, '\n' | '\r' | '\t'))
}

/// Whether a file opens as a pickle of a dictionary does.
fn is_pickle(bytes: &[u8]) -> bool {
    // Protocol 2 and later say so; before that a dictionary is `(d`, or `}` in the binary protocol 1, or of a class.
    let class = |module: &&[u8]| bytes.strip_prefix(b"c").is_some_and(|rest| rest.starts_with(module));
    matches!(bytes, [0x80, 2..=5, ..] | [b'(', b'd', ..] | [b'}', ..])
        || [b"collections\n".as_slice(), b"copy_reg\n", b"copyreg\n"].iter().any(class)
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
        let variable = [&[0; 16], b"\x06\0\0\0\x08\x05\x10\x02\x10\x03".as_slice(), &[0; 24]].concat();
        assert_eq!(content(&variable), Content::PaddleVariable);
        assert_eq!(content(b"\x02\0\0\0\0\0\0\0{}"), Content::Safetensors);
        for (bytes, word) in [
            (b"\x89HDF\r\n\x1a\n".as_slice(), "HDF5"),
            (b"\x1f\x8b\x08", "gzip"),
            (b"\x08\x0a\x12\x07pytorch", "ONNX"),
            (b"", "empty"),
            (b"hello", "text"),
            (b"\x01\x02\x03", "no format"),
            (b"\xff\xd8\xff\xe0\0\x10JFIF", "JPEG"),
            (b"\x89PNG\r\n\x1a\n", "PNG"),
            (b"\0\0\x08\x03\0\0\xea\x60\0\0\0\x1c", "IDX"),
            (b"\x7fELF\x02\x01\x01\0\0", "ELF"),
            (b"GGUF\x03\0\0\0", "GGUF"),
            (b"\x1c\0\0\0TFL3\x14\0", "TFLite"),
            (b"\n<!DOCTYPE html><html>", "web page"),
            (b"{\"model\":{\"a\": 1}}", "JSON"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\n", "git lfs pull"),
            (&[0; 64], "zeros"),
        ] {
            assert!(matches!(content(bytes), Content::Other(what) if what.contains(word)), "{word}");
        }
        let mut tar = [1_u8; 512];
        tar[TAR].copy_from_slice(b"ustar");
        assert!(matches!(content(&tar), Content::Other(what) if what.contains("tar")));
    }
}
