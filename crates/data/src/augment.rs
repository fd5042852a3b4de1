//! Random changes of colours, each as Pillow's `ImageEnhance` and `ImageOps` compute it.

use crate::geometry::Draws;
use crate::lines::Lines;

/// One change of the colours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Augment {
    /// Blends with black (0), the image itself being 1.
    Brightness(f32),
    /// Blends with the mean grey.
    Contrast(f32),
    /// Blends with the grey image.
    Colour(f32),
    /// Keeps so many upper bits.
    Posterise(u32),
    /// Inverts what is at least so bright.
    Solarise(u32),
    /// Stretches each channel to the full range.
    AutoContrast,
    /// Leaves the image as it is.
    Identity,
}

/// Brightness, contrast and saturation by 0.5 to 1.5, in random order (PaddleSlim's `distort_color`).
pub(crate) fn jitter(draws: &mut dyn Draws, rgb: &mut Lines) {
    let mut changes: [fn(f32) -> Augment; 3] = [Augment::Brightness, Augment::Contrast, Augment::Colour];
    for last in (1..changes.len()).rev() {
        changes.swap(last, draws.below(last as u64 + 1) as usize);
    }
    for change in changes {
        change(draws.uniform(0.5, 1.5) as f32).apply(rgb);
    }
}

impl Augment {
    /// Draws one of all, each equally likely, of a strength from 1 to 10.
    pub(crate) fn draw(draws: &mut dyn Draws, strength: u32) -> Self {
        let share = f64::from(strength) / 10.0;
        let kind = draws.below(7);
        let sign = if draws.below(2) == 1 { 1.0 } else { -1.0 };
        let factor = (1.0 + sign * 0.9 * share) as f32;
        match kind {
            0 => Self::Brightness(factor),
            1 => Self::Contrast(factor),
            2 => Self::Colour(factor),
            3 => Self::Posterise(8 - (4.0 * share).round() as u32),
            4 => Self::Solarise(256 - (256.0 * share) as u32),
            5 => Self::AutoContrast,
            _ => Self::Identity,
        }
    }

    /// Changes red, green and blue lines.
    pub(crate) fn apply(self, rgb: &mut Lines) {
        match self {
            Self::Brightness(factor) => each(rgb, |value| blend(0, value, factor)),
            Self::Contrast(factor) => {
                let mean = mean_grey(rgb);
                each(rgb, |value| blend(mean, value, factor));
            }
            Self::Colour(factor) => {
                let size = rgb.data().len() / 3;
                let (red, rest) = rgb.data_mut().split_at_mut(size);
                let (green, blue) = rest.split_at_mut(size);
                for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
                    let grey = luma(*red, *green, *blue);
                    for value in [red, green, blue] {
                        *value = blend(grey, *value, factor);
                    }
                }
            }
            Self::Posterise(bits) => each(rgb, |value| value & !(0xff_u8.checked_shr(bits).unwrap_or(0))),
            Self::Solarise(threshold) => {
                each(rgb, |value| if u32::from(value) < threshold { value } else { 255 - value });
            }
            Self::AutoContrast => stretch(rgb),
            Self::Identity => {}
        }
    }
}

fn each(rgb: &mut Lines, change: impl Fn(u8) -> u8) {
    rgb.data_mut().iter_mut().for_each(|value| *value = change(*value));
}

/// Between two values, or beyond (`Blend.c`).
fn blend(from: u8, to: u8, factor: f32) -> u8 {
    // The conversion cuts off the fraction and keeps to 0..255.
    (f32::from(from) + factor * (f32::from(to) - f32::from(from))) as u8
}

/// The brightness of a colour (ITU-R 601-2, as Pillow rounds it).
fn luma(red: u8, green: u8, blue: u8) -> u8 {
    ((u32::from(red) * 19595 + u32::from(green) * 38470 + u32::from(blue) * 7471 + 0x8000) >> 16) as u8
}

/// The first `length` pixels of a line of red, green and blue as grey.
pub(crate) fn grey_line(rgb: &Lines, line: usize, length: usize) -> impl Iterator<Item = u8> {
    let [red, green, blue] = [0, 1, 2].map(|channel| &rgb.channel(channel)[line * rgb.stride()..][..length]);
    red.iter().zip(green).zip(blue).map(|((&red, &green), &blue)| luma(red, green, blue))
}

fn mean_grey(rgb: &Lines) -> u8 {
    let (stride, length) = (rgb.stride(), rgb.length());
    let line = |channel: usize, line: usize| &rgb.channel(channel)[line * stride..][..length];
    let mut sum = 0u64;
    for at in 0..rgb.count() {
        let colours = line(0, at).iter().zip(line(1, at)).zip(line(2, at));
        sum += colours.map(|((&red, &green), &blue)| u64::from(luma(red, green, blue))).sum::<u64>();
    }
    (sum as f64 / (rgb.count() * length) as f64 + 0.5) as u8
}

/// `ImageOps.autocontrast`.
fn stretch(rgb: &mut Lines) {
    let (stride, length) = (rgb.stride(), rgb.length());
    let size = rgb.count() * stride;
    for channel in rgb.data_mut().chunks_exact_mut(size) {
        let pixels = || channel.chunks_exact(stride).flat_map(|line| &line[..length]).copied();
        let (low, high) = (pixels().min().unwrap_or(0), pixels().max().unwrap_or(0));
        if high > low {
            let scale = 255.0 / f64::from(high - low);
            let offset = -f64::from(low) * scale;
            channel.iter_mut().for_each(|value| *value = (f64::from(*value) * scale + offset) as u8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Rectangle;
    use crate::sample_rng;

    /// Pillow 13 on three pixels.
    #[test]
    fn changes_are_pillows() {
        const PIXELS: [u8; 9] = [10, 200, 30, 255, 0, 128, 90, 91, 92];
        let changed = |change: Augment| {
            let mut lines = Lines::default();
            let area = Rectangle { left: 0, top: 0, width: 3, height: 1 };
            lines.fill_columns(&PIXELS, 3, 3, area);
            change.apply(&mut lines);
            let at = |x: usize, channel: usize| lines.channel(channel)[x * lines.stride()];
            [at(0, 0), at(0, 1), at(0, 2), at(1, 0), at(1, 1), at(1, 2), at(2, 0), at(2, 1), at(2, 2)]
        };
        assert_eq!(changed(Augment::Brightness(0.7)), [7, 140, 21, 178, 0, 89, 63, 63, 64]);
        assert_eq!(changed(Augment::Brightness(1.4)), [14, 255, 42, 255, 0, 179, 126, 127, 128]);
        assert_eq!(changed(Augment::Contrast(0.55)), [51, 155, 62, 186, 45, 116, 95, 95, 96]);
        assert_eq!(changed(Augment::Contrast(1.45)), [0, 244, 0, 255, 0, 139, 84, 86, 87]);
        assert_eq!(changed(Augment::Colour(0.6)), [55, 169, 67, 189, 36, 113, 90, 91, 91]);
        assert_eq!(changed(Augment::Colour(1.3)), [0, 222, 1, 255, 0, 139, 89, 91, 92]);
        assert_eq!(changed(Augment::Posterise(3)), [0, 192, 0, 224, 0, 128, 64, 64, 64]);
        assert_eq!(changed(Augment::Solarise(100)), [10, 55, 30, 0, 0, 127, 90, 91, 92]);
        assert_eq!(changed(Augment::AutoContrast), [0, 254, 0, 255, 0, 255, 83, 116, 161]);
        assert_eq!(changed(Augment::Identity), PIXELS);
    }

    #[test]
    fn every_kind_is_drawn_and_grows_with_the_strength() {
        let drawn = |strength| -> Vec<Augment> {
            (0..300).map(|index| Augment::draw(&mut sample_rng(0, 0, index), strength)).collect()
        };
        for kind in [Augment::Brightness(1.9), Augment::Contrast((1.0f64 - 0.9) as f32), Augment::Colour(1.9)]
        {
            assert!(drawn(10).contains(&kind), "{kind:?}");
        }
        for kind in [Augment::Posterise(4), Augment::Solarise(0), Augment::AutoContrast, Augment::Identity] {
            assert!(drawn(10).contains(&kind), "{kind:?}");
        }
        assert!(drawn(5).contains(&Augment::Posterise(6)) && drawn(5).contains(&Augment::Solarise(128)));
    }
}
