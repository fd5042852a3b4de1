//! Batch norm and bounds in training: statistics, normalising, and the way of a gradient back.

use super::queue::{self, count};
use super::{Argument, Element, Launch, Queue, Result, Slice};
use sparse_network::Bounds;

const FILE: &str = "batch_norm";
const THREADS: usize = 256;
/// Vectors of a thread, at least; and chunks of a channel, at most.
const EACH: usize = 8;
const MOST_CHUNKS: usize = 64;
/// Numbers of a chunk's moments.
pub(crate) const MOMENTS: usize = 3;
/// Rows of the coefficients of a layer.
const ROWS: usize = 7;

/// The coefficients of the batch norm behind a convolution, `[ROWS, C]` f32: what `kernels/common.cuh` lists.
#[derive(Clone, Copy, Debug)]
pub struct Coefficients<'a> {
    slice: Slice<'a>,
    channels: usize,
}

impl<'a> Coefficients<'a> {
    /// Bytes for so many channels.
    pub fn bytes(channels: usize) -> usize {
        ROWS * channels * size_of::<f32>()
    }

    /// Those that lie in `slice`.
    ///
    /// # Panics
    /// If it is too short: a fault of the caller.
    pub fn new(slice: Slice<'a>, channels: usize) -> Self {
        slice.holds::<f32>(ROWS * channels);
        Self { slice, channels }
    }

    /// All rows.
    pub fn slice(&self) -> Slice<'a> {
        self.slice
    }
}

/// What lies in memory, read as what follows it.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// `[C, pixels]`.
    pub y: Slice<'a>,
    /// Of its batch norm; `None` reads values as they are.
    pub coefficients: Option<Coefficients<'a>>,
    /// What bounds them then.
    pub bounds: Bounds,
}

impl<'a> Reading<'a> {
    /// Values as they are.
    pub fn plain(y: Slice<'a>) -> Self {
        Self { y, coefficients: None, bounds: Bounds::NONE }
    }

    /// As kernels take it: values, coefficients, bounds.
    #[track_caller]
    pub(crate) fn arguments(&self, channels: usize) -> [Argument; 3] {
        let coefficients = self.coefficients;
        assert!(coefficients.is_none_or(|of| of.channels == channels), "coefficients of {channels} channels");
        [self.y.into(), coefficients.map(|of| of.slice).into(), self.bounds.into()]
    }
}

/// A layer's channels and how they are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    /// Channels.
    pub channels: usize,
    /// Pixels of a channel, H·W·N.
    pub pixels: usize,
    /// Storage.
    pub element: Element,
}

impl Dims {
    /// Panics unless all have room for the channels.
    #[track_caller]
    pub(crate) fn check(&self, slices: &[Slice<'_>]) {
        slices.iter().for_each(|slice| slice.holds_elements(self.channels * self.pixels, self.element));
    }

    /// Pixels of a block: a function of the shape alone, so that sums repeat.
    fn chunk(&self) -> usize {
        let step = THREADS * self.element.vector(self.pixels);
        self.pixels.div_ceil(MOST_CHUNKS).max(step * EACH).next_multiple_of(step)
    }

    fn chunks(&self) -> usize {
        self.pixels.div_ceil(self.chunk())
    }

    /// Moments that [`statistics`] leaves.
    pub fn moments(&self) -> PartialSums {
        PartialSums { chunks: self.chunks(), stride: MOMENTS, first: 0 }
    }

    /// Partial sums that [`gate`] leaves.
    pub fn partial(&self) -> PartialSums {
        PartialSums { chunks: self.chunks(), stride: 2, first: 0 }
    }
}

/// How partial sums lie: `[C, chunks, stride]`, with the two that matter at `first`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialSums {
    /// Sums of each channel.
    pub chunks: usize,
    /// Numbers of a chunk.
    pub stride: usize,
    /// Where the two sums lie in a chunk.
    pub first: usize,
}

impl PartialSums {
    /// Bytes for so many channels.
    pub fn bytes(&self, channels: usize) -> usize {
        channels * self.chunks * self.stride * size_of::<f32>()
    }
}

/// Moments of each chunk of `y`: count, mean, sum of squared distances to it.
///
/// Shapes: `y: [C, pixels]`, `partial: [C, chunks, 3]`.
///
/// # Errors
/// The queue's.
pub fn statistics<Q: Queue>(queue: &Q, y: Slice<'_>, partial: Slice<'_>, dims: Dims) -> Result<()> {
    dims.check(&[y]);
    partial.holds::<f32>(dims.channels * dims.chunks() * MOMENTS);
    launch_chunks(queue, FILE, "statistics", dims, &[y.into(), partial.into()])
}

/// `z`, for a product that cannot normalise while it reads.
///
/// Shapes: `x.y, z: [C, pixels]`.
///
/// # Errors
/// The queue's.
pub fn normalise<Q: Queue>(queue: &Q, x: Reading<'_>, z: Slice<'_>, dims: Dims) -> Result<()> {
    dims.check(&[x.y, z]);
    let [y, coefficients, bounds] = x.arguments(dims.channels);
    launch_chunks(queue, FILE, "normalise", dims, &[y, coefficients, bounds, z.into()])
}

/// The gradient to a layer's raw output from the gated gradient `g`.
///
/// Shapes: `g, y, dy: [C, pixels]`.
///
/// # Errors
/// The queue's.
pub fn output_gradient<Q: Queue>(
    queue: &Q,
    [g, y]: [Slice<'_>; 2],
    coefficients: Coefficients<'_>,
    dy: Slice<'_>,
    dims: Dims,
) -> Result<()> {
    dims.check(&[g, y, dy]);
    assert_eq!(coefficients.channels, dims.channels, "channels of the coefficients");
    let arguments = [g.into(), y.into(), coefficients.slice.into(), dy.into()];
    launch_chunks(queue, FILE, "output_gradient", dims, &arguments)
}

/// A gradient to a value in one or two parts, and where their sum goes, which may be where one of them lies; `[C, pixels]` each.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// What one reader of the value says.
    pub first: Slice<'a>,
    /// What those before it said.
    pub second: Option<Slice<'a>>,
    /// Their sum.
    pub sum: Slice<'a>,
}

impl<'a> Parts<'a> {
    /// A gradient that stays where it lies.
    pub fn whole(g: Slice<'a>) -> Self {
        Self { first: g, second: None, sum: g }
    }
}

/// Adds up the parts of a gradient. The last time, with `x`, sets it to zero where the bounds of `x` were shut, and leaves partial sums of `g` and
/// `g·(y − mean)` if asked for.
///
/// Shapes: `x.y: [C, pixels]`, `partial: [C, chunks, 2]`.
///
/// # Errors
/// The queue's.
pub fn gate<Q: Queue>(
    queue: &Q,
    parts: Parts<'_>,
    x: Option<Reading<'_>>,
    partial: Option<Slice<'_>>,
    dims: Dims,
) -> Result<()> {
    let Parts { first, second, sum } = parts;
    dims.check(&[first, second.unwrap_or(first), sum, x.map_or(sum, |x| x.y)]);
    partial.iter().for_each(|partial| partial.holds::<f32>(dims.channels * dims.chunks() * 2));
    let x = x.unwrap_or(Reading::plain(Slice::EMPTY));
    let [y, coefficients, bounds] = x.arguments(dims.channels);
    let arguments = [first.into(), second.into(), sum.into(), y, coefficients, bounds, partial.into()];
    launch_chunks(queue, FILE, "gate", dims, &arguments)
}

/// What batch norm keeps and learns, `[C]` each.
#[derive(Clone, Copy, Debug)]
pub struct Parameters<'a> {
    /// Running mean.
    pub running_mean: Slice<'a>,
    /// Running variance.
    pub running_variance: Slice<'a>,
    /// Scale γ.
    pub scale: Slice<'a>,
    /// Offset β.
    pub offset: Slice<'a>,
}

/// The constants of batch norm.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// Fraction of the running statistics that is kept.
    pub momentum: f64,
    /// Added to the variance.
    pub epsilon: f64,
}

/// Coefficients from moments of each channel; running statistics are blended. Without moments the running statistics count.
///
/// # Errors
/// The queue's.
pub fn close_statistics<Q: Queue>(
    queue: &Q,
    moments: Option<(Slice<'_>, PartialSums)>,
    parameters: Parameters<'_>,
    form: Form,
    into: Coefficients<'_>,
) -> Result<()> {
    let channels = into.channels;
    let Parameters { running_mean, running_variance, scale, offset } = parameters;
    [running_mean, running_variance, scale, offset].iter().for_each(|slice| slice.holds::<f32>(channels));
    if let Some((partial, sums)) = moments {
        assert!(
            sums.stride == MOMENTS && sums.first == 0 && sums.bytes(channels) <= partial.bytes(),
            "{sums:?}"
        );
    }
    let arguments = [
        moments.map(|(partial, _)| partial).into(),
        count(moments.map_or(0, |(_, sums)| sums.chunks)).into(),
        running_mean.into(),
        running_variance.into(),
        scale.into(),
        offset.into(),
        (form.momentum as f32).into(),
        (form.epsilon as f32).into(),
        u32::from(moments.is_some()).into(),
        into.slice.into(),
    ];
    close(queue, "close_statistics", channels, &arguments)
}

/// Coefficients that add a bias `[C]`.
///
/// # Errors
/// The queue's.
pub fn take_bias<Q: Queue>(queue: &Q, bias: Slice<'_>, into: Coefficients<'_>) -> Result<()> {
    bias.holds::<f32>(into.channels);
    let arguments = [bias.into(), count(into.channels).into(), into.slice.into()];
    close(queue, "take_bias", into.channels.div_ceil(32), &arguments)
}

/// From partial sums of the gated gradient: the gradients to scale and offset, and the coefficients of its way back.
///
/// # Errors
/// The queue's.
pub fn close_gradient<Q: Queue>(
    queue: &Q,
    (partial, sums): (Slice<'_>, PartialSums),
    pixels: usize,
    coefficients: Coefficients<'_>,
    [dscale, doffset]: [Slice<'_>; 2],
) -> Result<()> {
    let channels = coefficients.channels;
    [dscale, doffset].iter().for_each(|slice| slice.holds::<f32>(channels));
    assert!(sums.first + 2 <= sums.stride && sums.bytes(channels) <= partial.bytes(), "{sums:?}");
    let arguments = [
        partial.into(),
        count(sums.chunks).into(),
        count(sums.stride).into(),
        count(sums.first).into(),
        count(pixels).into(),
        coefficients.slice.into(),
        dscale.into(),
        doffset.into(),
    ];
    close(queue, "close_gradient", channels, &arguments)
}

/// A kernel over the chunks of each channel; the sizes follow the arguments.
pub(crate) fn launch_chunks<Q: Queue>(
    queue: &Q,
    file: &'static str,
    name: &str,
    dims: Dims,
    arguments: &[Argument],
) -> Result<()> {
    let mut arguments = arguments.to_vec();
    arguments.extend([dims.pixels, dims.chunk()].map(|size| Argument::from(count(size))));
    let kernel = &dims.element.kernel(name, dims.pixels);
    let blocks = [count(dims.chunks()), count(dims.channels), 1];
    queue::launch(queue, &Launch { file, kernel, blocks, threads: THREADS as u32, arguments: &arguments })
}

/// So many warps, of a channel each or of 32.
fn close<Q: Queue>(queue: &Q, kernel: &str, warps: usize, arguments: &[Argument]) -> Result<()> {
    let blocks = [count(warps), 1, 1];
    queue::launch(queue, &Launch { file: "coefficients", kernel, blocks, threads: 32, arguments })
}
