//! Images in parquet files, as the Hugging Face hub keeps them.

mod columns;
mod labels;
mod positioned;

use super::{Source, content, parallel, patterns, read};
use crate::dataset::Split;
use crate::files::stand_in_of;
use crate::fingerprint::{Fingerprint, Sum};
use crate::worker::panic_message;
use crate::{Error, Result};
use columns::Columns;
use parquet::column::reader::ColumnReader;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::serialized_reader::ReadOptionsBuilder;
use positioned::Positioned;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Shards `*.parquet` with a column of encoded images, `image` (binary, or a group with `bytes`; also `img`, `jpg` and a few
/// more), and one of labels, `label` (whole numbers from 0; also `labels`, `cls` and a few more; words where the file names
/// its classes as the Hugging Face hub does).
///
/// Shards are taken in the order of their sorted paths, rows in theirs. An image is found by its row group and row; to
/// read it, the one page that holds it is read and unpacked, and pages before it are passed over. So the order may be
/// any, but where a writer made one large page of a whole row group, as older ones do, an image costs as much as that
/// group. Compressed with snappy, zstd, gzip, brotli, lz4 or not at all. Memory: 4 bytes for each image and the footers of the files.
pub struct Parquet {
    shards: Vec<Shard>,
    groups: Vec<Group>,
    labels: Vec<u32>,
    classes: Vec<String>,
    remarks: Vec<String>,
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
        let mut found = Self {
            shards: Vec::new(),
            groups: Vec::new(),
            labels: Vec::new(),
            classes: Vec::new(),
            remarks: Vec::new(),
        };
        for Opened { shard, labels, classes, remarks } in parallel::map(&paths, |path| open_shard(path))? {
            columns::check_same_classes(&mut found.classes, classes, &shard.path)?;
            // What holds for one shard usually holds for all.
            if found.remarks.is_empty() {
                found.remarks = remarks;
            }
            for (number, labels) in labels.into_iter().enumerate() {
                found.labels.extend(labels);
                found.groups.push(Group { shard: found.shards.len(), number, end: found.labels.len() });
            }
            found.shards.push(shard);
        }
        if found.labels.is_empty() {
            return Err(Error::empty(format!("the set of shards in {}", folder.display())));
        }
        Ok(found)
    }

    /// Appends the bytes of an image. The reader of the format may panic on damaged pages.
    fn read_image(&self, index: usize, bytes: &mut Vec<u8>) -> io::Result<()> {
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
            return Err(io::Error::other(
                "the row holds no bytes of an image; a path to one is not followed",
            ));
        };
        read::check_size(image.len() as u64)?;
        bytes.extend_from_slice(image.data());
        Ok(())
    }

    /// The shard, the row group and the row in it.
    fn position(&self, index: usize) -> (&Shard, usize, usize) {
        let group = self.groups.partition_point(|group| group.end <= index);
        let start = group.checked_sub(1).map_or(0, |before| self.groups[before].end);
        let Group { shard, number, .. } = self.groups[group];
        (&self.shards[shard], number, index - start)
    }
}

/// A shard, and its labels by row group.
struct Opened {
    shard: Shard,
    labels: Vec<Vec<u32>>,
    classes: Vec<String>,
    remarks: Vec<String>,
}

/// Opens a shard. The reader of the format may panic on damaged files.
fn open_shard(path: &Path) -> Result<Opened> {
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

fn try_open_shard(path: &Path) -> std::result::Result<Opened, Fault> {
    let (file, len) = super::tar_images::open(path, "shard of the data set")?;
    if let Some(reason) = stand_in(&file, len).map_err(ParquetError::from)? {
        return Err(Fault::Own(content(path, reason)));
    }
    let options = ReadOptionsBuilder::new().with_page_index().build();
    let reader = SerializedFileReader::new_with_options(Positioned { file: Arc::new(file), len }, options)?;
    let columns = Columns::find(path, reader.metadata())?;
    let groups = 0..reader.num_row_groups();
    let labels = groups
        .map(|group| labels::of_group(&reader, path, group, &columns))
        .collect::<std::result::Result<_, _>>()?;
    let Columns { images, classes, remarks, .. } = columns;
    Ok(Opened { shard: Shard { path: path.to_owned(), reader, images }, labels, classes, remarks })
}

/// What a file is that is certainly no parquet file, and what to do.
fn stand_in(file: &File, len: u64) -> io::Result<Option<String>> {
    let mut start = [0; 64];
    let start = &mut start[..len.min(64) as usize];
    read::at(file, start, 0)?;
    if len == 0 {
        return Ok(Some("it is empty; fetch it again".to_owned()));
    }
    if start.starts_with(b"PAR1") {
        return Ok(None);
    }
    let what = match stand_in_of(start) {
        Some(what) => what.to_owned(),
        None if start.starts_with(b"PARE") => "it is an encrypted parquet file; decrypt it first".to_owned(),
        None => "it is no parquet file: it does not begin with `PAR1`".to_owned(),
    };
    Ok(Some(what))
}

impl Source for Parquet {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn label(&self, index: usize) -> u32 {
        self.labels[index]
    }

    fn read(&self, index: usize, bytes: &mut Vec<u8>) -> io::Result<()> {
        catch_unwind(AssertUnwindSafe(|| self.read_image(index, bytes))).unwrap_or_else(|payload| {
            let reason = panic_message(&*payload);
            Err(io::Error::other(format!("its page is damaged: the reader of the format panicked: {reason}")))
        })
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

    fn remarks(&self) -> &[String] {
        &self.remarks
    }

    fn class_names(&self) -> &[String] {
        &self.classes
    }
}
