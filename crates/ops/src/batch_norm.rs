//! Batch norm followed by bounds.

use crate::host::{Element, Op, Operand, Output, Ternary, Unary, ensure, only_tracked};
use candle_core::{Result, Shape, Tensor};
use sparse_kernels::batch_norm::{self as kernel, Channels};
use sparse_network::Bounds;

/// Mean and biased variance of each channel, as one tensor `[2, C]`.
#[derive(Clone, Debug)]
pub struct ChannelStatistics(Tensor);

impl ChannelStatistics {
    /// The statistics of a batch, `x: [C, H, W, N]`. They carry no gradient of their own: the backward pass of
    /// [`batch_norm`] accounts for their dependence on `x`.
    ///
    /// # Errors
    /// If the element type is not f32 or f64.
    pub fn of_batch(x: &Tensor) -> Result<Self> {
        x.contiguous()?.apply_op1_no_bwd(&Op(Statistics)).map(Self)
    }

    /// Given statistics (running averages), `mean: [C]`, `variance: [C]`.
    ///
    /// # Errors
    /// If the shapes differ.
    pub fn given(mean: &Tensor, variance: &Tensor) -> Result<Self> {
        Tensor::stack(&[mean, variance], 0).map(|both| Self(both.detach()))
    }

    /// Mean, `[C]`.
    ///
    /// # Errors
    /// Candle's, on indexing.
    pub fn mean(&self) -> Result<Tensor> {
        self.0.get(0)
    }

    /// Biased variance, `[C]`.
    ///
    /// # Errors
    /// Candle's, on indexing.
    pub fn variance(&self) -> Result<Tensor> {
        self.0.get(1)
    }
}

/// The constants of a [`batch_norm`].
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// Added to the variance.
    pub epsilon: f64,
    /// What bounds the result.
    pub bounds: Bounds,
}

/// `min(max((x − mean) / sqrt(variance + epsilon) · scale + offset, low), high)`.
///
/// Shapes: `x: [C, H, W, N]`, `scale, offset: [C]`. In the backward pass the statistics are taken to be those
/// of `x` itself, so train with [`ChannelStatistics::of_batch`] and use [`ChannelStatistics::given`] only for
/// inference.
///
/// # Errors
/// If the shapes do not fit together or the element type is not f32 or f64.
pub fn batch_norm(
    x: &Tensor,
    statistics: &ChannelStatistics,
    [scale, offset]: [&Tensor; 2],
    form: Form,
) -> Result<Tensor> {
    let op = Forward { statistics: statistics.clone(), form };
    x.contiguous()?.apply_op3(&scale.contiguous()?, &offset.contiguous()?, Op(op))
}

/// Gradients of [`batch_norm`] to `x`, `scale` and `offset`, the statistics being those of `x`.
///
/// Shapes: `x`, its result `y` and the gradient `dy`: `[C, H, W, N]`; results `[C, H, W, N]`, `[C]`, `[C]`.
///
/// # Errors
/// If the shapes do not fit together.
fn batch_norm_gradients(
    [x, y, dy]: [&Tensor; 3],
    statistics: &ChannelStatistics,
    scale: &Tensor,
    form: Form,
) -> Result<[Tensor; 3]> {
    let statistics = &statistics.0;
    let sums = x.apply_op3_no_bwd(y, dy, &Op(ParameterGradients { statistics, form, scale }))?;
    let dx = x.apply_op3_no_bwd(y, dy, &Op(InputGradient { statistics, form, scale, sums: &sums }))?;
    Ok([dx, sums.get(0)?, sums.get(1)?])
}

struct Statistics;

impl Unary for Statistics {
    const NAME: &'static str = "channel-statistics";

    fn run<T: Element>(&self, x: Operand<'_, T>) -> Output<T> {
        let channels = x.dims[0];
        let mut both = vec![T::default(); 2 * channels];
        let (mean, variance) = both.split_at_mut(channels);
        kernel::statistics(x.data, mean, variance);
        Ok((both, Shape::from((2, channels))))
    }
}

struct Forward {
    statistics: ChannelStatistics,
    form: Form,
}

/// Runs `body` on the statistics as slices.
fn with_channels<T: Element, R>(
    statistics: &Tensor,
    scale: &[T],
    form: Form,
    body: impl FnOnce(Channels<'_, T>) -> R,
) -> Result<R> {
    let (storage, layout) = statistics.storage_and_layout();
    let candle_core::Storage::Cpu(storage) = &*storage else {
        candle_core::bail!("batch norm statistics are not on the CPU")
    };
    let both = Operand::<T>::new(storage, layout)?;
    let (mean, variance) = both.data.split_at(scale.len());
    let Form { epsilon, bounds } = form;
    Ok(body(Channels { mean, variance, scale, epsilon, bounds }))
}

impl Ternary for Forward {
    const NAME: &'static str = "batch-norm";

    fn run<T: Element>(&self, [x, scale, offset]: [Operand<'_, T>; 3]) -> Output<T> {
        let channels = x.dims[0];
        ensure(scale.dims == [channels] && offset.dims == [channels], Self::NAME, x.dims, scale.dims)?;
        ensure(self.statistics.0.dims() == [2, channels], Self::NAME, x.dims, self.statistics.0.dims())?;
        let mut y = vec![T::default(); x.data.len()];
        with_channels(&self.statistics.0, scale.data, self.form, |channels| {
            kernel::forward(x.data, channels, offset.data, &mut y);
        })?;
        Ok((y, Shape::from(x.dims.to_vec())))
    }

    fn gradients(
        &self,
        [x, scale, offset]: [&Tensor; 3],
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<[Option<Tensor>; 3]> {
        let tracked = [x, scale, offset].map(Tensor::track_op);
        let gradients = batch_norm_gradients([x, y, dy], &self.statistics, scale, self.form)?;
        Ok(only_tracked(gradients, tracked))
    }
}

/// Gradients to scale and offset, as one tensor `[2, C]`.
struct ParameterGradients<'a> {
    statistics: &'a Tensor,
    form: Form,
    scale: &'a Tensor,
}

impl Ternary for ParameterGradients<'_> {
    const NAME: &'static str = "batch-norm-parameter-gradients";

    fn run<T: Element>(&self, [x, y, dy]: [Operand<'_, T>; 3]) -> Output<T> {
        let channels = x.dims[0];
        let mut both = vec![T::default(); 2 * channels];
        let (dscale, doffset) = both.split_at_mut(channels);
        let scale = self.scale.to_vec1::<T>()?;
        with_channels(self.statistics, &scale, self.form, |channels| {
            kernel::parameter_gradients([x.data, y.data, dy.data], channels, dscale, doffset);
        })?;
        Ok((both, Shape::from((2, channels))))
    }
}

/// `sums: [2, C]`, the gradients to scale and offset.
struct InputGradient<'a> {
    statistics: &'a Tensor,
    form: Form,
    scale: &'a Tensor,
    sums: &'a Tensor,
}

impl Ternary for InputGradient<'_> {
    const NAME: &'static str = "batch-norm-input-gradient";

    fn run<T: Element>(&self, [x, y, dy]: [Operand<'_, T>; 3]) -> Output<T> {
        let mut dx = vec![T::default(); x.data.len()];
        let scale = self.scale.to_vec1::<T>()?;
        let sums = self.sums.flatten_all()?.to_vec1::<T>()?;
        let (dscale, doffset) = sums.split_at(scale.len());
        with_channels(self.statistics, &scale, self.form, |channels| {
            kernel::input_gradient([x.data, y.data, dy.data], channels, [dscale, doffset], &mut dx);
        })?;
        Ok((dx, Shape::from(x.dims.to_vec())))
    }
}
