//! From images as loaders make them to the layout of the kernels.

use crate::host::{Element, Op, Operand, Output, Unary, dims4};
use candle_core::{Result, Shape, Tensor};
use sparse_kernels::transpose::transpose;

/// Moves the batch innermost: `x: [N, C, H, W]`, result `[C, H, W, N]`.
///
/// # Errors
/// If `x` has not four dimensions or the element type is not f32 or f64.
pub fn batch_innermost(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Op(ToInnermost))
}

struct ToInnermost;
struct ToOutermost;

impl Unary for ToInnermost {
    const NAME: &'static str = "batch-innermost";

    fn run<T: Element>(&self, x: Operand<'_, T>) -> Output<T> {
        let [batch, channels, height, width] = dims4(x.dims, Self::NAME)?;
        let mut out = vec![T::default(); x.data.len()];
        transpose(x.data, &mut out, channels * height * width);
        Ok((out, Shape::from((channels, height, width, batch))))
    }

    fn gradient(&self, _x: &Tensor, dy: &Tensor) -> Result<Tensor> {
        dy.apply_op1_no_bwd(&Op(ToOutermost))
    }
}

impl Unary for ToOutermost {
    const NAME: &'static str = "batch-outermost";

    fn run<T: Element>(&self, x: Operand<'_, T>) -> Output<T> {
        let [channels, height, width, batch] = dims4(x.dims, Self::NAME)?;
        let mut out = vec![T::default(); x.data.len()];
        transpose(x.data, &mut out, batch);
        Ok((out, Shape::from((batch, channels, height, width))))
    }
}
