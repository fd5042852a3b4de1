//! The classifier head.

use crate::host::{Binary, Element, Op, Operand, Output, Ternary, Unary, ensure, only_tracked};
use candle_core::{Result, Shape, Tensor};
use sparse_kernels::linear::{self, Dims};

/// `y = x · weight + bias`.
///
/// Shapes: `x: [N, inputs]`, `weight: [inputs, outputs]`, `bias: [outputs]`, result `[N, outputs]`.
///
/// # Errors
/// If the shapes do not fit together or the element type is not f32 or f64.
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, Op(Forward))
}

/// Gradients of [`linear()`] to its input, its weight and its bias.
///
/// Shapes: `x: [N, inputs]`, `weight: [inputs, outputs]`, `dy: [N, outputs]`; results `[N, inputs]`,
/// `[inputs, outputs]`, `[outputs]`.
///
/// # Errors
/// If the shapes do not fit together.
fn linear_gradients(x: &Tensor, weight: &Tensor, dy: &Tensor) -> Result<[Tensor; 3]> {
    Ok([
        dy.apply_op2_no_bwd(weight, &Op(InputGradient))?,
        dy.apply_op2_no_bwd(x, &Op(WeightGradient))?,
        dy.apply_op1_no_bwd(&Op(BiasGradient))?,
    ])
}

struct Forward;
struct InputGradient;
struct WeightGradient;
struct BiasGradient;

impl Ternary for Forward {
    const NAME: &'static str = "linear";

    fn run<T: Element>(&self, [x, weight, bias]: [Operand<'_, T>; 3]) -> Output<T> {
        let (&[batch, inputs], &[weight_inputs, outputs]) = (x.dims, weight.dims) else {
            return ensure(false, Self::NAME, x.dims, weight.dims).map(|()| (Vec::new(), Shape::from(())));
        };
        ensure(weight_inputs == inputs, Self::NAME, x.dims, weight.dims)?;
        ensure(bias.dims == [outputs], Self::NAME, weight.dims, bias.dims)?;
        let mut y = vec![T::default(); batch * outputs];
        linear::forward(x.data, weight.data, bias.data, &mut y, Dims { batch, inputs, outputs });
        Ok((y, Shape::from((batch, outputs))))
    }

    fn gradients(
        &self,
        [x, weight, bias]: [&Tensor; 3],
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<[Option<Tensor>; 3]> {
        let tracked = [x, weight, bias].map(Tensor::track_op);
        let gradients = linear_gradients(x, weight, dy)?;
        Ok(only_tracked(gradients, tracked))
    }
}

impl Binary for InputGradient {
    const NAME: &'static str = "linear-input-gradient";

    fn run<T: Element>(&self, dy: Operand<'_, T>, weight: Operand<'_, T>) -> Output<T> {
        let dims = Dims { batch: dy.dims[0], inputs: weight.dims[0], outputs: weight.dims[1] };
        let mut dx = vec![T::default(); dims.batch * dims.inputs];
        linear::input_gradient(weight.data, dy.data, &mut dx, dims);
        Ok((dx, Shape::from((dims.batch, dims.inputs))))
    }
}

impl Binary for WeightGradient {
    const NAME: &'static str = "linear-weight-gradient";

    fn run<T: Element>(&self, dy: Operand<'_, T>, x: Operand<'_, T>) -> Output<T> {
        let dims = Dims { batch: dy.dims[0], inputs: x.dims[1], outputs: dy.dims[1] };
        let mut dw = vec![T::default(); dims.inputs * dims.outputs];
        linear::weight_gradient(x.data, dy.data, &mut dw, dims);
        Ok((dw, Shape::from((dims.inputs, dims.outputs))))
    }
}

impl Unary for BiasGradient {
    const NAME: &'static str = "linear-bias-gradient";

    fn run<T: Element>(&self, dy: Operand<'_, T>) -> Output<T> {
        let mut db = vec![T::default(); dy.dims[1]];
        linear::bias_gradient(dy.data, &mut db);
        Ok((db, Shape::from(dy.dims[1])))
    }
}
