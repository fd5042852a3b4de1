//! Depthwise 3×3 convolution.

use crate::host::{Binary, Element, Op, Operand, Output, dims4, ensure, if_tracked};
use candle_core::{Result, Shape, Tensor, bail};
use sparse_kernels::host::depthwise::{self, Dims};

/// Each channel convolved with its own 3×3 kernel, padding 1.
///
/// Shapes: `x: [C, H, W, N]`, `weight: [C, 1, 3, 3]`, result `[C, ceil(H/stride), ceil(W/stride), N]`.
/// `stride` is 1 or 2.
///
/// # Errors
/// If the shapes do not fit together, the stride is another, or the element type is not f32 or f64.
pub fn depthwise3x3(x: &Tensor, weight: &Tensor, stride: usize) -> Result<Tensor> {
    if !(1..=2).contains(&stride) {
        bail!("depthwise3x3: stride must be 1 or 2, got {stride}");
    }
    x.contiguous()?.apply_op2(&weight.contiguous()?, Op(Forward { stride }))
}

/// Gradient of [`depthwise3x3`] to its input.
///
/// Shapes: `weight: [C, 1, 3, 3]`, `dy: [C, Ho, Wo, N]`, `x`: dimensions `[C, H, W, N]` of the input and of the result.
///
/// # Errors
/// If the shapes do not fit together.
pub fn depthwise3x3_input_gradient(
    weight: &Tensor,
    dy: &Tensor,
    x: [usize; 4],
    stride: usize,
) -> Result<Tensor> {
    dy.apply_op2_no_bwd(weight, &Op(InputGradient { x, stride }))
}

/// Gradient of [`depthwise3x3`] to its weight.
///
/// Shapes: `x: [C, H, W, N]`, `dy: [C, Ho, Wo, N]`, result `[C, 1, 3, 3]`.
///
/// # Errors
/// If the shapes do not fit together.
pub fn depthwise3x3_weight_gradient(x: &Tensor, dy: &Tensor, stride: usize) -> Result<Tensor> {
    dy.apply_op2_no_bwd(x, &Op(WeightGradient { stride }))
}

struct Forward {
    stride: usize,
}

/// `x`: dimensions of the forward input.
struct InputGradient {
    x: [usize; 4],
    stride: usize,
}

struct WeightGradient {
    stride: usize,
}

fn dims_of([channels, height, width, batch]: [usize; 4], stride: usize) -> Dims {
    Dims { channels, height, width, batch, stride }
}

impl Binary for Forward {
    const NAME: &'static str = "depthwise3x3";

    fn run<T: Element>(&self, x: Operand<'_, T>, weight: Operand<'_, T>) -> Output<T> {
        let dims = dims_of(dims4(x.dims, Self::NAME)?, self.stride);
        ensure(weight.dims == [dims.channels, 1, 3, 3], Self::NAME, x.dims, weight.dims)?;
        let shape = Shape::from((dims.channels, dims.out_height(), dims.out_width(), dims.batch));
        let mut y = vec![T::default(); shape.elem_count()];
        depthwise::forward(x.data, weight.data, &mut y, dims);
        Ok((y, shape))
    }

    fn gradients(
        &self,
        x: &Tensor,
        weight: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let stride = self.stride;
        let dims = dims4(x.dims(), Self::NAME)?;
        Ok((
            if_tracked(x, || depthwise3x3_input_gradient(weight, dy, dims, stride))?,
            if_tracked(weight, || depthwise3x3_weight_gradient(x, dy, stride))?,
        ))
    }
}

impl Binary for InputGradient {
    const NAME: &'static str = "depthwise3x3-input-gradient";

    fn run<T: Element>(&self, dy: Operand<'_, T>, weight: Operand<'_, T>) -> Output<T> {
        let dims = dims_of(self.x, self.stride);
        let fits = [dims.channels, dims.out_height(), dims.out_width(), dims.batch] == *dy.dims;
        ensure(fits && weight.dims == [dims.channels, 1, 3, 3], Self::NAME, &self.x, dy.dims)?;
        let shape = Shape::from(self.x.to_vec());
        let mut dx = vec![T::default(); shape.elem_count()];
        depthwise::input_gradient(weight.data, dy.data, &mut dx, dims);
        Ok((dx, shape))
    }
}

impl Binary for WeightGradient {
    const NAME: &'static str = "depthwise3x3-weight-gradient";

    fn run<T: Element>(&self, dy: Operand<'_, T>, x: Operand<'_, T>) -> Output<T> {
        let dims = dims_of(dims4(x.dims, Self::NAME)?, self.stride);
        let fits = [dims.channels, dims.out_height(), dims.out_width(), dims.batch] == *dy.dims;
        ensure(fits, Self::NAME, x.dims, dy.dims)?;
        let mut dw = vec![T::default(); dims.channels * 9];
        depthwise::weight_gradient(x.data, dy.data, &mut dw, dims);
        Ok((dw, Shape::from((dims.channels, 1, 3, 3))))
    }
}
