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
