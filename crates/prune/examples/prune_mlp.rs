//! Prunes a two-layer perceptron while it learns, and prints what became of it.
//!
//! Run: `cargo run --release -p sparse-prune --example prune_mlp`
#![allow(clippy::print_stdout)]

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{Linear, Module, Optimizer, SGD, VarBuilder, VarMap, linear, loss};
use sparse_prune::{GmpConfig, Mode, Pruner, PrunerConfig, Strategy};

const STEPS: u64 = 400;

struct Mlp {
    hidden: Linear,
    output: Linear,
}

impl Mlp {
    fn new(builder: VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            hidden: linear(2, 64, builder.pp("hidden"))?,
            output: linear(64, 2, builder.pp("output"))?,
        })
    }

    /// x: [N, 2] -> logits: [N, 2]
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.output.forward(&self.hidden.forward(x)?.relu()?)
    }
}

/// Points of a grid, labelled by whether they lie inside a circle.
fn points() -> Result<(Tensor, Tensor)> {
    let grid = (0..400).map(|index| [(index % 20) as f32 / 10.0 - 0.95, (index / 20) as f32 / 10.0 - 0.95]);
    let x: Vec<f32> = grid.clone().flatten().collect();
    let labels: Vec<u32> = grid.map(|[x, y]| u32::from(x * x + y * y < 0.5)).collect();
    Ok((Tensor::from_vec(x, (400, 2), &Device::Cpu)?, Tensor::from_vec(labels, 400, &Device::Cpu)?))
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let vars = VarMap::new();
    let model = Mlp::new(VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu))?;
    let gmp = GmpConfig {
        stable_steps: 100,
        pruning_steps: 200,
        tunning_steps: 100,
        updates: 10,
        initial_ratio: 0.1,
        resume_step: 0,
    };
    let config = PrunerConfig { strategy: Strategy::Gmp(gmp), ..PrunerConfig::new(Mode::Ratio(0.6)) };
    let mut pruner = Pruner::new(&vars, config)?;
    let mut optimizer = SGD::new(vars.all_vars(), 0.5)?;
    let (x, labels) = points()?;
    for step in 0..STEPS {
        pruner.update_params()?;
        let loss = loss::cross_entropy(&model.forward(&x)?, &labels)?;
        optimizer.backward_step(&loss)?;
        let report = pruner.step()?;
        if report.masks_recomputed || step + 1 == STEPS {
            println!("step {step:3}  ratio {:.3}  loss {:.4}", report.ratio, loss.to_scalar::<f32>()?);
        }
    }
    pruner.update_params()?;
    println!("sparsity of the prunable weights: {:.3}", pruner.sparsity()?.prunable);
    for (name, sparsity) in pruner.sparse_by_layer()? {
        println!("  {name:14} {sparsity:.3}");
    }
    Ok(())
}
