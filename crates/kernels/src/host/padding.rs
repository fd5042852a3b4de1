//! Where a 3×3 convolution has its border of zeros.

/// How zeros are laid around an image before a 3×3 convolution. Outputs are `ceil(side / stride)` either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Padding {
    /// One line on every side (PyTorch and Paddle with padding 1).
    #[default]
    Symmetric,
    /// As many lines as the last window needs, shared out evenly and the odd one after the image: with stride 2 an even
    /// side has none before it (TensorFlow, padding "SAME").
    Same,
}

impl Padding {
    /// Zeros before the first pixel of a side of `side` pixels: 1, or 0 where `Same` puts the only line behind.
    #[inline(always)]
    pub fn before(self, side: usize, stride: usize) -> usize {
        let behind = self == Self::Same && stride == 2 && side.is_multiple_of(2);
        usize::from(!behind)
    }
}
