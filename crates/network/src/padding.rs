//! Lines of zeros around an image.

/// How zeros are laid around an image before a window goes over it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Padding {
    /// Half of the window on every side (PyTorch and Paddle with padding `k / 2`).
    #[default]
    Symmetric,
    /// As many lines as the last window needs, shared out evenly and the odd one after the image: with stride 2 a window of
    /// 3 has none before an even side (TensorFlow, padding "SAME").
    Same,
    /// So many lines: top, left, bottom, right.
    Lines([usize; 4]),
}

impl Padding {
    /// None at all.
    pub const NONE: Self = Self::Lines([0; 4]);

    /// Lines before and after an image of `size` pixels along an axis (0 = height), for windows that span `span` pixels.
    #[inline(always)]
    pub fn lines(self, axis: usize, size: usize, span: usize, stride: usize) -> [usize; 2] {
        match self {
            Self::Symmetric => [span / 2; 2],
            Self::Same => {
                let stride = stride.max(1);
                let covered =
                    (size.div_ceil(stride).saturating_sub(1)).saturating_mul(stride).saturating_add(span);
                let lines = covered.saturating_sub(size);
                [lines / 2, lines - lines / 2]
            }
            Self::Lines(lines) => [lines[axis], lines[axis + 2]],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_puts_the_odd_line_behind_and_symmetric_half_a_window_on_both_sides() {
        for (size, stride, expected) in [(4, 1, [1, 1]), (4, 2, [0, 1]), (5, 2, [1, 1]), (1, 2, [1, 1])] {
            assert_eq!(Padding::Same.lines(0, size, 3, stride), expected, "{size} {stride}");
            assert_eq!(Padding::Symmetric.lines(0, size, 3, stride), [1, 1]);
        }
        assert_eq!(Padding::Symmetric.lines(1, 224, 7, 2), [3, 3]);
        assert_eq!(Padding::Symmetric.lines(1, 224, 1, 2), [0, 0]);
        assert_eq!(Padding::Lines([1, 2, 3, 4]).lines(1, 9, 3, 1), [2, 4]);
    }
}
