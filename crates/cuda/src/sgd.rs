//! Momentum SGD with L2 decay and masks over all tensors.

use super::chunks::Chunks;
use super::queue::{self, count};
use super::{Argument, Launch, Queue, Result, Slice};
use bytemuck::{Pod, Zeroable};

/// What a step does to each weight: `v = μ·v + (g·scale + λ·w)`, `w −= lr·v`.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Learning rate.
    pub learning_rate: f64,
    /// μ, fraction of the old velocity kept.
    pub momentum: f64,
    /// λ, added as λ·w to the gradient.
    pub l2_decay: f64,
    /// Whether the gradient of a pruned weight counts as zero.
    pub masked: bool,
    /// With `masked`: its velocity is zero too, so that it cannot come back.
    pub hold_pruned: bool,
}

/// `Rule` of `kernels/sgd.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Constants {
    learning_rate: f32,
    momentum: f32,
    l2_decay: f32,
    masked: u32,
    hold_pruned: u32,
}

/// Runs of all parameters, of one layout.
#[derive(Clone, Copy, Debug)]
pub struct Runs<'a> {
    /// f32, updated.
    pub weights: Slice<'a>,
    /// f32.
    pub gradients: Slice<'a>,
    /// f32, updated.
    pub velocities: Slice<'a>,
    /// A bit for each element.
    pub words: Slice<'a>,
}

/// One step. `scale: [1]` f32 is a factor on all gradients, `None` = 1.
///
/// # Errors
/// The queue's.
pub fn step<Q: Queue>(
    queue: &Q,
    runs: Runs<'_>,
    rule: Rule,
    scale: Option<Slice<'_>>,
    chunks: &Chunks<Q::Memory>,
) -> Result<()> {
    let Runs { weights, gradients, velocities, words } = runs;
    chunks.fit(&[weights, gradients, velocities], &[words]);
    scale.iter().for_each(|scale| scale.holds::<f32>(1));
    let [learning_rate, momentum, l2_decay] =
        [rule.learning_rate, rule.momentum, rule.l2_decay].map(|value| value as f32);
    let [masked, hold_pruned] = [rule.masked, rule.hold_pruned].map(u32::from);
    let arguments = [
        weights.into(),
        gradients.into(),
        velocities.into(),
        words.into(),
        chunks.slice().into(),
        Argument::of(Constants { learning_rate, momentum, l2_decay, masked, hold_pruned }),
        scale.into(),
    ];
    launch(queue, "momentum_step", chunks.len(), &arguments)
}

/// `scale: [1]` = min(1, longest / norm of all gradients). `partial` has room for a f32 of each chunk.
///
/// # Errors
/// The queue's.
pub fn clip<Q: Queue>(
    queue: &Q,
    runs: Runs<'_>,
    masked: bool,
    longest: f64,
    [partial, scale]: [Slice<'_>; 2],
    chunks: &Chunks<Q::Memory>,
) -> Result<()> {
    chunks.fit(&[runs.gradients], &[runs.words]);
    partial.holds::<f32>(chunks.len());
    scale.holds::<f32>(1);
    let arguments = [
        runs.gradients.into(),
        runs.words.into(),
        chunks.slice().into(),
        u32::from(masked).into(),
        partial.into(),
    ];
    launch(queue, "squared_norms", chunks.len(), &arguments)?;
    let arguments = [partial.into(), count(chunks.len()).into(), (longest as f32).into(), scale.into()];
    launch(queue, "clip_scale", 1, &arguments)
}

fn launch<Q: Queue>(queue: &Q, kernel: &str, blocks: usize, arguments: &[Argument]) -> Result<()> {
    queue::launch(
        queue,
        &Launch { file: "sgd", kernel, blocks: [count(blocks), 1, 1], threads: 256, arguments },
    )
}
