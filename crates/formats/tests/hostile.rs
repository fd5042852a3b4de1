//! Damaged and hostile files: an answer or a typed error, never a panic, never more memory than the file has bytes.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

use proptest::prelude::*;
use sparse_formats::{Dtype, Tensor, Tensors, decode, encode};

fn sample() -> Vec<u8> {
    let tensors = Tensors::from([
        ("conv1.weight".to_owned(), Tensor::from_f32([4, 3, 1, 1], &[0.5; 12])),
        ("conv1.mask".to_owned(), Tensor::from_u8([2], &[0xff, 0x0f])),
        ("loss".to_owned(), Tensor::from_f64([], &[2.5])),
        ("empty".to_owned(), Tensor::from_f32([0, 7], &[])),
    ]);
    encode("sample", &tensors, Some(r#"{"step":3}"#)).unwrap()
}

/// Whatever was accepted is consistent and came from the bytes of the file.
fn check(bytes: &[u8]) {
    let Ok((tensors, _)) = decode("hostile", bytes) else {
        return;
    };
    let mut total = 0;
    for tensor in tensors.values() {
        assert_eq!(tensor.shape.iter().product::<usize>() * tensor.dtype.size(), tensor.data.len());
        total += tensor.data.len();
    }
    assert!(total <= bytes.len());
}

#[test]
fn every_cut_is_an_error() {
    let bytes = sample();
    for length in 0..bytes.len() {
        assert!(decode("cut", &bytes[..length]).is_err(), "cut at {length} of {}", bytes.len());
    }
    assert!(decode("whole", &bytes).is_ok());
    assert!(decode("longer", &[bytes.as_slice(), &[0]].concat()).is_err());
}

#[test]
fn every_flipped_header_bit_is_an_error_or_consistent() {
    let bytes = sample();
    let header_end = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut refused = 0;
    for position in 0..header_end {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[position] ^= 1 << bit;
            check(&flipped);
            refused += usize::from(decode("flipped", &flipped).is_err());
        }
    }
    assert!(refused > header_end * 4, "only {refused} of {} flips were refused", header_end * 8);
}

fn arbitrary_tensor() -> impl Strategy<Value = Tensor> {
    (prop::sample::select(Dtype::ALL.to_vec()), prop::collection::vec(0..5_usize, 0..4)).prop_flat_map(
        |(dtype, shape)| {
            let length = shape.iter().product::<usize>() * dtype.size();
            prop::collection::vec(any::<u8>(), length).prop_map(move |data| Tensor {
                dtype,
                shape: shape.clone(),
                data,
            })
        },
    )
}

/// A header entry with numbers and a dtype that need not agree.
fn arbitrary_entry() -> impl Strategy<Value = String> {
    let number = || prop_oneof![0..20_u64, any::<u64>(), Just(u64::MAX), Just(1 << 32), Just(1 << 60)];
    let dtype = prop::sample::select(vec!["F32", "U8", "F64", "F4", "F6_E2M3", "C64", "NEW", ""]);
    (".{0,6}", dtype, prop::collection::vec(number(), 0..5), prop::collection::vec(number(), 0..4)).prop_map(
        |(name, dtype, shape, offsets)| {
            let name = serde_json::Value::from(name);
            format!(r#"{name}:{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":{offsets:?}}}"#)
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        tensors in prop::collection::btree_map("[^_]{0,12}", arbitrary_tensor(), 0..6),
        step in prop::option::of(any::<u64>()),
    ) {
        let metadata = step.map(|step| format!(r#"{{"step":{step}}}"#));
        let bytes = encode("x", &tensors, metadata.as_deref()).unwrap();
        let (read_tensors, read_metadata) = decode("x", &bytes).unwrap();
        prop_assert_eq!(&encode("x", &read_tensors, read_metadata.as_deref()).unwrap(), &bytes);
        prop_assert_eq!((read_tensors, read_metadata), (tensors, metadata));
    }

    #[test]
    fn random_edits_never_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        tail in prop::collection::vec(any::<u8>(), 0..16),
    ) {
        let mut bytes = sample();
        for (position, value) in edits {
            let position = position.index(bytes.len());
            bytes[position] = value;
        }
        check(&bytes);
        bytes.truncate(cut.index(bytes.len()) + 1);
        bytes.extend(tail);
        check(&bytes);
    }

    #[test]
    fn headers_that_lie_never_panic(
        entries in prop::collection::vec(arbitrary_entry(), 0..4),
        data_length in 0..64_usize,
    ) {
        let header = format!("{{{}}}", entries.join(","));
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.resize(bytes.len() + data_length, 1);
        check(&bytes);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&bytes);
    }
}
