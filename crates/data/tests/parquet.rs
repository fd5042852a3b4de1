//! Parquet shards, written here as `datasets` writes them.
#![cfg(feature = "parquet")]
#![allow(clippy::unwrap_used)]

mod common;

use common::{folder, listed};
use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use proptest::prelude::*;
use sparse_data::source::Parquet;
use sparse_data::{Source, Split};
use std::sync::Arc;

const SCHEMA: &str = "message schema {
    optional group image { optional binary bytes; optional binary path (STRING); }
    optional int64 label;
}";

/// A shard of row groups; an image is as long as the number given, with its own number in every byte.
fn shard(groups: &[&[(usize, i64)]], compression: Compression) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_dictionary_enabled(false)
        .set_data_page_size_limit(2000)
        .set_write_batch_size(1);
    let mut bytes = Vec::new();
    let mut file = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties.build())).unwrap();
    for rows in groups {
        let mut group = file.next_row_group().unwrap();
        let images: Vec<ByteArray> =
            (0..rows.len()).map(|row| ByteArray::from(vec![row as u8; rows[row].0])).collect();
        let paths = vec![ByteArray::from("a.jpg"); rows.len()];
        for values in [images, paths] {
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&values, Some(&vec![2; rows.len()]), None).unwrap();
            column.close().unwrap();
        }
        let labels: Vec<i64> = rows.iter().map(|&(_, label)| label).filter(|&label| label >= -1).collect();
        let levels: Vec<i16> = rows.iter().map(|&(_, label)| i16::from(label >= -1)).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&labels, Some(&levels), None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    file.close().unwrap();
    bytes
}

fn open(bytes: Vec<u8>) -> sparse_data::Result<Parquet> {
    let folder = folder(&[("data/train-00000-of-00001.parquet", bytes)]);
    Parquet::open(folder.path(), Split::Train, None)
}

#[test]
fn rows_are_read_in_any_order_whatever_the_compression() {
    let first: Vec<(usize, i64)> = (0..50).map(|row| (100 + row, row as i64 % 7)).collect();
    for compression in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::ZSTD(ZstdLevel::try_new(3).unwrap()),
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
    ] {
        let second = shard(&[&[(5, 9)]], compression);
        let folder = folder(&[
            ("data/train-00001-of-00002.parquet", second),
            ("data/train-00000-of-00002.parquet", shard(&[&first, &[(3, 8), (0, 1)]], compression)),
        ]);
        let source = Parquet::open(folder.path(), Split::Train, None).unwrap();
        let mut expected: Vec<(u32, usize)> = first.iter().map(|&(len, label)| (label as u32, len)).collect();
        expected.extend([(8, 3), (1, 0), (9, 5)]);
        assert_eq!(listed(&source), expected);
        for row in [49, 0, 17, 31] {
            let mut bytes = Vec::new();
            source.read(row, &mut bytes).unwrap();
            assert_eq!(bytes, vec![row as u8; 100 + row]);
        }
        assert!(source.place(51).ends_with("train-00000-of-00002.parquet: row 1 of group 1"));
    }
}

#[test]
fn threads_read_one_file_at_once() {
    let rows: Vec<(usize, i64)> = (0..200).map(|row| (1000 + row, 0)).collect();
    let source = open(shard(&[&rows], Compression::SNAPPY)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let source = &source;
            scope.spawn(move || {
                for row in (0..200).map(|row| (row * 7 + thread * 31) % 200) {
                    let mut bytes = Vec::new();
                    source.read(row, &mut bytes).unwrap();
                    assert_eq!(bytes, vec![row as u8; 1000 + row]);
                }
            });
        }
    });
}

#[test]
fn missing_labels_and_columns_are_named() {
    for (label, what) in [(-1, "-1"), (-2, "nothing")] {
        let error = open(shard(&[&[(1, 0), (1, label)]], Compression::SNAPPY)).err().unwrap().to_string();
        assert!(error.contains(&format!("`label` holds {what} in row 1 of group 0")), "{error}");
    }
    let schema = Arc::new(parse_message_type("message schema { required int64 label; }").unwrap());
    let mut bytes = Vec::new();
    SerializedFileWriter::new(&mut bytes, schema, Arc::default()).unwrap().close().unwrap();
    let error = open(bytes).err().unwrap().to_string();
    assert!(
        error.contains("no column of encoded images") && error.contains("`label` (whole numbers)"),
        "{error}"
    );
}

/// Opens damaged bytes and reads every image that seems to be there; only panics and hangs are faults.
fn survive(bytes: Vec<u8>) {
    if let Ok(source) = open(bytes) {
        for index in 0..source.len().min(100) {
            let (mut bytes, guard) = (Vec::new(), std::panic::AssertUnwindSafe(&source));
            // The data set catches a panic of the format's reader.
            let _ = std::panic::catch_unwind(move || guard.read(index, &mut bytes).is_ok());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damaged_shards_are_errors(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        short in any::<bool>(),
    ) {
        let mut bytes = shard(&[&[(300, 1), (10, 2)], &[(7, 3)]], Compression::SNAPPY);
        for (position, byte) in changes {
            let position = position.index(bytes.len());
            bytes[position] = byte;
        }
        if short {
            bytes.truncate(cut.index(bytes.len()));
        }
        survive(bytes);
    }

    #[test]
    fn garbage_is_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400), footer in any::<bool>()) {
        let framed = [b"PAR1", bytes.as_slice(), &(bytes.len() as u32).to_le_bytes(), b"PAR1"].concat();
        let opened = open(if footer { framed } else { bytes });
        prop_assert!(opened.is_err());
    }
}
