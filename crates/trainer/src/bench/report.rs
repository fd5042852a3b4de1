//! What was measured, in numbers.

use super::measure::{Timed, median_ms};
use super::work::{self, Work};
use super::{BenchConfig, rss};
use crate::config::Precision;
use crate::error::Result;
use crate::learner::{Learner, StepTimes};
use serde::Serialize;
use sparse_model::{ConvKind, ConvLayer, LayerPaths, LayerTimes};
use sparse_network::{Plan, Step, StepOp};
use sparse_vectors::peak;
use std::time::Duration;

/// What the machine can do at most, measured when the benchmark starts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Peak {
    /// 10⁹ floating-point operations of f32 per second, in registers.
    pub gflops_per_second: f64,
    /// 10⁹ bytes per second between memory and the processor, half read and half written.
    pub gbytes_per_second: f64,
}

/// Training steps at one sparsity. Times are medians over the timed steps unless a field says another thing; the
/// times of parts and layers are medians of their own, so that they add up to a step only nearly.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BenchReport {
    /// The network, by the name that configs call it.
    pub model: &'static str,
    /// Fraction of each layer with masks that is pruned; 0 is a dense run.
    pub sparsity: f64,
    /// Processes that share the batch; all numbers but the next two are those of one.
    pub processes: usize,
    /// Images per step, of all.
    pub batch: usize,
    /// Height and width of the images.
    pub size: usize,
    /// `cpu`, or `cuda:N`.
    pub device: String,
    /// Compute threads of the host.
    pub threads: usize,
    /// How activations are stored.
    pub precision: Precision,
    /// `batch` by the median time of a step.
    pub images_per_second: f64,
    /// Share of a step that waits for other processes.
    pub waiting_share: f64,
    /// Milliseconds of a step.
    pub step_ms: f64,
    /// Milliseconds of the fastest step.
    pub step_ms_min: f64,
    /// Milliseconds of the slowest step.
    pub step_ms_max: f64,
    /// Milliseconds, median, of one step of a pruner that makes all masks anew at this ratio (in a dense run 0.5) over
    /// all prunable weights. It is not part of the timed steps. `None` on a GPU.
    pub pruner_ms: Option<f64>,
    /// The most memory the process had at a time up to here, in bytes: the sparsities before and the measurement of
    /// the machine count as well. `None` where the system does not tell.
    pub peak_rss_bytes: Option<u64>,
    /// 10⁹ floating-point operations per second, over the whole step; those of pruned weights do not count, even where
    /// a layer is computed with its zeros.
    pub gflops_per_second: f64,
    /// 10⁹ floating-point operations of pruned weights in a step: those that a dense step has more.
    pub gflops_skipped_per_step: f64,
    /// What the machine can do at most; `None` on a GPU.
    pub peak: Option<Peak>,
    /// The step by operation; nothing on a GPU, where a step is one queue of work.
    pub parts: Vec<Split>,
    /// The step by convolution, in the order of the network; nothing on a GPU.
    pub layers: Vec<LayerBench>,
}

/// One operation's part of a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Split {
    /// `spatial` (windows over all channels), `depthwise` and `pointwise` (convolutions of this kind with their batch norm), `between`
    /// (sums and pools of windows), `head` (global mean, head
    /// and loss), `layout` (moving the batch innermost), `masks` (what sparse layers need from masks), `enforce`
    /// (setting pruned weights to zero), `optimizer`, `pruner` (with masks that stay: nothing to do).
    pub operation: &'static str,
    /// Milliseconds in and before the forward pass; 0 for what comes after.
    pub forward_ms: f64,
    /// Milliseconds in and after the backward pass; 0 for what comes before.
    pub backward_ms: f64,
    /// 10⁹ floating-point operations of kept weights per second; `None` for what is no product.
    pub gflops_per_second: Option<f64>,
    /// Fraction of the step.
    pub share: f64,
}

/// One convolution with its batch norm.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerBench {
    /// Its name.
    pub name: String,
    /// `spatial`, `depthwise` or `pointwise`.
    pub kind: &'static str,
    /// Milliseconds forward.
    pub forward_ms: f64,
    /// Milliseconds backward, all gradients together.
    pub backward_ms: f64,
    /// 10⁹ floating-point operations of kept weights per second.
    pub gflops_per_second: f64,
    /// 10⁹ bytes of activations that must move per second: forward reads the input and writes the output; backward
    /// reads the output's gradient, the output and the input, and writes the input's gradient, which the first layer
    /// has not.
    pub gbytes_per_second: f64,
    /// Fraction of its weights that is pruned.
    pub sparsity: f64,
    /// Which products leave the zeros out; `None` for layers that never do.
    pub sparse_paths: Option<SparsePaths>,
}

/// Which products of a layer leave the zeros out; the others compute with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SparsePaths {
    /// The forward product.
    pub forward: bool,
    /// The gradient to the input.
    pub input_gradient: bool,
    /// The gradient to the weight.
    pub weight_gradient: bool,
}

/// What was measured at one sparsity.
pub(super) struct Measured {
    pub(super) steps: Vec<Timed>,
    /// Milliseconds of the pruner's step.
    pub(super) pruner: Option<f64>,
    pub(super) peak: Option<Peak>,
    pub(super) ranks: usize,
}

/// What the part of sums and pools of windows is called.
const BETWEEN: &str = "between";

/// Whether a network has sums or pools of windows.
fn has_between(plan: &Plan) -> bool {
    let is_between =
        |step: &Step| matches!(step.op, StepOp::Add | StepOp::MaxPool(_) | StepOp::AveragePool { .. });
    plan.steps.iter().any(is_between)
}

/// Milliseconds of a part of a step, forward and backward.
type Spent = [f64; 2];

/// Puts the numbers of one sparsity together.
pub(super) fn report(
    config: &BenchConfig,
    sparsity: f64,
    learner: &mut Learner,
    measured: Measured,
) -> Result<BenchReport> {
    let plan = Plan::new(config.network().graph()?)?;
    let table = plan.layers();
    let paths = learner.paths();
    let timed = !learner.is_on_device();
    let masks = learner.state()?.pruner().masks();
    let pruned = |layer: &ConvLayer| masks.get(&layer.weight).map_or(0, sparse_sparsity::Mask::pruned);
    let work = work::convolutions(config, &plan, pruned)?;
    let head = work::head(config, table.last().map_or(0, |layer| layer.outputs));
    let steps = &measured.steps;
    let spent: Vec<Spent> = table.iter().map(|layer| convolution_ms(steps, &layer.name)).collect();
    let step_ms = median_ms(steps.iter().map(|step| step.step));
    let ms = |step: Option<Duration>| step.unwrap_or_default().as_secs_f64() * 1e3;
    let layer = |index: usize| {
        let (layer, [forward_ms, backward_ms], work) = (&table[index], spent[index], work[index]);
        let weights: usize = layer.shape.iter().product();
        LayerBench {
            name: layer.name.clone(),
            kind: kind(layer),
            forward_ms,
            backward_ms,
            gflops_per_second: giga_per_second(work.flops, forward_ms + backward_ms),
            gbytes_per_second: giga_per_second(work.bytes, forward_ms + backward_ms),
            sparsity: pruned(layer) as f64 / weights as f64,
            sparse_paths: sparse_paths(&paths, layer),
        }
    };
    let flops = work.iter().map(|work| work.flops).sum::<f64>() + head;
    let parts = convolution_parts(&table, &spent, &work);
    Ok(BenchReport {
        model: config.model.name(),
        sparsity,
        processes: measured.ranks,
        batch: config.batch * measured.ranks,
        size: config.size,
        device: config.gpu.map_or_else(|| "cpu".to_owned(), |ordinal| format!("cuda:{ordinal}")),
        threads: peak::threads(),
        precision: config.precision,
        images_per_second: (config.batch * measured.ranks) as f64 / (step_ms / 1e3),
        waiting_share: median_ms(steps.iter().map(|step| step.times.others)) / step_ms.max(f64::MIN_POSITIVE),
        step_ms,
        step_ms_min: ms(steps.iter().map(|step| step.step).min()),
        step_ms_max: ms(steps.iter().map(|step| step.step).max()),
        pruner_ms: measured.pruner,
        peak_rss_bytes: rss::peak_rss_bytes(),
        gflops_per_second: giga_per_second(flops, step_ms),
        gflops_skipped_per_step: work.iter().map(|work| work.skipped).sum::<f64>() / 1e9,
        peak: measured.peak,
        parts: parts
            .chain(other_parts(steps, head))
            .filter(|_| timed)
            .filter(|&(operation, ..)| operation != BETWEEN || has_between(&plan))
            .map(|(operation, spent, flops)| split(operation, spent, flops, step_ms))
            .collect(),
        layers: (0..table.len()).filter(|_| timed).map(layer).collect(),
    })
}

fn convolution_ms(steps: &[Timed], name: &str) -> Spent {
    let times = |step: &Timed| step.times.passes.convolutions.get(name).copied().unwrap_or_default();
    let pass = |pick: fn(LayerTimes) -> Duration| median_ms(steps.iter().map(|step| pick(times(step))));
    [pass(|times| times.forward), pass(|times| times.backward)]
}

/// The convolutions by kind: name, time, and floating-point operations.
fn convolution_parts<'a>(
    table: &'a [ConvLayer],
    spent: &'a [Spent],
    work: &'a [Work],
) -> impl Iterator<Item = (&'static str, Spent, Option<f64>)> + 'a {
    let kinds = ["spatial", "depthwise", "pointwise"].into_iter();
    let there = kinds.filter(|&name| table.iter().any(|layer| kind(layer) == name));
    there.map(move |name| {
        let of_kind = || (0..table.len()).filter(move |&index| kind(&table[index]) == name);
        let pass = |pass: usize| of_kind().map(|index| spent[index][pass]).sum();
        (name, [pass(0), pass(1)], Some(of_kind().map(|index| work[index].flops).sum()))
    })
}

/// The rest of a step: name, time, and floating-point operations.
fn other_parts(steps: &[Timed], head_flops: f64) -> [(&'static str, Spent, Option<f64>); 7] {
    let ms = |pick: fn(&StepTimes) -> Duration| median_ms(steps.iter().map(|step| pick(&step.times)));
    let between = [ms(|times| times.passes.between.forward), ms(|times| times.passes.between.backward)];
    let head = [ms(|times| times.passes.head.forward), ms(|times| times.passes.head.backward)];
    [
        (BETWEEN, between, None),
        ("head", head, Some(head_flops)),
        ("layout", [ms(|times| times.passes.layout), 0.0], None),
        ("masks", [ms(|times| times.passes.masks), 0.0], None),
        ("enforce", [ms(|times| times.enforce), 0.0], None),
        ("optimizer", [0.0, ms(|times| times.optimizer)], None),
        ("pruner", [0.0, ms(|times| times.pruner)], None),
    ]
}

fn split(
    operation: &'static str,
    [forward_ms, backward_ms]: Spent,
    flops: Option<f64>,
    step_ms: f64,
) -> Split {
    let both = forward_ms + backward_ms;
    let gflops_per_second = flops.map(|flops| giga_per_second(flops, both));
    Split { operation, forward_ms, backward_ms, gflops_per_second, share: both / step_ms }
}

fn sparse_paths(paths: &[LayerPaths], layer: &ConvLayer) -> Option<SparsePaths> {
    let choice = paths.iter().find(|path| path.layer == layer.name)?.choice;
    Some(SparsePaths {
        forward: choice.forward,
        input_gradient: choice.input_gradient,
        weight_gradient: choice.weight_gradient,
    })
}

fn kind(layer: &ConvLayer) -> &'static str {
    match layer.kind {
        ConvKind::Spatial => "spatial",
        ConvKind::Depthwise => "depthwise",
        ConvKind::Pointwise => "pointwise",
    }
}

/// 10⁹ per second; 0 if no time was measured.
fn giga_per_second(count: f64, ms: f64) -> f64 {
    if ms > 0.0 { count / (ms * 1e6) } else { 0.0 }
}
