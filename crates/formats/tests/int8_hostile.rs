//! Files of 8 bits that are damaged or made to do harm: each is refused for what is wrong with it, before memory is taken.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use sparse_formats::packed::{Fault, Multiples, encode_int8};
use sparse_formats::{Dtype, Error, MappedFile, Tensor, Tensors, decode, encode};
use std::collections::BTreeMap;

/// The parts of a tensor of 2 rows of 16, of which those of the first block of each are kept.
fn parts() -> Tensors {
    let integers = |values: &[i64]| Tensor {
        dtype: Dtype::I64,
        shape: vec![values.len()],
        data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    };
    Tensors::from([
        ("w.shape".to_owned(), integers(&[2, 16])),
        ("w.scales".to_owned(), Tensor::from_f32([2], &[0.5, 2.0])),
        ("w.multiples".to_owned(), Tensor { dtype: Dtype::I8, shape: vec![8], data: vec![1; 8] }),
        ("w.blockmask".to_owned(), Tensor::from_u8([2, 1], &[1, 1])),
    ])
}

/// A file with these parts, marked as one of 8 bits.
fn file(parts: &Tensors) -> Vec<u8> {
    let plain = encode("x", parts, None).unwrap();
    let length = u64::from_le_bytes(plain[..8].try_into().unwrap()) as usize;
    let mut header = br#"{"__metadata__":{"sparse_train_packed":"2"},"#.to_vec();
    header.extend_from_slice(&plain[9..8 + length]);
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(&header);
    bytes.extend_from_slice(&plain[8 + length..]);
    bytes
}

fn fault(change: impl Fn(&mut Tensors)) -> Fault {
    let mut parts = parts();
    change(&mut parts);
    let bytes = file(&parts);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    std::fs::write(&path, &bytes).unwrap();
    let mapped = MappedFile::open(&path).and_then(|file| file.values("w").map(drop));
    match (decode("x", &bytes), mapped) {
        (Err(Error::BadPacked { fault, .. }), Err(Error::BadPacked { fault: other, .. })) => {
            assert_eq!(fault, other);
            *fault
        }
        other => panic!("{other:?}"),
    }
}

fn set(name: &'static str, change: impl Fn(&mut Tensor)) -> impl Fn(&mut Tensors) {
    move |parts| change(parts.get_mut(name).unwrap())
}

#[test]
fn what_is_whole_is_read() {
    let (tensors, _) = decode("x", &file(&parts())).unwrap();
    let values = tensors["w"].to_f32().unwrap();
    assert_eq!(
        (tensors["w"].shape.clone(), &values[..5], &values[16..21]),
        (vec![2, 16], &[0.5, 0.5, 0.5, 0.5, 0.0][..], &[2.0, 2.0, 2.0, 2.0, 0.0][..])
    );
}

#[test]
fn parts_that_do_not_fit_are_named() {
    for part in ["w.shape", "w.scales", "w.multiples"] {
        let found = fault(|parts| drop(parts.remove(part)));
        assert!(
            matches!(found, Fault::Missing { part: missing } if part.ends_with(missing)),
            "{part} {found:?}"
        );
    }
    let scales =
        |values: [f32; 2]| fault(set("w.scales", move |part| *part = Tensor::from_f32([2], &values)));
    for odd in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        assert_eq!(scales([1.0, odd]), Fault::Scale { row: 1 });
    }
    let found = fault(set("w.scales", |part| *part = Tensor::from_f32([3], &[1.0; 3])));
    assert!(matches!(found, Fault::Part { part: ".scales", .. }), "{found:?}");
    let found = fault(set("w.multiples", |part| part.dtype = Dtype::U8));
    assert!(matches!(found, Fault::Part { part: ".multiples", .. }), "{found:?}");
    let found = fault(set("w.blockmask", |part| *part = Tensor::from_u8([1, 2], &[1, 1])));
    assert!(matches!(found, Fault::Part { part: ".blockmask", .. }), "{found:?}");
    let found = fault(set("w.blockmask", |part| part.data[0] = 3));
    assert_eq!(found, Fault::Count { bits: 3, values: 8 });
    let found = fault(set("w.blockmask", |part| part.data[1] = 0b1_0001));
    assert_eq!(found, Fault::Padding { row: 1, columns: 4 });
    let found = fault(|parts| drop(parts.remove("w.blockmask")));
    assert_eq!(found, Fault::Elements { elements: 32, values: 8 });
    let bits = |parts: &mut Tensors| {
        drop(parts.insert("w.bitmask".to_owned(), Tensor::from_u8([2, 2], &[15, 0, 15, 0])))
    };
    assert_eq!(fault(bits), Fault::Twice);
    let bits_alone = |parts: &mut Tensors| {
        parts.remove("w.blockmask");
        parts.insert("w.bitmask".to_owned(), Tensor::from_u8([2, 2], &[15, 0, 7, 0]));
    };
    assert_eq!(fault(bits_alone), Fault::Count { bits: 7, values: 8 });
    let floats =
        |parts: &mut Tensors| drop(parts.insert("w.compressed".to_owned(), Tensor::from_f32([1], &[1.0])));
    assert_eq!(fault(floats), Fault::Twice);
}

/// A shape that would take more memory than there is takes none: its mask or its numbers would have to be as large.
#[test]
fn a_shape_is_compared_with_what_is_there() {
    for lengths in [[1_i64 << 40, 1 << 10], [-1, 16], [i64::MAX, i64::MAX], [1 << 20, 1 << 30]] {
        let data: Vec<u8> = lengths.iter().flat_map(|length| length.to_le_bytes()).collect();
        let found = fault(set("w.shape", move |part| part.data.clone_from(&data)));
        assert!(matches!(found, Fault::Shape { .. } | Fault::Part { .. }), "{found:?}");
    }
}

#[test]
fn no_cut_or_changed_byte_ends_the_program() {
    let multiples = (0..32).map(|at| if at % 4 == 1 { 5 } else { 0 }).collect();
    let tensor = Multiples { shape: vec![2, 16], multiples, scales: vec![0.5, 2.0] };
    let tensors = BTreeMap::from([("w".to_owned(), tensor)]);
    let plain = Tensors::from([("b".to_owned(), Tensor::from_f32([2], &[1.0, 2.0]))]);
    let whole = encode_int8("x", &plain, &tensors, Some("{}")).unwrap();
    assert_eq!(decode("x", &whole).unwrap().0.len(), 2);
    for at in 0..whole.len() {
        assert!(decode("x", &whole[..at]).is_err());
        for bit in 0..8 {
            let mut changed = whole.clone();
            changed[at] ^= 1 << bit;
            if let Ok((tensors, _)) = decode("x", &changed) {
                assert!(tensors.values().all(|tensor| tensor.data.len() <= 4096));
            }
        }
    }
}

/// Readers of the layout of floats alone say which version they know.
#[test]
fn another_version_is_refused_by_its_number() {
    let bytes = file(&parts());
    let text = String::from_utf8_lossy(&bytes).replace("\"2\"", "\"3\"");
    let later = [&bytes[..8], &text.as_bytes()[text.find('{').unwrap()..]].concat();
    let error = decode("x", &later).unwrap_err().to_string();
    assert!(error.contains("version 3") && error.contains("1 and 2"), "{error}");
}
