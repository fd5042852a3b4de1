//! How image files become the input of a network that is tested or used.

use crate::config::{DataKind, DataSection, InterpolationKind};
use crate::datasets::fractions;
use crate::error::Result;
use serde::{Deserialize, Serialize};
use sparse_data::{Interpolation, Normalise, TransformConfig};

/// The evaluation view of an image: its short side is resized, the centre cut out and normalised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageInput {
    /// Subtracted from pixels between 0 and 1; one number, or one per channel.
    pub mean: Vec<f64>,
    /// Divides what is left; one number, or one per channel.
    pub std: Vec<f64>,
    /// Height and width of the input, in pixels.
    pub size: usize,
    /// Short side, in pixels, to which an image is resized before its centre is cut out; 0: not resized.
    pub resize: usize,
    /// Filter of the resize.
    pub interpolation: InterpolationKind,
}

impl ImageInput {
    /// What a test on these data does. MNIST's and CIFAR-10's images fill the input; others are resized to it whole.
    pub fn of(data: &DataSection) -> Self {
        let size = data.side();
        let usual = if data.data == DataKind::Imagenet { usual_resize(size) } else { size };
        Self {
            mean: fractions(data.data, &data.mean),
            std: fractions(data.data, &data.std),
            size,
            resize: data.resize.unwrap_or(usual),
            interpolation: data.interpolation,
        }
    }

    /// The same for inputs of another size: the resize grows or shrinks with it, where there is one.
    pub fn resized(self, size: usize) -> Self {
        if size == self.size {
            return self;
        }
        let resize = match self.resize {
            0 => 0,
            whole if whole == self.size => size,
            _ => usual_resize(size),
        };
        Self { size, resize, ..self }
    }

    /// The transform for a network of 1 channel, which sees images in grey, or 3.
    ///
    /// # Errors
    /// If mean or deviation is out of its range.
    pub fn view(&self, channels: usize) -> Result<TransformConfig> {
        Ok(TransformConfig {
            resize_short: self.resize,
            interpolation: match self.interpolation {
                InterpolationKind::Lanczos => Interpolation::Lanczos,
                InterpolationKind::Bicubic => Interpolation::Bicubic,
                InterpolationKind::Bilinear => Interpolation::Bilinear,
            },
            normalise: Normalise::new(self.mean.clone(), self.std.clone())?,
            grey: channels == 1,
            augment: false,
            ..TransformConfig::imagenet(self.size)
        })
    }
}

/// The short side that leaves an eighth around the centre, as in PaddleSlim's recipe: 256 for 224.
fn usual_resize(size: usize) -> usize {
    TransformConfig::imagenet(size).resize_short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_data_set_is_seen_as_in_its_test() {
        let mut data = DataSection::defaults(DataKind::Imagenet);
        let imagenet = ImageInput::of(&data);
        assert_eq!((imagenet.size, imagenet.resize, imagenet.mean[0]), (224, 256, 0.485));
        assert_eq!(imagenet.clone().resized(112).resize, 128);
        (data.crop, data.resize) = (Some(160), Some(0));
        let cropped = ImageInput::of(&data);
        assert_eq!((cropped.size, cropped.resize), (160, 0));
        assert_eq!(cropped.clone().resized(160), cropped);
        assert_eq!(cropped.clone().resized(96).resize, 0);
        let mnist = ImageInput::of(&DataSection::defaults(DataKind::Mnist));
        assert_eq!((mnist.size, mnist.resize, mnist.mean.clone()), (28, 28, vec![0.5]));
        assert!(mnist.view(1).unwrap().grey);
        assert_eq!(mnist.resized(32).resize, 32);
    }
}
