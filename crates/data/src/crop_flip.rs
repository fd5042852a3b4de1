//! The augmentation of small images: shift by a padded random crop, and mirror.

use crate::SampleRng;
use crate::normalise::Table;

/// Random crop out of the image padded with black, then a horizontal flip half of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CropFlip {
    /// Pixels of padding on each side: the image moves by up to this many in both directions.
    pub padding: usize,
    /// Whether images are mirrored left to right, half of them.
    pub flip: bool,
}

impl CropFlip {
    /// The usual CIFAR-10 augmentation: padding 4 and flips.
    pub const CIFAR10: Self = Self { padding: 4, flip: true };

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
    /// Copies one channel `source: [H, W]` through the table into `target: [H, W]`; rows are `width` long.
    pub(crate) fn copy_plane(self, source: &[u8], table: &Table, width: usize, target: &mut [f32]) {
        for (y, row) in target.chunks_exact_mut(width).enumerate() {
            row.fill(table[0]);
            let Some(top) = y.checked_add_signed(self.down) else { continue };
            if let Some(line) = source.chunks_exact(width).nth(top) {
                self.copy_row(line, table, row);
            }
            if self.flip {
                row.reverse();
            }
        }
    }

    fn copy_row(self, line: &[u8], table: &Table, row: &mut [f32]) {
        let skip = self.right.unsigned_abs().min(line.len());
        let (from, to) = if self.right >= 0 { (skip, 0) } else { (0, skip) };
        for (value, &byte) in row[to..].iter_mut().zip(&line[from..]) {
            *value = table[usize::from(byte)];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample_rng;

    const IMAGE: [u8; 6] = [1, 2, 3, 4, 5, 6];

    fn placed(down: isize, right: isize, flip: bool) -> Vec<f32> {
        let table = std::array::from_fn(|byte| byte as f32);
        let mut target = vec![-1.0; 6];
        Placement { down, right, flip }.copy_plane(&IMAGE, &table, 3, &mut target);
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
            (0..2000).map(|index| CropFlip::CIFAR10.draw(&mut sample_rng(1, 0, index))).collect();
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
