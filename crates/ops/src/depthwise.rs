//! Depthwise 3×3 convolution.

#[cfg(feature = "cuda")]
use crate::cuda::{DeviceOperand, DeviceOutput, Place, error};
use crate::host::{
    Binary, Element, Op, Operand, Output, by_dtype, dims4, ensure, only_tracked, two_gradients,
};
use candle_core::{Result, Shape, Tensor, bail};
#[cfg(feature = "cuda")]
use sparse_kernels::cuda::{self, Memory, depthwise as device, partial_sums};
use sparse_kernels::host::activation::{Input, OutputGradient};
use sparse_kernels::host::depthwise::{self, Dims};
use sparse_kernels::host::padding::Padding;

/// Each channel convolved with its own 3×3 kernel, with a border of zeros.
///
/// Shapes: `x: [C, H, W, N]`, `weight: [C, 1, 3, 3]`, result `[C, ceil(H/stride), ceil(W/stride), N]`.
/// `stride` is 1 or 2.
///
/// # Errors
/// If the shapes do not fit together, the stride is another, or the element type is not f32 or f64.
pub fn depthwise3x3(x: &Tensor, weight: &Tensor, stride: usize, padding: Padding) -> Result<Tensor> {
    if !(1..=2).contains(&stride) {
        bail!("depthwise3x3: stride must be 1 or 2, got {stride}");
    }
    x.contiguous()?.apply_op2(&weight.contiguous()?, Op(Forward { stride, padding }))
}

struct Forward {
    stride: usize,
    padding: Padding,
}

impl Forward {
    fn dims(&self, x: &[usize], weight: &[usize]) -> Result<Dims> {
        let [channels, height, width, batch] = dims4(x, Self::NAME)?;
        ensure(weight == [channels, 1, 3, 3], Self::NAME, x, weight)?;
        Ok(Dims { channels, height, width, batch, stride: self.stride, padding: self.padding })
    }
}

impl Binary for Forward {
    const NAME: &'static str = "depthwise3x3";

    fn run<T: Element>(&self, x: Operand<'_, T>, weight: Operand<'_, T>) -> Output<T> {
        let dims = self.dims(x.dims, weight.dims)?;
        let shape = Shape::from((dims.channels, dims.out_height(), dims.out_width(), dims.batch));
        let mut y = vec![T::default(); shape.elem_count()];
        depthwise::forward(Input::Plain(x.data), weight.data, &mut y, None, dims);
        Ok((y, shape))
    }

    #[cfg(feature = "cuda")]
    fn run_cuda(&self, place: &Place, x: DeviceOperand<'_>, weight: DeviceOperand<'_>) -> DeviceOutput {
        let dims = self.dims(x.dims, weight.dims)?;
        let shape = Shape::from((dims.channels, dims.out_height(), dims.out_width(), dims.batch));
        let y = place.zeros(shape.elem_count())?;
        let (x, element) = (cuda::Reading::plain(x.slice), cuda::Element::F32);
        device::forward(&*place.queue, x, weight.slice, place.view(&y), None, dims, element)
            .map_err(error)?;
        Ok((y, shape))
    }

    fn gradients(&self, x: &Tensor, weight: &Tensor, dy: &Tensor) -> Result<[Option<Tensor>; 2]> {
        let dims = self.dims(x.dims(), weight.dims())?;
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            let gradients = cuda_gradients([x, weight, dy], dims)?;
            return Ok(only_tracked(gradients, [x, weight].map(Tensor::track_op)));
        }
        let gradients = by_dtype!(x.dtype(), Self::NAME, T => gradients::<T>([x, weight, dy], dims))?;
        Ok(only_tracked(gradients, [x, weight].map(Tensor::track_op)))
    }
}

/// Gradients to `x` and to `weight`.
fn gradients<T: Element>(operands: [&Tensor; 3], dims: Dims) -> Result<[Tensor; 2]> {
    two_gradients::<T>(operands, |[x, weight, dy], [dx, dw]| {
        depthwise::backward(Input::Plain(x), weight, OutputGradient::Plain(dy), dx, None, dw, dims);
    })
}

/// Gradients to `x` and to `weight` of tensors on a CUDA device.
#[cfg(feature = "cuda")]
fn cuda_gradients([x, weight, dy]: [&Tensor; 3], dims: Dims) -> Result<[Tensor; 2]> {
    let (place, element) = (Place::of_tensor(x)?, cuda::Element::F32);
    let (dx, dw) = (place.zeros(x.elem_count())?, place.zeros(weight.elem_count())?);
    let sums = device::backward_partial(dims, element);
    let partial = place.scratch(sums.bytes(dims.channels))?;
    let contiguous = [x.contiguous()?, weight.contiguous()?, dy.contiguous()?];
    place.with(contiguous.each_ref(), |[x, weight, dy]| {
        let (x, into) = (cuda::Reading::plain(x), [place.view(&dx), partial.slice()]);
        let dy = device::OutputGradient { g: dy, behind: None };
        device::backward(&*place.queue, x, weight, dy, into, dims, element).map_err(error)?;
        let partial = (partial.slice(), sums);
        partial_sums::fold(&*place.queue, partial, 9, dims.channels, place.view(&dw)).map_err(error)
    })?;
    Ok([place.tensor(dx, x.shape()), place.tensor(dw, weight.shape())])
}
