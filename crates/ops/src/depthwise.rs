//! Depthwise 3×3 convolution.

use crate::host::{
    Binary, Element, Op, Operand, Output, by_dtype, dims4, ensure, only_tracked, two_gradients,
};
use candle_core::{Result, Shape, Tensor, bail};
use sparse_kernels::activation::{Input, OutputGradient};
use sparse_kernels::depthwise::{self, Dims};
use sparse_network::Padding;

/// Each channel convolved with its own 3×3 kernel, with a border of zeros.
///
/// Shapes: `x: [C, H, W, N]`, `weight: [C, 1, 3, 3]`, result `[C, ceil(H/stride), ceil(W/stride), N]`.
/// `stride` is 1 or 2.
///
/// # Errors
/// If the shapes do not fit together, the stride is another, or the element type is not f32 or f64.
pub fn depthwise3x3(x: &Tensor, weight: &Tensor, stride: usize, padding: Padding) -> Result<Tensor> {
    if !(1..=2).contains(&stride) {
        bail!("depthwise3x3: stride must be 1 or 2, got {stride}");
    }
    x.contiguous()?.apply_op2(&weight.contiguous()?, Op(Forward { stride, padding }))
}

struct Forward {
    stride: usize,
    padding: Padding,
}

impl Forward {
    fn dims(&self, x: &[usize], weight: &[usize]) -> Result<Dims> {
        let [channels, height, width, batch] = dims4(x, Self::NAME)?;
        ensure(weight == [channels, 1, 3, 3], Self::NAME, x, weight)?;
        Ok(Dims { channels, height, width, batch, stride: self.stride, padding: self.padding })
    }
}

impl Binary for Forward {
    const NAME: &'static str = "depthwise3x3";

    fn run<T: Element>(&self, x: Operand<'_, T>, weight: Operand<'_, T>) -> Output<T> {
        let dims = self.dims(x.dims, weight.dims)?;
        let shape = Shape::from((dims.channels, dims.out_height(), dims.out_width(), dims.batch));
        let mut y = vec![T::default(); shape.elem_count()];
        depthwise::forward(Input::Plain(x.data), weight.data, &mut y, None, dims);
        Ok((y, shape))
    }

    fn gradients(&self, x: &Tensor, weight: &Tensor, dy: &Tensor) -> Result<[Option<Tensor>; 2]> {
        let dims = self.dims(x.dims(), weight.dims())?;
        let gradients = by_dtype!(x.dtype(), Self::NAME, T => gradients::<T>([x, weight, dy], dims))?;
        Ok(only_tracked(gradients, [x, weight].map(Tensor::track_op)))
    }
}

/// Gradients to `x` and to `weight`.
fn gradients<T: Element>(operands: [&Tensor; 3], dims: Dims) -> Result<[Tensor; 2]> {
    two_gradients::<T>(operands, |[x, weight, dy], [dx, dw]| {
        depthwise::backward(Input::Plain(x), weight, OutputGradient::Plain(dy), dx, None, dw, dims);
    })
}
