//! The augmentation of small images: shift by a padded random crop, and mirror.

use crate::SampleRng;

/// Random crop out of the image padded with black, then a horizontal flip half of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CropFlip {
    /// Pixels of padding on each side: the image moves by up to this many in both directions.
    pub padding: usize,
    /// Whether images are mirrored left to right, half of them.
    pub flip: bool,
}

impl CropFlip {
    /// The usual augmentation of CIFAR: padding 4 and flips.
    pub const CIFAR: Self = Self { padding: 4, flip: true };

    /// Draws where the crop lies and whether it is mirrored.
    pub(crate) fn draw(self, rng: &mut SampleRng) -> Placement {
        let places = 2 * self.padding as u64 + 1;
        let mut offset = || rng.below(places) as isize - self.padding as isize;
        let (down, right) = (offset(), offset());
        Placement { down, right, flip: self.flip && rng.coin() }
    }
}

/// Where the output window lies in the source image (negative: into the padding above or left).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Placement {
    pub(crate) down: isize,
    pub(crate) right: isize,
    pub(crate) flip: bool,
}

impl Placement {
    /// Copies one channel `source: [H, W]`, changed byte by byte, into its rows, W values each.
    pub(crate) fn copy_plane<'a, T: Copy + 'a>(
        self,
        source: &[u8],
        change: impl Fn(u8) -> T,
        rows: impl Iterator<Item = &'a mut [T]>,
    ) {
        for (y, row) in rows.enumerate() {
            row.fill(change(0));
            let Some(top) = y.checked_add_signed(self.down) else { continue };
            if let Some(line) = source.chunks_exact(row.len()).nth(top) {
                self.copy_row(line, &change, row);
            }
            if self.flip {
                row.reverse();
            }
        }
    }

    fn copy_row<T>(self, line: &[u8], change: impl Fn(u8) -> T, row: &mut [T]) {
        let skip = self.right.unsigned_abs().min(line.len());
        let (from, to) = if self.right >= 0 { (skip, 0) } else { (0, skip) };
        for (value, &byte) in row[to..].iter_mut().zip(&line[from..]) {
            *value = change(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample_rng;

    const IMAGE: [u8; 6] = [1, 2, 3, 4, 5, 6];

    fn placed(down: isize, right: isize, flip: bool) -> Vec<f32> {
        let mut target = vec![-1.0; 6];
        Placement { down, right, flip }.copy_plane(&IMAGE, f32::from, target.chunks_exact_mut(3));
        target
    }

    #[test]
    fn shifts_pad_with_black_and_flips_mirror() {
        assert_eq!(placed(0, 0, false), [1., 2., 3., 4., 5., 6.]);
        assert_eq!(placed(0, 0, true), [3., 2., 1., 6., 5., 4.]);
        assert_eq!(placed(1, 0, false), [4., 5., 6., 0., 0., 0.]);
        assert_eq!(placed(-1, 0, false), [0., 0., 0., 1., 2., 3.]);
        assert_eq!(placed(0, 1, false), [2., 3., 0., 5., 6., 0.]);
        assert_eq!(placed(0, -2, true), [1., 0., 0., 4., 0., 0.]);
        assert_eq!(placed(0, 5, false), [0.; 6]);
        assert_eq!(placed(-7, -7, true), [0.; 6]);
    }

    #[test]
    fn draws_cover_every_offset_and_both_sides() {
        let draws: Vec<_> =
            (0..2000).map(|index| CropFlip::CIFAR.draw(&mut sample_rng(1, 0, index))).collect();
        for offset in -4..=4 {
            assert!(draws.iter().any(|draw| draw.down == offset));
            assert!(draws.iter().any(|draw| draw.right == offset));
        }
        assert!(draws.iter().all(|draw| draw.down.abs() <= 4 && draw.right.abs() <= 4));
        let flipped = draws.iter().filter(|draw| draw.flip).count();
        assert!((900..1100).contains(&flipped), "{flipped}");
        let still = CropFlip { padding: 0, flip: false }.draw(&mut sample_rng(1, 0, 0));
        assert_eq!(still, Placement::default());
    }
}
