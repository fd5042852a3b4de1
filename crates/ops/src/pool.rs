//! Global mean pooling.

use crate::host::{Element, Op, Operand, Output, Unary, dims4, ensure};
use candle_core::{Result, Shape, Tensor};
use sparse_kernels::host::pool;

/// The mean of each channel of each image.
///
/// Shapes: `x: [C, H, W, N]`, result `[N, C]`.
///
/// # Errors
/// If `x` has not four dimensions or the element type is not f32 or f64.
pub fn global_mean_pool(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Op(Forward))
}

/// Gradient of [`global_mean_pool`] to its input.
///
/// Shapes: `dy: [N, C]`, `x`: dimensions `[C, H, W, N]` of the input and of the result.
///
/// # Errors
/// If the shapes do not fit together.
pub fn global_mean_pool_gradient(dy: &Tensor, x: [usize; 4]) -> Result<Tensor> {
    dy.apply_op1_no_bwd(&Op(InputGradient { x }))
}

struct Forward;

/// `x`: dimensions of the forward input.
struct InputGradient {
    x: [usize; 4],
}

impl Unary for Forward {
    const NAME: &'static str = "global-mean-pool";

    fn run<T: Element>(&self, x: Operand<'_, T>) -> Output<T> {
        let [channels, height, width, batch] = dims4(x.dims, Self::NAME)?;
        let mut y = vec![T::default(); batch * channels];
        pool::forward(x.data, &mut y, height * width, batch);
        Ok((y, Shape::from((batch, channels))))
    }

    fn gradient(&self, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
        global_mean_pool_gradient(dy, dims4(x.dims(), Self::NAME)?)
    }
}

impl Unary for InputGradient {
    const NAME: &'static str = "global-mean-pool-input-gradient";

    fn run<T: Element>(&self, dy: Operand<'_, T>) -> Output<T> {
        let [channels, height, width, batch] = self.x;
        ensure(dy.dims == [batch, channels], Self::NAME, &self.x, dy.dims)?;
        let shape = Shape::from(self.x.to_vec());
        let mut dx = vec![T::default(); shape.elem_count()];
        pool::input_gradient(dy.data, &mut dx, height * width, batch);
        Ok((dx, shape))
    }
}
