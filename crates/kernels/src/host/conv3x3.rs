//! Dense 3×3 convolution, padding 1, stride 1 or 2: the stem of the network.
//!
//! The patches under a few output rows are laid out as a matrix and multiplied by the weight; the rows are few
//! enough for the matrix to stay in the cache.

use super::matmul::{Destination, Matrix, multiply};
use crate::Real;
use rayon::prelude::*;

/// Elements of the patch matrix built at a time.
const PATCH_ELEMENTS: usize = 512 * 1024;

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
}

/// Output rows whose patches are built together.
#[derive(Clone, Copy)]
struct Rows {
    first: usize,
    count: usize,
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

    /// Elements of one output row.
    fn out_row(&self) -> usize {
        self.out_width() * self.batch
    }

    fn out_plane(&self) -> usize {
        self.out_height() * self.out_row()
    }

    /// Weights of one output channel, and rows of the patch matrix.
    fn taps(&self) -> usize {
        self.inputs * 9
    }

    /// Output rows built together.
    fn group(&self) -> usize {
        (PATCH_ELEMENTS / (self.taps() * self.out_row())).clamp(1, self.out_height())
    }

    fn groups(self) -> impl Iterator<Item = Rows> {
        let firsts = (0..self.out_height()).step_by(self.group());
        firsts.map(move |first| Rows { first, count: self.group().min(self.out_height() - first) })
    }

    /// Output columns whose tap `k` (0, 1, 2) lies inside the image.
    fn inside(&self, k: usize) -> std::ops::Range<usize> {
        usize::from(k == 0)..((self.width + 1 - k).div_ceil(self.stride)).min(self.out_width())
    }
}

/// `y = x ⋆ weight`.
///
/// Shapes: `x: [Cin, H, W, N]`, `weight: [Cout, Cin, 3, 3]`, `y: [Cout, Ho, Wo, N]`.
pub fn forward<T: Real>(x: &[T], weight: &[T], y: &mut [T], dims: Dims) {
    let mut patches = vec![T::zero(); dims.taps() * dims.group() * dims.out_row()];
    for rows in dims.groups() {
        let columns = rows.count * dims.out_row();
        build_patches(x, &mut patches[..dims.taps() * columns], rows, dims);
        let first_column = rows.first * dims.out_row();
        multiply(
            Matrix::row_major(weight, dims.outputs, dims.taps(), dims.taps()),
            Matrix::row_major(&patches, dims.taps(), columns, columns),
            y,
            Destination { row_stride: dims.out_plane(), first_column, accumulate: false },
        );
    }
}

/// Gradient to the weight.
///
/// Shapes: `x: [Cin, H, W, N]`, `dy: [Cout, Ho, Wo, N]`, `dw: [Cout, Cin, 3, 3]`.
pub fn weight_gradient<T: Real>(x: &[T], dy: &[T], dw: &mut [T], dims: Dims) {
    let mut patches = vec![T::zero(); dims.taps() * dims.group() * dims.out_row()];
    dw.fill(T::zero());
    for rows in dims.groups() {
        let columns = rows.count * dims.out_row();
        build_patches(x, &mut patches[..dims.taps() * columns], rows, dims);
        multiply(
            Matrix::row_major(&dy[rows.first * dims.out_row()..], dims.outputs, columns, dims.out_plane()),
            Matrix::row_major(&patches, dims.taps(), columns, columns).transposed(),
            dw,
            Destination { row_stride: dims.taps(), first_column: 0, accumulate: true },
        );
    }
}

/// Gradient to the input, for networks whose 3×3 convolution is not the first layer.
///
/// Shapes: `weight: [Cout, Cin, 3, 3]`, `dy: [Cout, Ho, Wo, N]`, `dx: [Cin, H, W, N]`.
pub fn input_gradient<T: Real>(weight: &[T], dy: &[T], dx: &mut [T], dims: Dims) {
    let mut patches = vec![T::zero(); dims.taps() * dims.group() * dims.out_row()];
    dx.fill(T::zero());
    for rows in dims.groups() {
        let columns = rows.count * dims.out_row();
        multiply(
            Matrix::row_major(weight, dims.outputs, dims.taps(), dims.taps()).transposed(),
            Matrix::row_major(&dy[rows.first * dims.out_row()..], dims.outputs, columns, dims.out_plane()),
            &mut patches,
            Destination { row_stride: columns, first_column: 0, accumulate: false },
        );
        add_patches(&patches[..dims.taps() * columns], dx, rows, dims);
    }
}

/// Lays out the patches of some output rows: row = (input channel, tap), column = (output pixel, image).
fn build_patches<T: Real>(x: &[T], patches: &mut [T], rows: Rows, dims: Dims) {
    let columns = rows.count * dims.out_row();
    let planes = x.par_chunks(dims.height * dims.width * dims.batch);
    patches.par_chunks_mut(9 * columns).zip(planes).for_each(|(patches, plane)| {
        for (tap, patches) in patches.chunks_exact_mut(columns).enumerate() {
            patches.fill(T::zero());
            for_each_pixel(tap, rows, dims, |output, input| {
                patches[output..output + dims.batch].copy_from_slice(&plane[input..input + dims.batch]);
            });
        }
    });
}

/// The reverse of [`build_patches`]: adds every patch element to the pixel it came from.
fn add_patches<T: Real>(patches: &[T], dx: &mut [T], rows: Rows, dims: Dims) {
    let columns = rows.count * dims.out_row();
    let planes = dx.par_chunks_mut(dims.height * dims.width * dims.batch);
    planes.zip(patches.par_chunks(9 * columns)).for_each(|(plane, patches)| {
        for (tap, patches) in patches.chunks_exact(columns).enumerate() {
            for_each_pixel(tap, rows, dims, |output, input| {
                let run = plane[input..input + dims.batch].iter_mut();
                run.zip(&patches[output..output + dims.batch]).for_each(|(sum, &value)| *sum += value);
            });
        }
    });
}

/// Calls `visit(offset in the patch row, offset in the input plane)` for every output pixel of `rows` whose
/// `tap` (row-major 3×3) lies inside the image.
fn for_each_pixel(tap: usize, rows: Rows, dims: Dims, mut visit: impl FnMut(usize, usize)) {
    for row in 0..rows.count {
        let Some(r) = ((rows.first + row) * dims.stride + tap / 3).checked_sub(1) else { continue };
        if r >= dims.height {
            continue;
        }
        for column in dims.inside(tap % 3) {
            let c = column * dims.stride + tap % 3 - 1;
            visit((row * dims.out_width() + column) * dims.batch, (r * dims.width + c) * dims.batch);
        }
    }
}
