//! Arbitrary and mutated bytes through the IDX parser: no panic, no memory beyond what the input holds.
#![allow(clippy::unwrap_used)]

use flate2::Compression;
use flate2::read::GzEncoder;
use proptest::prelude::*;
use proptest::sample::Index;
use sparse_data::idx::{self, Idx};
use sparse_data::{Error, Result};
use std::io::Read;
use std::path::Path;

const HEADER: usize = 16;

fn parse(bytes: &[u8]) -> Result<Idx> {
    idx::parse(bytes, Path::new("fuzzed"), 3)
}

fn valid() -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, 3, 0, 0, 0, 5, 0, 0, 0, 4, 0, 0, 0, 3];
    bytes.extend(0..60);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    GzEncoder::new(bytes, Compression::fast()).read_to_end(&mut packed).unwrap();
    packed
}

/// Applies a change of one byte, a cut, or an insertion.
fn mutate(bytes: &mut Vec<u8>, (kind, place, value): &(u8, Index, u8)) {
    if bytes.is_empty() {
        return;
    }
    let at = place.index(bytes.len());
    match kind {
        0 => bytes[at] = *value,
        1 => bytes.truncate(at),
        _ => bytes.insert(at, *value),
    }
}

/// What parses is consistent with its header and no larger than the unpacked bytes.
fn check(outcome: Result<Idx>, unpacked: usize) -> std::result::Result<(), TestCaseError> {
    if let Ok(idx) = outcome {
        prop_assert_eq!(idx.dimensions.iter().product::<usize>(), idx.data.len());
        prop_assert!(idx.data.len() + HEADER <= unpacked);
        prop_assert!(idx.data.capacity() <= unpacked + 64);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        check(parse(&bytes), bytes.len())?;
    }

    #[test]
    fn random_bytes_behind_the_gzip_magic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let bytes = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &bytes].concat();
        check(parse(&bytes), bytes.len() * 1100)?;
    }

    #[test]
    fn random_sizes_over_few_bytes(sizes: [u32; 3], data in proptest::collection::vec(any::<u8>(), 0..50)) {
        let mut bytes = vec![0, 0, 8, 3];
        sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
        bytes.extend(&data);
        let total = sizes.iter().map(|&size| u128::from(size)).product::<u128>() + HEADER as u128;
        match parse(&bytes) {
            Err(Error::TooLarge { .. }) => prop_assert!(total > 1 << 30),
            Err(Error::Truncated { .. }) => prop_assert!(total > bytes.len() as u128),
            Err(Error::TrailingBytes { .. }) => prop_assert!(total < bytes.len() as u128),
            Err(other) => prop_assert!(false, "{other}"),
            Ok(_) => prop_assert_eq!(total, bytes.len() as u128),
        }
    }

    #[test]
    fn mutated_plain(mutations in proptest::collection::vec((0u8..3, any::<Index>(), any::<u8>()), 1..6)) {
        let mut bytes = valid();
        mutations.iter().for_each(|mutation| mutate(&mut bytes, mutation));
        check(parse(&bytes), bytes.len())?;
    }

    #[test]
    fn mutated_gzip(mutations in proptest::collection::vec((0u8..3, any::<Index>(), any::<u8>()), 1..6)) {
        let mut bytes = gzip(&valid());
        mutations.iter().for_each(|mutation| mutate(&mut bytes, mutation));
        check(parse(&bytes), bytes.len() * 1100)?;
    }

    #[test]
    fn mutated_inside_gzip(mutations in proptest::collection::vec((0u8..3, any::<Index>(), any::<u8>()), 1..6)) {
        let mut bytes = valid();
        mutations.iter().for_each(|mutation| mutate(&mut bytes, mutation));
        check(parse(&gzip(&bytes)), bytes.len())?;
    }
}
