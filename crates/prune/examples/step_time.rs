//! Times one step of the pruner over as many weights as MobileNetV1 has.
//!
//! Run: `cargo run --release -p sparse-prune --example step_time`; `RAYON_NUM_THREADS` sets the threads.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use candle_core::{Device, Tensor, Var};
use candle_nn::VarMap;
use sparse_prune::{Mode, Pruner, PrunerConfig, Result, Scope};

const REPEATS: usize = 31;

/// Kernels with the shapes of MobileNetV1's: 28 tensors, 4,209,088 weights.
fn variables() -> Result<VarMap> {
    let channels = [32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024];
    let mut shapes = vec![vec![32, 3, 3, 3], vec![1024, 1000]];
    for pair in channels.windows(2) {
        shapes.push(vec![pair[0], 1, 3, 3]);
        shapes.push(vec![pair[1], pair[0], 1, 1]);
    }
    let vars = VarMap::new();
    for (index, shape) in shapes.into_iter().enumerate() {
        let spread = (2.0 / shape[1] as f32).sqrt();
        let var = Var::from_tensor(&Tensor::randn(0.0, spread, shape, &Device::Cpu)?)?;
        if let Ok(mut data) = vars.data().lock() {
            data.insert(format!("kernel_{index:02}"), var);
        }
    }
    Ok(vars)
}

/// Prints how long `work` takes: the fastest time, which other programs disturb least, and the median.
fn time(name: &str, mut work: impl FnMut() -> Result<()>) -> Result<()> {
    let mut times = Vec::with_capacity(REPEATS);
    for _ in 0..REPEATS {
        let start = Instant::now();
        work()?;
        times.push(start.elapsed());
    }
    times.sort();
    let [fastest, median] = [0, REPEATS / 2].map(|index: usize| times[index].as_secs_f64() * 1e3);
    println!("{name:24} fastest {fastest:6.2} ms, median {median:6.2} ms");
    Ok(())
}

fn main() -> Result<()> {
    let vars = variables()?;
    let count: usize = vars.all_vars().iter().map(|var| var.elem_count()).sum();
    let base = PrunerConfig::new(Mode::Ratio(0.75));
    let cases = [
        ("step: ratio, global", base.clone()),
        ("step: ratio, layer-wise", PrunerConfig { scope: Scope::LayerWise, ..base.clone() }),
        ("step: ratio, no regrowth", PrunerConfig { regrow: false, ..base.clone() }),
        ("step: ratio, blocks 2x1", PrunerConfig { block: [2, 1], ..base.clone() }),
        ("step: ratio, PaddleSlim", PrunerConfig { paddle_compat: true, ..base }),
        ("step: threshold", PrunerConfig::new(Mode::Threshold(0.05))),
    ];
    println!("{count} weights, {REPEATS} times each");
    for (name, config) in cases {
        let mut pruner = Pruner::new(&vars, config)?;
        time(name, || pruner.step().map(|_| ()))?;
    }
    let mut pruner = Pruner::new(&vars, PrunerConfig::new(Mode::Ratio(0.75)))?;
    pruner.step()?;
    time("update_params", || pruner.update_params())?;
    time("sparsity", || pruner.sparsity().map(|_| ()))?;
    Ok(())
}
