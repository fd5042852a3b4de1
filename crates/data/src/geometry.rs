//! Where crops lie and how large images become: whole numbers only, no pixels.

use crate::SampleRng;

/// Width over height of a training crop.
const ASPECT: (f64, f64) = (3.0 / 4.0, 4.0 / 3.0);

/// Where the random numbers of an augmentation come from; a [`SampleRng`], or a list of a test.
pub trait Draws {
    /// A number from `low` up to `high`.
    fn uniform(&mut self, low: f64, high: f64) -> f64;
    /// A whole number from 0 to `bound - 1`.
    fn below(&mut self, bound: u64) -> u64;
}

impl Draws for SampleRng {
    fn uniform(&mut self, low: f64, high: f64) -> f64 {
        Self::uniform(self, low, high)
    }

    fn below(&mut self, bound: u64) -> u64 {
        Self::below(self, bound)
    }
}

/// A rectangle of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rectangle {
    pub(crate) left: u32,
    pub(crate) top: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// The crop of PaddleSlim's reader (`random_crop` of its ImageNet reader), draw for draw: the aspect ratio uniform
/// (not its logarithm, as in torchvision), the area uniform between `least` and all of the image's, as far as they fit
/// into it, sides cut to whole numbers, then left and top. The only departure: a side is at least one pixel.
pub(crate) fn random_crop(draws: &mut dyn Draws, least: f64, width: u32, height: u32) -> Rectangle {
    let (image_width, image_height) = (f64::from(width), f64::from(height));
    let across = draws.uniform(ASPECT.0, ASPECT.1).sqrt();
    let down = 1.0 / across;
    let bound =
        (image_width / image_height / (across * across)).min(image_height / image_width / (down * down));
    let share = draws.uniform(least.min(bound), bound.min(1.0));
    let size = (image_width * image_height * share).sqrt();
    let side = |factor: f64, limit: u32| ((size * factor) as u32).clamp(1, limit);
    let (crop_width, crop_height) = (side(across, width), side(down, height));
    let left = draws.below(u64::from(width - crop_width) + 1) as u32;
    let top = draws.below(u64::from(height - crop_height) + 1) as u32;
    Rectangle { left, top, width: crop_width, height: crop_height }
}

/// The size `(width, height)` of an image whose short side becomes `short`; the long side is rounded to the
/// nearest whole number, halves to even, as PaddleSlim's reader does.
pub(crate) fn resize_short(width: u32, height: u32, short: u32) -> (u32, u32) {
    let factor = f64::from(short) / f64::from(width.min(height));
    let scaled = |side: u32| ((f64::from(side) * factor).round_ties_even() as u32).max(short);
    (scaled(width), scaled(height))
}

/// Where a central window of `window` pixels starts in `side` pixels; halves are cut off, as in PaddleSlim's reader.
pub(crate) fn centre(side: u32, window: u32) -> u32 {
    side.saturating_sub(window) / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample_rng;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn crops_lie_inside(seed: u64, width in 1u32..3000, height in 1u32..3000) {
            let crop = random_crop(&mut sample_rng(seed, 0, 0), 0.08, width, height);
            prop_assert!(crop.width >= 1 && crop.height >= 1);
            prop_assert!(crop.left + crop.width <= width && crop.top + crop.height <= height);
        }

        #[test]
        fn short_side_is_exact(width in 1u32..5000, height in 1u32..5000, short in 16u32..600) {
            let (w, h) = resize_short(width, height, short);
            prop_assert_eq!(w.min(h), short);
            prop_assert_eq!(w >= h, width >= height || w == h);
        }
    }

    #[test]
    fn crops_keep_to_area_and_aspect() {
        let (mut smallest, mut largest) = (1.0f64, 0.0f64);
        let mut aspects = 0.0;
        for index in 0..5000 {
            let crop = random_crop(&mut sample_rng(0, 0, index), 0.08, 1000, 1000);
            let (width, height) = (f64::from(crop.width), f64::from(crop.height));
            assert!((0.745..1.34).contains(&(width / height)), "{crop:?}");
            smallest = smallest.min(width * height / 1e6);
            largest = largest.max(width * height / 1e6);
            aspects += width / height / 5000.0;
        }
        assert!((0.079..0.09).contains(&smallest) && largest > 0.95, "{smallest} {largest}");
        // Uniform has its mean at 1.0417; uniform in the logarithm it would be 1.0139.
        assert!((aspects - 1.0417).abs() < 0.008, "{aspects}");
    }

    #[test]
    fn sizes_round_halves_to_even_and_corners_down() {
        assert_eq!(resize_short(500, 375, 256), (341, 256));
        assert_eq!(resize_short(512, 1285, 256), (256, 642));
        assert_eq!(resize_short(512, 1287, 256), (256, 644));
        assert_eq!(centre(341, 224), 58);
        assert_eq!(centre(343, 224), 59);
    }
}
