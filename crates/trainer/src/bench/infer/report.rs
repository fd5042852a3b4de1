//! What was measured, in numbers.

use super::super::InferConfig;
use super::super::measure::median_ms;
use super::network::Network;
use super::timing::Turns;
use serde::Serialize;
use sparse_engine::Engine;
use std::time::Duration;

/// From this ratio of dense to sparse time on the zeros are said to pay; nearer to 1 two medians differ by chance.
const FASTER: f64 = 1.02;

/// One network at one batch size. Times are of whole batches.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InferReport {
    /// The weights, or "random".
    pub weights: String,
    /// Fraction of zeros of each pointwise layer for random weights, else of the weights of all products.
    pub sparsity: f64,
    /// Images at a time.
    pub batch: usize,
    /// Height and width of the images.
    pub size: [usize; 2],
    /// Threads.
    pub threads: usize,
    /// Milliseconds, median, with zeros left out where that is faster.
    pub median_ms: f64,
    /// Milliseconds that 99 of 100 runs stay below.
    pub p99_ms: f64,
    /// The same with all zeros multiplied.
    pub dense_median_ms: f64,
    /// The same with all zeros multiplied.
    pub dense_p99_ms: f64,
    /// `dense_median_ms` over `median_ms`.
    pub to_dense: f64,
    /// Whether zeros are left out and that is more than chance: at least 1.02.
    pub faster: bool,
    /// Images per second.
    pub images_per_second: f64,
    /// 10⁹ floating-point operations done for a batch, two for each multiply-add.
    pub gflop_done: f64,
    /// 10⁹ floating-point operations left out.
    pub gflop_skipped: f64,
    /// `gflop_done` per second.
    pub gflops_per_second: f64,
    /// Greatest difference from the training model's scores over the greatest score, on random images; `None` for ONNX.
    pub max_rel_error: Option<f64>,
    /// Every layer, in order.
    pub layers: Vec<LayerInfer>,
}

/// A step of the engine. Times are medians; with several images those of one image on one thread.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerInfer {
    /// Its name.
    pub name: String,
    /// What it does.
    pub kind: &'static str,
    /// Fraction of zeros of its weights.
    pub sparsity: f64,
    /// Whether zeros are left out.
    pub zeros_left_out: bool,
    /// Milliseconds as chosen.
    pub ms: f64,
    /// Milliseconds with all zeros multiplied.
    pub dense_ms: f64,
    /// 10⁹ floating-point operations per second, left out ones not counted.
    pub gflops_per_second: f64,
    /// Sparsity from which on leaving zeros out pays here, for one image on all threads; 1 = never. `None` without
    /// weights.
    pub break_even: Option<f64>,
}

/// Everything that was measured.
pub(super) struct Measured<'a> {
    pub(super) turns: Turns,
    pub(super) break_even: &'a [Option<f64>],
    pub(super) max_rel_error: Option<f64>,
    pub(super) batch: usize,
}

pub(super) fn report(
    config: &InferConfig,
    network: &Network,
    engine: &Engine,
    measured: Measured<'_>,
) -> InferReport {
    let Measured { turns, break_even, max_rel_error, batch } = measured;
    let [dense, chosen] = &turns.runs;
    let (dense_median_ms, median) = (median_ms(dense.iter().copied()), median_ms(chosen.iter().copied()));
    let layers = engine.layers();
    let weights = |kept: fn(&sparse_engine::LayerReport) -> usize| {
        layers.iter().filter(|layer| layer.is_product).map(kept).sum::<usize>() as f64
    };
    let images = batch as f64;
    let gflop = |layer: &sparse_engine::LayerReport| {
        let left_out = if layer.sparse { layer.zero_macs } else { 0.0 };
        [layer.macs - left_out, left_out].map(|macs| 2.0 * macs * images / 1e9)
    };
    let [done, skipped] = [0, 1].map(|which| layers.iter().map(|layer| gflop(layer)[which]).sum::<f64>());
    // Images that the thread which keeps the times worked on.
    let own = if batch < config.threads { batch } else { batch.div_ceil(config.threads) } as f64;
    let layer = |(index, layer): (usize, &sparse_engine::LayerReport)| {
        let per_image = |engine: usize| median_ms(turns.layers[engine][index].iter().copied()) / own;
        let ms = per_image(1);
        LayerInfer {
            name: layer.name.clone(),
            kind: layer.kind,
            sparsity: layer.zeros as f64 / layer.weights.max(1) as f64,
            zeros_left_out: layer.sparse,
            ms,
            dense_ms: per_image(0),
            gflops_per_second: if ms > 0.0 { gflop(layer)[0] / images / (ms / 1e3) } else { 0.0 },
            break_even: break_even[index],
        }
    };
    let [_, height, width] = engine.input_shape();
    InferReport {
        weights: if network.sparsity.is_some() { "random".to_owned() } else { network.name.clone() },
        sparsity: network
            .sparsity
            .unwrap_or_else(|| weights(|layer| layer.zeros) / weights(|layer| layer.weights)),
        batch,
        size: [height, width],
        threads: config.threads,
        median_ms: median,
        p99_ms: percentile_ms(chosen, 0.99),
        dense_median_ms,
        dense_p99_ms: percentile_ms(dense, 0.99),
        to_dense: dense_median_ms / median,
        faster: layers.iter().any(|layer| layer.sparse) && dense_median_ms / median >= FASTER,
        images_per_second: images / (median / 1e3),
        gflop_done: done,
        gflop_skipped: skipped,
        gflops_per_second: done / (median / 1e3),
        max_rel_error,
        layers: layers.iter().enumerate().map(layer).collect(),
    }
}

/// The least time that a share of the runs does not pass (nearest rank).
fn percentile_ms(durations: &[Duration], share: f64) -> f64 {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default().as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ninety_nine_of_a_hundred_runs_stay_within_the_percentile() {
        let runs: Vec<Duration> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile_ms(&runs, 0.99), 99.0);
        assert_eq!(percentile_ms(&runs[..1], 0.99), 100.0);
        assert_eq!(percentile_ms(&[], 0.99), 0.0);
    }
}
