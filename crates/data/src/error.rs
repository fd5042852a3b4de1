//! The crate's error type: facts in fields, the remedy in the message.

use std::path::PathBuf;

/// What this crate's functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can go wrong between a file and a batch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of the data set is not there.
    #[error(
        "{what}: {} does not exist; set `data.path` (`--set data.path=FOLDER`) to the folder that holds the data",
        path.display()
    )]
    Missing {
        /// What the file would have held.
        what: &'static str,
        /// The path that was tried.
        path: PathBuf,
    },
    /// The operating system refused to read a file.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A gzip stream is corrupt.
    #[error("{} is a damaged gzip file; fetch it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The decompressor's reason.
        source: std::io::Error,
    },
    /// An IDX file starts with the wrong four bytes.
    #[error(
        "{} is neither gzip nor an IDX file of bytes with {rank} dimension(s): it starts with {got:#010x}, \
         expected {expected:#010x}; {}",
        path.display(), magic_hint(*got)
    )]
    Magic {
        /// The file.
        path: PathBuf,
        /// Number of dimensions that was asked for.
        rank: u8,
        /// The magic number that belongs there.
        expected: u32,
        /// The one that is there.
        got: u32,
    },
    /// A file ends before its header says it does.
    #[error(
        "{} is cut short: {expected} bytes (unpacked) belong there, it holds {got}; fetch it again",
        path.display()
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes the header promises, itself included, after decompression.
        expected: u64,
        /// Bytes that could be read.
        got: u64,
    },
    /// A gzip stream ends before its checksum.
    #[error("{} is a gzip file that is cut short: its last bytes, with the checksum, are missing; fetch it again", path.display())]
    NoChecksum {
        /// The file.
        path: PathBuf,
    },
    /// A file goes on after its header says it ends.
    #[error("{} goes on after the {expected} bytes its header announces; fetch it again", path.display())]
    TrailingBytes {
        /// The file.
        path: PathBuf,
        /// Bytes the header promises, itself included, after decompression.
        expected: u64,
    },
    /// A file is, or claims to be, larger than this crate accepts.
    #[error("{} claims {claimed} bytes, more than the {limit} accepted; check that it is the right file", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes claimed (saturating).
        claimed: u64,
        /// Bytes accepted.
        limit: u64,
    },
    /// Images and labels do not pair up.
    #[error(
        "{} holds {images} images but {} holds {labels} labels; take both from the same download",
        images_path.display(), labels_path.display()
    )]
    CountMismatch {
        /// File of the images.
        images_path: PathBuf,
        /// Number of images in it.
        images: usize,
        /// File of the labels.
        labels_path: PathBuf,
        /// Number of labels in it.
        labels: usize,
    },
    /// A file of fixed-size records holds no whole number of them.
    #[error(
        "{} has {got} bytes, not a whole number (at least one) of {record}-byte records; {}",
        path.display(), hint
    )]
    RecordSize {
        /// The file.
        path: PathBuf,
        /// Bytes per record.
        record: u64,
        /// Bytes in the file.
        got: u64,
        /// What it is instead, and what to do.
        hint: &'static str,
    },
    /// A data set without a single image.
    #[error("{place} holds no images{instead}")]
    Empty {
        /// The file or data set.
        place: String,
        /// What it holds instead and what to do, with a semicolon in front.
        instead: String,
    },
    /// A label that is no class.
    #[error(
        "{place}: label {label} is out of range, classes are 0 to {}; correct the label or the number of classes \
         (`model.num_classes`)", classes.saturating_sub(1)
    )]
    Label {
        /// File and position of the label.
        place: String,
        /// The label.
        label: u64,
        /// Number of classes.
        classes: usize,
    },
    /// A line of an image list that is not "relative path, label".
    #[error(
        "{}, line {line}: {reason}: `{text}` has to be `RELATIVE/PATH LABEL` with a whole label from 0; correct the line",
        path.display()
    )]
    ListLine {
        /// The list.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// The line.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An image that cannot be used, where none may be bad.
    #[error(
        "{place} is not a usable JPEG or PNG image: {reason}; replace it, take it out of the data set, or set \
         `data.bad_images` to \"skip\""
    )]
    Image {
        /// Where its bytes lie.
        place: String,
        /// Why not.
        reason: String,
    },
    /// An image that cannot be used and is to be left out of this pass; a [`Loader`](crate::Loader) does so.
    #[error("{place} is left out: {reason}")]
    LeftOut {
        /// Where its bytes lie.
        place: String,
        /// Why it cannot be used.
        reason: String,
    },
    /// More images than allowed cannot be used.
    #[error(
        "{bad} of {len} images cannot be used, more than the share of {limit} in `data.bad_images_limit`; the last one is \
         {place}: {reason}; mend the data set (a run lists what was found in bad_images.txt in its folder) or raise the share"
    )]
    TooManyBadImages {
        /// Bad images found so far.
        bad: usize,
        /// Images there are.
        len: usize,
        /// The share of them that may be bad.
        limit: f64,
        /// The one found last.
        place: String,
        /// Why it cannot be used.
        reason: String,
    },
    /// More images than allowed lack a label, or labels an image, or are of a format that is not read.
    #[error(
        "{strays} of {all} images cannot be used, more than the share of {limit} in `data.bad_images_limit`: {told}; mend \
         the data set or raise the share"
    )]
    TooManyStrays {
        /// Number of those.
        strays: usize,
        /// Number of those and of the images that can be used.
        all: usize,
        /// The share of them that may be bad.
        limit: f64,
        /// Which they are, and why.
        told: String,
    },
    /// A folder in which no data set of a known layout lies, or more than one.
    #[error(
        "{} {found}; looked for {looked_for}; put one of them there, point `data.path` at another folder, or name the \
         layout with `data.format`", path.display()
    )]
    Layout {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        found: String,
        /// The layouts that were looked for.
        looked_for: String,
    },
    /// A folder or archive of a known layout that does not hold what belongs there.
    #[error("{}: {reason}", path.display())]
    Content {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong and what belongs there.
        reason: String,
    },
    /// A tar file that cannot be read to its end.
    #[error("{} cannot be read as a tar file: at byte {offset} {reason}", path.display())]
    Tar {
        /// The file.
        path: PathBuf,
        /// Where the fault lies.
        offset: u64,
        /// What is wrong there, and what to do.
        reason: String,
    },
    /// A layout that this build cannot read.
    #[error("{} holds {layout} files, which this build cannot read; build it with `--features {feature}`", path.display())]
    Feature {
        /// The folder.
        path: PathBuf,
        /// The layout.
        layout: &'static str,
        /// The cargo feature it needs.
        feature: &'static str,
    },
    /// A setting that cannot be used.
    #[error("{setting}: {reason}")]
    Setting {
        /// Name of the setting.
        setting: &'static str,
        /// What is wrong with it and what is accepted.
        reason: String,
    },
    /// A batch size that gives no batch.
    #[error("a batch of {batch_size} images cannot be cut from {len}; choose a batch size from 1 to {len}")]
    BatchSize {
        /// Images per batch that were asked for.
        batch_size: usize,
        /// Images there are.
        len: usize,
    },
    /// The loader was asked to start after its last batch.
    #[error(
        "cannot start at batch {first_batch}: an epoch has {batches} batches; resume with the batch size and data the run began with"
    )]
    FirstBatch {
        /// The batch to start at.
        first_batch: usize,
        /// Batches in one pass.
        batches: usize,
    },
    /// A call of [`Dataset::read`](crate::Dataset::read) with an index or a buffer that does not fit.
    #[error(
        "image {index} of {len} into {got} values: an index below {len} and exactly {expected} values are needed"
    )]
    Request {
        /// The index asked for.
        index: usize,
        /// Images there are.
        len: usize,
        /// Values one image has (C·H·W).
        expected: usize,
        /// Length of the buffer.
        got: usize,
    },
    /// A data set panicked while it read an image.
    #[error(
        "the data set panicked while reading image {index}: {message}; mend its `read`, which should return errors"
    )]
    Panicked {
        /// Index of the image.
        index: usize,
        /// The panic's message.
        message: String,
    },
    /// A worker thread could not be started, or ended without a word.
    #[error("a loader thread failed: {reason}; try fewer workers")]
    Thread {
        /// What happened.
        reason: String,
    },
    /// The error of a data set from outside this crate.
    #[error("the data set cannot give image {index}")]
    Custom {
        /// Index of the image.
        index: usize,
        /// The data set's own error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What an IDX file is that begins with other bytes, and what to do.
fn magic_hint(got: u32) -> String {
    let text = got.to_be_bytes();
    match text {
        [0, 0, 8, rank] => format!(
            "it is an IDX file with {rank} dimension(s): images have 3 and labels 1, so check that the names are not interchanged"
        ),
        [0, 0, 9..=14, _] => "its elements are no bytes; convert them to unsigned bytes".to_owned(),
        [b'P', b'K', 3, 4] => "it is a zip archive; unpack it".to_owned(),
        [b'<', ..] => {
            "it is a web page in place of the file; see what the server says, and that the file is fetched whole".to_owned()
        }
        _ if text == *b"vers" => "it is a pointer of Git LFS; fetch the file with `git lfs pull`".to_owned(),
        _ if text == *b"BZh9" || text == [0xfd, b'7', b'z', b'X'] || text == [0x28, 0xb5, 0x2f, 0xfd] => {
            "it is compressed, but not with gzip; unpack it".to_owned()
        }
        _ => "check that the file is the right one and was fetched whole".to_owned(),
    }
}

impl Error {
    /// An [`Error::Empty`] for a place of which no more is known.
    pub(crate) fn empty(place: impl Into<String>) -> Self {
        let instead = "; point `data.path` at a folder with data".to_owned();
        Self::Empty { place: place.into(), instead }
    }

    /// Wraps the error of one's own [`Dataset`](crate::Dataset) for the image at `index`.
    pub fn custom(index: usize, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Custom { index, source: source.into() }
    }
}
