//! From the bytes of one image file to the network's input.

use crate::dataset::View;
use crate::normalise::{Normalise, Table};
use crate::{Error, Result, decode, geometry, sample_rng};

/// Settings of a [`Transform`].
#[derive(Clone, Debug, PartialEq)]
pub struct TransformConfig {
    /// Side of the square images that come out, in pixels.
    pub size: usize,
    /// Short side, in pixels, to which an image is resized before its centre is cut out for evaluation.
    pub resize_short: usize,
    /// Normalisation of red, green and blue.
    pub normalise: Normalise,
}

impl TransformConfig {
    /// The ImageNet recipe for `size`: `resize_short` = `size` / 0.875 rounded (256 for 224), ImageNet's
    /// mean and deviation.
    pub fn imagenet(size: usize) -> Self {
        let resize_short = (size as f64 / 0.875).round_ties_even() as usize;
        Self { size, resize_short, normalise: Normalise::imagenet() }
    }
}

/// Why some bytes are no usable image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ImageFault(pub(crate) String);

/// Decodes, crops, resizes and normalises.
///
/// Training view: random resized crop (area 0.08 to 1, aspect 3/4 to 4/3) and a flip half of the time. Evaluation
/// view: short side to `resize_short`, then the centre. Both resize with Lanczos (PaddleSlim, imagenet_reader). An
/// image may take up to 512 MiB decoded.
#[derive(Clone, Debug)]
pub struct Transform {
    image_size: u32,
    resize_short: u32,
    tables: Vec<Table>,
}

impl Transform {
    /// A transform with these settings.
    ///
    /// # Errors
    ///
    /// When a setting does not fit the others.
    pub fn new(config: &TransformConfig) -> Result<Self> {
        let (image_size, resize_short) = checked_sizes(config)?;
        Ok(Self { image_size, resize_short, tables: config.normalise.tables(3)? })
    }

    /// Writes one image as the view asks: `bytes` is a whole JPEG or PNG file, `image` is `[3, size, size]`, `index`
    /// and the view key the random draws.
    ///
    /// # Errors
    ///
    /// [`ImageFault`] when the bytes are no usable image.
    pub fn write(
        &self,
        bytes: &[u8],
        view: View,
        index: usize,
        image: &mut [f32],
    ) -> std::result::Result<(), ImageFault> {
        let decoded = decode::decode(bytes).map_err(ImageFault)?;
        let (width, height) = decoded.dimensions();
        match view {
            View::Train { seed, epoch } => {
                let mut rng = sample_rng(seed, epoch, index);
                let crop = geometry::random_crop(&mut rng, width, height);
                let flip = rng.coin();
                let resized = decode::crop_and_resize(&decoded, crop, self.image_size).map_err(ImageFault)?;
                decode::write_window(&resized, (0, 0), flip, &self.tables, image);
            }
            View::Eval => {
                let (width, height) = geometry::resize_short(width, height, self.resize_short);
                let resized = decode::resize(&decoded, width, height).map_err(ImageFault)?;
                let corner =
                    (geometry::centre(width, self.image_size), geometry::centre(height, self.image_size));
                decode::write_window(&resized, corner, false, &self.tables, image);
            }
        }
        Ok(())
    }
}

/// Checks that the central window fits into the resized image.
fn checked_sizes(config: &TransformConfig) -> Result<(u32, u32)> {
    const LIMIT: usize = 1 << 13;
    let TransformConfig { size: image_size, resize_short, .. } = *config;
    if (1..=LIMIT).contains(&image_size) && (image_size..=LIMIT).contains(&resize_short) {
        return Ok((image_size as u32, resize_short as u32));
    }
    let reason = format!(
        "{resize_short} with `data.image_size` {image_size} cannot be used; choose 1 <= image_size <= resize_short <= {LIMIT}"
    );
    Err(Error::Setting { setting: "data.resize_short", reason })
}
