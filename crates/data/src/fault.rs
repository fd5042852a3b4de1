//! Why bytes are no usable image.

/// Why the bytes of a file are no image that can be used. The caller adds which file it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageFault {
    /// No bytes at all.
    #[error("the file is empty")]
    Empty,
    /// Bytes that begin neither as a JPEG nor as a PNG file.
    #[error("it begins neither as a JPEG nor as a PNG file")]
    Format,
    /// A file that ends before the image does.
    #[error("the file is cut short (no end-of-image marker)")]
    Cut,
    /// A file whose contents contradict themselves.
    #[error("the file is damaged: {0}")]
    Damaged(String),
    /// A file of a kind that is not read.
    #[error("{what} is not supported; {remedy}")]
    Unsupported {
        /// The kind.
        what: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// A header that claims more pixels than are accepted, or than the bytes could hold.
    #[error(
        "it claims {width}x{height} pixels in {bytes} bytes, over the limit of {limit} pixels for such a file"
    )]
    TooLarge {
        /// Pixels across.
        width: usize,
        /// Pixels down.
        height: usize,
        /// Bytes of the file.
        bytes: usize,
        /// Pixels accepted for a file of so many bytes.
        limit: usize,
    },
    /// Sides that cannot be resized or cropped as asked.
    #[error("{width}x{height} pixels: {reason}")]
    Sides {
        /// Pixels across.
        width: usize,
        /// Pixels down.
        height: usize,
        /// What is wrong with them.
        reason: &'static str,
    },
    /// The test's view takes an image as it is, and it is smaller than what is cut out of it.
    #[error(
        "{width}x{height} pixels: it is smaller than the crop of {size}; set `data.resize` to enlarge it"
    )]
    BelowCrop {
        /// Pixels across.
        width: usize,
        /// Pixels down.
        height: usize,
        /// Height and width of the crop.
        size: usize,
    },
    /// The decoder's reason.
    #[error("{0}")]
    Decoder(String),
    /// The decoder panicked.
    #[error("the decoder panicked: {0}")]
    Panicked(String),
}
