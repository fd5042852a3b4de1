//! The trait every data set implements, and what passes between it and the loader.

use crate::source::Strays;
use crate::{BadImage, Error, Fingerprint, Result};

/// Labelled images that can be read by index.
///
/// Implement it for your own data and everything above (loader, trainer, evaluation) works unchanged.
/// The rules for an implementation:
///
/// * Images are numbered from 0 to `len() - 1`; all have the same shape `[C, H, W]` and are written as `f32` in
///   that order, already normalised. Keep values around -1 to 1.
/// * `read` is called from several threads at once and in any order. Its result may depend on the index and
///   the view only, so that a resumed run sees the same bytes: draw random numbers from
///   [`sample_rng`](crate::sample_rng)`(seed, epoch, index)`, never from a generator kept in the data set.
/// * [`View::Train`] asks for augmentation (none is fine), [`View::Eval`] for the plain image.
/// * Labels are below `classes()`; the loader checks it.
/// * Report faults with [`Error::custom`]. A panic in `read` reaches the caller as [`Error::Panicked`]. An image
///   that is to be passed over is [`Error::LeftOut`]: its batch becomes smaller.
///
/// ```
/// use sparse_data::{Dataset, Result, View, sample_rng};
///
/// /// Dark images are class 0, bright ones class 1.
/// struct Brightness;
///
/// impl Dataset for Brightness {
///     fn len(&self) -> usize { 100 }
///     fn classes(&self) -> usize { 2 }
///     fn image_shape(&self) -> [usize; 3] { [1, 16, 16] }
///     fn read(&self, index: usize, view: View, image: &mut [f32]) -> Result<u32> {
///         let label = (index % 2) as u32;
///         let noise = match view {
///             View::Train { seed, epoch } => sample_rng(seed, epoch, index).uniform(-0.1, 0.1) as f32,
///             View::Eval => 0.0,
///         };
///         image.fill(label as f32 - 0.5 + noise);
///         Ok(label)
///     }
/// }
///
/// let mut image = vec![0.0; 256];
/// assert_eq!(Brightness.read(3, View::Eval, &mut image)?, 1);
/// # Ok::<(), sparse_data::Error>(())
/// ```
pub trait Dataset: Send + Sync {
    /// Number of images.
    fn len(&self) -> usize;

    /// Whether there are no images.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of classes; labels are below it.
    fn classes(&self) -> usize;

    /// Shape `[C, H, W]` of every image.
    fn image_shape(&self) -> [usize; 3];

    /// Writes image `index` into `image` (`[C, H, W]`, normalised) and returns its label.
    ///
    /// # Errors
    ///
    /// When the image cannot be had, or `index` or the length of `image` does not fit.
    fn read(&self, index: usize, view: View, image: &mut [f32]) -> Result<u32>;

    /// The images found so far that cannot be used and were replaced or left out, in order of their index.
    fn bad_images(&self) -> Vec<BadImage> {
        Vec::new()
    }

    /// Refuses the bad images that several processes found together, if they are more than may be.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyBadImages`].
    fn check_bad_images(&self, _found: &[BadImage]) -> Result<()> {
        Ok(())
    }

    /// What lies among the images and is none that can be used, such as a label without an image.
    fn strays(&self) -> &Strays {
        const { &Strays::NONE }
    }

    /// What tells these images from others, so that a resumed run can see whether they are those it began with.
    ///
    /// By default the number of images alone.
    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_count(self.len())
    }
}

/// How an image is to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Augmented, as a function of seed, epoch and the image's index.
    Train {
        /// Seed of the run.
        seed: u64,
        /// Epoch, from 0.
        epoch: u64,
    },
    /// Plain, the same every time.
    Eval,
}

/// Which part of a data set to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// The images to train on.
    Train,
    /// The images to test on (ImageNet: the validation list).
    Test,
}

/// A batch of images with their labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Number of the batch in its epoch, from 0.
    pub number: usize,
    /// Shape `[N, C, H, W]` of the images; N may be 0 where all were left out or a rank has no share.
    pub shape: [usize; 4],
    /// Pixels, `[N, C, H, W]`, normalised.
    pub images: Vec<f32>,
    /// Labels, `[N]`.
    pub labels: Vec<u32>,
}

/// Number of values in one image.
pub(crate) fn values_per_image(dataset: &(impl Dataset + ?Sized)) -> usize {
    dataset.image_shape().iter().product()
}

/// Checks the arguments of a [`Dataset::read`].
pub(crate) fn check_request(dataset: &impl Dataset, index: usize, image: &[f32]) -> Result<()> {
    let (len, expected) = (dataset.len(), values_per_image(dataset));
    if index < len && image.len() == expected {
        return Ok(());
    }
    Err(Error::Request { index, len, expected, got: image.len() })
}
