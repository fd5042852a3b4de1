//! Pointwise (1×1) convolution.

use crate::host::{Binary, Element, Op, Operand, Output, dims4, ensure, if_tracked};
use candle_core::{Result, Shape, Tensor};
use sparse_kernels::host::pointwise::{self, Dims};

/// `y = weight · x` over channels, at every pixel.
///
/// Shapes: `x: [Cin, H, W, N]`, `weight: [Cout, Cin, 1, 1]`, result `[Cout, H, W, N]`.
///
/// # Errors
/// If the shapes do not fit together or the element type is not f32 or f64.
pub fn pointwise(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op2(&weight.contiguous()?, Op(Forward))
}

/// Gradient of [`pointwise()`] to its input.
///
/// Shapes: `weight: [Cout, Cin, 1, 1]`, `dy: [Cout, H, W, N]`, result `[Cin, H, W, N]`.
///
/// # Errors
/// If the shapes do not fit together.
pub fn pointwise_input_gradient(weight: &Tensor, dy: &Tensor) -> Result<Tensor> {
    dy.apply_op2_no_bwd(weight, &Op(InputGradient))
}

/// Gradient of [`pointwise()`] to its weight.
///
/// Shapes: `x: [Cin, H, W, N]`, `dy: [Cout, H, W, N]`, result `[Cout, Cin, 1, 1]`.
///
/// # Errors
/// If the shapes do not fit together.
pub fn pointwise_weight_gradient(x: &Tensor, dy: &Tensor) -> Result<Tensor> {
    dy.apply_op2_no_bwd(x, &Op(WeightGradient))
}

struct Forward;
struct InputGradient;
struct WeightGradient;

impl Binary for Forward {
    const NAME: &'static str = "pointwise";

    fn run<T: Element>(&self, x: Operand<'_, T>, weight: Operand<'_, T>) -> Output<T> {
        let [inputs, height, width, batch] = dims4(x.dims, Self::NAME)?;
        let [outputs, weight_inputs, kh, kw] = dims4(weight.dims, Self::NAME)?;
        ensure(weight_inputs == inputs && kh * kw == 1, Self::NAME, x.dims, weight.dims)?;
        let dims = Dims { outputs, inputs, pixels: height * width * batch };
        let mut y = vec![T::default(); outputs * dims.pixels];
        pointwise::forward(weight.data, x.data, &mut y, dims);
        Ok((y, Shape::from((outputs, height, width, batch))))
    }

    fn gradients(
        &self,
        x: &Tensor,
        weight: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((
            if_tracked(x, || pointwise_input_gradient(weight, dy))?,
            if_tracked(weight, || pointwise_weight_gradient(x, dy))?,
        ))
    }
}

impl Binary for InputGradient {
    const NAME: &'static str = "pointwise-input-gradient";

    fn run<T: Element>(&self, dy: Operand<'_, T>, weight: Operand<'_, T>) -> Output<T> {
        let [outputs, height, width, batch] = dims4(dy.dims, Self::NAME)?;
        ensure(weight.dims[0] == outputs, Self::NAME, dy.dims, weight.dims)?;
        let inputs = weight.dims[1];
        let dims = Dims { outputs, inputs, pixels: height * width * batch };
        let mut dx = vec![T::default(); inputs * dims.pixels];
        pointwise::input_gradient(weight.data, dy.data, &mut dx, dims);
        Ok((dx, Shape::from((inputs, height, width, batch))))
    }
}

impl Binary for WeightGradient {
    const NAME: &'static str = "pointwise-weight-gradient";

    fn run<T: Element>(&self, dy: Operand<'_, T>, x: Operand<'_, T>) -> Output<T> {
        let [outputs, height, width, batch] = dims4(dy.dims, Self::NAME)?;
        ensure(x.dims[1..] == dy.dims[1..], Self::NAME, dy.dims, x.dims)?;
        let inputs = x.dims[0];
        let mut dw = vec![T::default(); outputs * inputs];
        let dims = Dims { outputs, inputs, pixels: height * width * batch };
        pointwise::weight_gradient(dy.data, x.data, &mut dw, dims);
        Ok((dw, Shape::from((outputs, inputs, 1, 1))))
    }
}
