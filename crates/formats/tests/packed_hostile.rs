//! Damaged and hostile packed files: an answer or a typed error, never a panic, and memory only for bits that are there.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test may fail the test")]

use proptest::prelude::*;
use sparse_formats::packed::{self, Fault, Values};
use sparse_formats::{Dtype, Error, MappedFile, Tensor, Tensors, decode};

/// A tensor of 20 rows of 30 columns with 60 numbers, and one that is not packed.
fn sample() -> Tensors {
    let weights: Vec<f32> = (0..600).map(|index| if index % 10 == 3 { index as f32 } else { 0.0 }).collect();
    Tensors::from([
        ("b".to_owned(), Tensor::from_f32([2], &[1.0, 2.0])),
        ("w".to_owned(), Tensor::from_f32([20, 30], &weights)),
    ])
}

fn parts() -> Tensors {
    packed::pack("x", &sample(), Values::F32).unwrap().0
}

fn file() -> Vec<u8> {
    packed::encode("x", &sample(), Some(r#"{"step":3}"#), Values::F32).unwrap().0
}

fn shape(lengths: &[i64]) -> Tensor {
    let data = lengths.iter().flat_map(|length| length.to_le_bytes()).collect();
    Tensor { dtype: Dtype::I64, shape: vec![lengths.len()], data }
}

/// What is found wrong with the sample after a part was replaced.
#[track_caller]
fn fault(part: &str, tensor: Tensor) -> Fault {
    let mut parts = parts();
    parts.insert(format!("w.{part}"), tensor).unwrap();
    match packed::unpack("bad.safetensors", &parts).unwrap_err() {
        Error::BadPacked { path, tensor, fault } => {
            assert_eq!((path.to_str(), tensor.as_str()), (Some("bad.safetensors"), "w"));
            *fault
        }
        other => panic!("{other}"),
    }
}

#[test]
fn parts_that_do_not_fit_each_other_are_refused() {
    let bits = parts()["w.bitmask"].clone();
    for flip in [0b10, 0b1000] {
        let mut other = bits.clone();
        other.data[0] ^= flip;
        let bits = if flip == 0b10 { 61 } else { 59 };
        assert_eq!(fault("bitmask", other), Fault::Count { bits, values: 60 });
    }
    let mut padding = bits.clone();
    padding.data[11] |= 0b0100_0000;
    assert_eq!(fault("bitmask", padding), Fault::Padding { row: 2, columns: 30 });
    let short = Tensor { shape: vec![19, 4], data: bits.data[..76].to_vec(), ..bits.clone() };
    let flat = Tensor { shape: vec![80], ..bits.clone() };
    let signed = Tensor { dtype: Dtype::I8, ..bits };
    for tensor in [short, flat, signed] {
        assert!(matches!(fault("bitmask", tensor), Fault::Part { part: ".bitmask", .. }));
    }
    for lengths in [vec![20, 33], vec![20, 24], vec![10, 60], vec![600], vec![], vec![1 << 40, 1 << 10]] {
        let fault = fault("shape", shape(&lengths));
        assert!(matches!(fault, Fault::Part { part: ".bitmask", .. }), "{lengths:?}: {fault}");
    }
    for lengths in [[-1, 30], [1 << 40, 1 << 40], [i64::MIN, 0], [i64::MAX, 3]] {
        assert_eq!(fault("shape", shape(&lengths)), Fault::Shape { shape: lengths.to_vec() });
    }
    let floats = Tensor::from_f32([2], &[20.0, 30.0]);
    assert!(matches!(fault("shape", floats), Fault::Part { part: ".shape", dtype: Dtype::F32, .. }));
    for other in [Tensor::from_f64([60], &[1.0; 60]), Tensor::from_f32([6, 10], &[1.0; 60])] {
        assert!(matches!(fault("compressed", other), Fault::Part { part: ".compressed", .. }));
    }
    assert_eq!(
        fault("compressed", Tensor::from_f32([59], &[1.0; 59])),
        Fault::Count { bits: 60, values: 59 }
    );
}

#[test]
fn missing_and_superfluous_names_and_other_versions_are_refused() {
    for name in ["w.bitmask", "w.shape", "w.compressed"] {
        let mut parts = parts();
        parts.remove(name);
        let error = packed::unpack("x", &parts).unwrap_err().to_string();
        assert!(error.contains(&name[1..]) && error.contains("`w`"), "{error}");
    }
    let mut twice = parts();
    twice.insert("w".to_owned(), Tensor::from_u8([1], &[0]));
    assert!(
        matches!(packed::unpack("x", &twice), Err(Error::BadPacked { fault, .. }) if *fault == Fault::Twice)
    );
    let marked = String::from_utf8_lossy(&file()).into_owned();
    let at = marked.find(r#"packed":"1""#).unwrap() + r#"packed":""#.len();
    let mut later = file();
    later[at] = b'3';
    let error = decode("x", &later).unwrap_err();
    assert!(matches!(&error, Error::PackedVersion { got, .. } if got == "3"), "{error}");
}

#[test]
fn without_the_mark_the_parts_are_plain_tensors() {
    let bytes = sparse_formats::encode("x", &parts(), None).unwrap();
    assert_eq!(decode("x", &bytes).unwrap().0, parts());
}

#[test]
fn a_few_bits_cannot_ask_for_more_than_the_limit() {
    // A weight to a row makes 32 bytes of each byte of bits: 2 GiB and a little of 64 MiB.
    let rows = (64 << 20) + 8;
    let mut bombs = parts();
    bombs.insert("w.shape".to_owned(), shape(&[rows, 8]));
    let bits = Tensor { dtype: Dtype::U8, shape: vec![rows as usize, 1], data: vec![0; rows as usize] };
    bombs.insert("w.bitmask".to_owned(), bits);
    let error = packed::unpack("x", &bombs).err();
    assert!(matches!(error, Some(Error::TooLarge { what: "unpacked tensors in total", .. })), "{error:?}");
}

/// Whatever is read agrees with the map, and takes no more memory than the bits allow.
fn check(bytes: &[u8], path: &std::path::Path) -> bool {
    std::fs::write(path, bytes).unwrap();
    let decoded = decode("x", bytes);
    let mapped = MappedFile::open(path);
    match (&decoded, &mapped) {
        (Ok((tensors, metadata)), Ok(file)) => {
            assert_eq!(file.metadata(), metadata.as_deref());
            assert!(file.names().eq(tensors.keys()));
            for (name, tensor) in tensors {
                assert!(tensor.data.len() <= 32 * bytes.len());
                if let Ok((shape, values)) = file.values(name) {
                    assert_eq!(
                        (shape.as_slice(), values.len()),
                        (tensor.shape.as_slice(), shape.iter().product())
                    );
                }
            }
        }
        (Ok(_), Err(error)) => panic!("only the map fails: {error}"),
        // What is seen only when a tensor is unpacked.
        (Err(Error::BadPacked { fault, .. }), Ok(file))
            if matches!(**fault, Fault::Count { .. } | Fault::Padding { .. }) =>
        {
            assert!(file.names().any(|name| matches!(file.values(name), Err(Error::BadPacked { .. }))));
        }
        (Err(error), Ok(_)) => panic!("only reading fails: {error}"),
        (Err(_), Err(_)) => {}
    }
    decoded.is_ok()
}

#[test]
fn every_cut_and_every_flipped_bit_is_an_error_or_consistent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w");
    let bytes = file();
    for length in 0..bytes.len() {
        assert!(!check(&bytes[..length], &path), "cut at {length}");
    }
    assert!(check(&bytes, &path));
    let mut accepted = Vec::new();
    for position in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[position] ^= 1 << bit;
            // The map is compared for one bit of each byte: a file for every bit takes long.
            let passes =
                if bit == position % 8 { check(&flipped, &path) } else { decode("x", &flipped).is_ok() };
            if passes {
                accepted.push(position);
            }
        }
    }
    // The bits of the mask are the last 80 bytes, those of the shape the first 16 of the data: no flip of either passes.
    let data = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    assert!(!accepted.iter().any(|&at| at >= bytes.len() - 80), "a flip in the bitmask passed");
    assert!(
        accepted.iter().filter(|&&at| (data..data + 16).contains(&at)).count() <= 3,
        "flips in the shape passed"
    );
}

proptest! {
    #[test]
    fn random_edits_never_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        lengths in prop::collection::vec(prop_oneof![0..40_i64, any::<i64>()], 0..4),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w");
        let mut bytes = file();
        for (position, value) in edits {
            let position = position.index(bytes.len());
            bytes[position] = value;
        }
        check(&bytes, &path);
        let mut parts = parts();
        parts.insert("w.shape".to_owned(), shape(&lengths));
        if let Ok(tensors) = packed::unpack("x", &parts) {
            prop_assert_eq!(tensors["w"].to_f32().unwrap().len() as i64, lengths.iter().product::<i64>());
        }
    }
}
