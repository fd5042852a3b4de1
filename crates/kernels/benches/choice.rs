//! Whether the path that is chosen for a pointwise layer is the faster one on this machine.
//!
//! `cargo bench -p sparse-kernels --bench choice` on a machine that does nothing else: a row for each layer and density with the
//! time of the chosen path over that of the other one, product by product. Above 1.1 the choice was wrong.

#![allow(clippy::print_stdout, reason = "a table on stdout is what it is for")]

use sparse_kernels::activation::{
    GateSums, Input, InputGradient, Norm, NormGradient, OutputGradient, Statistics,
};
use sparse_kernels::pointwise::{self, Choice, Dims, Gradients, Kept, Pattern, WallClock};
use sparse_network::Bounds;
use std::time::{Duration, Instant};

/// A chosen path that takes more than so many times what the other takes is marked.
const TOLERANCE: f64 = 1.1;
/// Passes of each path; the fastest counts.
const ROUNDS: usize = 7;

fn values(len: usize, seed: u64) -> Vec<f32> {
    (0..len as u64).map(|i| ((i * 7919 + seed * 104_729) % 2017) as f32 / 1008.5 - 1.0).collect()
}

/// A layer with a mask.
struct Layer {
    dims: Dims,
    weight: Vec<f32>,
    pattern: Pattern,
    x: Vec<f32>,
    g: Vec<f32>,
    of_input: Vec<f32>,
    of_output: Vec<f32>,
}

impl Layer {
    /// About `density` of the weights are kept.
    fn new([inputs, outputs, pixels]: [usize; 3], density: f64) -> Self {
        let mut weight = values(inputs * outputs, 1);
        let mut words = vec![0u64; weight.len().div_ceil(64)];
        let mut state = 1u64;
        for (i, weight) in weight.iter_mut().enumerate() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if ((state >> 33) as f64) < density * f64::from(1u32 << 31) {
                words[i / 64] |= 1 << (i % 64);
            } else {
                *weight = 0.0;
            }
        }
        Self {
            dims: Dims { outputs, inputs, pixels },
            pattern: Pattern::new(&words, outputs, inputs),
            weight,
            x: values(inputs * pixels, 2),
            g: values(outputs * pixels, 3),
            of_input: values(inputs, 4),
            of_output: values(outputs, 5),
        }
    }

    /// Time of a forward and a backward pass.
    fn pass(&self, choice: Choice) -> [Duration; 2] {
        let pattern = |sparse: bool| sparse.then_some(&self.pattern);
        let channels = self.of_input.as_slice();
        let norm = Norm { mean: channels, gain: channels, offset: channels, bounds: Bounds::RELU };
        let x = Input::Normalised(self.x.as_slice(), norm);
        let channels = self.of_output.as_slice();
        let norm = NormGradient { mean: channels, gain: channels, constant: channels, slope: channels };
        let dy = OutputGradient::ThroughNorm(self.g.as_slice(), self.g.as_slice(), norm);
        let mut y = vec![0.0; self.g.len()];
        let [mut mean, mut variance] = [channels.to_vec(), channels.to_vec()];
        let statistics = Statistics { shift: channels, mean: &mut mean, variance: &mut variance };
        let start = Instant::now();
        pointwise::forward(&self.weight, pattern(choice.forward), x, &mut y, Some(statistics), self.dims);
        let forward = start.elapsed();
        let mut dx = vec![0.0; self.x.len()];
        let [mut sum, mut product] = [self.of_input.clone(), self.of_input.clone()];
        let mut dw = vec![0.0; self.weight.len()];
        let sums = Some(GateSums { sum: &mut sum, product: &mut product });
        let kept = Kept { input: pattern(choice.input_gradient), weight: pattern(choice.weight_gradient) };
        let start = Instant::now();
        pointwise::backward(
            &self.weight,
            kept,
            x,
            dy,
            Gradients { dx: InputGradient::only(&mut dx, sums), dw: &mut dw },
            self.dims,
        );
        [forward, start.elapsed()]
    }

    /// Time of the chosen path over that of the path with `other` instead, in one of the two passes.
    fn ratio(&self, chosen: Choice, other: Choice, pass: usize) -> f64 {
        let mut best = [f64::MAX; 2];
        for _ in 0..ROUNDS {
            for (best, choice) in best.iter_mut().zip([chosen, other]) {
                *best = self.pass(choice)[pass].as_secs_f64().min(*best);
            }
        }
        best[0] / best[1]
    }
}

fn main() {
    println!("| layer | kept | forward | input gradient | weight gradient | |");
    println!("|---|---|---|---|---|---|");
    for shape in [[64, 128, 12_544], [256, 256, 6272], [512, 512, 3136]] {
        for density in [0.05, 0.1, 0.25, 0.4, 0.6, 0.75] {
            let layer = Layer::new(shape, density);
            let sizes = [shape[1], shape[0]];
            let fixed = pointwise::fixed::<f32>(layer.pattern.kept(), sizes);
            let chosen = fixed.or(pointwise::choose::<f32>(&layer.pattern, sizes, &mut WallClock));
            let others = [
                (Choice { forward: !chosen.forward, ..chosen }, 0),
                (Choice { input_gradient: !chosen.input_gradient, ..chosen }, 1),
                (Choice { weight_gradient: !chosen.weight_gradient, ..chosen }, 1),
            ];
            let ratios = others.map(|(other, pass)| layer.ratio(chosen, other, pass));
            let paths = [chosen.forward, chosen.input_gradient, chosen.weight_gradient];
            let cells = ratios
                .iter()
                .zip(paths)
                .map(|(ratio, sparse)| format!("{} {ratio:.2}", if sparse { "sparse" } else { "dense" }));
            let mark =
                if ratios.iter().any(|&ratio| ratio > TOLERANCE) { "slower than the other" } else { "" };
            let cells = cells.collect::<Vec<_>>().join(" | ");
            println!("| {}→{}, {} pixels | {density} | {cells} | {mark} |", shape[0], shape[1], shape[2]);
        }
    }
}
