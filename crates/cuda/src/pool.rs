//! Global mean pooling, with the batch norm and bounds before it.

use super::batch_norm::{PartialSums, Reading};
use super::queue::{self, count};
use super::{Argument, Element, Launch, Queue, Result, Slice};

const THREADS: usize = 128;

/// Sizes of the last activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    /// Channels.
    pub channels: usize,
    /// Pixels of an image, H·W.
    pub plane: usize,
    /// Images.
    pub batch: usize,
    /// Storage.
    pub element: Element,
}

impl Dims {
    fn blocks(&self) -> usize {
        self.batch.div_ceil(THREADS)
    }

    /// Partial sums that [`backward`] leaves.
    pub fn partial(&self) -> PartialSums {
        PartialSums { chunks: self.blocks(), stride: 2, first: 0 }
    }

    fn sizes(&self) -> [Argument; 2] {
        [count(self.plane).into(), count(self.batch).into()]
    }

    #[track_caller]
    fn check(&self, x: Reading<'_>, pooled: Slice<'_>) {
        x.y.holds_elements(self.channels * self.plane * self.batch, self.element);
        pooled.holds::<f32>(self.channels * self.batch);
    }
}

/// `features[n, c]` = mean over the plane of `z[c, ·, n]`.
///
/// Shapes: `x.y: [C, plane, N]`, `features: [N, C]` f32.
///
/// # Errors
/// The queue's.
pub fn forward<Q: Queue>(queue: &Q, x: Reading<'_>, features: Slice<'_>, dims: Dims) -> Result<()> {
    dims.check(x, features);
    let [y, coefficients, bounds] = x.arguments(dims.channels);
    let [plane, batch] = dims.sizes();
    let arguments = [y, coefficients, bounds, features.into(), plane, batch];
    launch(queue, &dims.element.scalar_kernel("pool_forward"), [dims.blocks(), dims.channels], &arguments)
}

/// `g[c, ·, n] = dfeatures[n, c] / plane` where the bounds let it through, and partial sums of `g` and `g·(y − mean)`.
///
/// Shapes: `dfeatures: [N, C]` f32, `x.y, g: [C, plane, N]`, `partial: [C, blocks, 2]`.
///
/// # Errors
/// The queue's.
pub fn backward<Q: Queue>(
    queue: &Q,
    x: Reading<'_>,
    dfeatures: Slice<'_>,
    [g, partial]: [Slice<'_>; 2],
    dims: Dims,
) -> Result<()> {
    dims.check(x, dfeatures);
    g.holds_elements(dims.channels * dims.plane * dims.batch, dims.element);
    assert!(dims.partial().bytes(dims.channels) <= partial.bytes(), "partial sums of {dims:?}");
    let [y, coefficients, bounds] = x.arguments(dims.channels);
    let [plane, batch] = dims.sizes();
    let arguments = [y, coefficients, bounds, dfeatures.into(), g.into(), partial.into(), plane, batch];
    launch(queue, &dims.element.scalar_kernel("pool_backward"), [dims.blocks(), dims.channels], &arguments)
}

fn launch<Q: Queue>(queue: &Q, kernel: &str, [x, y]: [usize; 2], arguments: &[Argument]) -> Result<()> {
    let blocks = [count(x), count(y), 1];
    queue::launch(queue, &Launch { file: "pool", kernel, blocks, threads: THREADS as u32, arguments })
}
