//! Convolutions of any window over all channels.

use crate::host::{
    Binary, Element, Op, Operand, Output, by_dtype, dims4, ensure, only_tracked, two_gradients,
};
use candle_core::{Result, Shape, Tensor};
use sparse_kernels::activation::{Input, InputGradient, OutputGradient};
use sparse_kernels::spatial::{self, Dims};
use sparse_network::Window;

/// A convolution of any window that mixes all channels.
///
/// Shapes: `x: [Cin, H, W, N]`, `weight: [Cout, Cin, kernel height, kernel width]`, result `[Cout, Ho, Wo, N]`.
///
/// # Errors
/// If the shapes do not fit together or the element type is not f32 or f64.
pub fn conv(x: &Tensor, weight: &Tensor, window: Window) -> Result<Tensor> {
    x.contiguous()?.apply_op2(&weight.contiguous()?, Op(Forward(window)))
}

struct Forward(Window);

impl Forward {
    fn dims(&self, x: &[usize], weight: &[usize]) -> Result<Dims> {
        let ([outputs, weight_inputs, kh, kw], window) = (dims4(weight, Self::NAME)?, self.0);
        let [inputs, height, width, batch] = dims4(x, Self::NAME)?;
        let dims = Dims { outputs, inputs, height, width, batch, window };
        let fits =
            weight_inputs == inputs && [kh, kw] == window.kernel && dims.out_height() * dims.out_width() > 0;
        ensure(fits, Self::NAME, x, weight)?;
        Ok(dims)
    }
}

impl Binary for Forward {
    const NAME: &'static str = "conv";

    fn run<T: Element>(&self, x: Operand<'_, T>, weight: Operand<'_, T>) -> Output<T> {
        let dims = self.dims(x.dims, weight.dims)?;
        let shape = Shape::from((dims.outputs, dims.out_height(), dims.out_width(), dims.batch));
        let mut y = vec![T::default(); shape.elem_count()];
        spatial::forward(Input::Plain(x.data), weight.data, None, &mut y, None, dims);
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
        let (x, dy) = (Input::Plain(x), OutputGradient::Plain(dy));
        spatial::weight_gradient(x, dy, None, dw, dims);
        spatial::input_gradient(weight, None, x, dy, InputGradient::only(dx, None), dims);
    })
}
