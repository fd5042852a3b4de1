//! Parquet files with the columns that people have.
#![cfg(feature = "parquet")]
#![allow(clippy::unwrap_used)]

mod common;

use common::folder;
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;
use sparse_data::source::Parquet;
use sparse_data::{Source, Split};
use std::sync::Arc;

/// The values of a column; `None` where nothing stands. Levels fit columns that are optional as often as is said.
enum Values {
    Bytes(&'static [Option<&'static [u8]>]),
    Int32(&'static [i32]),
    Int64(&'static [Option<i64>]),
    Double(&'static [f64]),
}

/// A column, and how often it is optional.
type Column = (Values, i16);

/// A file of one row group, in a dictionary or not.
fn file(schema: &str, columns: &[Column], dictionary: bool, metadata: Option<&str>) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(&format!("message schema {{ {schema} }}")).unwrap());
    let pairs = metadata.map(|text| vec![KeyValue::new("huggingface".to_owned(), text.to_owned())]);
    let properties =
        WriterProperties::builder().set_dictionary_enabled(dictionary).set_key_value_metadata(pairs).build();
    let mut bytes = Vec::new();
    let mut file = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties)).unwrap();
    let mut group = file.next_row_group().unwrap();
    for (values, optional) in columns {
        let mut column = group.next_column().unwrap().unwrap();
        write(&mut column, values, *optional);
        column.close().unwrap();
    }
    group.close().unwrap();
    file.close().unwrap();
    bytes
}

fn write(column: &mut SerializedColumnWriter<'_>, values: &Values, optional: i16) {
    let levels = |present: Vec<bool>| {
        let level = |present: bool| if present { optional } else { 0 };
        (optional > 0).then(|| present.into_iter().map(level).collect::<Vec<i16>>())
    };
    let written = match values {
        Values::Bytes(values) => {
            let levels = levels(values.iter().map(Option::is_some).collect());
            let values: Vec<ByteArray> =
                values.iter().flatten().map(|&value| ByteArray::from(value)).collect();
            column.typed::<ByteArrayType>().write_batch(&values, levels.as_deref(), None)
        }
        Values::Int32(values) => {
            let levels = levels(vec![true; values.len()]);
            column.typed::<Int32Type>().write_batch(values, levels.as_deref(), None)
        }
        Values::Int64(values) => {
            let levels = levels(values.iter().map(Option::is_some).collect());
            let values: Vec<i64> = values.iter().flatten().copied().collect();
            column.typed::<Int64Type>().write_batch(&values, levels.as_deref(), None)
        }
        Values::Double(values) => {
            let levels = levels(vec![true; values.len()]);
            column.typed::<DoubleType>().write_batch(values, levels.as_deref(), None)
        }
    };
    written.unwrap();
}

fn open(bytes: Vec<u8>) -> sparse_data::Result<Parquet> {
    let folder = folder(&[("data/train-00000-of-00001.parquet", bytes)]);
    Parquet::open(folder.path(), Split::Train, None)
}

#[track_caller]
fn fails(bytes: Vec<u8>, parts: &[&str]) {
    let error = open(bytes).err().unwrap().to_string();
    for part in parts {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(!error.contains("fetch it again"), "{error}");
}

const IMAGES: &[Option<&[u8]>] = &[Some(&[1]), Some(&[2, 2]), Some(&[3, 3, 3])];
const PATHS: &[Option<&[u8]>] = &[Some(b"a.jpg"), Some(b"b.jpg"), Some(b"c.jpg")];
const LABELS: &[Option<i64>] = &[Some(4), Some(5), Some(6)];
const READ: [(u32, usize); 3] = [(4, 1), (5, 2), (6, 3)];

#[test]
fn plain_and_grouped_columns_of_several_names_are_read() {
    let images = [
        ("required binary image;", 0),
        ("optional binary IMG;", 1),
        ("optional binary jpg;", 1),
        ("optional binary webp;", 1),
        ("optional group img { required binary bytes; }", 1),
        ("optional group image { optional binary bytes; }", 2),
    ];
    let labels = ["label", "labels", "cls", "Class", "fine_label", "target"];
    for dictionary in [false, true] {
        for (image, optional) in images {
            for label in labels {
                let schema = format!("{image} optional int64 {label};");
                let columns = [(Values::Bytes(IMAGES), optional), (Values::Int64(LABELS), 1)];
                let source = open(file(&schema, &columns, dictionary, None)).unwrap();
                assert_eq!(common::listed(&source), READ, "{schema}");
                let mut bytes = Vec::new();
                source.read(2, &mut bytes).unwrap();
                assert_eq!((bytes, source.remarks().len()), (vec![3, 3, 3], 0));
            }
        }
    }
    let columns = [(Values::Int32(&[4, 5, 6]), 0), (Values::Bytes(IMAGES), 0)];
    let narrow =
        file("required int32 label (INTEGER(8,false)); required binary image;", &columns, true, None);
    assert_eq!(common::listed(&open(narrow).unwrap()), READ);
}

#[test]
fn an_image_of_the_hub_may_have_any_name() {
    let schema = "optional group photo { optional binary bytes; optional binary path (STRING); } required int64 label;";
    let columns = [(Values::Bytes(IMAGES), 2), (Values::Bytes(PATHS), 2), (Values::Int64(LABELS), 0)];
    assert_eq!(common::listed(&open(file(schema, &columns, false, None)).unwrap()), READ);
}

#[test]
fn columns_that_might_be_meant_as_well_are_told() {
    let schema = "required binary image; required int64 label; required int64 target; required binary jpg;";
    let columns = [
        (Values::Bytes(IMAGES), 0),
        (Values::Int64(LABELS), 0),
        (Values::Int64(&[Some(0), Some(0), Some(0)]), 0),
        (Values::Bytes(PATHS), 0),
    ];
    let source = open(file(schema, &columns, false, None)).unwrap();
    assert_eq!(common::listed(&source), READ);
    let remarks = source.remarks().join("\n");
    assert!(remarks.contains("`image`, not `jpg`") && remarks.contains("`label`, not `target`"), "{remarks}");
}

#[test]
fn labels_in_words_need_the_names_of_the_classes() {
    let schema = "required binary image; required binary label (STRING);";
    let words: &[Option<&[u8]>] = &[Some(b"dog"), Some(b"cat"), Some(b"dog")];
    let columns = || [(Values::Bytes(IMAGES), 0), (Values::Bytes(words), 0)];
    let named = |names: &str| {
        format!(
            "{{\"info\": {{\"features\": {{\"label\": {{\"names\": {names}, \"_type\": \"ClassLabel\"}}}}}}}}"
        )
    };
    fails(
        file(schema, &columns(), true, None),
        &["`label` holds the text `dog`", "row 0 of group 0", "does not tell"],
    );
    let source = open(file(schema, &columns(), true, Some(&named("[\"cat\", \"dog\"]")))).unwrap();
    assert_eq!(common::listed(&source), [(1, 1), (0, 2), (1, 3)]);
    assert_eq!(source.class_names(), ["cat", "dog"]);
    let other = file(schema, &columns(), true, Some(&named("[\"cow\", \"dog\"]")));
    fails(other.clone(), &["`cat`, which is none of the 2 classes", "row 1"]);
    let numbers = "required binary image; required int64 label;";
    let columns = [(Values::Bytes(IMAGES), 0), (Values::Int64(&[Some(1), Some(0), Some(1)]), 0)];
    let first = file(numbers, &columns, true, Some(&named("[\"cat\", \"dog\"]")));
    let second = file(numbers, &columns, true, Some(&named("[\"dog\", \"cat\"]")));
    assert_eq!(open(first.clone()).unwrap().class_names(), ["cat", "dog"]);
    let folder = folder(&[("train-0.parquet", first), ("train-1.parquet", second)]);
    let error = Parquet::open(folder.path(), Split::Train, None).err().unwrap().to_string();
    assert!(error.contains("train-1.parquet: its label 0 is dog"), "{error}");
}

#[test]
fn columns_of_another_kind_are_named() {
    let image = (Values::Bytes(IMAGES), 0);
    let reals = file(
        "required binary image; required double label;",
        &[image, (Values::Double(&[0.0, 1.0, 2.0]), 0)],
        false,
        None,
    );
    fails(reals, &["column `label` (reals)", "int64"]);
    let text = file(
        "required binary image (STRING); required int64 label;",
        &[(Values::Bytes(PATHS), 0), (Values::Int64(LABELS), 0)],
        false,
        None,
    );
    fails(text, &["no column of encoded images", "`image` (text)", "`label` (whole numbers)"]);
    let other = file(
        "required binary image; required int64 klass;",
        &[(Values::Bytes(IMAGES), 0), (Values::Int64(LABELS), 0)],
        false,
        None,
    );
    fails(other, &["no column of labels", "`klass` (whole numbers)", "`labels`"]);
    let schema = "required group label (LIST) { repeated group list { required int64 element; } } required binary image;";
    let schema = Arc::new(parse_message_type(&format!("message schema {{ {schema} }}")).unwrap());
    let mut bytes = Vec::new();
    SerializedFileWriter::new(&mut bytes, schema, Arc::default()).unwrap().close().unwrap();
    fails(bytes, &["no column of labels", "(lists)"]);
}

#[test]
fn a_row_without_an_image_is_a_bad_image() {
    let schema = "optional group image { optional binary bytes; optional binary path (STRING); } required int64 label;";
    let images: &[Option<&[u8]>] = &[Some(&[1]), None, Some(&[3, 3, 3])];
    let columns = [(Values::Bytes(images), 2), (Values::Bytes(PATHS), 2), (Values::Int64(LABELS), 0)];
    let source = open(file(schema, &columns, false, None)).unwrap();
    let mut bytes = Vec::new();
    assert!(source.read(1, &mut bytes).unwrap_err().to_string().contains("no bytes of an image"));
    source.read(2, &mut bytes).unwrap();
    assert_eq!(bytes, [3, 3, 3]);
}

#[test]
fn what_is_no_parquet_file_is_named() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n";
    fails(pointer.to_vec(), &["Git LFS", "git lfs pull"]);
    fails(b"PK\x03\x04 no parquet".to_vec(), &["no parquet file"]);
    let whole = file(
        "required binary image; required int64 label;",
        &[(Values::Bytes(IMAGES), 0), (Values::Int64(LABELS), 0)],
        false,
        None,
    );
    let error = open(whole[..whole.len() - 100].to_vec()).err().unwrap().to_string();
    assert!(error.contains("fetch it again"), "{error}");
    #[cfg(unix)]
    {
        let folder = folder(&[]);
        std::fs::create_dir(folder.path().join("train")).unwrap();
        common::pipe(&folder.path().join("train/x.parquet"));
        assert!(Parquet::open(folder.path(), Split::Train, None).is_err());
    }
}

#[test]
fn the_fingerprint_of_a_shard_follows_labels_and_sizes() {
    let schema = "required binary image; required int64 label;";
    let of = |images: &'static [Option<&'static [u8]>], labels: &'static [Option<i64>]| {
        open(file(schema, &[(Values::Bytes(images), 0), (Values::Int64(labels), 0)], false, None))
            .unwrap()
            .fingerprint()
    };
    let base = of(IMAGES, LABELS);
    assert_eq!((of(IMAGES, LABELS), base.images), (base, 3));
    assert_ne!(of(IMAGES, &[Some(4), Some(6), Some(5)]).names, base.names);
    assert_ne!(of(PATHS, LABELS).contents, base.contents);
}
