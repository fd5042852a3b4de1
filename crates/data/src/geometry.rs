//! Where crops lie and how large images become: whole numbers only, no pixels.

use crate::SampleRng;

/// Share of the image's area that a training crop covers.
const AREA: (f64, f64) = (0.08, 1.0);
/// Width over height of a training crop.
const ASPECT: (f64, f64) = (3.0 / 4.0, 4.0 / 3.0);
const TRIES: usize = 10;

/// A rectangle of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rectangle {
    pub(crate) left: u32,
    pub(crate) top: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// The crop of random resized cropping (Szegedy et al. 2015, "Going deeper with convolutions", section 6): area
/// uniform, aspect ratio uniform in its logarithm, and after ten misses the largest central crop of an allowed
/// aspect.
pub(crate) fn random_crop(rng: &mut SampleRng, width: u32, height: u32) -> Rectangle {
    let area = f64::from(width) * f64::from(height);
    for _ in 0..TRIES {
        let target = area * rng.uniform(AREA.0, AREA.1);
        let aspect = rng.uniform(ASPECT.0.ln(), ASPECT.1.ln()).exp();
        let crop_width = (target * aspect).sqrt().round_ties_even() as u32;
        let crop_height = (target / aspect).sqrt().round_ties_even() as u32;
        if (1..=width).contains(&crop_width) && (1..=height).contains(&crop_height) {
            let top = rng.below(u64::from(height - crop_height) + 1) as u32;
            let left = rng.below(u64::from(width - crop_width) + 1) as u32;
            return Rectangle { left, top, width: crop_width, height: crop_height };
        }
    }
    central_crop(width, height)
}

/// The largest central crop whose aspect ratio lies within the allowed range.
fn central_crop(width: u32, height: u32) -> Rectangle {
    let scaled = |side: u32, ratio: f64| ((f64::from(side) * ratio).round_ties_even() as u32).max(1);
    let crop_width = width.min(scaled(height, ASPECT.1));
    let crop_height = height.min(scaled(width, 1.0 / ASPECT.0));
    Rectangle {
        left: (width - crop_width) / 2,
        top: (height - crop_height) / 2,
        width: crop_width,
        height: crop_height,
    }
}

/// The size `(width, height)` of an image whose short side becomes `short`; the long side is rounded to the
/// nearest whole number, halves to even, as PaddleSlim's reader does.
pub(crate) fn resize_short(width: u32, height: u32, short: u32) -> (u32, u32) {
    let factor = f64::from(short) / f64::from(width.min(height));
    let scaled = |side: u32| ((f64::from(side) * factor).round_ties_even() as u32).max(short);
    (scaled(width), scaled(height))
}

/// Where a central window of `window` pixels starts in `side` pixels; halves round to even, as in PaddleSlim's
/// reader.
pub(crate) fn centre(side: u32, window: u32) -> u32 {
    (f64::from(side.saturating_sub(window)) / 2.0).round_ties_even() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample_rng;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn crops_lie_inside(seed: u64, width in 1u32..3000, height in 1u32..3000) {
            let crop = random_crop(&mut sample_rng(seed, 0, 0), width, height);
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
        for index in 0..5000 {
            let crop = random_crop(&mut sample_rng(0, 0, index), 1000, 1000);
            let (width, height) = (f64::from(crop.width), f64::from(crop.height));
            assert!((0.745..1.34).contains(&(width / height)), "{crop:?}");
            smallest = smallest.min(width * height / 1e6);
            largest = largest.max(width * height / 1e6);
        }
        assert!((0.079..0.09).contains(&smallest) && largest > 0.95, "{smallest} {largest}");
    }

    #[test]
    fn fallback_is_central_and_within_aspect() {
        assert_eq!(central_crop(1000, 10), Rectangle { left: 493, top: 0, width: 13, height: 10 });
        assert_eq!(central_crop(9, 1000), Rectangle { left: 0, top: 494, width: 9, height: 12 });
        assert_eq!(central_crop(50, 50), Rectangle { left: 0, top: 0, width: 50, height: 50 });
    }

    #[test]
    fn halves_round_to_even() {
        assert_eq!(resize_short(500, 375, 256), (341, 256));
        assert_eq!(resize_short(512, 1285, 256), (256, 642));
        assert_eq!(resize_short(512, 1287, 256), (256, 644));
        assert_eq!(centre(341, 224), 58);
        assert_eq!(centre(343, 224), 60);
    }
}
