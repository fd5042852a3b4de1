//! What a file is that is no ONNX model, as far as its first bytes tell.

/// Openings of other formats, what they are, and what to do.
const OTHERS: &[(&[u8], &str)] = &[
    (
        b"PK\x03\x04",
        "a zip archive, as PyTorch writes its weights; bring it into our form with `sparse-train convert`, or export \
       the network with `torch.onnx.export`",
    ),
    (b"\x80\x02", PICKLE),
    (b"\x80\x03", PICKLE),
    (b"\x80\x04", PICKLE),
    (b"\x80\x05", PICKLE),
    (b"\x89HDF", "an HDF5 file of Keras; export the network with tf2onnx"),
    (
        b"version https://git-lfs",
        "the pointer of a Git LFS file that was not fetched; run `git lfs pull` where it comes from",
    ),
    (b"<", "a page of text (HTML or XML); download the file itself"),
    (b"{", "a text in JSON; give the .onnx file"),
    (b"GGUF", "a GGUF file, which holds language models; give an .onnx file"),
    (b"ORTM", ORT),
    (b"\x1f\x8b", "a gzip archive; unpack it and give what is inside"),
    (b"BZh", "a bzip2 archive; unpack it and give what is inside"),
    (b"\x28\xb5\x2f\xfd", "a zstandard archive; unpack it and give what is inside"),
    (b"\xfd7zXZ", "an xz archive; unpack it and give what is inside"),
    (b"\x93NUMPY", "a numpy array; give the .onnx file"),
    (b"\x89PNG", "an image; give the .onnx file"),
    (b"\xff\xd8\xff", "an image; give the .onnx file"),
    (b"; ", "a text; give the .onnx file"),
];
const PICKLE: &str = "a pickle, as PyTorch and Paddle write their weights; bring it into our form with `sparse-train convert`, or export \
                      the network with `torch.onnx.export`";
const ORT: &str = "a model in the format of ONNX Runtime (.ort); give the .onnx file that it was made from";
const TFLITE: &str = "a TensorFlow Lite model; convert it with tf2onnx";
const SAFETENSORS: &str = "a safetensors file: weights without a network; give them to `sparse-train convert`, or export the network as ONNX";

/// What else the bytes are; none if they may be a damaged model.
pub(super) fn other(bytes: &[u8]) -> Option<&'static str> {
    if bytes.is_empty() {
        return Some("empty; copy or export it again");
    }
    match bytes.get(4..8) {
        Some(b"TFL3") => return Some(TFLITE),
        Some(b"ORTM") => return Some(ORT),
        _ => {}
    }
    if bytes.get(8) == Some(&b'{') && bytes.get(6..8) == Some(&[0; 2]) {
        return Some(SAFETENSORS);
    }
    if bytes.get(257..262) == Some(b"ustar") {
        return Some("a tar archive; unpack it and give the .onnx file inside");
    }
    OTHERS.iter().find(|(opening, _)| bytes.starts_with(opening)).map(|&(_, what)| what)
}
