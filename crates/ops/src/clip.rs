//! Bounds.

use crate::host::{Binary, Element, Op, Operand, Output, Unary};
use candle_core::{Result, Shape, Tensor};
use sparse_network::Bounds;

/// `min(max(x, low), high)`; a gradient passes between the bounds. A NaN passes through.
///
/// # Errors
/// If the element type is not f32 or f64.
pub fn clip(x: &Tensor, bounds: Bounds) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Op(Forward(bounds)))
}

struct Forward(Bounds);

struct Gradient(Bounds);

fn ends<T: Element>(bounds: Bounds) -> [T; 2] {
    [bounds.low, bounds.high].map(|end| <T as sparse_vectors::Real>::from_f64(end))
}

impl Unary for Forward {
    const NAME: &'static str = "clip";

    fn run<T: Element>(&self, x: Operand<'_, T>) -> Output<T> {
        let [low, high] = ends::<T>(self.0);
        let bound = |&x: &T| {
            if x < low {
                low
            } else if high < x {
                high
            } else {
                x
            }
        };
        Ok((x.data.iter().map(bound).collect(), Shape::from(x.dims.to_vec())))
    }

    fn gradient(&self, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
        x.apply_op2_no_bwd(dy, &Op(Gradient(self.0)))
    }
}

impl Binary for Gradient {
    const NAME: &'static str = "clip-gradient";

    fn run<T: Element>(&self, x: Operand<'_, T>, dy: Operand<'_, T>) -> Output<T> {
        let [low, high] = ends::<T>(self.0);
        let pass = |(&x, &dy): (&T, &T)| if low < x && x < high { dy } else { T::default() };
        Ok((x.data.iter().zip(dy.data).map(pass).collect(), Shape::from(x.dims.to_vec())))
    }
}
