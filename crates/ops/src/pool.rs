//! Global mean pooling.

use crate::host::{Element, Op, Operand, Output, Unary, by_dtype, dims4, with_values};
use candle_core::{Result, Shape, Tensor};
use sparse_kernels::host::activation::Input;
use sparse_kernels::host::pool;

/// The mean of each channel of each image.
///
/// Shapes: `x: [C, H, W, N]`, result `[N, C]`.
///
/// # Errors
/// If `x` has not four dimensions or the element type is not f32 or f64.
pub fn global_mean_pool(x: &Tensor) -> Result<Tensor> {
    if x.device().is_cuda() {
        dims4(x.dims(), Forward::NAME)?;
        return x.mean((1, 2))?.t();
    }
    x.contiguous()?.apply_op1(Op(Forward))
}

struct Forward;

impl Unary for Forward {
    const NAME: &'static str = "global-mean-pool";

    fn run<T: Element>(&self, x: Operand<'_, T>) -> Output<T> {
        let [channels, height, width, batch] = dims4(x.dims, Self::NAME)?;
        let mut y = vec![T::default(); batch * channels];
        pool::forward(Input::Plain(x.data), &mut y, height * width, batch);
        Ok((y, Shape::from((batch, channels))))
    }

    fn gradient(&self, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
        by_dtype!(x.dtype(), Self::NAME, T => gradient::<T>(x, dy))
    }
}

fn gradient<T: Element>(x: &Tensor, dy: &Tensor) -> Result<Tensor> {
    let [_, height, width, batch] = dims4(x.dims(), Forward::NAME)?;
    let mut dx = vec![T::default(); x.elem_count()];
    with_values([x, dy], |[x, dy]: [&[T]; 2]| {
        pool::backward(Input::Plain(x), dy, &mut dx, None, height * width, batch);
    })?;
    Tensor::from_vec(dx, x.shape().clone(), x.device())
}
