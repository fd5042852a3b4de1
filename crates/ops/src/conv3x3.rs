//! Dense 3×3 convolution: the stem.

#[cfg(feature = "cuda")]
use crate::cuda::{DeviceOperand, DeviceOutput, Place, error};
use crate::host::{Binary, Element, Op, Operand, Output, dims4, ensure};
use candle_core::{Result, Shape, Tensor, bail};
#[cfg(feature = "cuda")]
use sparse_kernels::cuda::{self, Memory, stem};
use sparse_kernels::host::activation::OutputGradient;
use sparse_kernels::host::conv3x3::{self, Dims};
use sparse_kernels::host::padding::Padding;

/// 3×3 convolution with a border of zeros.
///
/// Shapes: `x: [Cin, H, W, N]`, `weight: [Cout, Cin, 3, 3]`, result `[Cout, ceil(H/stride), ceil(W/stride), N]`.
/// `stride` is 1 or 2.
///
/// # Errors
/// If the shapes do not fit together, the stride is another, or the element type is not f32 or f64.
pub fn conv3x3(x: &Tensor, weight: &Tensor, stride: usize, padding: Padding) -> Result<Tensor> {
    if !(1..=2).contains(&stride) {
        bail!("conv3x3: stride must be 1 or 2, got {stride}");
    }
    x.contiguous()?.apply_op2(&weight.contiguous()?, Op(Forward(Geometry { stride, padding })))
}

/// Gradient of [`conv3x3`] to its weight.
///
/// Shapes: `x: [Cin, H, W, N]`, `dy: [Cout, Ho, Wo, N]`, result `[Cout, Cin, 3, 3]`.
///
/// # Errors
/// If the shapes do not fit together.
fn conv3x3_weight_gradient(x: &Tensor, dy: &Tensor, geometry: Geometry) -> Result<Tensor> {
    dy.apply_op2_no_bwd(x, &Op(WeightGradient(geometry)))
}

#[derive(Clone, Copy)]
struct Geometry {
    stride: usize,
    padding: Padding,
}

struct Forward(Geometry);

/// `x`: dimensions of the forward input.
struct InputGradient {
    x: [usize; 4],
    geometry: Geometry,
}

struct WeightGradient(Geometry);

fn dims_of([inputs, height, width, batch]: [usize; 4], outputs: usize, geometry: Geometry) -> Dims {
    let Geometry { stride, padding } = geometry;
    Dims { outputs, inputs, height, width, batch, stride, padding }
}

impl Forward {
    fn dims(&self, x: &[usize], weight: &[usize]) -> Result<Dims> {
        let [outputs, inputs, kh, kw] = dims4(weight, Self::NAME)?;
        let dims = dims_of(dims4(x, Self::NAME)?, outputs, self.0);
        ensure(inputs == dims.inputs && (kh, kw) == (3, 3), Self::NAME, x, weight)?;
        Ok(dims)
    }
}

impl Binary for Forward {
    const NAME: &'static str = "conv3x3";

    fn run<T: Element>(&self, x: Operand<'_, T>, weight: Operand<'_, T>) -> Output<T> {
        let dims = self.dims(x.dims, weight.dims)?;
        let shape = Shape::from((dims.outputs, dims.out_height(), dims.out_width(), dims.batch));
        let mut y = vec![T::default(); shape.elem_count()];
        conv3x3::forward(x.data, weight.data, &mut y, None, dims);
        Ok((y, shape))
    }

    #[cfg(feature = "cuda")]
    fn run_cuda(&self, place: &Place, x: DeviceOperand<'_>, weight: DeviceOperand<'_>) -> DeviceOutput {
        let dims = self.dims(x.dims, weight.dims)?;
        let shape = Shape::from((dims.outputs, dims.out_height(), dims.out_width(), dims.batch));
        let y = place.zeros(shape.elem_count())?;
        let operands = [x.slice, weight.slice, place.view(&y)];
        stem::forward(&*place.queue, operands, None, dims, cuda::Element::F32).map_err(error)?;
        Ok((y, shape))
    }

    fn gradients(&self, x: &Tensor, weight: &Tensor, dy: &Tensor) -> Result<[Option<Tensor>; 2]> {
        let geometry = self.0;
        // Images are no variable, so that their gradient is rarely asked for.
        let dx =
            || dy.apply_op2_no_bwd(weight, &Op(InputGradient { x: dims4(x.dims(), Self::NAME)?, geometry }));
        let dw = || conv3x3_weight_gradient(x, dy, geometry);
        Ok([x.track_op().then(dx).transpose()?, weight.track_op().then(dw).transpose()?])
    }
}

impl Binary for InputGradient {
    const NAME: &'static str = "conv3x3-input-gradient";

    fn run<T: Element>(&self, dy: Operand<'_, T>, weight: Operand<'_, T>) -> Output<T> {
        let shape = Shape::from(self.x.to_vec());
        let mut dx = vec![T::default(); shape.elem_count()];
        conv3x3::input_gradient(
            weight.data,
            dy.data,
            &mut dx,
            dims_of(self.x, weight.dims[0], self.geometry),
        );
        Ok((dx, shape))
    }
}

impl WeightGradient {
    fn dims(&self, x: &[usize], dy: &[usize]) -> Result<Dims> {
        let dims = dims_of(dims4(x, Self::NAME)?, dy[0], self.0);
        let fits = [dims.outputs, dims.out_height(), dims.out_width(), dims.batch] == *dy;
        ensure(fits, Self::NAME, x, dy)?;
        Ok(dims)
    }
}

impl Binary for WeightGradient {
    const NAME: &'static str = "conv3x3-weight-gradient";

    fn run<T: Element>(&self, dy: Operand<'_, T>, x: Operand<'_, T>) -> Output<T> {
        let dims = self.dims(x.dims, dy.dims)?;
        let shape = Shape::from((dims.outputs, dims.inputs, 3, 3));
        let mut dw = vec![T::default(); shape.elem_count()];
        conv3x3::weight_gradient(x.data, OutputGradient::Plain(dy.data), &mut dw, dims);
        Ok((dw, shape))
    }

    #[cfg(feature = "cuda")]
    fn run_cuda(&self, place: &Place, dy: DeviceOperand<'_>, x: DeviceOperand<'_>) -> DeviceOutput {
        let dims = self.dims(x.dims, dy.dims)?;
        let shape = Shape::from((dims.outputs, dims.inputs, 3, 3));
        let dw = place.zeros(shape.elem_count())?;
        let element = cuda::Element::F32;
        let partial =
            place.scratch(stem::gradient_partial(dims, element).bytes(dims.inputs * dims.outputs))?;
        let dy = cuda::depthwise::OutputGradient { g: dy.slice, behind: None };
        let into = [partial.slice(), place.view(&dw)];
        stem::weight_gradient(&*place.queue, x.slice, dy, into, dims, element).map_err(error)?;
        Ok((dw, shape))
    }
}
