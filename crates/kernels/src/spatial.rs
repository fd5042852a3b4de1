//! Convolutions that mix all channels, of any window: the stem of a network, and the k×k layers of a residual one.
//!
//! Each is a product of the weight `[Cout, Cin·k·k]` with a matrix that has a row for each input channel and tap, and a column
//! for each output pixel. The matrix is never stored: its pieces are read from the image when they are packed, normalised on
//! the way. Zeros of the weight are left out as in a pointwise layer. The gradient to the input is a product of the same
//! kind with the gradient to the output, for each class of input pixels that see the same taps: one with stride 1, four with
//! stride 2.
//!
//! Source: Chellapilla et al. 2006, High performance convolutional neural networks for document processing (im2col).

mod backward;
mod patches;
#[cfg(test)]
mod tests;

use super::activation::{Input, Statistics};
use super::pointwise::Choice;
use super::product::{Left, Matrix, Pattern, product_with_statistics};
use patches::Patches;
use sparse_network::Window;
use sparse_vectors::arithmetic::Plain;
use sparse_vectors::vector::Stored;

pub use backward::{input_gradient, tap_classes, weight_gradient};

/// Sizes of one convolution.
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
    /// Where the kernel goes.
    pub window: Window,
}

impl Dims {
    /// Output height.
    pub fn out_height(&self) -> usize {
        self.window.outputs(0, self.height)
    }

    /// Output width.
    pub fn out_width(&self) -> usize {
        self.window.outputs(1, self.width)
    }

    /// Zeros above the first row and before the first column.
    pub fn before(&self) -> [usize; 2] {
        [self.window.lines(0, self.height)[0], self.window.lines(1, self.width)[0]]
    }

    /// Numbers of one output channel.
    pub fn out_plane(&self) -> usize {
        self.out_height() * self.out_width() * self.batch
    }

    /// Numbers of one input channel.
    pub fn plane(&self) -> usize {
        self.height * self.width * self.batch
    }

    /// Taps of the kernel.
    pub(crate) fn taps(&self) -> usize {
        self.window.kernel[0] * self.window.kernel[1]
    }

    /// Weights of one output channel, and rows of the patch matrix.
    pub fn inner(&self) -> usize {
        self.inputs * self.taps()
    }
}

/// Kept fraction up to which all three products leave the zeros out; that of the weight gradient decides bits, as in a pointwise layer.
const SPARSE: f64 = 0.45;

/// Weights of an output channel below which no zeros are left out: those of the first layer, which sees the colours of an image.
const SHORT: usize = 64;

/// Whether a layer with so many weights for an output channel can leave zeros out.
pub fn can_be_sparse(inner: usize) -> bool {
    inner >= SHORT
}

/// Which products leave the zeros out, for a weight `[outputs, inner]` of which so many are `kept`: a function of the mask alone.
pub fn fixed(kept: usize, [outputs, inner]: [usize; 2]) -> Choice {
    let sparse = can_be_sparse(inner) && kept as f64 <= SPARSE * (outputs * inner) as f64;
    Choice { forward: sparse, input_gradient: sparse, weight_gradient: sparse }
}

/// `y = x ⋆ weight`, and the statistics of `y` if asked for.
///
/// Shapes: `x: [Cin, H, W, N]`, `weight: [Cout, Cin, k, k]`, `y: [Cout, Ho, Wo, N]`. With `kept` the other weights are left out;
/// they must be zero, and then the bits of the result are those of the dense product.
///
/// # Panics
/// If the slices or the pattern are of another shape: a fault of the caller.
pub fn forward<E: Stored>(
    x: Input<'_, E>,
    weight: &[E::Real],
    kept: Option<&Pattern>,
    y: &mut [E],
    statistics: Option<Statistics<'_, E::Real>>,
    dims: Dims,
) {
    let (outputs, inner) = (dims.outputs, dims.inner());
    assert_eq!(x.values().len(), dims.inputs * dims.plane(), "input of {dims:?}");
    assert_eq!(y.len(), outputs * dims.out_plane(), "output of {dims:?}");
    kept.iter().for_each(|pattern| pattern.check(outputs, inner));
    let left = match kept {
        None => Left::dense::<Plain>(Matrix::row_major(weight, outputs, inner, inner)),
        Some(pattern) => Left::sparse(weight, pattern.by_output()),
    };
    product_with_statistics::<E, Plain>(&left, &Patches::of_input(x, dims), y, statistics, outputs);
}
