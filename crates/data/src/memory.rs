//! Images kept in memory as bytes: the store behind MNIST and CIFAR-10.

use crate::crop_flip::{CropFlip, Placement};
use crate::dataset::{Dataset, View, check_request};
use crate::fingerprint::{Fingerprint, Sum};
use crate::normalise::{Normalise, Table};
use crate::{Error, Result, sample_rng};

/// A data set held in memory, one byte per pixel and channel, normalised by table when read.
#[derive(Clone, Debug)]
pub struct InMemory {
    pixels: Vec<u8>,
    labels: Vec<u32>,
    shape: [usize; 3],
    classes: usize,
    tables: Vec<Table>,
    augment: Option<CropFlip>,
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
        Ok(Self { pixels, labels, shape, classes, tables, augment: None })
    }

    /// Augments images that are read with [`View::Train`].
    pub fn with_augment(self, augment: CropFlip) -> Self {
        Self { augment: Some(augment), ..self }
    }

    /// All labels, in the order of the images.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    fn placement(&self, index: usize, view: View) -> Placement {
        match (view, self.augment) {
            (View::Train { seed, epoch }, Some(augment)) => augment.draw(&mut sample_rng(seed, epoch, index)),
            _ => Placement::default(),
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
        let placement = self.placement(index, view);
        let [_, height, width] = self.shape;
        let source = &self.pixels[index * image.len()..][..image.len()];
        let planes = source.chunks_exact(height * width).zip(image.chunks_exact_mut(height * width));
        for ((source, target), table) in planes.zip(&self.tables) {
            placement.copy_plane(source, table, width, target);
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
