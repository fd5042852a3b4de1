//! Pointwise (1×1) convolution.

use crate::host::{
    Binary, Element, Op, Operand, Output, by_dtype, dims4, ensure, only_tracked, two_gradients,
};
use candle_core::{Result, Shape, Tensor};
use sparse_kernels::activation::{Input, InputGradient, OutputGradient};
use sparse_kernels::pointwise::{self, Dims, Gradients, Kept};

/// `y = weight · x` over channels, at every pixel.
///
/// Shapes: `x: [Cin, H, W, N]`, `weight: [Cout, Cin, 1, 1]`, result `[Cout, H, W, N]`.
///
/// # Errors
/// If the shapes do not fit together or the element type is not f32 or f64.
pub fn pointwise(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op2(&weight.contiguous()?, Op(Forward))
}

struct Forward;

impl Forward {
    fn dims(x: &[usize], weight: &[usize]) -> Result<Dims> {
        let [inputs, height, width, batch] = dims4(x, Self::NAME)?;
        let [outputs, weight_inputs, kh, kw] = dims4(weight, Self::NAME)?;
        ensure(weight_inputs == inputs && kh * kw == 1, Self::NAME, x, weight)?;
        Ok(Dims { outputs, inputs, pixels: height * width * batch })
    }
}

impl Binary for Forward {
    const NAME: &'static str = "pointwise";

    fn run<T: Element>(&self, x: Operand<'_, T>, weight: Operand<'_, T>) -> Output<T> {
        let dims = Self::dims(x.dims, weight.dims)?;
        let mut y = vec![T::default(); dims.outputs * dims.pixels];
        pointwise::forward(weight.data, None, Input::Plain(x.data), &mut y, None, dims);
        Ok((y, Shape::from((dims.outputs, x.dims[1], x.dims[2], x.dims[3]))))
    }

    fn gradients(&self, x: &Tensor, weight: &Tensor, dy: &Tensor) -> Result<[Option<Tensor>; 2]> {
        let dims = Self::dims(x.dims(), weight.dims())?;
        let gradients = by_dtype!(x.dtype(), Self::NAME, T => gradients::<T>([x, weight, dy], dims))?;
        Ok(only_tracked(gradients, [x, weight].map(Tensor::track_op)))
    }
}

/// Gradients to `x` and to `weight`.
fn gradients<T: Element>(operands: [&Tensor; 3], dims: Dims) -> Result<[Tensor; 2]> {
    two_gradients::<T>(operands, |[x, weight, dy], [dx, dw]| {
        let (x, dy) = (Input::Plain(x), OutputGradient::Plain(dy));
        pointwise::backward(
            weight,
            Kept::default(),
            x,
            dy,
            Gradients { dx: InputGradient::only(dx, None), dw },
            dims,
        );
    })
}
