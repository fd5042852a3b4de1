//! Files that another program wrote.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

use std::env;
use std::path::PathBuf;

use sparse_formats::{Dtype, decode, encode, read};

/// A golden file, from the folder that `GOLDEN_DIR` names if it does. Tests run in the folder of their crate.
fn golden(name: &str) -> PathBuf {
    env::var_os("GOLDEN_DIR").map_or_else(|| PathBuf::from("../../tests/golden"), PathBuf::from).join(name)
}

#[test]
fn the_golden_training_trace_is_read_whole() {
    let (tensors, metadata) = read(golden("train_trace.safetensors")).unwrap();
    assert_eq!(metadata, None);
    assert_eq!(tensors["label"].dtype, Dtype::I64);
    assert_eq!(tensors["label"].shape[..2], [2, 16]);
    let logits = &tensors["f64/demo_gmp/logits_eval_final_batch0"];
    assert_eq!(logits.to_f64().unwrap().len(), logits.shape.iter().product::<usize>());
    assert!(logits.to_f64().unwrap().iter().all(|value| value.is_finite()));

    let again = decode("again", &encode("again", &tensors, None).unwrap()).unwrap();
    assert_eq!(again.0, tensors);
}

/// Tensors in no particular order, half precision, other metadata keys and no padding of the header.
#[test]
fn other_metadata_keys_and_half_precision_are_read() {
    let header = concat!(
        r#"{"z":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"#,
        r#""__metadata__":{"format":"pt","sparse_train":"{\"step\":1}"},"#,
        r#""b":{"shape":[1,2],"data_offsets":[6,10],"dtype":"BF16"},"#,
        r#""a":{"dtype":"F16","data_offsets":[2,6],"shape":[2]}}"#
    );
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend(0..10);

    let (tensors, metadata) = decode("foreign", &bytes).unwrap();
    assert_eq!(metadata.as_deref(), Some(r#"{"step":1}"#));
    let described: Vec<_> = tensors
        .iter()
        .map(|(name, t)| (name.as_str(), t.dtype, t.shape.as_slice(), t.data.as_slice()))
        .collect();
    let expected: [(&str, Dtype, &[usize], &[u8]); 3] = [
        ("a", Dtype::F16, &[2], &[2, 3, 4, 5]),
        ("b", Dtype::BF16, &[1, 2], &[6, 7, 8, 9]),
        ("z", Dtype::U8, &[2], &[0, 1]),
    ];
    assert_eq!(described, expected);
}
