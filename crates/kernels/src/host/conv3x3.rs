//! Dense 3×3 convolution, stride 1 or 2: the stem of the network.
//!
//! It is a product of the weight with a matrix that has a row for each input channel and tap, and a column for each output
//! pixel; the matrix is never stored, its pieces are read from the image when they are packed.

use super::activation::{OutputGradient, Statistics};
use super::padding::Padding;
use super::product::{self, Columns, GradientRows, Left, Matrix, Plain, product_with_statistics};
use super::vector::Stored;
use crate::Real;
use pulp::Simd;
use std::ops::Range;

/// Sizes of one 3×3 convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    /// Output channels.
    pub outputs: usize,
    /// Input channels.
    pub inputs: usize,
    /// Input height.
    pub height: usize,
    /// Input width.
    pub width: usize,
    /// Images in the batch.
    pub batch: usize,
    /// 1 or 2.
    pub stride: usize,
    /// Where the border of zeros lies.
    pub padding: Padding,
}

impl Dims {
    /// Output height.
    pub fn out_height(&self) -> usize {
        self.height.div_ceil(self.stride)
    }

    /// Output width.
    pub fn out_width(&self) -> usize {
        self.width.div_ceil(self.stride)
    }

    /// Zeros above the first row and before the first column: 1, or 0 with stride 2.
    pub(crate) fn before(&self) -> [usize; 2] {
        [self.height, self.width].map(|side| self.padding.before(side, self.stride))
    }

    pub(crate) fn out_plane(&self) -> usize {
        self.out_height() * self.out_width() * self.batch
    }

    fn plane(&self) -> usize {
        self.height * self.width * self.batch
    }

    /// Weights of one output channel, and rows of the patch matrix.
    fn taps(&self) -> usize {
        self.inputs * 9
    }

    /// The input pixel under `tap` (row-major 3×3) of an output pixel; none on the zero border.
    #[inline(always)]
    fn input_under(&self, output: usize, tap: usize) -> Option<usize> {
        let (row, column) = (output / self.out_width(), output % self.out_width());
        let before = |side| self.padding.before(side, self.stride);
        let r = (row * self.stride + tap / 3).checked_sub(before(self.height))?;
        let c = (column * self.stride + tap % 3).checked_sub(before(self.width))?;
        (r < self.height && c < self.width).then_some(r * self.width + c)
    }
}

/// The patch under every output pixel, a row per input channel and tap.
struct Patches<'a, E> {
    x: &'a [E],
    dims: Dims,
}

impl<E: Stored> Columns<E::Real> for Patches<'_, E> {
    fn rows(&self) -> usize {
        self.dims.taps()
    }

    #[inline(always)]
    fn read<S: Simd>(&self, _: S, row: usize, columns: Range<usize>, target: &mut [E::Real]) {
        let (plane, batch) = (self.dims.plane(), self.dims.batch);
        let x = &self.x[row / 9 * plane..][..plane];
        let mut column = columns.start;
        while column < columns.end {
            let (pixel, image) = (column / batch, column % batch);
            let run = (batch - image).min(columns.end - column);
            let target = &mut target[column - columns.start..][..run];
            match self.dims.input_under(pixel, row % 9) {
                None => target.fill(E::Real::from_f64(0.0)),
                Some(input) => {
                    let from = &x[input * batch + image..][..run];
                    target.iter_mut().zip(from).for_each(|(to, from)| *to = from.load());
                }
            }
            column += run;
        }
    }
}

/// `y = x ⋆ weight`, and the statistics of `y` if asked for.
///
/// Shapes: `x: [Cin, H, W, N]`, `weight: [Cout, Cin, 3, 3]`, `y: [Cout, Ho, Wo, N]`.
pub fn forward<E: Stored>(
    x: &[E],
    weight: &[E::Real],
    y: &mut [E],
    statistics: Option<Statistics<'_, E::Real>>,
    dims: Dims,
) {
    assert_eq!(x.len(), dims.inputs * dims.plane(), "input of {dims:?}");
    let weight = Left::dense::<Plain>(Matrix::row_major(weight, dims.outputs, dims.taps(), dims.taps()));
    product_with_statistics::<E, Plain>(&weight, &Patches { x, dims }, y, statistics, dims.outputs);
}

/// Gradient to the weight.
///
/// Shapes: `x: [Cin, H, W, N]`, `dy: [Cout, Ho, Wo, N]`, `dw: [Cout, Cin, 3, 3]`.
pub fn weight_gradient<E: Stored>(x: &[E], dy: OutputGradient<'_, E>, dw: &mut [E::Real], dims: Dims) {
    let dy = GradientRows { dy, channels: dims.outputs, pixels: dims.out_plane() };
    product::weight_gradient(&Patches { x, dims }, &dy, dims.out_plane(), dw);
}

/// Gradient to the input, for networks whose 3×3 convolution is not the first layer.
///
/// Shapes: `weight: [Cout, Cin, 3, 3]`, `dy: [Cout, Ho, Wo, N]`, `dx: [Cin, H, W, N]`.
pub fn input_gradient<T: Real>(weight: &[T], dy: &[T], dx: &mut [T], dims: Dims) {
    let (columns, batch) = (dims.out_plane(), dims.batch);
    let weight = Matrix::row_major(weight, dims.outputs, dims.taps(), dims.taps()).transposed();
    let mut patches = vec![T::zero(); dims.taps() * columns];
    super::matmul::multiply(weight, Matrix::row_major(dy, dims.outputs, columns, columns), &mut patches);
    dx.fill(T::zero());
    for (row, patches) in patches.chunks_exact(columns).enumerate() {
        let dx = &mut dx[row / 9 * dims.plane()..][..dims.plane()];
        for (output, run) in patches.chunks_exact(batch).enumerate() {
            if let Some(input) = dims.input_under(output, row % 9) {
                let sums = &mut dx[input * batch..][..batch];
                sums.iter_mut().zip(run).for_each(|(sum, &value)| *sum += value);
            }
        }
    }
}
