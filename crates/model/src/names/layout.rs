//! Orders of axes, and numbers put into another one.

use crate::ConvKind;

/// Order of axes of the weights of convolutions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// As ours: outputs, inputs per group, height, width.
    OutInHeightWidth,
    /// TensorFlow's: height, width, inputs, outputs; of a depthwise convolution height, width, channels, 1.
    HeightWidthInOut,
}

/// Order of axes of the weight of the head; axes of length 1 before or after these two do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadLayout {
    /// As ours: features, classes.
    InOut,
    /// PyTorch's: classes, features.
    OutIn,
}

impl Layout {
    /// For each of our axes the one it is in the file.
    pub(super) fn axes(self, kind: ConvKind) -> [usize; 4] {
        match (self, kind) {
            (Self::OutInHeightWidth, _) => [0, 1, 2, 3],
            (Self::HeightWidthInOut, ConvKind::Depthwise) => [2, 3, 0, 1],
            (Self::HeightWidthInOut, _) => [3, 2, 0, 1],
        }
    }
}

impl HeadLayout {
    /// The two axes that count: features and classes of a head of this shape, and for each of our axes the one in the
    /// file, those of length 1 last.
    pub(super) fn axes(self, shape: &[usize]) -> Option<([usize; 2], Vec<usize>)> {
        let [input, output] = match (self, shape) {
            (Self::InOut, [_, _]) => [0, 1],
            (Self::InOut, [1, 1, _, _]) => [2, 3],
            (Self::OutIn, [_, _] | [_, _, 1, 1]) => [1, 0],
            _ => return None,
        };
        let rest = (0..shape.len()).filter(|axis| ![input, output].contains(axis));
        Some(([shape[input], shape[output]], [input, output].into_iter().chain(rest).collect()))
    }
}

/// The numbers of a tensor of `shape`, in C order, with its axes in the order `axes`.
///
/// Returns `values` as they are if their number does not fit the shape or `axes` is not one order of all axes.
pub fn arranged(values: Vec<f32>, shape: &[usize], axes: &[usize]) -> Vec<f32> {
    let mut sorted = axes.to_vec();
    sorted.sort_unstable();
    let fits = values.len() == shape.iter().product::<usize>() && sorted.iter().copied().eq(0..shape.len());
    if !fits || axes.is_sorted() {
        return values;
    }
    let stride = |axis: usize| shape[axis + 1..].iter().product::<usize>();
    let steps: Vec<(usize, usize)> = axes.iter().map(|&axis| (shape[axis], stride(axis))).collect();
    let start_of = |mut index: usize| {
        let mut start = 0;
        for &(length, stride) in steps.iter().rev() {
            start += index % length * stride;
            index /= length;
        }
        start
    };
    (0..values.len()).map(|index| values[start_of(index)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_change_places() {
        let values: Vec<f32> = (0..6).map(|value| value as f32).collect();
        assert_eq!(arranged(values.clone(), &[2, 3], &[1, 0]), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(arranged(values.clone(), &[1, 2, 3], &[2, 0, 1]), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(arranged(values.clone(), &[3, 2], &[0, 1]), values);
        assert_eq!(arranged(values.clone(), &[3, 3], &[1, 0]), values);
        assert_eq!(arranged(values.clone(), &[3, 2], &[1, 1]), values);
    }

    #[test]
    fn the_axes_of_a_head_are_found_with_or_without_those_of_length_one() {
        assert_eq!(HeadLayout::OutIn.axes(&[10, 64, 1, 1]), Some(([64, 10], vec![1, 0, 2, 3])));
        assert_eq!(HeadLayout::OutIn.axes(&[10, 64]), Some(([64, 10], vec![1, 0])));
        assert_eq!(HeadLayout::InOut.axes(&[1, 1, 64, 10]), Some(([64, 10], vec![2, 3, 0, 1])));
        assert_eq!(HeadLayout::InOut.axes(&[64, 10]), Some(([64, 10], vec![0, 1])));
        assert_eq!(HeadLayout::InOut.axes(&[64]), None);
    }
}
