//! Pooling, of windows and of whole channels.

use crate::host::{Element, Op, Operand, Output, Unary, by_dtype, dims4, ensure, with_values};
use candle_core::{Result, Shape, Tensor};
use sparse_kernels::activation::{Input, InputGradient};
use sparse_kernels::pool as global;
use sparse_kernels::window_pool::{self, Dims};
use sparse_network::{Bounds, Window};

pub use sparse_kernels::window_pool::Pool;

/// The mean of each channel of each image.
///
/// Shapes: `x: [C, H, W, N]`, result `[N, C]`.
///
/// # Errors
/// If `x` has not four dimensions or the element type is not f32 or f64.
pub fn global_mean_pool(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Op(Forward))
}

struct Forward;

impl Unary for Forward {
    const NAME: &'static str = "global-mean-pool";

    fn run<T: Element>(&self, x: Operand<'_, T>) -> Output<T> {
        let [channels, height, width, batch] = dims4(x.dims, Self::NAME)?;
        let mut y = vec![T::default(); batch * channels];
        global::forward(Input::Plain(x.data), &mut y, height * width, batch);
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
        global::backward(Input::Plain(x), dy, &mut dx, None, height * width, batch);
    })?;
    Tensor::from_vec(dx, x.shape().clone(), x.device())
}

/// The greatest value or the mean of each window.
///
/// Shapes: `x: [C, H, W, N]`, result `[C, Ho, Wo, N]`.
///
/// # Errors
/// If no window fits into `x` or the element type is not f32 or f64.
pub fn pool(x: &Tensor, window: Window, pool: Pool) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Op(Windows { window, pool }))
}

struct Windows {
    window: Window,
    pool: Pool,
}

impl Windows {
    fn dims(&self, x: &[usize]) -> Result<Dims> {
        let [channels, height, width, batch] = dims4(x, Self::NAME)?;
        let dims = Dims { channels, height, width, batch, window: self.window, pool: self.pool };
        ensure(dims.out_height() * dims.out_width() > 0, Self::NAME, x, &self.window.kernel)?;
        Ok(dims)
    }
}

impl Unary for Windows {
    const NAME: &'static str = "pool";

    fn run<T: Element>(&self, x: Operand<'_, T>) -> Output<T> {
        let dims = self.dims(x.dims)?;
        let shape = Shape::from((dims.channels, dims.out_height(), dims.out_width(), dims.batch));
        let mut y = vec![T::default(); shape.elem_count()];
        window_pool::forward(Input::Plain(x.data), &mut y, Bounds::NONE, dims);
        Ok((y, shape))
    }

    fn gradient(&self, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
        by_dtype!(x.dtype(), Self::NAME, T => self.of_windows::<T>(x, dy))
    }
}

impl Windows {
    fn of_windows<T: Element>(&self, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
        let dims = self.dims(x.dims())?;
        let mut dx = vec![T::default(); x.elem_count()];
        with_values([x, dy], |[x, dy]: [&[T]; 2]| {
            window_pool::backward(Input::Plain(x), dy, InputGradient::only(&mut dx, None), dims);
        })?;
        Tensor::from_vec(dx, x.shape().clone(), x.device())
    }
}
