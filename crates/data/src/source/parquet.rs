//! Images in parquet files, as the Hugging Face hub keeps them.

use super::{Source, content, parallel, patterns, read};
use crate::dataset::Split;
use crate::fingerprint::{Fingerprint, Sum};
use crate::worker::panic_message;
use crate::{Error, Result};
use bytes::Bytes;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::reader::{ChunkReader, FileReader, Length, SerializedFileReader};
use parquet::file::serialized_reader::ReadOptionsBuilder;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Columns that hold the bytes of an image.
const IMAGES: [&str; 2] = ["image.bytes", "img.bytes"];
const LABELS: &str = "label";
/// Labels read at a time.
const CHUNK: usize = 8192;

/// Shards `*.parquet` with the columns `image` (a group with `bytes`; also `img`) and `label`, whole numbers from 0.
///
/// Shards are taken in the order of their sorted paths, rows in theirs. An image is found by its row group and row; to
/// read it, the one page that holds it is read and unpacked, and pages before it are passed over. So the order may be
/// any, but where a writer made one large page of a whole row group, as older ones do, an image costs as much as that
/// group. Compressed with snappy, zstd or not at all. Memory: 4 bytes for each image and the footers of the files.
pub struct Parquet {
    shards: Vec<Shard>,
    groups: Vec<Group>,
    labels: Vec<u32>,
}

struct Shard {
    path: PathBuf,
    reader: SerializedFileReader<Positioned>,
    /// Number of the column of images.
    images: usize,
}

/// A row group.
struct Group {
    shard: usize,
    /// Number in its shard.
    number: usize,
    /// Images in it and all before it.
    end: usize,
}

impl Parquet {
    /// Reads the footers and labels of the shards of one split in `folder`: those that match `pattern`, else those whose
    /// name or folder says `train`, or `val`, `validation`, `valid` or `test`.
    ///
    /// # Errors
    ///
    /// When there are no shards or images, a shard is damaged or has other columns, or a label is missing.
    pub fn open(folder: &Path, split: Split, pattern: Option<&str>) -> Result<Self> {
        let paths = patterns::shards(folder, split, pattern, "parquet")?;
        let mut found = Self { shards: Vec::new(), groups: Vec::new(), labels: Vec::new() };
        for (shard, labels) in parallel::map(&paths, |path| open_shard(path))? {
            for (number, labels) in labels.into_iter().enumerate() {
                found.labels.extend(labels);
                found.groups.push(Group { shard: found.shards.len(), number, end: found.labels.len() });
            }
            found.shards.push(shard);
        }
        if found.labels.is_empty() {
            return Err(Error::Empty { place: format!("the shards in {}", folder.display()) });
        }
        Ok(found)
    }

    /// The shard, the row group and the row in it.
    fn position(&self, index: usize) -> (&Shard, usize, usize) {
        let group = self.groups.partition_point(|group| group.end <= index);
        let start = group.checked_sub(1).map_or(0, |before| self.groups[before].end);
        let Group { shard, number, .. } = self.groups[group];
        (&self.shards[shard], number, index - start)
    }
}

/// A shard, and its labels by row group. The reader of the format may panic on damaged files.
fn open_shard(path: &Path) -> Result<(Shard, Vec<Vec<u32>>)> {
    let opened = catch_unwind(AssertUnwindSafe(|| try_open_shard(path)));
    let opened = opened.map_err(|payload| format!("its reader panicked: {}", panic_message(&*payload)));
    let damaged =
        |reason| content(path, format!("it is not a usable parquet file: {reason}; fetch it again"));
    opened.map_err(damaged)?.map_err(|fault| match fault {
        Fault::Own(error) => error,
        Fault::Parquet(error) => damaged(error.to_string()),
    })
}

enum Fault {
    Own(Error),
    Parquet(ParquetError),
}

impl From<ParquetError> for Fault {
    fn from(error: ParquetError) -> Self {
        Self::Parquet(error)
    }
}

fn try_open_shard(path: &Path) -> std::result::Result<(Shard, Vec<Vec<u32>>), Fault> {
    let (file, len) = super::tar_images::open(path, "shard of the data set").map_err(Fault::Own)?;
    let options = ReadOptionsBuilder::new().with_page_index().build();
    let reader = SerializedFileReader::new_with_options(Positioned { file: Arc::new(file), len }, options)?;
    let columns: Vec<String> = {
        let schema = reader.metadata().file_metadata().schema_descr();
        schema.columns().iter().map(|column| column.path().string()).collect()
    };
    let column = |names: &[&str]| {
        let found = columns.iter().position(|column| names.contains(&column.as_str()));
        found.ok_or_else(|| {
            let reason =
                format!("it has no column `{}`; it has {}", names.join("` or `"), columns.join(", "));
            Fault::Own(content(path, reason))
        })
    };
    let (images, labels) = (column(&IMAGES)?, column(&[LABELS])?);
    let groups = 0..reader.num_row_groups();
    let labels =
        groups.map(|group| labels_of(&reader, path, group, labels)).collect::<std::result::Result<_, _>>()?;
    Ok((Shard { path: path.to_owned(), reader, images }, labels))
}

/// The labels of a row group.
fn labels_of(
    reader: &SerializedFileReader<Positioned>,
    path: &Path,
    group: usize,
    column: usize,
) -> std::result::Result<Vec<u32>, Fault> {
    let group_reader = reader.get_row_group(group)?;
    let rows = group_reader.metadata().num_rows();
    let labels = match group_reader.get_column_reader(column)? {
        ColumnReader::Int32ColumnReader(column) => numbers(column, |label| label.try_into().ok())?,
        ColumnReader::Int64ColumnReader(column) => numbers(column, |label| label.try_into().ok())?,
        _ => None,
    };
    match labels {
        Some(labels) if i64::try_from(labels.len()) == Ok(rows) => Ok(labels),
        _ => {
            let reason = format!(
                "column `{LABELS}` has to hold a whole number from 0 for each of {rows} rows of group {group}"
            );
            Err(Fault::Own(content(path, reason)))
        }
    }
}

/// All values of a column; none when one is missing or no label.
fn numbers<T: DataType>(
    mut column: ColumnReaderImpl<T>,
    label: impl Fn(T::T) -> Option<u32>,
) -> ParquetResult<Option<Vec<u32>>> {
    let (mut labels, mut values, mut levels) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        values.clear();
        levels.clear();
        let (records, present, _) = column.read_records(CHUNK, Some(&mut levels), None, &mut values)?;
        if records == 0 {
            return Ok(Some(labels));
        }
        let read: Option<Vec<u32>> = values.drain(..).map(&label).collect();
        match read {
            Some(read) if present == records => labels.extend(read),
            _ => return Ok(None),
        }
    }
}

impl Source for Parquet {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn label(&self, index: usize) -> u32 {
        self.labels[index]
    }

    fn read(&self, index: usize, bytes: &mut Vec<u8>) -> io::Result<()> {
        let (shard, group, row) = self.position(index);
        let reader = shard.reader.get_row_group(group)?;
        let ColumnReader::ByteArrayColumnReader(mut column) = reader.get_column_reader(shard.images)? else {
            return Err(io::Error::other("the column of images holds no bytes"));
        };
        if column.skip_records(row)? != row {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (mut values, mut levels) = (Vec::<ByteArray>::new(), Vec::new());
        column.read_records(1, Some(&mut levels), None, &mut values)?;
        let Some(image) = values.first() else {
            return Err(io::Error::other("the row holds no bytes of an image"));
        };
        read::check_size(image.len() as u64)?;
        bytes.extend_from_slice(image.data());
        Ok(())
    }

    fn place(&self, index: usize) -> String {
        let (shard, group, row) = self.position(index);
        format!("{}: row {row} of group {group}", shard.path.display())
    }

    /// Of the labels and of the sizes of the columns of images; names would have to be read.
    fn fingerprint(&self) -> Fingerprint {
        let (mut names, mut contents) = (Sum::default(), Sum::default());
        names.labels(&self.labels);
        for Group { shard, number, end } in &self.groups {
            let Shard { reader, images, .. } = &self.shards[*shard];
            let column = reader.metadata().row_group(*number).column(*images);
            contents.number(*end as u64);
            contents.number(column.uncompressed_size() as u64);
            contents.number(column.compressed_size() as u64);
        }
        Fingerprint { images: self.labels.len(), names: names.value(), contents: contents.value() }
    }
}

/// A file that is read by position, from any thread; the ways of the parquet crate share one cursor.
struct Positioned {
    file: Arc<File>,
    len: u64,
}

impl Length for Positioned {
    fn len(&self) -> u64 {
        self.len
    }
}

impl ChunkReader for Positioned {
    type T = BufReader<Section>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(BufReader::new(Section { file: Arc::clone(&self.file), at: start, end: self.len }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        if start.checked_add(length as u64).is_none_or(|end| end > self.len) {
            let reason = format!("{length} bytes at {start} lie beyond its end at {}", self.len);
            return Err(ParquetError::EOF(reason));
        }
        let mut bytes = vec![0; length];
        read::at(&self.file, &mut bytes, start)?;
        Ok(bytes.into())
    }
}

/// The rest of a file from a position.
struct Section {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.end.saturating_sub(self.at).min(buffer.len() as u64) as usize;
        read::at(&self.file, &mut buffer[..len], self.at)?;
        self.at += len as u64;
        Ok(len)
    }
}
