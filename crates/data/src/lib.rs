//! Image datasets, sampling, augmentation and the prefetching loader.
//!
//! A [`Dataset`] is a list of labelled images that can be read by index from any thread: [`Mnist`],
//! [`Cifar`], [`ImageSet`] (encoded images from a [`Source`]: any layout in which people keep ImageNet),
//! [`InMemory`], or one of your own. A [`Loader`] reads a data set on its own threads and hands out [`Batch`]es of
//! `f32` pixels in `[N, C, H, W]` order on the host.
//!
//! Invariant: what comes out is a function of (seed, epoch, index) alone. The order is a [`permutation`] of
//! (seed, epoch), the augmentation of an image draws from [`sample_rng`] of (seed, epoch, index), and the number
//! of worker threads never changes a byte, so a run stopped anywhere goes on with `first_batch` and needs no
//! saved generator. The crate knows neither candle nor devices, and trusts no file: sizes are checked before
//! memory is taken, and every fault is an [`Error`] that names the file, the fact and the remedy.
//!
//! # Where things lie
//!
//! The `Dataset` trait (`dataset.rs`), MNIST, CIFAR-10 and CIFAR-100 (`cifar.rs`), images in memory with their
//! augmentation (`crop_flip.rs`, `jitter.rs`), and encoded images (`image_set.rs`): a `Source` of bytes, one reader
//! per layout under `source/` (`detect.rs` chooses), and a `Transform` that decodes and augments (`transform.rs`).
//! `bad_images.rs` counts those that cannot be used, `source/strays.rs` what lies among the images and is none;
//! names are bytes (`names.rs`). `files.rs` opens regular files alone, so that a pipe is refused and not waited
//! for. `fingerprint.rs` tells one set of images from another by names, labels and sizes. The order of an epoch
//! (`sampler.rs`), and the loader (`loader.rs`, `worker.rs`) that reads ahead on threads of its own, hands out
//! batches in order, and shares each step among ranks.
//!
//! Archives are indexed when opened (`source/tar_walk.rs` goes from header to header, `tar_pax.rs` reads extended
//! attributes, `tar_links.rs` follows links, `webdataset/sample.rs` pairs images with labels; 16 bytes for each
//! image) and read by position, never unpacked. So every layout is shuffled as a whole: the order is a uniform
//! permutation of all images, also over shards.
//!
//! `transform.rs` makes network input out of the bytes of an image file as PaddleSlim's reader on Pillow does: the
//! crop (`geometry.rs`), pixels in Pillow's modes (`decode.rs`, `png_file.rs`, `picture.rs`), Pillow's resize
//! (`resample.rs`), colours (`augment.rs`). `jpeg/` is the JPEG decoder, with the samples of libjpeg-turbo: a
//! sequential Huffman file in one scan is decoded only as far as a crop needs (`scan.rs`); all others, and whatever
//! is not certain there, go over all coefficients (`coefficients.rs`, with `progressive.rs`, `arithmetic.rs`,
//! `smooth.rs`), where damage is reported. `segments.rs` cuts at restarts and resynchronises as libjpeg does;
//! `magic.rs` names formats that are not read. Images are decoded by columns, resized across, turned to rows and
//! resized down (`lines.rs`), so that every step adds whole lines. EXIF orientation is not obeyed, as in Pillow's
//! `convert`. An image has at most 2^26 pixels, 1.1 GiB while it is decoded; a JPEG at most 512 pixels a byte, one
//! with arithmetic codes 65536. `cache.rs` keeps decoded images in a file: crops from it are an approximation, so
//! it is off by default.
//!
//! ```
//! use sparse_data::{InMemory, Loader, LoaderConfig, Normalise};
//! use std::sync::Arc;
//!
//! // Four images of 3×2×2 pixels, two classes.
//! let data = InMemory::new(vec![255; 4 * 12], vec![0, 1, 1, 0], [3, 2, 2], 2, &Normalise::default())?;
//! let loader = Loader::new(Arc::new(data), LoaderConfig::train(2, 7, 0))?;
//! assert_eq!(loader.batches(), 2);
//! for batch in loader {
//!     let batch = batch?;
//!     assert_eq!(batch.shape, [2, 3, 2, 2]);
//!     assert!(batch.images.iter().all(|&pixel| pixel == 1.0));
//! }
//! # Ok::<(), sparse_data::Error>(())
//! ```

mod augment;
mod bad_images;
mod cache;
mod cifar;
mod crop_flip;
mod dataset;
mod decode;
mod error;
mod fault;
mod files;
mod fingerprint;
mod geometry;
pub mod idx;
mod image_set;
mod jitter;
mod jpeg;
mod lines;
mod loader;
mod magic;
mod memory;
mod mnist;
mod normalise;
mod picture;
mod png_file;
mod random;
mod resample;
mod sampler;
pub mod source;
mod transform;
mod turn;
mod worker;

pub use bad_images::{BadImage, BadImages};
pub use cache::{PixelCache, ReadImage};
pub use cifar::{Cifar, CifarLabels};
pub use crop_flip::CropFlip;
pub use dataset::{Batch, Dataset, Split, View};
pub use decode::{PIXEL_LIMIT, decode_image};
pub use error::{Error, Result};
pub use fault::ImageFault;
pub use files::open_regular;
pub use fingerprint::Fingerprint;
pub use geometry::Draws;
pub use image_set::{ImageSet, ImageSetConfig};
pub use jitter::Jitter;
pub use loader::{Loader, LoaderConfig, Order};
pub use memory::InMemory;
pub use mnist::Mnist;
pub use normalise::Normalise;
pub use picture::{Mode, Picture};
pub use random::{SampleRng, sample_rng};
pub use resample::Interpolation;
pub use sampler::permutation;
pub use source::{
    Folders, Format, Source, SourceConfig, Stray, Strays, check_layout, open_source, read_image,
    read_image_from,
};
pub use transform::{Transform, TransformConfig};
