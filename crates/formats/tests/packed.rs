//! Packed files: what goes in comes out, and how small they are.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

use half::{bf16, f16};
use proptest::prelude::*;
use sparse_formats::packed::{self, Values};
use sparse_formats::{Dtype, Error, Format, MappedFile, Tensor, Tensors, decode, import, read};

/// Numbers of which `sparsity` are zero, the same each time.
fn pruned(count: usize, sparsity: f64, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / (1 << 24) as f64
    };
    (0..count).map(|_| if next() < sparsity { 0.0 } else { next() as f32 + 0.1 }).collect()
}

/// The kinds of tensors that a network has.
fn network(sparsity: f64) -> Tensors {
    let shapes: [(&str, &[usize]); 5] = [
        ("conv1_weights", &[32, 3, 3, 3]),
        ("conv2_1_dw_weights", &[512, 1, 3, 3]),
        ("conv2_1_sep_weights", &[512, 512, 1, 1]),
        ("fc7_weights", &[1024, 100]),
        ("fc7_offset", &[100]),
    ];
    let tensor = |(index, (name, shape)): (usize, (&str, &[usize]))| {
        let count = shape.iter().product();
        (name.to_owned(), Tensor::from_f32(shape, &pruned(count, sparsity, index as u64)))
    };
    shapes.into_iter().enumerate().map(tensor).collect()
}

#[test]
fn packed_tensors_are_as_small_as_promised() {
    for (sparsity, bar) in [(0.5, 0.53), (0.75, 0.29), (0.9, 0.14)] {
        let (_, report) = packed::encode("x", &network(sparsity), None, Values::F32).unwrap();
        // At 50 % the bits and values alone are 0.5 + 1/32 = 0.531, so the bars are for two digits.
        let ratio = report.ratio();
        assert!((100.0 * ratio).round() / 100.0 <= bar, "{sparsity}: {ratio}");
        assert!((report.sparsity() - sparsity).abs() < 0.005, "{}", report.sparsity());
        assert_eq!((report.packed_tensors, report.tensors, report.rounding_error), (4, 5, 0.0));
        assert!(report.file_ratio() < ratio + 0.002, "{sparsity}: {}", report.file_ratio());
    }
    let sizes = [Values::F32, Values::F16, Values::Bf16]
        .map(|values| packed::encode("x", &network(0.75), None, values).unwrap().1.ratio());
    assert!(sizes[1] < sizes[0] - 0.12 && sizes[1] == sizes[2], "{sizes:?}");
}

#[test]
fn what_would_not_get_smaller_stays_as_it_is() {
    let tensors = Tensors::from([
        ("dense".to_owned(), Tensor::from_f32([64, 64], &[1.0; 4096])),
        ("small".to_owned(), Tensor::from_f32([4, 8], &[0.0; 32])),
        ("empty".to_owned(), Tensor::from_f32([0, 8], &[])),
        ("vector".to_owned(), Tensor::from_f32([4096], &[0.0; 4096])),
        ("double".to_owned(), Tensor::from_f64([64, 64], &[0.0; 4096])),
        ("zeros".to_owned(), Tensor::from_f32([64, 64], &[0.0; 4096])),
    ]);
    let (packed, report) = packed::pack("x", &tensors, Values::F32).unwrap();
    assert_eq!((report.packed_tensors, report.values, report.weights), (1, 0, 4096));
    for name in ["dense", "small", "empty", "vector", "double"] {
        assert_eq!(packed[name], tensors[name], "{name}");
    }
    assert_eq!(packed["zeros.compressed"].shape, [0]);
    // Half the size is worth it for weights, never for vectors.
    let (packed, report) = packed::pack("x", &tensors, Values::F16).unwrap();
    assert_eq!(report.packed_tensors, 2);
    assert_eq!((packed["dense.compressed"].dtype, packed["vector"].dtype), (Dtype::F16, Dtype::F32));
}

#[test]
fn a_packed_file_is_read_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let tensors = network(0.75);
    let report = packed::write(&path, &tensors, Some(r#"{"step":7}"#), Values::F32).unwrap();
    assert_eq!(report.file_bytes, std::fs::metadata(&path).unwrap().len());
    assert_eq!(read(&path).unwrap(), (tensors.clone(), Some(r#"{"step":7}"#.to_owned())));
    let imported = import(&path).unwrap();
    assert_eq!((imported.format, &imported.tensors), (Format::Packed, &tensors));
    sparse_formats::write(&path, &tensors, Some(r#"{"step":7}"#)).unwrap();
    assert_eq!(report.dense_file_bytes, std::fs::metadata(&path).unwrap().len());
    assert_eq!(import(&path).unwrap().format, Format::Safetensors);
}

#[test]
fn names_like_those_of_parts_and_numbers_out_of_range_are_refused() {
    let zeros = Tensor::from_f32([64, 64], &[0.0; 4096]);
    let named = Tensors::from([("w.bitmask".to_owned(), zeros)]);
    let error = packed::pack("out", &named, Values::F32).unwrap_err();
    assert!(matches!(&error, Error::PartName { tensor, .. } if tensor == "w.bitmask"), "{error}");
    let mut weights = [0.0; 4096];
    for (value, values, instead) in [
        (65520.0, Values::F16, Values::Bf16),
        (-1e30, Values::F16, Values::Bf16),
        (3.4e38, Values::F16, Values::F32),
        (f32::MAX, Values::Bf16, Values::F32),
    ] {
        weights[17] = value;
        let tensors = Tensors::from([("w".to_owned(), Tensor::from_f32([64, 64], &weights))]);
        let error = packed::pack("out", &tensors, values).unwrap_err().to_string();
        for fact in ["`w`", "`out`", &format!("{value:e}"), &format!("use {instead} values")] {
            assert!(error.contains(fact), "{fact} missing in: {error}");
        }
    }
    // These are no numbers that could be too large.
    for value in [65519.0, f32::INFINITY, f32::NAN] {
        weights[17] = value;
        let tensors = Tensors::from([("w".to_owned(), Tensor::from_f32([64, 64], &weights))]);
        packed::pack("out", &tensors, Values::F16).unwrap();
    }
}

#[test]
fn the_greatest_rounding_error_is_told() {
    let mut weights = [0.0; 4096];
    (weights[3], weights[5]) = (1.0 + 1.0 / 512.0, 1.0);
    let tensors = |weights: &[f32]| Tensors::from([("w".to_owned(), Tensor::from_f32([64, 64], weights))]);
    let report = |weights: &[f32], values| packed::pack("x", &tensors(weights), values).unwrap().1;
    assert_eq!(report(&weights, Values::F16).rounding_error, 0.0);
    let rounded = report(&weights, Values::Bf16);
    assert!((rounded.rounding_error - (1.0 / 513.0)).abs() < 1e-12, "{}", rounded.rounding_error);
    assert_eq!(rounded.rounded_to_zero, 0);
    weights[9] = 1e-9;
    let rounded = report(&weights, Values::F16);
    assert_eq!((rounded.rounding_error, rounded.rounded_to_zero, rounded.values), (1.0, 1, 3));
}

/// Any bits, zeros among them often.
fn weights() -> impl Strategy<Value = (Vec<usize>, Vec<f32>)> {
    let odd = prop_oneof![
        6 => Just(0.0_f32),
        1 => Just(-0.0),
        2 => any::<u32>().prop_map(f32::from_bits),
        2 => -2.0..2.0_f32,
    ];
    (0..40_usize, prop::collection::vec(0..6_usize, 1..4)).prop_flat_map(move |(rows, rest)| {
        let shape: Vec<usize> = std::iter::once(rows).chain(rest).collect();
        let count = shape.iter().product::<usize>();
        prop::collection::vec(odd.clone(), count).prop_map(move |weights| (shape.clone(), weights))
    })
}

proptest! {
    #[test]
    fn what_is_packed_comes_back_bit_for_bit(
        parts in prop::collection::btree_map("[a-z]{0,6}", weights(), 0..4),
    ) {
        let tensors: Tensors = parts.into_iter()
            .map(|(name, (shape, weights))| (name, Tensor::from_f32(shape, &weights))).collect();
        let (bytes, report) = packed::encode("x", &tensors, Some("{}"), Values::F32).unwrap();
        prop_assert_eq!(&packed::encode("x", &tensors, Some("{}"), Values::F32).unwrap().0, &bytes);
        prop_assert_eq!(report.rounding_error, 0.0);
        let (read, metadata) = decode("x", &bytes).unwrap();
        prop_assert_eq!(metadata.as_deref(), Some("{}"));
        prop_assert_eq!(&read, &tensors);
        let (packed, report) = packed::pack("x", &tensors, Values::F32).unwrap();
        prop_assert!(report.packed_bytes <= report.packed_dense_bytes);
        prop_assert_eq!(packed::unpack("x", &packed).unwrap(), tensors);
    }

    #[test]
    fn halves_come_back_rounded_once(
        weights in prop::collection::vec(prop_oneof![Just(0.0_f32), Just(-0.0), -3e4..3e4_f32, -1e-5..1e-5_f32], 600),
        short in any::<bool>(),
    ) {
        let values = if short { Values::F16 } else { Values::Bf16 };
        let round = |value: f32| {
            if short { f16::from_f32(value).to_f32() } else { bf16::from_f32(value).to_f32() }
        };
        let tensors = Tensors::from([("w".to_owned(), Tensor::from_f32([20, 30], &weights))]);
        let (packed, report) = packed::pack("x", &tensors, values).unwrap();
        prop_assert_eq!(report.packed_tensors, 1);
        let rounded = packed::unpack("x", &packed).unwrap()["w"].to_f32().unwrap();
        for (&before, &after) in weights.iter().zip(&rounded) {
            prop_assert_eq!(after.to_bits(), round(before).to_bits());
        }
    }

    #[test]
    fn a_mapped_file_has_the_same_tensors((shape, weights) in weights(), pack in any::<bool>()) {
        let tensors = Tensors::from([
            ("b".to_owned(), Tensor { dtype: Dtype::BF16, shape: vec![1], data: vec![0x80, 0x3f] }),
            ("n".to_owned(), Tensor::from_u8([1], &[1])),
            ("w".to_owned(), Tensor::from_f32(shape.clone(), &weights)),
        ]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let packed = if pack {
            packed::write(&path, &tensors, Some("{}"), Values::F32).unwrap().packed_tensors
        } else {
            sparse_formats::write(&path, &tensors, Some("{}")).unwrap();
            0
        };
        let file = MappedFile::open(&path).unwrap();
        prop_assert_eq!((file.is_packed(), file.metadata()), (pack, Some("{}")));
        prop_assert_eq!(file.names().collect::<Vec<_>>(), ["b", "n", "w"]);
        prop_assert_eq!(file.tensors().count(), 3 + 2 * packed);
        let (read_shape, read) = file.values("w").unwrap();
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!((read_shape, bits(&read)), (shape, bits(&weights)));
        prop_assert_eq!(file.values("b").unwrap(), (vec![1], vec![1.0]));
        prop_assert_eq!(file.tensor("n").unwrap(), tensors["n"].view());
        prop_assert!(matches!(file.values("n"), Err(Error::WrongDtype { .. })), "no weights");
        prop_assert!(matches!(file.values("x"), Err(Error::NoTensor { .. })), "no tensor");
        prop_assert_eq!(file.tensor("w.bitmask").is_ok(), packed == 1);
    }
}
