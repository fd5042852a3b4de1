//! Files of weights: other readers see the same tensors, and what is written reads back.

use std::fs;

use safetensors::SafeTensors;
use sparse_formats::import::import_bytes;
use sparse_formats::packed::{self, Values};
use sparse_formats::{Tensors, decode, encode, import};

/// How many times its size the tensors of a file may take, and what those of a small file may: beyond it lies an
/// expansion that nobody asked for.
const EXPANSION: usize = 16;
const SMALL: usize = 1 << 22;

/// A pickle, a zip archive of PyTorch or any other single file of weights.
pub(crate) fn pickle(bytes: &[u8]) {
    if let Ok(found) = import_bytes("weights", bytes) {
        check(&found.tensors, bytes.len());
    }
}

/// A folder with one variable of PaddlePaddle.
pub(crate) fn variable(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("conv1_weights"), bytes).expect("a file");
    if let Ok(found) = import(folder.path()) {
        check(&found.tensors, bytes.len());
    }
}

/// A safetensors file: the `safetensors` crate finds the same tensors in it.
pub(crate) fn safetensors(bytes: &[u8]) {
    let Ok((ours, _)) = decode("file", bytes) else { return };
    let is_packed = |format| matches!(format, sparse_formats::Format::Packed | sparse_formats::Format::Int8);
    if import_bytes("file", bytes).is_ok_and(|found| is_packed(found.format)) {
        return;
    }
    let theirs = SafeTensors::deserialize(bytes).expect("the other reader takes it too");
    assert_eq!(ours.len(), theirs.len());
    for (name, tensor) in &ours {
        let other = theirs.tensor(name).expect("the same names");
        assert!(tensor.shape == other.shape() && tensor.data == other.data(), "{name}");
    }
    check(&ours, bytes.len());
}

/// A packed file: packed again and read again, it holds the same numbers.
pub(crate) fn packed(bytes: &[u8]) {
    let Ok((tensors, metadata)) = decode("file", bytes) else { return };
    let Ok((again, _)) = packed::encode("file", &tensors, metadata.as_deref(), Values::F32) else { return };
    let (read, text) = decode("again", &again).expect("what was packed is read");
    assert!(read == tensors && text == metadata);
}

/// Tensors are whole, of a size that the file accounts for, and survive a file of ours.
fn check(tensors: &Tensors, file: usize) {
    let mut total = 0;
    for (name, tensor) in tensors {
        let elements = tensor.shape.iter().product::<usize>();
        assert_eq!(elements * tensor.dtype.size(), tensor.data.len(), "{name}");
        total += tensor.data.len();
    }
    assert!(total <= EXPANSION * file + SMALL, "{total} bytes of tensors out of {file}");
    let Ok(written) = encode("file", tensors, None) else { return };
    assert!(decode("file", &written).expect("what was written is read").0 == *tensors);
}
