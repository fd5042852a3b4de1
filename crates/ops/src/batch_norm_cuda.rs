//! Batch norm followed by ReLU or ReLU6 on CUDA tensors.

use crate::Form;
use crate::cuda::{DeviceOperand, DeviceOutput, Place, error};
use candle_core::{Result, Shape, Tensor};
use sparse_kernels::cuda::batch_norm::{self, Coefficients, Dims, Parameters, Reading};
use sparse_kernels::cuda::{DeviceMemory, Element, Memory, Slice};

fn dims_of(dims: &[usize]) -> Dims {
    let (channels, pixels) = (dims[0], dims[1..].iter().product());
    Dims { channels, pixels, element: Element::F32 }
}

/// `[2, C]`: what the first two rows of coefficients are, the mean and the variance.
pub(crate) fn statistics(place: &Place, x: DeviceOperand<'_>) -> DeviceOutput {
    let dims = dims_of(x.dims);
    let partial = place.scratch(dims.moments().bytes(dims.channels))?;
    batch_norm::statistics(&*place.queue, x.slice, partial.slice(), dims).map_err(error)?;
    let rows = place.zeros(Coefficients::bytes(dims.channels) / size_of::<f32>())?;
    let into = Coefficients::new(place.view(&rows), dims.channels);
    let own = place.scratch(4 * dims.channels * size_of::<f32>())?;
    let row = |index: usize| row(own.slice(), index, dims.channels);
    let parameters =
        Parameters { running_mean: row(0), running_variance: row(1), scale: row(2), offset: row(3) };
    let form = batch_norm::Form { momentum: 0.0, epsilon: 1.0 };
    let moments = Some((partial.slice(), dims.moments()));
    batch_norm::close_statistics(&*place.queue, moments, parameters, form, into).map_err(error)?;
    let both = place.zeros(2 * dims.channels)?;
    let found = place.view(&rows).part(0, 2 * dims.channels * size_of::<f32>());
    place.queue.copy(found, place.view(&both)).map_err(error)?;
    Ok((both, Shape::from((2, dims.channels))))
}

/// The coefficients that given statistics make.
fn coefficients(
    place: &Place,
    [statistics, scale, offset]: [Slice<'_>; 3],
    channels: usize,
    epsilon: f64,
) -> Result<DeviceMemory> {
    let rows = place.scratch(Coefficients::bytes(channels))?;
    let parameters = Parameters {
        running_mean: row(statistics, 0, channels),
        running_variance: row(statistics, 1, channels),
        scale,
        offset,
    };
    let form = batch_norm::Form { momentum: 1.0, epsilon };
    let into = Coefficients::new(rows.slice(), channels);
    batch_norm::close_statistics(&*place.queue, None, parameters, form, into).map_err(error)?;
    Ok(rows)
}

fn row(rows: Slice<'_>, index: usize, channels: usize) -> Slice<'_> {
    let bytes = channels * size_of::<f32>();
    rows.part(index * bytes, bytes)
}

fn reading<'a>(y: Slice<'a>, rows: &'a DeviceMemory, channels: usize, form: Form) -> Reading<'a> {
    let coefficients = Some(Coefficients::new(rows.slice(), channels));
    Reading { y, coefficients, activation: form.activation }
}

pub(crate) fn forward(
    place: &Place,
    [x, scale, offset]: [DeviceOperand<'_>; 3],
    statistics: &Tensor,
    form: Form,
) -> DeviceOutput {
    let dims = dims_of(x.dims);
    let y = place.zeros(dims.channels * dims.pixels)?;
    let statistics = statistics.contiguous()?;
    place.with([&statistics], |[statistics]| {
        let given = [statistics, scale.slice, offset.slice];
        let rows = coefficients(place, given, dims.channels, form.epsilon)?;
        let x = reading(x.slice, &rows, dims.channels, form);
        batch_norm::normalise(&*place.queue, x, place.view(&y), dims).map_err(error)
    })?;
    Ok((y, Shape::from(x.dims.to_vec())))
}

/// Gradients to `x`, `scale` and `offset`, the statistics being those of `x`.
pub(crate) fn gradients(
    [x, scale, offset]: [&Tensor; 3],
    dy: &Tensor,
    statistics: &Tensor,
    form: Form,
) -> Result<[Tensor; 3]> {
    let (place, dims) = (Place::of_tensor(x)?, dims_of(x.dims()));
    let channels = dims.channels;
    let [g, dx] = [place.zeros(x.elem_count())?, place.zeros(x.elem_count())?];
    let [dscale, doffset] = [place.zeros(channels)?, place.zeros(channels)?];
    let partial = place.scratch(dims.partial().bytes(channels))?;
    let operands = [x, scale, offset, dy, statistics].map(Tensor::contiguous);
    let [x_here, scale_here, offset_here, dy_here, statistics_here] = operands;
    let operands = [&x_here?, &scale_here?, &offset_here?, &dy_here?, &statistics_here?];
    place.with(operands, |[x, scale, offset, dy, statistics]| {
        let queue = &*place.queue;
        let rows = coefficients(&place, [statistics, scale, offset], channels, form.epsilon)?;
        let of = Coefficients::new(rows.slice(), channels);
        let (gated, sums) = (place.view(&g), (partial.slice(), dims.partial()));
        queue.copy(dy, gated).map_err(error)?;
        batch_norm::gate(queue, gated, reading(x, &rows, channels, form), partial.slice(), dims)
            .map_err(error)?;
        let into = [place.view(&dscale), place.view(&doffset)];
        batch_norm::close_gradient(queue, sums, dims.pixels, of, into).map_err(error)?;
        batch_norm::output_gradient(queue, [gated, x], of, place.view(&dx), dims).map_err(error)
    })?;
    Ok([place.tensor(dx, x.shape()), place.tensor(dscale, channels), place.tensor(doffset, channels)])
}
