//! Random contrast, brightness and rotation of small images, as PaddleSlim's CIFAR-100 demo changes them.

use crate::augment::Augment;
use crate::lines::Lines;
use crate::{Error, Result, SampleRng};

/// By how much an image that is trained on may be changed, after its crop.
///
/// Each change is drawn anew for each image: contrast, then brightness, each as Pillow's `ImageEnhance` computes it, then
/// a turn around the centre to the nearest pixel, as Pillow's `rotate`, the corners black.
///
/// Source: `ContrastTransform`, `BrightnessTransform` and `RandomRotation` of `paddle.vision.transforms`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Jitter {
    /// Contrast is multiplied by a factor from `1 - contrast` to `1 + contrast`, each equally likely; 0: unchanged.
    pub contrast: f64,
    /// Brightness likewise.
    pub brightness: f64,
    /// Degrees by which an image is turned at most, to either side; 0: not turned.
    pub rotation: f64,
}

impl Jitter {
    /// What PaddleSlim's CIFAR-100 demo does: a tenth, a tenth, 15 degrees.
    pub const CIFAR100: Self = Self { contrast: 0.1, brightness: 0.1, rotation: 15.0 };

    /// Refuses what cannot be drawn from.
    pub(crate) fn check(self) -> Result<()> {
        let limits = [
            ("data.contrast", self.contrast, 1.0),
            ("data.brightness", self.brightness, 1.0),
            ("data.rotation", self.rotation, 180.0),
        ];
        match limits.into_iter().find(|(_, value, most)| !(0.0..=*most).contains(value)) {
            None => Ok(()),
            Some((setting, value, most)) => {
                let reason = format!("{value} cannot be used: give a number from 0 (none) to {most}");
                Err(Error::Setting { setting, reason })
            }
        }
    }

    /// Draws the changes of one image; what is 0 draws nothing.
    pub(crate) fn draw(self, rng: &mut SampleRng) -> Change {
        let mut around = |middle: f64, most: f64| match most > 0.0 {
            true => rng.uniform(middle - most, middle + most),
            false => middle,
        };
        Change {
            contrast: around(1.0, self.contrast) as f32,
            brightness: around(1.0, self.brightness) as f32,
            degrees: around(0.0, self.rotation),
        }
    }
}

/// What is done to one image: factors of contrast and brightness, 1 for none, and a turn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) contrast: f32,
    pub(crate) brightness: f32,
    /// Against the clock.
    pub(crate) degrees: f64,
}

impl Change {
    /// Changes the colours of red, green and blue lines.
    pub(crate) fn colour(self, rgb: &mut Lines) {
        Augment::Contrast(self.contrast).apply(rgb);
        Augment::Brightness(self.brightness).apply(rgb);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample_rng;

    #[test]
    fn draws_fill_their_ranges_and_what_is_0_draws_nothing() {
        let draws: Vec<Change> =
            (0..2000).map(|index| Jitter::CIFAR100.draw(&mut sample_rng(3, 1, index))).collect();
        let range = |of: &dyn Fn(&Change) -> f64| {
            let values = || draws.iter().map(of);
            (values().fold(f64::MAX, f64::min), values().fold(f64::MIN, f64::max))
        };
        for (low, high) in
            [range(&|change| f64::from(change.contrast)), range(&|change| f64::from(change.brightness))]
        {
            assert!((0.9..0.901).contains(&low) && (1.099..1.1001).contains(&high), "{low} {high}");
        }
        let (low, high) = range(&|change| change.degrees);
        assert!((-15.0..-14.9).contains(&low) && (14.9..15.0).contains(&high), "{low} {high}");
        let (mut rng, mut untouched) = (sample_rng(0, 0, 0), sample_rng(0, 0, 0));
        let still = Jitter::default().draw(&mut rng);
        assert_eq!(still, Change { contrast: 1.0, brightness: 1.0, degrees: 0.0 });
        assert_eq!(rng.next_u64(), untouched.next_u64());
    }

    #[test]
    fn strengths_out_of_range_are_named() {
        for (jitter, setting) in [
            (Jitter { contrast: 1.1, ..Jitter::default() }, "data.contrast"),
            (Jitter { brightness: -0.1, ..Jitter::default() }, "data.brightness"),
            (Jitter { rotation: f64::NAN, ..Jitter::default() }, "data.rotation"),
        ] {
            let error = jitter.check().unwrap_err().to_string();
            assert!(error.starts_with(setting), "{error}");
        }
        assert!(Jitter::CIFAR100.check().is_ok());
    }
}
