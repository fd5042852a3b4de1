//! What a layer has to do in one training step: arithmetic, and bytes to and from memory.

use super::BenchConfig;
use crate::config::Precision;
use crate::error::Result;
use sparse_model::ConvLayer;
use sparse_network::Plan;

/// What one layer does in one step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Work {
    /// Floating-point operations of the weights that are kept, two for each multiply-add: the forward product, the
    /// gradient to the weight and, but for the first layer, the gradient to the input.
    pub(super) flops: f64,
    /// The same of the weights that are pruned.
    pub(super) skipped: f64,
    /// Bytes of activations and their gradients that must move: forward reads the input and writes the output;
    /// backward reads the output's gradient, the output and the input, and writes, but for the first layer, the
    /// input's gradient.
    pub(super) bytes: f64,
}

/// The work of each convolution; `pruned` tells how many weights of a layer are.
///
/// # Errors
/// If the settings make no network.
pub(super) fn convolutions(
    config: &BenchConfig,
    plan: &Plan,
    pruned: impl Fn(&ConvLayer) -> usize,
) -> Result<Vec<Work>> {
    let bytes = match config.precision {
        Precision::F32 => 4.0,
        Precision::Bf16 => 2.0,
    };
    let shapes = plan.graph.shapes([config.size; 2])?;
    let numbers = |value: usize| (shapes[plan.values[value].node].count() * config.batch) as f64;
    let mut work = Vec::new();
    for (layer, (step, ..)) in plan.layers().iter().zip(plan.convolutions()) {
        let (input, output) = (numbers(step.inputs[0]), numbers(step.output));
        let first = step.inputs[0] == 0;
        // Every weight meets every pixel of its output, those of the border that it misses included.
        let products = if first { 2.0 } else { 3.0 };
        let flops = |weights: usize| 2.0 * products * weights as f64 * output / layer.outputs as f64;
        let (weights, pruned) = (layer.shape.iter().product::<usize>(), pruned(layer));
        let moved = 2.0 * input + 3.0 * output + if first { 0.0 } else { input };
        work.push(Work { flops: flops(weights - pruned), skipped: flops(pruned), bytes: bytes * moved });
    }
    Ok(work)
}

/// Floating-point operations of the head.
pub(super) fn head(config: &BenchConfig, features: usize) -> f64 {
    6.0 * (config.batch * features * config.classes) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use sparse_model::Kind;

    fn plan(config: &BenchConfig) -> Plan {
        Plan::new(config.network().graph().unwrap()).unwrap()
    }

    /// The multiply-adds of one image of 224 × 224 by Howard et al. 2017, table 8: 569 million; those of ResNet-18 by torchvision.
    #[test]
    fn a_dense_step_has_the_multiply_adds_of_the_network_three_times() {
        let networks = [(Kind::MobileNet, 1024, 864.0, 569e6), (Kind::ResNet18, 512, 9408.0, 1814e6)];
        for (model, features, first, expected) in networks {
            let config = BenchConfig { model, batch: 1, ..BenchConfig::default() };
            let work = convolutions(&config, &plan(&config), |_| 0).unwrap();
            let flops: f64 = work.iter().map(|work| work.flops).sum::<f64>() + head(&config, features);
            // The first layer has no gradient to its input.
            let macs = (flops + 2.0 * first * 112.0 * 112.0) / 6.0;
            assert!((macs - expected).abs() < 1e6, "{model:?} {macs}");
            assert!(work.iter().all(|work| work.skipped == 0.0));
        }
    }

    #[test]
    fn pruned_weights_are_skipped_and_bf16_moves_half() {
        let config = BenchConfig { batch: 2, size: 17, ..BenchConfig::default() };
        let plan = plan(&config);
        let pruned = |layer: &ConvLayer| if layer.name == "conv2_1_sep" { 2000 } else { 0 };
        let work = convolutions(&config, &plan, pruned).unwrap();
        let pixels = 9.0 * 9.0 * 2.0;
        let expected =
            Work { flops: 6.0 * 48.0 * pixels, skipped: 6.0 * 2000.0 * pixels, bytes: 4.0 * pixels * 288.0 };
        assert_eq!(work[2], expected);
        assert_eq!(work[0].bytes, 4.0 * (2.0 * 3.0 * 17.0 * 17.0 * 2.0 + 3.0 * 32.0 * pixels));
        let half =
            convolutions(&BenchConfig { precision: Precision::Bf16, ..config }, &plan, pruned).unwrap();
        assert!(work.iter().zip(&half).all(|(full, half)| full.bytes == 2.0 * half.bytes));
    }
}
