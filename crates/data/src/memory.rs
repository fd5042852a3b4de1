//! Images kept in memory as bytes: the store behind MNIST and CIFAR.

use crate::crop_flip::{CropFlip, Placement};
use crate::dataset::{Dataset, View, check_request};
use crate::fingerprint::{Fingerprint, Sum};
use crate::jitter::{Change, Jitter};
use crate::lines::Lines;
use crate::normalise::{Normalise, Table};
use crate::turn::turned;
use crate::{Error, Result, SampleRng, sample_rng};

/// A data set held in memory, one byte per pixel and channel, normalised by table when read.
#[derive(Clone, Debug)]
pub struct InMemory {
    pixels: Vec<u8>,
    labels: Vec<u32>,
    shape: [usize; 3],
    classes: usize,
    tables: Vec<Table>,
    augment: Option<CropFlip>,
    jitter: Option<Jitter>,
}

impl InMemory {
    /// Takes `pixels: [N, C, H, W]`, `labels: [N]`, the image shape `[C, H, W]` and the number of classes.
    ///
    /// Images are not augmented; see [`InMemory::with_augment`].
    ///
    /// # Errors
    ///
    /// When there are no images, the number of pixels does not fit the labels and the shape, a label is out
    /// of range, or the normalisation has another number of channels.
    pub fn new(
        pixels: Vec<u8>,
        labels: Vec<u32>,
        shape: [usize; 3],
        classes: usize,
        normalise: &Normalise,
    ) -> Result<Self> {
        if pixels.is_empty() || labels.is_empty() {
            return Err(Error::empty("the data set"));
        }
        let expected =
            [labels.len(), shape[0], shape[1], shape[2]].into_iter().try_fold(1usize, usize::checked_mul);
        if expected != Some(pixels.len()) {
            let reason = format!("{} bytes are not {} images of shape {shape:?}", pixels.len(), labels.len());
            return Err(Error::Setting { setting: "pixels", reason });
        }
        if let Some(position) = labels.iter().position(|&label| label as usize >= classes) {
            let (place, label) = (format!("image {position}"), u64::from(labels[position]));
            return Err(Error::Label { place, label, classes });
        }
        let tables = normalise.tables(shape[0])?;
        Ok(Self { pixels, labels, shape, classes, tables, augment: None, jitter: None })
    }

    /// Augments images that are read with [`View::Train`].
    pub fn with_augment(self, augment: CropFlip) -> Self {
        Self { augment: Some(augment), ..self }
    }

    /// Changes the colours of images that are read with [`View::Train`], and turns them.
    ///
    /// # Errors
    ///
    /// When a strength is out of its range, or the images are not red, green and blue.
    pub fn with_jitter(self, jitter: Jitter) -> Result<Self> {
        jitter.check()?;
        if self.shape[0] != 3 {
            let reason = format!("images of {} channels have no contrast of colours", self.shape[0]);
            return Err(Error::Setting { setting: "data.contrast", reason });
        }
        Ok(Self { jitter: Some(jitter), ..self })
    }

    /// All labels, in the order of the images.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Where the image lies, and what else is done to it.
    fn draw(&self, index: usize, view: View) -> (Placement, Option<Change>) {
        let View::Train { seed, epoch } = view else { return Default::default() };
        let mut rng: SampleRng = sample_rng(seed, epoch, index);
        let placement = self.augment.map(|augment| augment.draw(&mut rng));
        (placement.unwrap_or_default(), self.jitter.map(|jitter| jitter.draw(&mut rng)))
    }

    /// Writes an image with other colours, turned: `source` and `image` are `[3, H, W]`.
    fn write_changed(&self, source: &[u8], (placement, change): (Placement, Change), image: &mut [f32]) {
        let [_, height, width] = self.shape;
        let mut rgb = Lines::default();
        rgb.reshape(3, height, width);
        let stride = rgb.stride();
        let channels = rgb.data_mut().chunks_exact_mut(height * stride);
        for (channel, source) in channels.zip(source.chunks_exact(height * width)) {
            let rows = channel.chunks_exact_mut(stride).map(|row| &mut row[..width]);
            placement.copy_plane(source, |byte| byte, rows);
        }
        change.colour(&mut rgb);
        for (number, (target, table)) in image.chunks_exact_mut(height * width).zip(&self.tables).enumerate()
        {
            let channel = rgb.channel(number);
            for (value, from) in target.iter_mut().zip(turned(change.degrees, width, height)) {
                let byte = from.map_or(0, |(x, y)| channel[y * stride + x]);
                *value = table[usize::from(byte)];
            }
        }
    }
}

impl Dataset for InMemory {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn classes(&self) -> usize {
        self.classes
    }

    fn image_shape(&self) -> [usize; 3] {
        self.shape
    }

    fn read(&self, index: usize, view: View, image: &mut [f32]) -> Result<u32> {
        check_request(self, index, image)?;
        let [_, height, width] = self.shape;
        let source = &self.pixels[index * image.len()..][..image.len()];
        let planes = source.chunks_exact(height * width).zip(image.chunks_exact_mut(height * width));
        match self.draw(index, view) {
            (placement, Some(change)) => self.write_changed(source, (placement, change), image),
            (placement, None) => {
                for ((source, target), table) in planes.zip(&self.tables) {
                    let change = |byte: u8| table[usize::from(byte)];
                    placement.copy_plane(source, change, target.chunks_exact_mut(width));
                }
            }
        }
        Ok(self.labels[index])
    }

    fn fingerprint(&self) -> Fingerprint {
        let (mut names, mut contents) = (Sum::default(), Sum::default());
        names.labels(&self.labels);
        self.shape.iter().for_each(|&side| contents.number(side as u64));
        contents.bytes(&self.pixels);
        Fingerprint { images: self.labels.len(), names: names.value(), contents: contents.value() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_images() -> InMemory {
        let normalise = Normalise::new(vec![0.0, 0.5], vec![1.0, 0.5]).unwrap();
        InMemory::new((0..16).map(|byte| byte * 17).collect(), vec![1, 0], [2, 2, 2], 2, &normalise).unwrap()
    }

    #[test]
    fn channels_have_their_own_table() {
        let mut image = [0.0; 8];
        assert_eq!(two_images().read(1, View::Eval, &mut image).unwrap(), 0);
        for (position, value) in image.into_iter().enumerate() {
            let byte = ((8 + position) * 17) as f32;
            let expected = if position < 4 { byte / 255.0 } else { (byte - 127.5) / 127.5 };
            assert!((value - expected).abs() < 1e-6, "{position}: {value} {expected}");
        }
    }

    #[test]
    fn augmentation_is_for_training_and_repeats() {
        let plain = two_images();
        let augmented = two_images().with_augment(CropFlip { padding: 1, flip: true });
        let read = |data: &InMemory, view| {
            let mut image = [0.0; 8];
            data.read(0, view, &mut image).unwrap();
            image
        };
        let view = |epoch| View::Train { seed: 9, epoch };
        assert_eq!(read(&augmented, View::Eval), read(&plain, View::Eval));
        assert_eq!(read(&plain, view(0)), read(&plain, View::Eval));
        assert_eq!(read(&augmented, view(3)), read(&augmented, view(3)));
        assert!((0..20).any(|epoch| read(&augmented, view(epoch)) != read(&plain, View::Eval)));
    }

    /// Checksums of what Pillow 13 makes of an image of a formula, in the order of the demo: crop, contrast, brightness,
    /// mirrored, turned. Being mirrored first changes neither colours nor their mean.
    #[test]
    fn colours_and_turns_are_pillows() {
        let pixel = |c: usize, y: usize, x: usize| ((7 * x + 13 * y + 50 * c + (x * y) % 31) % 256) as u8;
        let pixels = (0..3 * 32 * 32).map(|at| pixel(at / 1024, at / 32 % 32, at % 32)).collect::<Vec<u8>>();
        let white = Normalise::new(vec![0.0], vec![1.0]).unwrap();
        let data = InMemory::new(pixels, vec![0], [3, 32, 32], 1, &white).unwrap();
        for ((down, right, flip), [contrast, brightness, degrees], expected) in [
            ((0, 0, false), [1.0, 1.0, 0.0], 0x6bd9_1905),
            ((2, -3, true), [0.93, 1.07, -7.25], 0x08cd_dd4b),
            ((-4, 4, false), [1.1, 0.9, 15.0], 0x7113_3a08),
            ((1, 0, true), [1.02, 1.09, -14.875], 0xc70a_d459),
            ((0, 1, false), [0.9, 0.95, 3.5], 0x6ac7_e5e7),
        ] {
            let change = Change { contrast: contrast as f32, brightness: brightness as f32, degrees };
            let mut image = vec![-1.0; 3 * 32 * 32];
            data.write_changed(&data.pixels, (Placement { down, right, flip }, change), &mut image);
            let bytes: Vec<u8> = image.iter().map(|value| (value * 255.0).round() as u8).collect();
            let mut sum = Sum::default();
            sum.bytes(&bytes);
            assert_eq!(sum.value(), expected, "{down} {right} {flip} {contrast} {brightness} {degrees}");
        }
    }

    #[test]
    fn colours_need_three_channels_and_are_left_alone_in_tests() {
        assert!(two_images().with_jitter(Jitter::CIFAR100).is_err());
        let plain = InMemory::new((0..48).collect(), vec![0], [3, 4, 4], 1, &Normalise::default()).unwrap();
        let data = plain.clone().with_jitter(Jitter::CIFAR100).unwrap();
        let read = |data: &InMemory, view| {
            let mut image = vec![0.0; 48];
            data.read(0, view, &mut image).unwrap();
            image
        };
        let view = |epoch| View::Train { seed: 9, epoch };
        assert_eq!(read(&data, View::Eval), read(&plain, View::Eval));
        assert_eq!(read(&data, view(3)), read(&data, view(3)));
        assert_ne!(read(&data, view(3)), read(&data, view(4)));
        let still = plain.clone().with_jitter(Jitter::default()).unwrap();
        assert_eq!(read(&still, view(3)), read(&plain, View::Eval));
        // Jitter is drawn after the crop, whose places stay what they were.
        let crop = CropFlip { padding: 1, flip: true };
        let (cropped, both) = (plain.with_augment(crop), still.with_augment(crop));
        assert!((0..20).all(|epoch| read(&cropped, view(epoch)) == read(&both, view(epoch))));
    }

    #[test]
    fn wrong_sizes_and_labels_are_refused() {
        let make =
            |pixels, labels| InMemory::new(vec![0; pixels], labels, [1, 2, 2], 2, &Normalise::default());
        assert!(matches!(make(0, vec![]), Err(Error::Empty { .. })));
        assert!(matches!(make(7, vec![0, 1]), Err(Error::Setting { setting: "pixels", .. })));
        assert!(matches!(make(8, vec![0, 2]), Err(Error::Label { label: 2, classes: 2, .. })));
        let data = make(8, vec![0, 1]).unwrap();
        assert!(matches!(
            data.read(2, View::Eval, &mut [0.0; 4]),
            Err(Error::Request { index: 2, len: 2, .. })
        ));
        assert!(matches!(data.read(0, View::Eval, &mut [0.0; 5]), Err(Error::Request { got: 5, .. })));
    }
}
