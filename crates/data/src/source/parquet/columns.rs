//! Which columns of a parquet file are the images and the labels.

use crate::source::content;
use crate::{Error, Result};
use parquet::basic::{Compression, ConvertedType, LogicalType, Type};
use parquet::file::metadata::ParquetMetaData;
use parquet::schema::types::ColumnDescriptor;
use std::path::Path;

/// What a column of images is called, in the order in which they are looked for; also as a group with `bytes`.
const IMAGES: [&str; 8] = ["image", "img", "jpg", "jpeg", "png", "webp", "image_bytes", "bytes"];
/// What a column of labels is called.
const LABELS: [&str; 7] = ["label", "labels", "cls", "class", "fine_label", "target", "class_id"];

/// The columns that are read.
#[derive(Debug)]
pub(super) struct Columns {
    /// Number of the column of images.
    pub(super) images: usize,
    /// Number of the column of labels, and its name.
    pub(super) labels: usize,
    pub(super) label_name: String,
    /// The names of the labels in order, if the file tells them.
    pub(super) classes: Vec<String>,
    /// What else might have been meant.
    pub(super) remarks: Vec<String>,
}

impl Columns {
    /// Finds them.
    ///
    /// # Errors
    ///
    /// When there are none, or they are of a kind that holds no images or labels or is compressed in a way that is not
    /// read; the error tells which columns there are.
    pub(super) fn find(path: &Path, metadata: &ParquetMetaData) -> Result<Self> {
        let schema = metadata.file_metadata().schema_descr();
        let columns: Vec<&ColumnDescriptor> = schema.columns().iter().map(AsRef::as_ref).collect();
        let images = image_columns(&columns);
        let labels = by_names(&columns, &LABELS.map(str::to_owned));
        let Some(&image) = images.first() else {
            let names = IMAGES.map(|name| format!("`{name}`")).join(", ");
            let reason = format!(
                "it has no column of encoded images: binary, or a group with binary `bytes`, called {names}; it has {}",
                told(&columns)
            );
            return Err(content(path, reason));
        };
        let Some(&label) = labels.first() else {
            let names = LABELS.map(|name| format!("`{name}`")).join(", ");
            let reason = format!("it has no column of labels, called {names}; it has {}", told(&columns));
            return Err(content(path, reason));
        };
        let mut remarks = Vec::new();
        for (what, found) in [("images", &images), ("labels", &labels)] {
            if let [read, other, ..] = found[..] {
                let (read, other) = (name(columns[read]), name(columns[other]));
                remarks.push(format!(
                    "{}: the {what} are those of column `{read}`, not `{other}`",
                    path.display()
                ));
            }
        }
        check_kind(path, columns[label])?;
        check_compression(path, metadata, &[image, label])?;
        let label_name = name(columns[label]);
        let classes = class_names(metadata, &label_name);
        Ok(Self { images: image, labels: label, label_name, classes, remarks })
    }
}

/// The columns that may be images, the likeliest first.
fn image_columns(columns: &[&ColumnDescriptor]) -> Vec<usize> {
    let names: Vec<String> =
        IMAGES.iter().flat_map(|name| [format!("{name}.bytes"), (*name).to_owned()]).collect();
    let mut found = by_names(columns, &names);
    found.retain(|&column| is_binary(columns[column]));
    if found.is_empty() {
        // An image of the Hugging Face hub under a name of its own.
        let has_path = |name: &str| columns.iter().any(|column| self::name(column) == format!("{name}.path"));
        let is_image = |column: &ColumnDescriptor| {
            is_binary(column) && name(column).strip_suffix(".bytes").is_some_and(has_path)
        };
        found = (0..columns.len()).filter(|&column| is_image(columns[column])).collect();
        if found.len() > 1 {
            found.clear();
        }
    }
    found
}

/// The columns with these names, in the order of the names.
fn by_names(columns: &[&ColumnDescriptor], names: &[String]) -> Vec<usize> {
    let with_name = |wanted: &String| {
        columns
            .iter()
            .position(|column| name(column).eq_ignore_ascii_case(wanted) && column.max_rep_level() == 0)
    };
    names.iter().filter_map(with_name).collect()
}

/// The path of a column, a dot between groups.
fn name(column: &ColumnDescriptor) -> String {
    column.path().string()
}

fn is_text(column: &ColumnDescriptor) -> bool {
    matches!(column.logical_type_ref(), Some(LogicalType::String | LogicalType::Enum | LogicalType::Json))
        || matches!(column.converted_type(), ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON)
}

fn is_binary(column: &ColumnDescriptor) -> bool {
    column.physical_type() == Type::BYTE_ARRAY && !is_text(column) && column.max_rep_level() == 0
}

/// All columns with what they hold.
fn told(columns: &[&ColumnDescriptor]) -> String {
    let one = |column: &&ColumnDescriptor| {
        let kind = match column.physical_type() {
            _ if column.max_rep_level() > 0 => "lists",
            Type::BYTE_ARRAY if is_text(column) => "text",
            Type::BYTE_ARRAY => "binary",
            Type::INT32 | Type::INT64 => "whole numbers",
            Type::FLOAT | Type::DOUBLE => "reals",
            Type::BOOLEAN => "booleans",
            _ => "other values",
        };
        format!("`{}` ({kind})", name(column))
    };
    columns.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Refuses labels that are neither whole numbers nor text.
fn check_kind(path: &Path, column: &ColumnDescriptor) -> Result<()> {
    match column.physical_type() {
        Type::INT32 | Type::INT64 => Ok(()),
        Type::BYTE_ARRAY if is_text(column) => Ok(()),
        _ => {
            let reason =
                format!("column {} has to hold whole numbers from 0; cast it to int64", told(&[column]));
            Err(content(path, reason))
        }
    }
}

/// Refuses what the parquet crate cannot unpack.
fn check_compression(path: &Path, metadata: &ParquetMetaData, columns: &[usize]) -> Result<()> {
    for group in metadata.row_groups() {
        for &column in columns {
            if let Compression::LZO = group.column(column).compression() {
                let reason =
                    "it is compressed with LZO, which is not read; write it anew with zstd or snappy";
                return Err(content(path, reason));
            }
        }
    }
    Ok(())
}

/// The names of the classes as the Hugging Face hub writes them beside the data.
fn class_names(metadata: &ParquetMetaData, label: &str) -> Vec<String> {
    let pairs = metadata.file_metadata().key_value_metadata();
    let text = pairs
        .into_iter()
        .flatten()
        .find(|pair| pair.key == "huggingface")
        .and_then(|pair| pair.value.as_ref());
    let names = text.and_then(|text| {
        let value: serde_json::Value = serde_json::from_str(text).ok()?;
        let names = value.get("info")?.get("features")?.get(label)?.get("names")?.as_array()?;
        names.iter().map(|name| name.as_str().map(str::to_owned)).collect::<Option<Vec<String>>>()
    });
    names.unwrap_or_default()
}

/// Refuses shards that name their classes differently.
pub(super) fn check_same_classes(known: &mut Vec<String>, found: Vec<String>, path: &Path) -> Result<()> {
    if found.is_empty() || *known == found {
        return Ok(());
    }
    if !known.is_empty() {
        let at = known
            .iter()
            .zip(&found)
            .position(|(one, other)| one != other)
            .unwrap_or(known.len().min(found.len()));
        let nothing = "none".to_owned();
        let (one, other) = (known.get(at).unwrap_or(&nothing), found.get(at).unwrap_or(&nothing));
        let reason = format!(
            "its label {at} is {other}, that of the shards before it {one}; take all from one data set"
        );
        return Err(content(path, reason));
    }
    *known = found;
    Ok(())
}

/// An error about one label.
pub(super) fn bad_label(path: &Path, column: &str, group: usize, row: usize, what: &str) -> Error {
    let reason = format!(
        "column `{column}` holds {what} in row {row} of group {group}; a whole number from 0 belongs there"
    );
    content(path, reason)
}
