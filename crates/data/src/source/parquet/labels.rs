//! The labels of a row group.

use super::columns::{Columns, bad_label};
use super::{Fault, Positioned};
use crate::Error;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::file::reader::{FileReader, SerializedFileReader};
use std::path::Path;

/// Labels read at a time.
const CHUNK: usize = 8192;

/// The labels of a row group, in order.
pub(super) fn of_group(
    reader: &SerializedFileReader<Positioned>,
    path: &Path,
    group: usize,
    columns: &Columns,
) -> Result<Vec<u32>, Fault> {
    let group_reader = reader.get_row_group(group)?;
    let rows = group_reader.metadata().num_rows();
    let name = &columns.label_name;
    let fault = |row: usize, what: &str| Fault::Own(bad_label(path, name, group, row, what));
    let labels = match group_reader.get_column_reader(columns.labels)? {
        ColumnReader::Int32ColumnReader(column) => read(column, &fault, |label| number(i64::from(*label)))?,
        ColumnReader::Int64ColumnReader(column) => read(column, &fault, |label| number(*label))?,
        ColumnReader::ByteArrayColumnReader(column) => {
            read(column, &fault, |label| by_name(label, &columns.classes))?
        }
        _ => Vec::new(),
    };
    match i64::try_from(labels.len()) == Ok(rows) {
        true => Ok(labels),
        false => Err(fault(labels.len(), &format!("no more labels of {rows}"))),
    }
}

fn number(label: i64) -> Result<u32, String> {
    label.try_into().map_err(|_| label.to_string())
}

/// The number of a label in words, which only the names of the classes can give.
fn by_name(label: &ByteArray, classes: &[String]) -> Result<u32, String> {
    let text = String::from_utf8_lossy(label.data());
    let number = classes.iter().position(|class| *class == text).and_then(|number| number.try_into().ok());
    number.ok_or_else(|| {
        let text: String = text.chars().take(50).collect();
        match classes.is_empty() {
            true => format!("the text `{text}`, and the file does not tell the numbers of its classes,"),
            false => format!(
                "the text `{text}`, which is none of the {} classes that the file names,",
                classes.len()
            ),
        }
    })
}

/// All values of a column.
fn read<T: DataType>(
    mut column: ColumnReaderImpl<T>,
    fault: &impl Fn(usize, &str) -> Fault,
    label: impl Fn(&T::T) -> Result<u32, String>,
) -> Result<Vec<u32>, Fault> {
    let (mut labels, mut values, mut levels) = (Vec::new(), Vec::new(), Vec::<i16>::new());
    loop {
        values.clear();
        levels.clear();
        let (records, present, _) = column.read_records(CHUNK, Some(&mut levels), None, &mut values)?;
        if records == 0 {
            return Ok(labels);
        }
        if present != records {
            let most = levels.iter().max().copied().unwrap_or_default();
            let missing =
                if present == 0 { 0 } else { levels.iter().position(|&level| level < most).unwrap_or(0) };
            return Err(fault(labels.len() + missing, "nothing"));
        }
        for value in &values {
            labels.push(label(value).map_err(|what| fault(labels.len(), &what))?);
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Own(error)
    }
}
