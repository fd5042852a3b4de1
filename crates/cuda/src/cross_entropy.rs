//! Softmax cross-entropy with what is counted of a batch, and the bias of the head.

use super::queue::{self, count};
use super::{Argument, Launch, Queue, Result, Slice};
use bytemuck::{Pod, Zeroable};

const THREADS: usize = 128;
/// Numbers known of an image: loss, label first, label among the first five.
const RESULTS: usize = 3;

/// `logits[n, ·] += bias`. Shapes: `logits: [N, classes]`, `bias: [classes]`.
///
/// # Errors
/// The queue's.
pub fn add_bias<Q: Queue>(
    queue: &Q,
    [logits, bias]: [Slice<'_>; 2],
    [batch, classes]: [usize; 2],
) -> Result<()> {
    logits.holds::<f32>(batch * classes);
    bias.holds::<f32>(classes);
    launch(queue, "add_bias", [batch, 1], &[logits.into(), bias.into(), count(classes).into()])
}

/// `dbias` = the sum of `dlogits: [N, classes]` over the batch, in order.
///
/// # Errors
/// The queue's.
pub fn bias_gradient<Q: Queue>(
    queue: &Q,
    [dlogits, dbias]: [Slice<'_>; 2],
    [batch, classes]: [usize; 2],
) -> Result<()> {
    dlogits.holds::<f32>(batch * classes);
    dbias.holds::<f32>(classes);
    let arguments = [dlogits.into(), dbias.into(), count(classes).into(), count(batch).into()];
    launch(queue, "bias_gradient", [classes.div_ceil(THREADS), 1], &arguments)
}

/// What a batch is to be learned as.
#[derive(Clone, Copy, Debug)]
pub struct Targets<'a> {
    /// `[N]` u32, each below the number of classes.
    pub labels: Slice<'a>,
    /// ε of label smoothing, fraction.
    pub smoothing: f64,
    /// A teacher's scores `[N, classes]`, the temperature, and the share of the soft targets, a fraction.
    pub soft: Option<(Slice<'a>, f64, f64)>,
}

/// `Targets` of `kernels/cross_entropy.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Shares {
    smoothing: f32,
    temperature: f32,
    soft: f32,
}

/// Scratch bytes that [`forward`] needs for a batch.
pub fn results_bytes(batch: usize) -> usize {
    batch * RESULTS * size_of::<f32>()
}

/// Bytes of the scalars of a batch: mean loss, images whose label is first, and among the first five, f64 each.
pub const SCALARS_BYTES: usize = RESULTS * size_of::<f64>();

/// The scalars of a batch, and the gradient of the mean loss to the scores if asked for.
///
/// Shapes: `logits, dlogits: [N, classes]` f32, `results: [N, 3]` f32, `scalars: [3]` f64.
///
/// # Errors
/// The queue's.
pub fn forward<Q: Queue>(
    queue: &Q,
    logits: Slice<'_>,
    targets: Targets<'_>,
    dlogits: Option<Slice<'_>>,
    [results, scalars]: [Slice<'_>; 2],
    [batch, classes]: [usize; 2],
) -> Result<()> {
    let teacher = targets.soft.map(|(teacher, ..)| teacher);
    [Some(logits), dlogits, teacher].iter().flatten().for_each(|slice| slice.holds::<f32>(batch * classes));
    targets.labels.holds::<u32>(batch);
    results.holds::<f32>(batch * RESULTS);
    scalars.holds::<f64>(RESULTS);
    let (temperature, soft) = targets.soft.map_or((1.0, 0.0), |(_, temperature, share)| (temperature, share));
    let [smoothing, temperature, soft] = [targets.smoothing, temperature, soft].map(|value| value as f32);
    let arguments = [
        logits.into(),
        targets.labels.into(),
        teacher.into(),
        Argument::of(Shares { smoothing, temperature, soft }),
        results.into(),
        dlogits.into(),
        count(classes).into(),
    ];
    launch(queue, "cross_entropy", [batch, 1], &arguments)?;
    launch(queue, "batch_results", [RESULTS, 1], &[results.into(), count(batch).into(), scalars.into()])
}

fn launch<Q: Queue>(queue: &Q, kernel: &str, [x, y]: [usize; 2], arguments: &[Argument]) -> Result<()> {
    let blocks = [count(x), count(y), 1];
    queue::launch(
        queue,
        &Launch { file: "cross_entropy", kernel, blocks, threads: THREADS as u32, arguments },
    )
}
